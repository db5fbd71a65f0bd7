#pragma once

// Pointwise activations and their gradients.
//
//   kGeluErf   x/2 (1 + erf(x / sqrt 2))                                   (XLM-R; Hendrycks, Gimpel, arXiv 1606.08415)
//   kGeluTanh  x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))               (mT5's "gelu_new")
//   kTanh      tanh x                                                      (pooler, classification heads)
//
// Forward: output = f(input). Backward: d_input = d_output * f'(input), where `saved` is the input of forward for the GELUs
// and the *output* of forward for tanh (f' = 1 - output^2). [count] elements of `type`; in place allowed. Computed in fp32.

#include <cstdint>

#include "kernels/common/registry.h"

namespace koine {

enum class Activation { kGeluErf, kGeluTanh, kTanh };

struct ActivationForwardArguments {
  Activation activation = Activation::kGeluErf;
  DType type = DType::kFloat32;
  std::int64_t count = 0;
  const void* input = nullptr;
  void* output = nullptr;
};

struct ActivationBackwardArguments {
  Activation activation = Activation::kGeluErf;
  DType type = DType::kFloat32;
  std::int64_t count = 0;
  const void* saved = nullptr;
  const void* d_output = nullptr;
  void* d_input = nullptr;
};

inline void activation_forward(const Context& context, const ActivationForwardArguments& arguments) {
  run(context, arguments);
}
inline void activation_backward(const Context& context, const ActivationBackwardArguments& arguments) {
  run(context, arguments);
}

}  // namespace koine
