#pragma once

// Root-mean-square normalisation (Zhang, Sennrich, arXiv 1910.07467), as T5 has it: no mean, no bias.
//
//   rstd = 1 / sqrt(average of input^2 over the row + epsilon)
//   output = input * rstd * weight
//
// Backward, with xhat = input rstd and g = d_output * weight:
//   d_input = rstd (g - xhat average(g xhat)) + d_residual_stream;   d_weight += sum over rows of d_output xhat
//
// input, output and their gradients: [rows, width] of `type`, contiguous; rstd [rows] fp32; weight and its gradient [width]
// fp32. Statistics in fp32. d_weight accumulates, in an order that the shape decides; d_input is overwritten. Deterministic;
// a row's bits do not depend on the others. Bytes: 2 rows*width elements forward, 3 or 4 back.

#include <cstdint>

#include "kernels/common/registry.h"

namespace koine {

struct RmsNormForwardArguments {
  DType type = DType::kFloat32;
  std::int64_t rows = 0;
  std::int64_t width = 0;
  float epsilon = 1e-6f;
  const void* input = nullptr;
  const float* weight = nullptr;
  void* output = nullptr;
  float* rstd = nullptr;
};

struct RmsNormBackwardArguments {
  DType type = DType::kFloat32;
  std::int64_t rows = 0;
  std::int64_t width = 0;
  const void* d_output = nullptr;
  const void* d_residual_stream =
      nullptr;  ///< gradient that reaches `input` by other ways (pre-norm blocks), added; or null
  const void* input = nullptr;
  const float* rstd = nullptr;
  const float* weight = nullptr;
  void* d_input = nullptr;    ///< may be d_output or d_residual_stream
  float* d_weight = nullptr;  ///< += ; null: not wanted
};

inline void rmsnorm_forward(const Context& context, const RmsNormForwardArguments& arguments) { run(context, arguments); }
inline void rmsnorm_backward(const Context& context, const RmsNormBackwardArguments& arguments) { run(context, arguments); }

}  // namespace koine
