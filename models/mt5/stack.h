#pragma once

// The encoder's or the decoder's blocks with what stands around them: the word embedding and its dropout before, a norm and a
// dropout behind. Hidden states are numbered as transformers' output_hidden_states: 0 after the embedding, l after block l,
// the last one after the final norm.

#include <functional>
#include <vector>

#include "models/config.h"
#include "models/mt5/parameters.h"

namespace koine {

struct StackParameters {
  const void* word = nullptr;  ///< [vocabulary, hidden]
  float* d_word = nullptr;
  std::vector<T5BlockParameters> blocks;
  RmsNormParameters final_norm;
};
StackParameters stack_parameters(const StackIndex& index, int word, const ParameterAddresses& addresses);

T5Shape t5_shape(const ModelConfig& config, DType type, bool decoder);

struct StackActivations {
  void* embedded = nullptr;  ///< hidden state 0
  std::vector<T5BlockActivations> blocks;
  void* output = nullptr;  ///< behind the final norm and its dropout
  float* rstd = nullptr;
};

class Stack {
 public:
  /// `first_site`: of its dropouts; it has sites() of them.
  Stack(const ModelConfig& config, DType type, bool decoder, std::uint32_t first_site, StackParameters parameters);
  std::uint32_t sites() const;

  /// Of each block backward then finds its output alone, and runs its forward once more, for the same bits, into memory that all
  /// blocks share.
  void recompute_activations(bool recompute) { recompute_ = recompute; }

  /// Runs all blocks, keeping what backward needs on `stack`, and returns the last hidden state. `step` carries seed and step
  /// with rate 1; the configuration's rate is multiplied with it. `before_block` is told of every block that is about to run.
  const void* forward_training(const Context& context, const SequencesView& sequences, const Encoded& encoded,
                               const Dropout& step, StackMemory& stack, StackActivations& activations,
                               const std::function<void(std::int64_t layer)>& before_block) const;
  /// Gradients of everything from that of the last hidden state, which is overwritten. Of a decoder, d_encoded gets the
  /// gradient of what it attended to. `block_done` is told of every block whose parameters' gradients are there.
  void backward(const Context& context, const SequencesView& sequences, const Encoded& encoded, const Dropout& step,
                const StackActivations& activations, void* d_last, void* d_encoded, StackMemory& stack,
                const std::function<void(std::int64_t layer)>& block_done) const;
  /// Hidden state `layer` without dropout; later blocks are not run. `use`, where given, is shown each hidden state on the
  /// way, from 0 to `layer`, and must leave the stack as it found it.
  using HiddenStateUse = std::function<void(std::int64_t layer, const void* hidden)>;
  const void* forward_prediction(const Context& context, const SequencesView& sequences, const Encoded& encoded,
                                 std::int64_t layer, StackMemory& stack, const HiddenStateUse& use = {}) const;

  const T5Shape& shape() const { return shape_; }
  const StackParameters& parameters() const { return parameters_; }
  std::int64_t layers() const { return std::ssize(parameters_.blocks); }
  /// The words' rows.
  void embed(const Context& context, std::int64_t tokens, const std::int32_t* ids, void* output) const;

 private:
  void allocate_blocks(StackMemory& stack, std::int64_t tokens, std::int64_t source_tokens,
                       StackActivations& activations) const;
  Dropout hidden_dropout(const SequencesView& sequences, const Dropout& step, std::uint32_t site) const;
  T5Dropout block_dropout(const SequencesView& sequences, const Dropout& step, std::int64_t layer) const;
  const void* block_input(const StackActivations& activations, std::int64_t layer) const;

  T5Shape shape_;
  std::int64_t vocabulary_ = 0;
  float rate_ = 0;
  std::uint32_t first_site_ = 0;
  StackParameters parameters_;
  bool recompute_ = false;
};

}  // namespace koine
