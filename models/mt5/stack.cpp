#include "models/mt5/stack.h"

#include <string>
#include <utility>

#include "kernels/common/check.h"
#include "kernels/dropout/dropout.h"
#include "kernels/embedding/embedding.h"
#include "kernels/gather/gather.h"
#include "kernels/rmsnorm/rmsnorm.h"

namespace koine {

StackParameters stack_parameters(const StackIndex& index, int word, const ParameterAddresses& addresses) {
  StackParameters result;
  result.word = addresses.working(word);
  result.d_word = addresses.gradient(word);
  for (const T5BlockIndex& block : index.blocks) result.blocks.push_back(t5_block_parameters(block, addresses));
  result.final_norm = rms_norm_parameters(index.final_norm, addresses);
  return result;
}

T5Shape t5_shape(const ModelConfig& config, DType type, bool decoder) {
  return {.decoder = decoder,
          .type = type,
          .hidden = config.hidden_size,
          .heads = config.num_attention_heads,
          .head_size = config.head_size(),
          .intermediate = config.intermediate_size,
          .epsilon = static_cast<float>(config.layer_norm_eps),
          .buckets = config.encoder_decoder.relative_buckets,
          .max_distance = config.encoder_decoder.relative_max_distance};
}

Stack::Stack(const ModelConfig& config, DType type, bool decoder, std::uint32_t first_site, StackParameters parameters)
    : shape_(t5_shape(config, type, decoder)),
      vocabulary_(config.vocab_size),
      rate_(static_cast<float>(config.hidden_dropout_prob)),
      first_site_(first_site),
      parameters_(std::move(parameters)) {}

std::uint32_t Stack::sites() const { return static_cast<std::uint32_t>(2 + kT5BlockSites * layers()); }

Dropout Stack::hidden_dropout(const SequencesView& sequences, const Dropout& step, std::uint32_t site) const {
  Dropout dropout = step;
  dropout.rate *= rate_;
  dropout.site = first_site_ + site;
  dropout.examples = sequences.token_examples;
  dropout.positions = sequences.positions;
  return dropout;
}

T5Dropout Stack::block_dropout(const SequencesView& sequences, const Dropout& step, std::int64_t layer) const {
  const auto first = static_cast<std::uint32_t>(1 + kT5BlockSites * layer);
  const auto of_hidden = [&](std::uint32_t which) { return hidden_dropout(sequences, step, first + which); };
  const auto of_weights = [&](std::uint32_t which) {
    Dropout dropout = of_hidden(which);
    dropout.examples = sequences.sequence_examples;
    return dropout;
  };
  return {of_weights(0), of_hidden(1), of_weights(2), of_hidden(3), of_hidden(4), of_hidden(5)};
}

const void* Stack::block_input(const StackActivations& activations, std::int64_t layer) const {
  return layer == 0 ? activations.embedded : activations.blocks[static_cast<std::size_t>(layer - 1)].output;
}

void Stack::embed(const Context& context, std::int64_t tokens, const std::int32_t* ids, void* output) const {
  gather_rows(context, {shape_.type, tokens, shape_.hidden, vocabulary_, ids, parameters_.word, output});
}

void Stack::allocate_blocks(StackMemory& stack, std::int64_t tokens, std::int64_t source_tokens,
                            StackActivations& activations) const {
  const std::string side = shape_.decoder ? "decoder." : "encoder.";
  activations.blocks.resize(parameters_.blocks.size());
  for (std::size_t layer = 0; layer < activations.blocks.size(); ++layer) {
    const std::string name = concatenate("block.", layer, ".", side);
    if (!recompute_ || layer == 0) {
      activations.blocks[layer] =
          allocate_t5_block(stack, recompute_ ? "one block." + side : name, shape_, tokens, source_tokens);
    } else {
      activations.blocks[layer] = activations.blocks[0];
      activations.blocks[layer].output = stack.allocate_elements(name + "output", shape_.type, tokens * shape_.hidden);
    }
  }
}

const void* Stack::forward_training(const Context& context, const SequencesView& sequences, const Encoded& encoded,
                                    const Dropout& step, StackMemory& stack, StackActivations& activations,
                                    const std::function<void(std::int64_t layer)>& before_block) const {
  const std::string name = shape_.decoder ? "decoder." : "encoder.";
  const std::int64_t tokens = sequences.tokens;
  const std::int64_t source_tokens = shape_.decoder ? encoded.sequences->tokens : 0;
  activations.embedded = stack.allocate_elements(name + "embedded", shape_.type, tokens * shape_.hidden);
  allocate_blocks(stack, tokens, source_tokens, activations);
  activations.output = stack.allocate_elements(name + "output", shape_.type, tokens * shape_.hidden);
  activations.rstd = stack.allocate_array<float>(name + "rstd", tokens);

  embed(context, tokens, sequences.ids, activations.embedded);
  const Dropout first = hidden_dropout(sequences, step, 0);
  if (first.active()) {
    dropout(context, {shape_.type, tokens, shape_.hidden, activations.embedded, nullptr, first, activations.embedded});
  }
  for (std::int64_t layer = 0; layer < layers(); ++layer) {
    before_block(layer);
    t5_block_forward(context, shape_, parameters_.blocks[static_cast<std::size_t>(layer)],
                     block_dropout(sequences, step, layer), sequences, encoded, block_input(activations, layer),
                     activations.blocks[static_cast<std::size_t>(layer)]);
  }
  rms_norm(context, shape_, tokens, parameters_.final_norm, block_input(activations, layers()), activations.output,
           activations.rstd);
  const Dropout last = hidden_dropout(sequences, step, sites() - 1);
  if (last.active())
    dropout(context, {shape_.type, tokens, shape_.hidden, activations.output, nullptr, last, activations.output});
  return activations.output;
}

void Stack::backward(const Context& context, const SequencesView& sequences, const Encoded& encoded, const Dropout& step,
                     const StackActivations& activations, void* d_last, void* d_encoded, StackMemory& stack,
                     const std::function<void(std::int64_t layer)>& block_done) const {
  const StackScope scope(stack);
  const std::int64_t tokens = sequences.tokens;
  void* gradient = d_last;
  void* other = stack.allocate_elements("d_hidden", shape_.type, tokens * shape_.hidden);
  // The blocks' shares of d_encoded go to and fro, so that the first block's is the one asked for.
  void* encoded_gradients[2] = {d_encoded, nullptr};
  if (shape_.decoder && layers() > 1) {
    encoded_gradients[1] = stack.allocate_elements("d_encoded", shape_.type, encoded.sequences->tokens * shape_.hidden);
  }
  const Dropout last = hidden_dropout(sequences, step, sites() - 1);
  if (last.active()) dropout(context, {shape_.type, tokens, shape_.hidden, gradient, nullptr, last, gradient});
  rmsnorm_backward(context, {shape_.type, tokens, shape_.hidden, gradient, nullptr, block_input(activations, layers()),
                             activations.rstd, parameters_.final_norm.weight, gradient, parameters_.final_norm.d_weight});
  for (std::int64_t layer = layers() - 1; layer >= 0; --layer) {
    const EncodedGradient shares = {layer == layers() - 1 ? nullptr : encoded_gradients[(layer + 1) % 2],
                                    encoded_gradients[layer % 2]};
    // What the last block left is still there.
    if (recompute_ && layer + 1 < layers()) {
      t5_block_forward(context, shape_, parameters_.blocks[static_cast<std::size_t>(layer)],
                       block_dropout(sequences, step, layer), sequences, encoded, block_input(activations, layer),
                       activations.blocks[static_cast<std::size_t>(layer)]);
    }
    t5_block_backward(context, shape_, parameters_.blocks[static_cast<std::size_t>(layer)],
                      block_dropout(sequences, step, layer), sequences, encoded, block_input(activations, layer),
                      activations.blocks[static_cast<std::size_t>(layer)], gradient, other, shares, stack);
    block_done(layer);
    std::swap(gradient, other);
  }
  const Dropout first = hidden_dropout(sequences, step, 0);
  if (first.active()) dropout(context, {shape_.type, tokens, shape_.hidden, gradient, nullptr, first, gradient});
  EmbeddingBackwardArguments words;
  words.type = shape_.type;
  words.tokens = tokens;
  words.width = shape_.hidden;
  words.by_id = sequences.by_id;
  words.d_output = gradient;
  words.d_word = parameters_.d_word;
  embedding_backward(context, words);
}

const void* Stack::forward_prediction(const Context& context, const SequencesView& sequences, const Encoded& encoded,
                                      std::int64_t layer, StackMemory& stack, const HiddenStateUse& use) const {
  check(layer >= 0 && layer <= layers(), "hidden state ", layer, " of a stack of ", layers(), " blocks");
  const std::int64_t tokens = sequences.tokens;
  void* input = stack.allocate_elements("embedded", shape_.type, tokens * shape_.hidden);
  embed(context, tokens, sequences.ids, input);
  // One block's memory serves all; its output and the input it is computed from change places.
  T5BlockActivations block =
      allocate_t5_block(stack, "block.", shape_, tokens, shape_.decoder ? encoded.sequences->tokens : 0);
  for (std::int64_t index = 0; index < layer; ++index) {
    if (use) use(index, input);
    t5_block_forward(context, shape_, parameters_.blocks[static_cast<std::size_t>(index)], T5Dropout{}, sequences, encoded,
                     input, block);
    std::swap(input, block.output);
  }
  const void* last = input;
  if (layer == layers()) {
    rms_norm(context, shape_, tokens, parameters_.final_norm, input, block.output, block.rstd);
    last = block.output;
  }
  if (use) use(layer, last);
  return last;
}

}  // namespace koine
