#include "models/xlmr/encoder.h"

#include <utility>

#include "kernels/dropout/dropout.h"
#include "kernels/embedding/embedding.h"
#include "kernels/layernorm/layernorm.h"

namespace koine {

EncoderParameters encoder_parameters(const XlmrConfig& config, DType type, const XlmrParameters& parameters,
                                     const ParameterAddresses& addresses) {
  EncoderParameters result;
  // Positions count from pad_token_id + 1: the rows before are never read.
  const std::int64_t skipped = (config.pad_token_id + 1) * config.hidden_size;
  result.word = addresses.working(parameters.word);
  result.position = offset_by(addresses.working(parameters.position), type, skipped);
  result.token_type = addresses.working(parameters.token_type);
  result.d_word = addresses.gradient(parameters.word);
  result.d_position = addresses.gradient(parameters.position);
  if (result.d_position != nullptr) result.d_position += skipped;
  result.d_token_type = addresses.gradient(parameters.token_type);
  if (config.norm == NormPlacement::kPost) {
    result.embedding_norm = addresses.norm(parameters.embedding_norm);
  } else {
    result.final_norm = addresses.norm(parameters.final_norm);
  }
  for (const BlockIndex& index : parameters.blocks) {
    BlockParameters block;
    if (index.input_norm.weight >= 0) block.input_norm = addresses.norm(index.input_norm);
    block.query_key_value = addresses.linear(index.query);
    block.query_key_value.out *= 3;
    block.attention_output = addresses.linear(index.attention_output);
    block.middle_norm = addresses.norm(index.middle_norm);
    block.intermediate = addresses.linear(index.intermediate);
    block.output = addresses.linear(index.output);
    if (index.output_norm.weight >= 0) block.output_norm = addresses.norm(index.output_norm);
    result.blocks.push_back(block);
  }
  return result;
}

Encoder::Encoder(const XlmrConfig& config, DType type, EncoderParameters parameters)
    : config_(config), parameters_(std::move(parameters)) {
  shape_.norm = config.norm;
  shape_.type = type;
  shape_.hidden = config.hidden_size;
  shape_.intermediate = config.intermediate_size;
  shape_.heads = config.num_attention_heads;
  shape_.epsilon = static_cast<float>(config.layer_norm_eps);
}

Dropout Encoder::embedding_dropout(const BatchView& batch, const Dropout& step) const {
  Dropout dropout = step;
  dropout.rate *= static_cast<float>(config_.hidden_dropout_prob);
  dropout.site = kEmbeddingSite;
  dropout.examples = batch.token_examples;
  dropout.positions = batch.positions;
  return dropout;
}

BlockDropout Encoder::block_dropout(const BatchView& batch, const Dropout& step, std::int64_t layer) const {
  BlockDropout dropout;
  dropout.attention_weights = step;
  dropout.attention_weights.rate *= static_cast<float>(config_.attention_probs_dropout_prob);
  dropout.attention_weights.site = block_site(layer, 0);
  dropout.attention_weights.examples = batch.sequence_examples;
  dropout.attention_output = embedding_dropout(batch, step);
  dropout.attention_output.site = block_site(layer, 1);
  dropout.output = embedding_dropout(batch, step);
  dropout.output.site = block_site(layer, 2);
  return dropout;
}

const void* Encoder::block_input(const EncoderActivations& activations, std::int64_t layer) const {
  return layer == 0 ? activations.embeddings : activations.blocks[static_cast<std::size_t>(layer - 1)].output;
}

void Encoder::allocate_embeddings(const BatchView& batch, StackMemory& stack, EncoderActivations& activations) const {
  activations.embeddings = stack.allocate_elements("embeddings", shape_.type, batch.tokens * shape_.hidden);
  if (shape_.norm == NormPlacement::kPre) return;
  activations.embedding_sum = stack.allocate_elements("embedding_sum", shape_.type, batch.tokens * shape_.hidden);
  activations.embedding_mean = stack.allocate_array<float>("embedding_mean", batch.tokens);
  activations.embedding_rstd = stack.allocate_array<float>("embedding_rstd", batch.tokens);
}

void Encoder::embed(const Context& context, const BatchView& batch, const Dropout& dropout_of_step,
                    EncoderActivations& activations) const {
  const bool post = shape_.norm == NormPlacement::kPost;
  EmbeddingForwardArguments lookup;
  lookup.type = shape_.type;
  lookup.tokens = batch.tokens;
  lookup.width = shape_.hidden;
  lookup.vocabulary = config_.vocab_size;
  lookup.positions = config_.maximum_length();
  lookup.ids = batch.ids;
  lookup.position_ids = batch.positions;
  lookup.word = parameters_.word;
  lookup.position = parameters_.position;
  lookup.token_type = parameters_.token_type;
  lookup.output = post ? activations.embedding_sum : activations.embeddings;
  embedding_forward(context, lookup);
  if (post) {
    LayerNormForwardArguments norm =
        norm_forward(shape_.type, batch.tokens, shape_.hidden, shape_.epsilon, parameters_.embedding_norm);
    norm.input = activations.embedding_sum;
    norm.output = activations.embeddings;
    norm.mean = activations.embedding_mean;
    norm.rstd = activations.embedding_rstd;
    layernorm_forward(context, norm);
  }
  const Dropout drop = embedding_dropout(batch, dropout_of_step);
  if (!drop.active()) return;
  dropout(context,
          {shape_.type, batch.tokens, shape_.hidden, activations.embeddings, nullptr, drop, activations.embeddings});
}

void Encoder::final_norm(const Context& context, const BatchView& batch, const void* input,
                         EncoderActivations& activations) const {
  LayerNormForwardArguments norm =
      norm_forward(shape_.type, batch.tokens, shape_.hidden, shape_.epsilon, parameters_.final_norm);
  norm.input = input;
  norm.output = activations.final_output;
  norm.mean = activations.final_mean;
  norm.rstd = activations.final_rstd;
  layernorm_forward(context, norm);
}

const void* Encoder::forward_training(const Context& context, const BatchView& batch, const Dropout& step,
                                      StackMemory& stack, EncoderActivations& activations) const {
  allocate_embeddings(batch, stack, activations);
  activations.blocks.resize(parameters_.blocks.size());
  for (std::size_t layer = 0; layer < activations.blocks.size(); ++layer) {
    activations.blocks[layer] = allocate_block_activations(stack, concatenate("block.", layer, "."), shape_, batch.tokens,
                                                           /*keep_pre_activation=*/true);
  }
  embed(context, batch, step, activations);
  for (std::int64_t layer = 0; layer < std::ssize(parameters_.blocks); ++layer) {
    block_forward(context, shape_, parameters_.blocks[static_cast<std::size_t>(layer)], block_dropout(batch, step, layer),
                  batch, block_input(activations, layer), activations.blocks[static_cast<std::size_t>(layer)]);
  }
  const void* last = block_input(activations, std::ssize(parameters_.blocks));
  if (shape_.norm == NormPlacement::kPost) return last;
  activations.final_output = stack.allocate_elements("final_output", shape_.type, batch.tokens * shape_.hidden);
  activations.final_mean = stack.allocate_array<float>("final_mean", batch.tokens);
  activations.final_rstd = stack.allocate_array<float>("final_rstd", batch.tokens);
  final_norm(context, batch, last, activations);
  return activations.final_output;
}

void Encoder::backward(const Context& context, const BatchView& batch, const Dropout& step,
                       const EncoderActivations& activations, void* d_last, StackMemory& stack,
                       const std::function<void(std::int64_t layer)>& block_done) const {
  const StackScope scope(stack);
  const bool post = shape_.norm == NormPlacement::kPost;
  void* gradient = d_last;
  void* other = stack.allocate_elements("d_hidden", shape_.type, batch.tokens * shape_.hidden);
  LayerNormBackwardArguments norm;
  norm.type = shape_.type;
  norm.rows = batch.tokens;
  norm.width = shape_.hidden;
  if (!post) {
    norm.d_output = gradient;
    norm.sum = block_input(activations, std::ssize(parameters_.blocks));
    norm.mean = activations.final_mean;
    norm.rstd = activations.final_rstd;
    norm.weight = parameters_.final_norm.weight;
    norm.d_weight = parameters_.final_norm.d_weight;
    norm.d_bias = parameters_.final_norm.d_bias;
    norm.d_sum = gradient;
    layernorm_backward(context, norm);
  }
  for (std::int64_t layer = std::ssize(parameters_.blocks) - 1; layer >= 0; --layer) {
    block_backward(context, shape_, parameters_.blocks[static_cast<std::size_t>(layer)], block_dropout(batch, step, layer),
                   batch, block_input(activations, layer), activations.blocks[static_cast<std::size_t>(layer)], gradient,
                   other, stack);
    block_done(layer);
    std::swap(gradient, other);
  }
  const Dropout drop = embedding_dropout(batch, step);
  if (drop.active()) dropout(context, {shape_.type, batch.tokens, shape_.hidden, gradient, nullptr, drop, gradient});
  if (post) {
    norm.d_output = gradient;
    norm.sum = activations.embedding_sum;
    norm.mean = activations.embedding_mean;
    norm.rstd = activations.embedding_rstd;
    norm.weight = parameters_.embedding_norm.weight;
    norm.d_weight = parameters_.embedding_norm.d_weight;
    norm.d_bias = parameters_.embedding_norm.d_bias;
    norm.d_sum = gradient;
    layernorm_backward(context, norm);
  }
  EmbeddingBackwardArguments lookup;
  lookup.type = shape_.type;
  lookup.tokens = batch.tokens;
  lookup.width = shape_.hidden;
  lookup.by_id = batch.by_id;
  lookup.by_position = batch.by_position;
  lookup.d_output = gradient;
  lookup.d_word = parameters_.d_word;
  lookup.d_position = parameters_.d_position;
  lookup.d_token_type = parameters_.d_token_type;
  embedding_backward(context, lookup);
}

const void* Encoder::forward_prediction(const Context& context, const BatchView& batch, std::int64_t layer,
                                        StackMemory& stack) const {
  check(layer >= 0 && layer <= std::ssize(parameters_.blocks), "hidden state ", layer, " of a model with ",
        parameters_.blocks.size(), " blocks");
  EncoderActivations activations;
  allocate_embeddings(batch, stack, activations);
  embed(context, batch, Dropout{}, activations);
  // One block's memory serves all; its output and the input it is computed from change places.
  BlockActivations block = allocate_block_activations(stack, "block.", shape_, batch.tokens, /*keep_pre_activation=*/false);
  void* input = activations.embeddings;
  for (std::int64_t index = 0; index < layer; ++index) {
    block_forward(context, shape_, parameters_.blocks[static_cast<std::size_t>(index)], BlockDropout{}, batch, input, block);
    std::swap(input, block.output);
  }
  if (shape_.norm == NormPlacement::kPost || layer < std::ssize(parameters_.blocks)) return input;
  activations.final_output = block.attention;
  activations.final_mean = block.middle_mean;
  activations.final_rstd = block.middle_rstd;
  final_norm(context, batch, input, activations);
  return activations.final_output;
}

}  // namespace koine
