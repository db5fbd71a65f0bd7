#pragma once

// Partial sums of columns, which the first kernel of an operation left as rows of fp32 in its workspace, added up in a fixed
// order by a second one.

#include "kernels/cuda/launch.h"
#include "kernels/cuda/platform.h"

namespace koine::cuda {

/// A block of the second kernel adds up kWarpThreads columns: a warp takes every kRowWarps'th row, sixteen of them at a
/// time, and the warps' sums are added in order.
inline constexpr int kRowWarps = 8;
inline constexpr int kRowsThreads = kRowWarps * kWarpThreads;

struct RowsShared {
  float sums[kRowWarps][kWarpThreads];
};

inline std::int64_t ordered_rows_blocks(std::int64_t width) { return divide_up(width, kWarpThreads); }

/// The sum over `rows` rows [rows, width] of the column kWarpThreads * block + lane, for the threads of warp 0. Columns
/// behind the last give something.
KOINE_DEVICE float sum_of_ordered_rows(const float* partials, std::int64_t rows, std::int64_t width, std::int64_t block,
                                       RowsShared& shared) {
  constexpr int kInFlight = 16;
  const std::int64_t column = block * kWarpThreads + lane_index();
  const std::int64_t readable = column < width ? column : width - 1;
  float sum = 0;
  for (std::int64_t row = warp_index(); row < rows; row += kRowWarps * kInFlight) {
    float values[kInFlight];
    KOINE_UNROLL
    for (int i = 0; i < kInFlight; ++i) {
      // Behind the last row that one again, so that no load waits for a branch.
      const std::int64_t one = row + i * kRowWarps < rows ? row + i * kRowWarps : rows - 1;
      values[i] = partials[one * width + readable];
    }
    KOINE_UNROLL
    for (int i = 0; i < kInFlight; ++i) sum += row + i * kRowWarps < rows ? values[i] : 0.0f;
  }
  shared.sums[warp_index()][lane_index()] = sum;
  sync_block();
  if (warp_index() != 0) return 0;
  float total = shared.sums[0][lane_index()];
  KOINE_UNROLL
  for (int warp = 1; warp < kRowWarps; ++warp) total += shared.sums[warp][lane_index()];
  return total;
}

}  // namespace koine::cuda
