#pragma once

// Arithmetic of kernels: conversions, fused multiply-add, and the functions transformers are made of.
//
// The *_fast functions are for bf16 data: relative error below 2^-21, far under a bfloat16's rounding of 2^-9; the others
// are within 2 units in the last place of fp32.

#include <cmath>
#include <limits>

#include "kernels/cuda/platform.h"

namespace koine::cuda {

#if KOINE_ON_DEVICE

KOINE_DEVICE float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }
KOINE_DEVICE double fused(double a, double b, double c) { return __fma_rn(a, b, c); }
KOINE_DEVICE float exp_fast(float x) {
  float result;
  asm("ex2.approx.f32 %0, %1;" : "=f"(result) : "f"(x * 1.4426950408889634f));
  return result;
}
/// Two values rounded to bfloat16, `low` in the lower half.
KOINE_DEVICE std::uint32_t pack_bfloat16(float low, float high) {
  std::uint32_t result;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
}
KOINE_DEVICE float bits_to_float(std::uint32_t bits) { return __uint_as_float(bits); }

#else

inline float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double fused(double a, double b, double c) { return __builtin_fma(a, b, c); }
inline float exp_fast(float x) { return std::exp(x); }
inline std::uint32_t pack_bfloat16(float low, float high) {
  return to_bfloat16(low).bits | static_cast<std::uint32_t>(to_bfloat16(high).bits) << 16;
}
inline float bits_to_float(std::uint32_t bits) { return __builtin_bit_cast(float, bits); }

#endif

KOINE_DEVICE float low_bfloat16(std::uint32_t pair) { return bits_to_float(pair << 16); }
KOINE_DEVICE float high_bfloat16(std::uint32_t pair) { return bits_to_float(pair & 0xffff0000u); }

KOINE_DEVICE float minus_infinity() { return -std::numeric_limits<float>::infinity(); }

/// x/2 (1 + erf(x / sqrt 2)) and its derivative.
KOINE_DEVICE float gelu_erf(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f)); }
KOINE_DEVICE float gelu_erf_gradient(float x) {
  const float distribution = 0.5f * (1.0f + erff(x * 0.70710678118654752f));
  const float density = 0.39894228040143268f * expf(-0.5f * x * x);
  return fused(x, density, distribution);
}

}  // namespace koine::cuda
