#pragma once

// One transformer block, post-norm or pre-norm.
//
//   post-norm (XLM-R base, large)                    pre-norm (XL, XXL)
//   a = attention(x)                                 a = attention(input_norm(x))
//   s = x + dropout(a Wo)                            s = x + dropout(a Wo)
//   n = middle_norm(s)                               n = middle_norm(s)
//   f = gelu(n W1) W2                                f = gelu(n W1) W2
//   y = output_norm(n + dropout(f))                  y = s + f
//
// All products carry their bias. Backward runs the same operations in reverse; parameter gradients accumulate, activation
// gradients are overwritten.

#include <string>

#include "engine/batch/batch_view.h"
#include "kernels/common/registry.h"
#include "kernels/random/dropout_mask.h"
#include "models/layers/norm.h"
#include "models/layers/parameters.h"

namespace koine {

/// Query, key and value lie one behind the other, so that `query` read as [3 * hidden, hidden] is all three.
struct BlockIndex {
  NormIndex input_norm;  ///< pre-norm only
  LinearIndex query;
  LinearIndex key;
  LinearIndex value;
  LinearIndex attention_output;
  NormIndex middle_norm;
  LinearIndex intermediate;
  LinearIndex output;
  NormIndex output_norm;  ///< post-norm only
};

struct BlockParameters {
  Norm input_norm;
  Linear query_key_value;  ///< [3 * hidden, hidden]
  Linear attention_output;
  Norm middle_norm;
  Linear intermediate;
  Linear output;
  Norm output_norm;
};
BlockParameters block_parameters(const BlockIndex& index, const ParameterAddresses& addresses);

/// The three dropouts of a block, each with its own site; inactive outside training.
struct BlockDropout {
  Dropout attention_weights;
  Dropout attention_output;
  Dropout output;
};

struct BlockShape {
  NormPlacement norm = NormPlacement::kPost;
  DType type = DType::kFloat32;
  std::int64_t hidden = 0;
  std::int64_t intermediate = 0;
  std::int64_t heads = 0;
  float epsilon = 1e-5f;
};

/// What forward leaves for backward; [tokens, ...] of the block's type but the statistics.
struct BlockActivations {
  void* attention_input = nullptr;  ///< [hidden] pre-norm: input_norm(x); post-norm: not used, it is x
  void* query_key_value = nullptr;  ///< [3 * hidden]
  void* attention = nullptr;        ///< [hidden]
  float* log_sum_exp = nullptr;     ///< [heads]
  void* attention_sum = nullptr;    ///< [hidden] s
  void* middle = nullptr;           ///< [hidden] n
  void* pre_activation = nullptr;   ///< [intermediate]
  void* activation = nullptr;       ///< [intermediate]
  void* output_sum = nullptr;       ///< [hidden] post-norm: n + dropout(f); pre-norm: not used
  void* output = nullptr;           ///< [hidden] y
  float* input_mean = nullptr;      ///< [1] each, as are the following
  float* input_rstd = nullptr;
  float* middle_mean = nullptr;
  float* middle_rstd = nullptr;
  float* output_mean = nullptr;
  float* output_rstd = nullptr;
};

/// Takes a block's activations from `stack`; `name` begins the allocations' names. Without `keep_pre_activation`
/// (prediction), the memory for the GELU's input is left out.
BlockActivations allocate_block_activations(StackMemory& stack, const std::string& name, const BlockShape& shape,
                                            std::int64_t tokens, bool keep_pre_activation);

void block_forward(const Context& context, const BlockShape& shape, const BlockParameters& parameters,
                   const BlockDropout& dropout, const SequencesView& sequences, const void* input,
                   const BlockActivations& activations);

/// d_output: gradient of the block's output, overwritten along the way; d_input: of its input. Temporaries come from
/// `stack`.
void block_backward(const Context& context, const BlockShape& shape, const BlockParameters& parameters,
                    const BlockDropout& dropout, const SequencesView& sequences, const void* input,
                    const BlockActivations& activations, void* d_output, void* d_input, StackMemory& stack);

}  // namespace koine
