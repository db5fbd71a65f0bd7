#pragma once

// One block of a T5 stack (Raffel et al., arXiv 1910.10683; the gated feed-forward of T5 1.1). No biases; attention is not
// scaled; what stands in [] a decoder has.
//
//   s = x + dropout(attention(norm(x)) Wo)                 with the bias of relative positions; a decoder's is causal
//   [c = s + dropout(attention(norm(s), encoded) Wo)       of the source's last hidden state, without a bias]
//   y = c + dropout(dropout(gelu(n W0) * (n W1)) W2),      n = norm(c)
//
// Backward runs the same operations in reverse; parameter gradients accumulate, activation gradients are overwritten.

#include <string>

#include "engine/batch/batch_view.h"
#include "kernels/attention/relative_position.h"
#include "kernels/common/registry.h"
#include "kernels/random/dropout_mask.h"
#include "models/layers/linear.h"
#include "models/layers/parameters.h"

namespace koine {

/// Indices into the ParameterTable; -1: none.
struct T5AttentionIndex {
  int norm = -1;
  int query = -1;
  int key = -1;
  int value = -1;
  int output = -1;
};
struct T5BlockIndex {
  T5AttentionIndex self;
  T5AttentionIndex cross;
  int bias = -1;  ///< of self-attention: its own, or that of its stack's first block
  int norm = -1;
  int gate = -1;
  int value = -1;
  int output = -1;
};

struct RmsNormParameters {
  const float* weight = nullptr;
  float* d_weight = nullptr;
};
RmsNormParameters rms_norm_parameters(int index, const ParameterAddresses& addresses);

struct T5Attention {
  RmsNormParameters norm;
  Linear query;      ///< [inner, hidden]; of self-attention [3 * inner, hidden], the keys' and values' behind it
  Linear key_value;  ///< cross-attention alone: [2 * inner, hidden]
  Linear output;
  const float* bias = nullptr;  ///< [buckets, heads]
  float* d_bias = nullptr;
};

struct T5BlockParameters {
  T5Attention self;
  T5Attention cross;  ///< a decoder's
  RmsNormParameters norm;
  Linear gates;  ///< [2 * intermediate, hidden]: the gates', then the values'
  Linear output;
};
T5BlockParameters t5_block_parameters(const T5BlockIndex& index, const ParameterAddresses& addresses);

struct T5Shape {
  bool decoder = false;
  DType type = DType::kFloat32;
  std::int64_t hidden = 0;
  std::int64_t heads = 0;
  std::int64_t head_size = 0;
  std::int64_t intermediate = 0;
  float epsilon = 1e-6f;
  std::int32_t buckets = 32;
  std::int32_t max_distance = 128;

  std::int64_t inner() const { return heads * head_size; }
};

/// The dropouts of a block in order of execution, each with its own site; inactive outside training.
struct T5Dropout {
  Dropout self_weights;
  Dropout self_output;
  Dropout cross_weights;
  Dropout cross_output;
  Dropout gated;
  Dropout output;
};
inline constexpr int kT5BlockSites = 6;

struct T5AttentionActivations {
  void* normalised = nullptr;    ///< [tokens, hidden]
  float* rstd = nullptr;         ///< [tokens]
  void* query = nullptr;         ///< [tokens, inner]; of self-attention [tokens, 3 * inner]
  void* key_value = nullptr;     ///< cross-attention: [source tokens, 2 * inner]
  void* attention = nullptr;     ///< [tokens, inner]
  float* log_sum_exp = nullptr;  ///< [tokens, heads]
  void* sum = nullptr;           ///< [tokens, hidden] with the residual
};
struct T5BlockActivations {
  T5AttentionActivations self;
  T5AttentionActivations cross;
  void* normalised = nullptr;  ///< [tokens, hidden]
  float* rstd = nullptr;
  void* gates = nullptr;   ///< [tokens, 2 * intermediate]
  void* gated = nullptr;   ///< [tokens, intermediate], behind its dropout
  void* output = nullptr;  ///< [tokens, hidden] y
};

/// Takes a block's activations from `stack`. `source_tokens`: of what a decoder's block attends to.
T5BlockActivations allocate_t5_block(StackMemory& stack, const std::string& name, const T5Shape& shape, std::int64_t tokens,
                                     std::int64_t source_tokens);

/// What a decoder attends to: the source's sequences and their last hidden state [tokens, hidden].
struct Encoded {
  const SequencesView* sequences = nullptr;
  const void* hidden = nullptr;
};

void t5_block_forward(const Context& context, const T5Shape& shape, const T5BlockParameters& parameters,
                      const T5Dropout& dropout, const SequencesView& sequences, const Encoded& encoded, const void* input,
                      const T5BlockActivations& activations);

/// d_output: gradient of the block's output, overwritten along the way; d_input: of its input. Of a decoder d_encoded is the
/// gradient of encoded.hidden: `before` (null: zero), which later blocks left, and this block's share go into `after`,
/// another memory.
struct EncodedGradient {
  const void* before = nullptr;
  void* after = nullptr;
};
void t5_block_backward(const Context& context, const T5Shape& shape, const T5BlockParameters& parameters,
                       const T5Dropout& dropout, const SequencesView& sequences, const Encoded& encoded, const void* input,
                       const T5BlockActivations& activations, void* d_output, void* d_input,
                       const EncodedGradient& d_encoded, StackMemory& stack);

// --- the parts, which a decoder that goes on token by token has too ---

void rms_norm(const Context& context, const T5Shape& shape, std::int64_t rows, const RmsNormParameters& norm,
              const void* input, void* output, float* rstd);

/// output = dropout(input W^T) + residual.
void project_and_add(const Context& context, const T5Shape& shape, std::int64_t rows, const Linear& linear,
                     const Dropout& drop, const void* input, const void* residual, void* output);

/// The feed-forward of `input`, with its norm, into activations.output.
void t5_feed_forward(const Context& context, const T5Shape& shape, const T5BlockParameters& parameters,
                     const T5Dropout& dropout, std::int64_t rows, const void* input, const T5BlockActivations& activations);

/// The bias of relative positions as attention takes it.
RelativeBias relative_bias(const T5Shape& shape, const T5Attention& attention);

}  // namespace koine
