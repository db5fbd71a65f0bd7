#include "models/xlmr/encoder.h"

#include <string>
#include <utility>

#include "kernels/common/check.h"

namespace koine {

EncoderParameters encoder_parameters(const ModelConfig& config, DType type, const EncoderTable& table,
                                     const ParameterAddresses& addresses) {
  EncoderParameters result;
  // The rows of the position embeddings before the first token's are never read.
  const std::int64_t skipped = config.first_position * config.hidden_size;
  EmbeddingParameters& embeddings = result.embeddings;
  embeddings.word = addresses.working(table.word);
  embeddings.position = offset_by(addresses.working(table.position), type, skipped);
  embeddings.token_type = addresses.working(table.token_type);
  embeddings.d_word = addresses.gradient(table.word);
  embeddings.d_position = addresses.gradient(table.position);
  if (embeddings.d_position != nullptr) embeddings.d_position += skipped;
  embeddings.d_token_type = addresses.gradient(table.token_type);
  embeddings.norm = addresses.norm(table.embedding_norm);
  for (const BlockIndex& index : table.blocks) result.blocks.push_back(block_parameters(index, addresses));
  result.final_norm = addresses.norm(table.final_norm);
  return result;
}

Encoder::Encoder(const ModelConfig& config, DType type, EncoderParameters parameters)
    : config_(config), parameters_(std::move(parameters)) {
  shape_.norm = config.norm;
  shape_.type = type;
  shape_.hidden = config.hidden_size;
  shape_.intermediate = config.intermediate_size;
  shape_.heads = config.num_attention_heads;
  shape_.epsilon = static_cast<float>(config.layer_norm_eps);
  embedding_shape_ = {type, config.hidden_size, config.vocab_size, config.maximum_length(), shape_.epsilon};
}

Dropout Encoder::embedding_dropout(const SequencesView& sequences, const Dropout& step) const {
  Dropout dropout = step;
  dropout.rate *= static_cast<float>(config_.hidden_dropout_prob);
  dropout.site = kEmbeddingSite;
  dropout.examples = sequences.token_examples;
  dropout.positions = sequences.positions;
  return dropout;
}

BlockDropout Encoder::block_dropout(const SequencesView& sequences, const Dropout& step, std::int64_t layer) const {
  BlockDropout dropout;
  dropout.attention_weights = step;
  dropout.attention_weights.rate *= static_cast<float>(config_.attention_probs_dropout_prob);
  dropout.attention_weights.site = block_site(layer, 0);
  dropout.attention_weights.examples = sequences.sequence_examples;
  dropout.attention_output = embedding_dropout(sequences, step);
  dropout.attention_output.site = block_site(layer, 1);
  dropout.output = embedding_dropout(sequences, step);
  dropout.output.site = block_site(layer, 2);
  return dropout;
}

const void* Encoder::block_input(const EncoderActivations& activations, std::int64_t layer) const {
  return layer == 0 ? activations.embeddings.output : activations.blocks[static_cast<std::size_t>(layer - 1)].output;
}

void Encoder::final_norm(const Context& context, const SequencesView& sequences, const void* input,
                         EncoderActivations& activations) const {
  LayerNormForwardArguments norm =
      norm_forward(shape_.type, sequences.tokens, shape_.hidden, shape_.epsilon, parameters_.final_norm);
  norm.input = input;
  norm.output = activations.final_output;
  norm.mean = activations.final_mean;
  norm.rstd = activations.final_rstd;
  layernorm_forward(context, norm);
}

void Encoder::allocate_blocks(StackMemory& stack, std::int64_t tokens, EncoderActivations& activations) const {
  activations.blocks.resize(parameters_.blocks.size());
  for (std::size_t layer = 0; layer < activations.blocks.size(); ++layer) {
    const std::string name = concatenate("block.", layer, ".");
    if (!recompute_ || layer == 0) {
      activations.blocks[layer] = allocate_block_activations(stack, recompute_ ? "one block." : name, shape_, tokens,
                                                             /*keep_pre_activation=*/true);
    } else {
      activations.blocks[layer] = activations.blocks[0];
      activations.blocks[layer].output = stack.allocate_elements(name + "output", shape_.type, tokens * shape_.hidden);
    }
  }
}

const void* Encoder::forward_training(const Context& context, const SequencesView& sequences, const Dropout& step,
                                      StackMemory& stack, EncoderActivations& activations,
                                      const std::function<void(std::int64_t layer)>& before_block) const {
  activations.embeddings = allocate_embedding_activations(stack, embedding_shape_, parameters_.embeddings, sequences.tokens);
  allocate_blocks(stack, sequences.tokens, activations);
  embeddings_forward(context, embedding_shape_, parameters_.embeddings, embedding_dropout(sequences, step), sequences,
                     activations.embeddings);
  for (std::int64_t layer = 0; layer < std::ssize(parameters_.blocks); ++layer) {
    before_block(layer);
    block_forward(context, shape_, parameters_.blocks[static_cast<std::size_t>(layer)],
                  block_dropout(sequences, step, layer), sequences, block_input(activations, layer),
                  activations.blocks[static_cast<std::size_t>(layer)]);
  }
  const void* last = block_input(activations, std::ssize(parameters_.blocks));
  if (shape_.norm == NormPlacement::kPost) return last;
  activations.final_output = stack.allocate_elements("final_output", shape_.type, sequences.tokens * shape_.hidden);
  activations.final_mean = stack.allocate_array<float>("final_mean", sequences.tokens);
  activations.final_rstd = stack.allocate_array<float>("final_rstd", sequences.tokens);
  final_norm(context, sequences, last, activations);
  return activations.final_output;
}

void Encoder::backward(const Context& context, const SequencesView& sequences, const Dropout& step,
                       const EncoderActivations& activations, void* d_last, StackMemory& stack,
                       const std::function<void(std::int64_t layer)>& block_done) const {
  const StackScope scope(stack);
  void* gradient = d_last;
  void* other = stack.allocate_elements("d_hidden", shape_.type, sequences.tokens * shape_.hidden);
  if (shape_.norm == NormPlacement::kPre) {
    LayerNormBackwardArguments norm = norm_backward(shape_.type, sequences.tokens, shape_.hidden, parameters_.final_norm);
    norm.d_output = gradient;
    norm.sum = block_input(activations, std::ssize(parameters_.blocks));
    norm.mean = activations.final_mean;
    norm.rstd = activations.final_rstd;
    norm.d_sum = gradient;
    layernorm_backward(context, norm);
  }
  for (std::int64_t layer = std::ssize(parameters_.blocks) - 1; layer >= 0; --layer) {
    // What the last block left is still there.
    if (recompute_ && layer + 1 < std::ssize(parameters_.blocks)) {
      block_forward(context, shape_, parameters_.blocks[static_cast<std::size_t>(layer)],
                    block_dropout(sequences, step, layer), sequences, block_input(activations, layer),
                    activations.blocks[static_cast<std::size_t>(layer)]);
    }
    block_backward(context, shape_, parameters_.blocks[static_cast<std::size_t>(layer)],
                   block_dropout(sequences, step, layer), sequences, block_input(activations, layer),
                   activations.blocks[static_cast<std::size_t>(layer)], gradient, other, stack);
    block_done(layer);
    std::swap(gradient, other);
  }
  embeddings_backward(context, embedding_shape_, parameters_.embeddings, embedding_dropout(sequences, step), sequences,
                      activations.embeddings, gradient);
}

const void* Encoder::forward_prediction(const Context& context, const SequencesView& sequences, std::int64_t layer,
                                        StackMemory& stack, const HiddenStateUse& use) const {
  check(layer >= 0 && layer <= std::ssize(parameters_.blocks), "hidden state ", layer, " of a model with ",
        parameters_.blocks.size(), " blocks");
  EncoderActivations activations;
  activations.embeddings = allocate_embedding_activations(stack, embedding_shape_, parameters_.embeddings, sequences.tokens);
  embeddings_forward(context, embedding_shape_, parameters_.embeddings, Dropout{}, sequences, activations.embeddings);
  // One block's memory serves all; its output and the input it is computed from change places.
  BlockActivations block =
      allocate_block_activations(stack, "block.", shape_, sequences.tokens, /*keep_pre_activation=*/false);
  void* input = activations.embeddings.output;
  for (std::int64_t index = 0; index < layer; ++index) {
    if (use) use(index, input);
    block_forward(context, shape_, parameters_.blocks[static_cast<std::size_t>(index)], BlockDropout{}, sequences, input,
                  block);
    std::swap(input, block.output);
  }
  const void* last = input;
  if (shape_.norm == NormPlacement::kPre && layer == std::ssize(parameters_.blocks)) {
    activations.final_output = block.attention;
    activations.final_mean = block.middle_mean;
    activations.final_rstd = block.middle_rstd;
    final_norm(context, sequences, input, activations);
    last = activations.final_output;
  }
  if (use) use(layer, last);
  return last;
}

}  // namespace koine
