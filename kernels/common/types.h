#pragma once

// The element types and devices every operation speaks of.

#include <cstddef>
#include <cstdint>

/// Marks functions that CUDA kernels may call too.
#if defined(__CUDACC__)
#define KOINE_HOST_DEVICE __host__ __device__ inline
#else
#define KOINE_HOST_DEVICE inline
#endif

namespace koine {

enum class Device { kCpu, kCuda };

/// Element type of a buffer. Activations and matrix weights are kFloat32 in fp32 mode and kBFloat16 in mixed mode; biases,
/// layer normalisation parameters, statistics, losses and every parameter gradient are kFloat32 in both. kFloat64 is for
/// checking gradients by finite differences: only the reference variants take it.
enum class DType { kFloat32, kBFloat16, kFloat64 };

inline constexpr std::size_t size_of(DType type) { return type == DType::kFloat32 ? 4 : type == DType::kBFloat16 ? 2 : 8; }
inline constexpr const char* name_of(DType type) {
  return type == DType::kFloat32 ? "fp32" : type == DType::kBFloat16 ? "bf16" : "fp64";
}
inline constexpr const char* name_of(Device device) { return device == Device::kCpu ? "cpu" : "cuda"; }

/// bfloat16: the upper half of an IEEE binary32.
struct BFloat16 {
  std::uint16_t bits;
};

KOINE_HOST_DEVICE float to_float(BFloat16 value) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(value.bits) << 16);
}
KOINE_HOST_DEVICE float to_float(float value) { return value; }

/// Rounds to the nearest bfloat16, ties to even; NaN stays a quiet NaN, and what is beyond the largest bfloat16 becomes
/// infinity, as the hardware conversions do.
KOINE_HOST_DEVICE BFloat16 to_bfloat16(float value) {
  auto bits = __builtin_bit_cast(std::uint32_t, value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>((bits >> 16) | 0x40u)};
  bits += 0x7fffu + ((bits >> 16) & 1u);
  return {static_cast<std::uint16_t>(bits >> 16)};
}

/// Element `index` of a buffer of any type. For references and tests; kernels load vectors.
inline double load_element(const void* data, DType type, std::int64_t index) {
  if (type == DType::kFloat32) return static_cast<double>(static_cast<const float*>(data)[index]);
  if (type == DType::kBFloat16) return static_cast<double>(to_float(static_cast<const BFloat16*>(data)[index]));
  return static_cast<const double*>(data)[index];
}
/// Writes `value`, rounded to the buffer's type, to element `index`.
inline void store_element(void* data, DType type, std::int64_t index, double value) {
  if (type == DType::kFloat32) {
    static_cast<float*>(data)[index] = static_cast<float>(value);
  } else if (type == DType::kBFloat16) {
    static_cast<BFloat16*>(data)[index] = to_bfloat16(static_cast<float>(value));
  } else {
    static_cast<double*>(data)[index] = value;
  }
}

/// `data` advanced by `elements` of `type`. Null stays null, so that optional operands need no test at the call.
inline const void* offset_by(const void* data, DType type, std::int64_t elements) {
  if (data == nullptr) return nullptr;
  return static_cast<const char*>(data) + elements * static_cast<std::int64_t>(size_of(type));
}
inline void* offset_by(void* data, DType type, std::int64_t elements) {
  if (data == nullptr) return nullptr;
  return static_cast<char*>(data) + elements * static_cast<std::int64_t>(size_of(type));
}

}  // namespace koine
