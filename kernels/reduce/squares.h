#pragma once

// Sums of squares in kernels, in double, in an order that only shapes decide: for sum_of_squares and for gradient_norm.
//
// A table [rows, width] is cut into cells of up to kCell elements of one row. A block sums a run of neighbouring cells, a
// warp at a time, each into its own slot of shared memory; then the slots are added by position, then the blocks. A row that
// is not listed leaves zeros in its slots, so listed rows give the bits of all rows where the others are zero. Lane l of a
// warp always takes elements 4 l .. 4 l + 3 of each 128, whether they are loaded as one or one by one.

#include <algorithm>
#include <limits>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/cuda/warp.h"

namespace koine::cuda {

inline constexpr int kSquaresThreads = 256;
inline constexpr std::int64_t kCell = 1024;

struct SquaresTable {
  const float* input = nullptr;
  std::int64_t rows = 0;
  std::int64_t width = 1;
  const std::int32_t* row_list = nullptr;
  std::int64_t listed = 0;
  const std::int64_t* listed_from = nullptr;
  std::int64_t begin = 0;  ///< only elements begin .. end - 1 of the table are summed and read
  std::int64_t end = std::numeric_limits<std::int64_t>::max();
  std::int64_t row_cells = 1;    ///< of a row
  std::int64_t block_cells = 8;  ///< of a block, at most kSquaresThreads
};

/// Some thousand blocks for a large table, at least a cell for every warp for a small one.
inline SquaresTable squares_table(const float* input, std::int64_t rows, std::int64_t width) {
  SquaresTable table;
  table.input = input;
  table.rows = rows;
  table.width = width;
  table.row_cells = divide_up(width, kCell);
  const std::int64_t of_a_thousand_blocks = divide_up(rows * table.row_cells, 1024);
  table.block_cells = std::clamp<std::int64_t>(divide_up(of_a_thousand_blocks, 8) * 8, 8, kSquaresThreads);
  return table;
}
inline std::int64_t squares_blocks(const SquaresTable& table) {
  return divide_up(table.rows * table.row_cells, table.block_cells);
}

/// Shared memory of a block.
struct SquaresShared {
  double slots[kSquaresThreads];
  double sums[32];
};

KOINE_DEVICE bool on_16_bytes(const void* address) { return (reinterpret_cast<std::uintptr_t>(address) & 15) == 0; }

/// Four running sums, one for each element of a group of four.
struct SquareSums {
  double x[4] = {0, 0, 0, 0};

  KOINE_DEVICE void add(const float (&values)[4]) {
    KOINE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const auto value = static_cast<double>(values[i]);
      x[i] = fused(value, value, x[i]);
    }
  }
  KOINE_DEVICE double total() const { return (x[0] + x[1]) + (x[2] + x[3]); }
};

/// The squares of groups first, first + step, ... of four elements each among `count`. kGroups: how many of them at most.
template <int kGroups>
KOINE_DEVICE double squares_of_groups(const float* input, std::int64_t count, int first, int step) {
  SquareSums sums;
  if (on_16_bytes(input) && count % 4 == 0 && count > 0) {
    const int last = static_cast<int>(count) - 4;
    float values[kGroups][4];
    KOINE_UNROLL
    for (int k = 0; k < kGroups; ++k) {  // all loads before the first sum: those outside of the range read its end
      const int i = 4 * (first + k * step);
      load_floats(values[k], input + (i < last ? i : last));
    }
    KOINE_UNROLL
    for (int k = 0; k < kGroups; ++k) {
      const bool inside = 4 * (first + k * step) <= last;
      KOINE_UNROLL
      for (float& value : values[k]) value = inside ? value : 0.0f;
      sums.add(values[k]);
    }
    return sums.total();
  }
  for (std::int64_t i = 4 * first; i < count; i += 4 * step) {
    float values[4];
    KOINE_UNROLL
    for (int j = 0; j < 4; ++j) values[j] = i + j < count ? input[i + j] : 0.0f;
    sums.add(values);
  }
  return sums.total();
}

/// Where `row` stands in the ascending list, or would.
KOINE_DEVICE std::int64_t place_in_list(const std::int32_t* list, std::int64_t begin, std::int64_t end, std::int64_t row) {
  while (begin < end) {
    const std::int64_t middle = (begin + end) / 2;
    if (list[middle] < row) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

/// The sum of block `block` of a table; every thread gets it.
KOINE_DEVICE double squares_of_block(const SquaresTable& table, std::int64_t block, SquaresShared& shared) {
  shared.slots[thread_index()] = 0;
  sync_block();
  const std::int64_t begin = block * table.block_cells;
  const std::int64_t all = table.rows * table.row_cells;
  const std::int64_t end = begin + table.block_cells < all ? begin + table.block_cells : all;
  std::int64_t first = begin / table.row_cells;  // of the rows, or of their places in the list
  std::int64_t last = (end - 1) / table.row_cells + 1;
  if (table.row_list != nullptr) {
    const std::int64_t listed = table.listed_from == nullptr ? table.listed : *table.listed_from;
    const std::int64_t most = last - first;
    const std::int64_t place = place_in_list(table.row_list, 0, listed, first);
    last = place_in_list(table.row_list, place, place + most < listed ? place + most : listed, last);
    first = place;
  }
  for (std::int64_t i = warp_index(); i < (last - first) * table.row_cells; i += kSquaresThreads / kWarpThreads) {
    const std::int64_t place = first + i / table.row_cells;
    const std::int64_t row = table.row_list == nullptr ? place : table.row_list[place];
    const std::int64_t cell = row * table.row_cells + i % table.row_cells;
    if (cell < begin || cell >= end) continue;  // the whole warp
    const std::int64_t column = i % table.row_cells * kCell;
    std::int64_t first_element = row * table.width + column;
    std::int64_t last_element = first_element + (table.width - column < kCell ? table.width - column : kCell);
    first_element = first_element < table.begin ? table.begin : first_element;
    last_element = last_element > table.end ? table.end : last_element;
    const double sum = warp_sum(squares_of_groups<kCell / (4 * kWarpThreads)>(
        table.input + first_element, last_element - first_element, lane_index(), 32));
    if (lane_index() == 0) shared.slots[cell - begin] = sum;
  }
  sync_block();
  return block_sum(shared.slots[thread_index()], shared.sums);
}

/// The sum of `count` partial sums, by one block; every thread gets it.
KOINE_DEVICE double sum_of_partials(const double* partials, std::int64_t count, double* scratch) {
  double sums[4] = {0, 0, 0, 0};
  const std::int64_t step = block_threads();
  std::int64_t i = thread_index();
  for (; i + 3 * step < count; i += 4 * step) {
    double values[4];
    KOINE_UNROLL
    for (int k = 0; k < 4; ++k) values[k] = partials[i + k * step];
    KOINE_UNROLL
    for (int k = 0; k < 4; ++k) sums[k] += values[k];
  }
  for (; i < count; i += step) sums[0] += partials[i];
  return block_sum((sums[0] + sums[1]) + (sums[2] + sums[3]), scratch);
}

}  // namespace koine::cuda
