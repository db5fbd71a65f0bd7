#include "models/mt5/parameters.h"

#include "kernels/common/check.h"
#include "models/families.h"

namespace koine {
namespace {

std::int64_t inner_size(const ModelConfig& config) { return config.num_attention_heads * config.head_size(); }

int add_norm(ParameterTableBuilder& builder, const ModelConfig& config, const std::string& name) {
  return builder.vector(name + ".weight", config.hidden_size, Initialisation::kOne, false);
}

/// The projections that read one list lie one behind the other: query, key and value, or of cross-attention key and value.
T5AttentionIndex add_attention(ParameterTableBuilder& builder, const ModelConfig& config, const std::string& layer,
                               const std::string& name, bool cross) {
  const std::int64_t inner = inner_size(config);
  T5AttentionIndex index;
  index.output = builder.matrix(layer + name + ".o.weight", config.hidden_size, inner, false);
  index.query = builder.matrix(layer + name + ".q.weight", inner, config.hidden_size, false);
  index.key = builder.matrix(layer + name + ".k.weight", inner, config.hidden_size, false, /*adjoins=*/!cross);
  index.value = builder.matrix(layer + name + ".v.weight", inner, config.hidden_size, false, /*adjoins=*/true);
  index.norm = add_norm(builder, config, layer + "layer_norm");
  return index;
}

T5BlockIndex add_block(ParameterTableBuilder& builder, const ModelConfig& config, const std::string& prefix, bool decoder) {
  const std::string feed_forward = concatenate(prefix, "layer.", decoder ? 2 : 1, ".");
  const std::int64_t width = config.intermediate_size;
  T5BlockIndex index;
  index.output = builder.matrix(feed_forward + "DenseReluDense.wo.weight", config.hidden_size, width, false);
  index.gate = builder.matrix(feed_forward + "DenseReluDense.wi_0.weight", width, config.hidden_size, false);
  index.value = builder.matrix(feed_forward + "DenseReluDense.wi_1.weight", width, config.hidden_size, false, true);
  index.norm = add_norm(builder, config, feed_forward + "layer_norm");
  if (decoder) index.cross = add_attention(builder, config, prefix + "layer.1.", "EncDecAttention", true);
  index.self = add_attention(builder, config, prefix + "layer.0.", "SelfAttention", false);
  return index;
}

/// A table of relative positions; where the blocks of a stack share one, its gradient is whole behind the first of them.
int add_bias(ParameterTableBuilder& builder, const ModelConfig& config, const std::string& block) {
  return builder.table_in_fp32(block + "layer.0.SelfAttention.relative_attention_bias.weight",
                               config.encoder_decoder.relative_buckets, config.num_attention_heads,
                               /*collects=*/!config.encoder_decoder.bias_in_every_block);
}

StackIndex add_stack(ParameterTableBuilder& builder, ParameterTable& table, const ModelConfig& config, bool decoder) {
  const std::string name = decoder ? "decoder." : "encoder.";
  const std::int64_t layers = decoder ? config.encoder_decoder.decoder_layers : config.num_hidden_layers;
  StackIndex stack;
  stack.final_norm = add_norm(builder, config, name + "final_layer_norm");
  stack.blocks.resize(static_cast<std::size_t>(layers));
  stack.complete_behind_block.resize(stack.blocks.size());
  for (std::int64_t layer = layers - 1; layer >= 0; --layer) {
    const auto i = static_cast<std::size_t>(layer);
    const std::string prefix = concatenate(name, "block.", layer, ".");
    stack.blocks[i] = add_block(builder, config, prefix, decoder);
    if (layer == 0 || config.encoder_decoder.bias_in_every_block) stack.blocks[i].bias = add_bias(builder, config, prefix);
    stack.complete_behind_block[i] = table.size();
    table.end_stage();
  }
  for (T5BlockIndex& block : stack.blocks) {
    if (block.bias < 0) block.bias = stack.blocks.front().bias;
  }
  return stack;
}

}  // namespace

EncoderDecoderTable encoder_decoder_table(const ModelConfig& config, const std::vector<HeadSpec>& heads) {
  EncoderDecoderTable result;
  ParameterTableBuilder builder(result.table);
  for (const HeadSpec& head : heads) parts_of(config, head.kind);  // which names what it has not
  const bool own_head = !heads.empty() && !config.tie_word_embeddings;
  if (own_head) result.head = builder.matrix("lm_head.weight", config.vocab_size, config.hidden_size, false);
  result.complete_behind_head = result.table.size();
  result.table.end_stage();
  result.decoder = add_stack(builder, result.table, config, true);
  result.encoder = add_stack(builder, result.table, config, false);
  result.word = builder.embedding("shared.weight", config.vocab_size, config.hidden_size, /*lazy_rows=*/false,
                                  /*collects=*/true);
  if (!own_head) result.head = result.word;
  return result;
}

ParameterTable encoder_decoder_parameter_table(const ModelConfig& config, const std::vector<HeadSpec>& heads) {
  return encoder_decoder_table(config, heads).table;
}

double encoder_decoder_forward_flops(const ModelConfig& config, const std::vector<std::int64_t>& lengths,
                                     const std::vector<std::int64_t>& targets) {
  const auto hidden = static_cast<double>(config.hidden_size);
  const auto inner = static_cast<double>(inner_size(config));
  const auto layers = static_cast<double>(config.num_hidden_layers);
  const auto decoder_layers = static_cast<double>(config.encoder_decoder.decoder_layers);
  const double attention = 4 * hidden * inner;  // weights
  const double feed_forward = 3 * hidden * static_cast<double>(config.intermediate_size);
  double flops = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    const auto source = static_cast<double>(lengths[i]);
    flops += layers * (2 * source * (attention + feed_forward) + 4 * inner * source * source);
    if (i >= targets.size()) continue;
    const auto target = static_cast<double>(targets[i]);
    // Half of the cross-attention's weights read the source; a causal mask shows half of the pairs.
    flops += decoder_layers * (2 * target * (1.5 * attention + feed_forward) + source * attention +
                               4 * inner * (target * (target + 1) / 2 + target * source));
  }
  return flops;
}

}  // namespace koine
