#pragma once

// The weight and bias gradients of several linear layers at once. For each entry, with y = x W^T + b,
//
//   d_weight += dy^T x          [out, in]
//   d_bias   += sum over rows of dy
//
// One weight gradient alone has too few tiles for a large device: 64 of 128 x 128 for 1024 x 1024. The four of a transformer
// block together have hundreds, in one launch.
//
// fp32 mode: x, dy fp32. Mixed mode: x, dy bf16. d_weight and d_bias are fp32 in both, and so are the sums. Deterministic,
// and a function of the shapes and operands only. The entries' gradients do not overlap. FLOPs: 2 rows out in each.

#include <cstdint>

#include "kernels/common/registry.h"

namespace koine {

struct WeightGradient {
  std::int64_t out = 0;
  std::int64_t in = 0;
  std::int64_t rows = 0;
  const void* x = nullptr;  ///< [rows, in] with row stride ldx
  std::int64_t ldx = 0;
  const void* dy = nullptr;  ///< [rows, out] with row stride lddy
  std::int64_t lddy = 0;
  float* d_weight = nullptr;  ///< [out, in], +=
  float* d_bias = nullptr;    ///< [out], +=, or null
};

struct WeightGradientsArguments {
  static constexpr int kMost = 8;
  DType type = DType::kFloat32;  ///< of x and dy
  int count = 0;
  WeightGradient entries[kMost];
};

inline void weight_gradients(const Context& context, const WeightGradientsArguments& arguments) { run(context, arguments); }

}  // namespace koine
