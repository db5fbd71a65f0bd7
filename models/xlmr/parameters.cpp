#include "models/xlmr/parameters.h"

#include <algorithm>

#include "kernels/common/check.h"
#include "models/families.h"

namespace koine {
namespace {

BlockIndex add_block(ParameterTableBuilder& builder, const ModelConfig& config, const std::string& prefix) {
  const bool post = config.norm == NormPlacement::kPost;
  const std::int64_t hidden = config.hidden_size;
  BlockIndex block;
  if (post) block.output_norm = builder.norm(prefix + "output.LayerNorm", hidden, false);
  block.output = builder.linear(prefix + "output.dense", hidden, config.intermediate_size, false);
  block.intermediate = builder.linear(prefix + "intermediate.dense", config.intermediate_size, hidden, false);
  // Pre-norm: the one before the feed-forward.
  block.middle_norm = builder.norm(prefix + (post ? "attention.output.LayerNorm" : "LayerNorm"), hidden, false);
  block.attention_output = builder.linear(prefix + "attention.output.dense", hidden, hidden, false);
  LinearIndex* const projections[] = {&block.query, &block.key, &block.value};
  const char* const names[] = {"query", "key", "value"};
  for (int i = 0; i < 3; ++i) {
    projections[i]->weight =
        builder.matrix(prefix + "attention.self." + names[i] + ".weight", hidden, hidden, false, /*adjoins=*/i > 0);
  }
  for (int i = 0; i < 3; ++i) {
    projections[i]->bias = builder.vector(prefix + "attention.self." + names[i] + ".bias", hidden, Initialisation::kZero,
                                          false, /*adjoins=*/i > 0);
  }
  if (!post) block.input_norm = builder.norm(prefix + "attention.self_attn_layer_norm", hidden, false);
  return block;
}

}  // namespace

EncoderTable encoder_table(const ModelConfig& config, const std::vector<HeadSpec>& heads) {
  EncoderTable result;
  ParameterTableBuilder builder(result.table);
  const std::string prefix(config.family->prefix);
  const std::int64_t hidden = config.hidden_size;
  std::vector<HeadParts> parts;
  for (const HeadSpec& head : heads) parts.push_back(parts_of(config, head.kind));
  result.heads = add_heads(builder, heads, parts, prefix + "pooler.dense", hidden);
  result.complete_behind_head = result.table.size();
  result.table.end_stage();

  if (config.norm == NormPlacement::kPre) result.final_norm = builder.norm(prefix + "encoder.LayerNorm", hidden, false);
  result.blocks.resize(static_cast<std::size_t>(config.num_hidden_layers));
  result.complete_behind_block.resize(result.blocks.size());
  for (std::int64_t layer = config.num_hidden_layers - 1; layer >= 0; --layer) {
    result.blocks[static_cast<std::size_t>(layer)] =
        add_block(builder, config, concatenate(prefix, "encoder.layer.", layer, "."));
    result.complete_behind_block[static_cast<std::size_t>(layer)] = result.table.size();
    result.table.end_stage();
  }
  const std::string embeddings = prefix + "embeddings.";
  if (config.norm == NormPlacement::kPost) result.embedding_norm = builder.norm(embeddings + "LayerNorm", hidden, false);
  result.token_type = builder.embedding(embeddings + "token_type_embeddings.weight", config.type_vocab_size, hidden, false);
  result.position =
      builder.embedding(embeddings + "position_embeddings.weight", config.max_position_embeddings, hidden, false);
  const bool tied = std::any_of(parts.begin(), parts.end(), [](const HeadParts& head) { return head.tied; });
  result.word = builder.embedding(embeddings + "word_embeddings.weight", config.vocab_size, hidden, /*lazy_rows=*/!tied,
                                  /*collects=*/tied);
  for (std::size_t i = 0; i < heads.size(); ++i) {
    if (parts[i].tied) result.heads[i].output.weight = result.word;
  }
  return result;
}

ParameterTable encoder_parameter_table(const ModelConfig& config, const std::vector<HeadSpec>& heads) {
  return encoder_table(config, heads).table;
}

double encoder_forward_flops(const ModelConfig& config, const std::vector<std::int64_t>& lengths,
                             const std::vector<std::int64_t>&) {
  const auto hidden = static_cast<double>(config.hidden_size);
  const auto layers = static_cast<double>(config.num_hidden_layers);
  const double weights = layers * (4 * hidden * hidden + 2 * hidden * static_cast<double>(config.intermediate_size));
  double tokens = 0;
  double squares = 0;
  for (const std::int64_t length : lengths) {
    tokens += static_cast<double>(length);
    squares += static_cast<double>(length) * static_cast<double>(length);
  }
  return 2 * weights * tokens + 4 * hidden * layers * squares;
}

}  // namespace koine
