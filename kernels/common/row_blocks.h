#pragma once

// Sums over rows by blocks: each block of rows leaves its share of a row of sums, and the shares are added in order of the
// blocks. So the bits depend on the number of rows alone.

#include <algorithm>
#include <cstdint>

#include "kernels/common/parallel.h"

namespace koine {

/// Larger where there are many rows, so that the blocks' sums stay a small part of the traffic.
struct RowBlocks {
  explicit RowBlocks(std::int64_t rows)
      : rows_of_one(std::max<std::int64_t>(32, (rows + 63) / 64)), count((rows + rows_of_one - 1) / rows_of_one) {}

  std::int64_t rows_of_one;  ///< the last may have fewer
  std::int64_t count;
};

/// total[c] += the shares of all blocks, for c = 0 .. width - 1; block b's lie from shares + b * stride on. Null: not wanted.
inline void add_shares(const RowBlocks& blocks, const float* shares, std::int64_t stride, std::int64_t width, float* total) {
  if (total == nullptr) return;
  parallel_ranges(width, 512, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = 0; block < blocks.count; ++block) {
      const float* share = shares + block * stride;
      for (std::int64_t c = begin; c < end; ++c) total[c] += share[c];
    }
  });
}

}  // namespace koine
