#pragma once

// Layer normalisation (Ba, Kiros, Hinton, arXiv 1607.06450) fused with the dropout and residual addition before it.
//
//   sum    = dropout(input) + residual          (dropout where active, residual where given)
//   mean   = average of sum over the row,   rstd = 1 / sqrt(average of (sum - mean)^2 + epsilon)
//   output = (sum - mean) * rstd * weight + bias
// The variance is the mean of centred squares, never E[x^2] - E[x]^2. `sum` is rounded to its type before it is normalised,
// so that backward sees what forward saw.
//
// Backward, with xhat = (sum - mean) rstd and g = d_output * weight:
//   d_sum   = rstd (g - average(g) - xhat average(g xhat)) + d_residual_stream
//   d_input = dropout mask applied to d_sum;   d_weight += sum over rows of d_output xhat;   d_bias += sum of d_output
//
// input, residual, sum, output and their gradients: [rows, width] of `type`, contiguous; mean, rstd [rows] fp32; weight,
// bias and their gradients [width] fp32. Parameter gradients accumulate, in a fixed order; activation gradients are
// overwritten. Deterministic. Bytes forward: up to 4 rows*width elements; backward up to 5.

#include <cstdint>

#include "kernels/common/registry.h"
#include "kernels/random/dropout_mask.h"

namespace koine {

struct LayerNormForwardArguments {
  DType type = DType::kFloat32;
  std::int64_t rows = 0;
  std::int64_t width = 0;
  float epsilon = 1e-5f;
  const void* input = nullptr;
  const void* residual = nullptr;  ///< or null
  Dropout dropout;                 ///< of input; examples and positions are [rows]
  void* sum = nullptr;             ///< written; may be null when there is neither dropout nor residual (then sum = input);
                                   ///< may be the same memory as input or residual
  const float* weight = nullptr;
  const float* bias = nullptr;
  void* output = nullptr;
  float* mean = nullptr;
  float* rstd = nullptr;
};

struct LayerNormBackwardArguments {
  DType type = DType::kFloat32;
  std::int64_t rows = 0;
  std::int64_t width = 0;
  const void* d_output = nullptr;
  const void* d_residual_stream = nullptr;  ///< gradient that reaches `sum` by other ways (pre-norm blocks), added; or null
  const void* sum = nullptr;                ///< as forward wrote it (or forward's input)
  const float* mean = nullptr;
  const float* rstd = nullptr;
  const float* weight = nullptr;
  Dropout dropout;            ///< as in forward
  void* d_sum = nullptr;      ///< gradient of `sum`, which is the gradient of residual; may be d_output or d_residual_stream
  void* d_input = nullptr;    ///< gradient of input where dropout is active, else null: then it equals d_sum
  float* d_weight = nullptr;  ///< += ; null: not wanted
  float* d_bias = nullptr;    ///< += ; null: not wanted
};

inline void layernorm_forward(const Context& context, const LayerNormForwardArguments& arguments) {
  run(context, arguments);
}
inline void layernorm_backward(const Context& context, const LayerNormBackwardArguments& arguments) {
  run(context, arguments);
}

}  // namespace koine
