#pragma once

// One transformer block, both families.
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

#include "engine/batch/batch_view.h"
#include "kernels/common/registry.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/weight_gradients.h"
#include "kernels/layernorm/layernorm.h"
#include "kernels/random/dropout_mask.h"
#include "models/xlmr/config.h"
#include "models/xlmr/parameters.h"

namespace koine {

struct BlockParameters {
  Norm input_norm;
  Linear query_key_value;  ///< [3 * hidden, hidden]
  Linear attention_output;
  Norm middle_norm;
  Linear intermediate;
  Linear output;
  Norm output_norm;
};

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
                   const BlockDropout& dropout, const BatchView& batch, const void* input,
                   const BlockActivations& activations);

/// d_output: gradient of the block's output, overwritten along the way; d_input: of its input. Temporaries come from
/// `stack`.
void block_backward(const Context& context, const BlockShape& shape, const BlockParameters& parameters,
                    const BlockDropout& dropout, const BatchView& batch, const void* input,
                    const BlockActivations& activations, void* d_output, void* d_input, StackMemory& stack);

// The arguments of a layer normalisation, and the products of a linear layer, shared with the embeddings and the heads.

/// Sizes and parameters filled in; operands are the caller's.
LayerNormForwardArguments norm_forward(DType type, std::int64_t rows, std::int64_t width, float epsilon, const Norm& norm);
LayerNormBackwardArguments norm_backward(DType type, std::int64_t rows, std::int64_t width, const Norm& norm);

/// output = input W^T + bias, then `epilogue`; `pre_activation` as in gemm.h; dropout where active; residual added where
/// given. `output_type` fp32 lets logits of a mixed-precision model be fp32.
struct LinearForward {
  DType type = DType::kFloat32;
  DType output_type = DType::kFloat32;
  std::int64_t rows = 0;
  const void* input = nullptr;
  void* output = nullptr;
  GemmEpilogue epilogue = GemmEpilogue::kNone;
  void* pre_activation = nullptr;
  const void* residual = nullptr;
  Dropout dropout = {};
  std::int64_t output_stride = 0;  ///< of the output's rows; 0: they lie side by side
};
void linear_forward(const Context& context, const Linear& linear, const LinearForward& call);

/// d_weight += d_output^T input, d_bias += column sums of d_output, and d_input = d_output W [+ residual], or times
/// gelu'(pre_activation); d_input null: not wanted. With `collect`, the weight and bias gradients are only noted there, to
/// be computed with others by weight_gradients(): input and d_output have to stay as they are until then.
struct LinearBackward {
  DType type = DType::kFloat32;
  std::int64_t rows = 0;
  const void* input = nullptr;
  const void* d_output = nullptr;
  void* d_input = nullptr;
  void* pre_activation = nullptr;  ///< not null: d_input is the gradient of the GELU's input
  const void* residual = nullptr;
  WeightGradientsArguments* collect = nullptr;
  std::int64_t d_output_stride = 0;  ///< of d_output's rows; 0: they lie side by side
};
void linear_backward(const Context& context, const Linear& linear, const LinearBackward& call);

}  // namespace koine
