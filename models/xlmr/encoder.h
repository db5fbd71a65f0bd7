#pragma once

// Embeddings, blocks and final layernorm: hidden states of a packed sequences, and the way back.
//
// Hidden states are numbered as transformers' output_hidden_states: 0 after the embeddings (with their layernorm in the
// post-norm family and their dropout), l after block l; the last one of the pre-norm family is after the final layernorm.

#include <functional>
#include <vector>

#include "models/config.h"
#include "models/layers/block.h"
#include "models/layers/embeddings.h"
#include "models/xlmr/parameters.h"

namespace koine {

/// Dropout sites, in order of execution: the embeddings', three a block, then the heads' (kernels/random/dropout_mask.h).
inline constexpr std::uint32_t kEmbeddingSite = 0;
constexpr std::uint32_t block_site(std::int64_t layer, int which) {
  return static_cast<std::uint32_t>(1 + 3 * layer + which);
}
constexpr std::uint32_t head_site(std::int64_t layers) { return static_cast<std::uint32_t>(1 + 3 * layers); }

struct EncoderParameters {
  EmbeddingParameters embeddings;
  std::vector<BlockParameters> blocks;
  Norm final_norm;  ///< without addresses: post-norm, which has none
};

EncoderParameters encoder_parameters(const ModelConfig& config, DType type, const EncoderTable& table,
                                     const ParameterAddresses& addresses);

struct EncoderActivations {
  EmbeddingActivations embeddings;  ///< its output is hidden state 0
  std::vector<BlockActivations> blocks;
  void* final_output = nullptr;  ///< pre-norm: after the final layernorm
  float* final_mean = nullptr;
  float* final_rstd = nullptr;
};

class Encoder {
 public:
  Encoder(const ModelConfig& config, DType type, EncoderParameters parameters);

  /// Of each block backward then finds its output alone, and runs its forward once more, for the same bits, into memory that all
  /// blocks share.
  void recompute_activations(bool recompute) { recompute_ = recompute; }

  /// Runs all blocks, keeping what backward needs on `stack`, and returns the last hidden state. `step` carries seed and
  /// step with rate 1 in training, 0 (no dropout) otherwise; the configuration's rates are multiplied with it. `before_block` is told of
  /// every block that is about to run.
  const void* forward_training(const Context& context, const SequencesView& sequences, const Dropout& step,
                               StackMemory& stack, EncoderActivations& activations,
                               const std::function<void(std::int64_t layer)>& before_block) const;
  /// Gradients of everything from that of the last hidden state, which is overwritten. `block_done` is told of every block
  /// whose parameters' gradients are there.
  void backward(const Context& context, const SequencesView& sequences, const Dropout& step,
                const EncoderActivations& activations, void* d_last, StackMemory& stack,
                const std::function<void(std::int64_t layer)>& block_done) const;
  /// Hidden state `layer` without dropout, in memory for one block and two hidden states; later blocks are not run. `use`,
  /// where given, is shown each hidden state on the way, from 0 to `layer`, and must leave the stack as it found it.
  using HiddenStateUse = std::function<void(std::int64_t layer, const void* hidden)>;
  const void* forward_prediction(const Context& context, const SequencesView& sequences, std::int64_t layer,
                                 StackMemory& stack, const HiddenStateUse& use = {}) const;

 private:
  void allocate_blocks(StackMemory& stack, std::int64_t tokens, EncoderActivations& activations) const;
  void final_norm(const Context& context, const SequencesView& sequences, const void* input,
                  EncoderActivations& activations) const;
  Dropout embedding_dropout(const SequencesView& sequences, const Dropout& step) const;
  BlockDropout block_dropout(const SequencesView& sequences, const Dropout& step, std::int64_t layer) const;
  const void* block_input(const EncoderActivations& activations, std::int64_t layer) const;

  ModelConfig config_;
  EmbeddingShape embedding_shape_;
  BlockShape shape_;
  EncoderParameters parameters_;
  bool recompute_ = false;
};

}  // namespace koine
