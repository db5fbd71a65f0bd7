#pragma once

// Rows brought to one length: the vectors of dual encoders, whose inner products are then cosines (torch.nn.functional's
// normalize with p = 2).
//
//   output[r] = scale * input[r] / |input[r]|,   |x| = sqrt(sum of x^2);   a row of zeros stays zeros
//
// Backward, with u = input[r] / |input[r]|:
//   d_input[r] = scale / |input[r]| * (d_output[r] - u (u . d_output[r]));   zeros for a row of zeros
//   d_scale   += sum over rows of u . d_output[r]
//
// input and d_input [rows, width] of `type`, rows `stride` elements apart; output and d_output [rows, width] of `type`,
// contiguous; scale and d_scale one fp32 number where the operation runs. d_input is overwritten, what lies between its rows
// stays. Sums are in fp32 at least, in an order that the shape decides: deterministic. FLOPs: 3 rows width forward, 7 back.

#include <cstdint>

#include "kernels/common/registry.h"

namespace koine {

struct L2NormaliseForwardArguments {
  DType type = DType::kFloat32;
  std::int64_t rows = 0;
  std::int64_t width = 0;
  std::int64_t stride = 0;  ///< at least width
  const void* input = nullptr;
  const float* scale = nullptr;  ///< null: 1
  void* output = nullptr;
};

struct L2NormaliseBackwardArguments {
  DType type = DType::kFloat32;
  std::int64_t rows = 0;
  std::int64_t width = 0;
  std::int64_t stride = 0;
  const void* input = nullptr;
  const float* scale = nullptr;  ///< null: 1
  const void* d_output = nullptr;
  void* d_input = nullptr;
  float* d_scale = nullptr;  ///< += ; null: not wanted
};

inline void l2_normalise_forward(const Context& context, const L2NormaliseForwardArguments& arguments) {
  run(context, arguments);
}
inline void l2_normalise_backward(const Context& context, const L2NormaliseBackwardArguments& arguments) {
  run(context, arguments);
}

}  // namespace koine
