#pragma once

// The tanh GELU of one half of a row gates the other (Shazeer, arXiv 2002.05202; mT5's "gated-gelu"):
//
//   output = gelu(gate) * value,   gelu(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
//   d_gate = d_output * value * gelu'(gate),   d_value = d_output * gelu(gate)
//
// input and d_input [rows, 2 * width] of `type`, contiguous: a row has its gates, then its values, as one product by
// wi_0 over wi_1 leaves them. output and d_output [rows, width]. Computed in fp32, rounded once. Bytes: 3 rows*width elements
// forward, 5 back.

#include <cstdint>

#include "kernels/common/registry.h"

namespace koine {

struct GatedActivationForwardArguments {
  DType type = DType::kFloat32;
  std::int64_t rows = 0;
  std::int64_t width = 0;
  const void* input = nullptr;
  void* output = nullptr;
};

struct GatedActivationBackwardArguments {
  DType type = DType::kFloat32;
  std::int64_t rows = 0;
  std::int64_t width = 0;
  const void* input = nullptr;
  const void* d_output = nullptr;
  void* d_input = nullptr;  ///< may be `input`
};

inline void gated_activation_forward(const Context& context, const GatedActivationForwardArguments& arguments) {
  run(context, arguments);
}
inline void gated_activation_backward(const Context& context, const GatedActivationBackwardArguments& arguments) {
  run(context, arguments);
}

}  // namespace koine
