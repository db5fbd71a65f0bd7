#pragma once

// The tanh GELU in kernels (activation.h has its formula). For bf16 results e^x is the fast one.

#include "kernels/cuda/numeric.h"

namespace koine::cuda {

inline constexpr float kTanhScale = 0.79788456f;  // sqrt(2 / pi)
inline constexpr float kTanhCube = 0.044715f;

/// e^(-2u) for the tanh GELU's u, bounded so that it and its reciprocal stay finite: (1 + tanh u) / 2 = 1 / (1 + e^(-2u)).
template <class T>
KOINE_DEVICE float gelu_tanh_decay(float x) {
  const float exponent = -2.0f * kTanhScale * fused(kTanhCube * x * x, x, x);
  const float bounded = exponent > 80.0f ? 80.0f : exponent;  // right up to 88
  return sizeof(T) == 2 ? exp_fast(bounded) : expf(bounded);
}

template <class T>
KOINE_DEVICE float gelu_tanh_gradient(float x) {
  const float decay = gelu_tanh_decay<T>(x);
  const float gate = 1.0f / (1.0f + decay);
  const float slope = fused(6.0f * kTanhScale * kTanhCube, x * x, 2.0f * kTanhScale);
  return fused(x * (gate * (gate * decay)), slope, gate);
}

}  // namespace koine::cuda
