#pragma once

// Kernels for 9.0 that do one thing each, for hopper_test.cpp: what a device must answer before any larger kernel is to be
// believed.

#include "kernels/cuda/hopper/bulk_copy.h"
#include "kernels/cuda/hopper/warpgroup.h"
#include "kernels/cuda/launch.h"

namespace koine::cuda {

/// d [64, columns] = A [64, depth] B [depth, columns] by one warpgroup, depth a multiple of 64 up to kMostDepth. The
/// operands come by tensor copies of boxes one swizzle wide.
struct ProductProbe {
  static constexpr int kMostDepth = 128;
  const BFloat16* a = nullptr;  ///< [64, depth], or [depth, 64] where rows_major_a
  const BFloat16* b = nullptr;  ///< [columns, depth], or [depth, columns] where rows_major_b; columns a multiple of 8
  float* d = nullptr;
  int columns = 64;
  int depth = 64;
  bool rows_major_a = false;
  bool rows_major_b = false;
  bool a_in_registers = false;  ///< with rows_major_a false
  Swizzle swizzle = Swizzle::k128Bytes;
};
void launch_product_probe(const ProductProbe& probe, void* stream);
/// The widths it is compiled for.
inline constexpr int kProbeColumns[] = {8, 16, 24, 32, 40, 64, 80, 96, 128, 192, 256};

/// Copies the box at `at` of a tensor to shared memory, what lies there to `raw` (box_bytes()), and the box back to `to`, a
/// tensor of the same layout, at `back`.
void launch_box_probe(const TensorLayout& from, const TensorLayout& to, const int (&at)[3], const int (&back)[3], void* raw,
                      void* stream);

/// Sums of one product with 16 terms: to[i] = c + sum of x y over 16, for `count` <= 64 rows of x, whose first column of y
/// counts. What width a tensor core cuts at.
struct TruncationProbe {
  const BFloat16* x = nullptr;  ///< [64, 16]
  const BFloat16* y = nullptr;  ///< [8, 16]
  const float* c = nullptr;     ///< [64]
  float* to = nullptr;          ///< [64]
};
void launch_truncation_probe(const TruncationProbe& probe, void* stream);

/// A ring of `kStages` boxes [32 rows, 64 columns] of a [rows, 64] matrix that one warp of each of two blocks of a cluster
/// fills for both: block r loads half of each box and multicasts it. The consumers of each block write what they find to
/// to[r], [rows, 64].
void launch_ring_probe(const BFloat16* from, std::int64_t rows, BFloat16* to, void* stream);

}  // namespace koine::cuda
