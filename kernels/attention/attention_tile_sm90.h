#pragma once

// Tiles of 64 rows of a head as tensor copies lay them, and the products a warpgroup makes of them: what the kernels of
// attention for 9.0 have in common.
//
// Heads of 80 are a box of 64 columns and one of 16, never 96. A copy of 64 rows reaches behind a sequence's end into the
// next one: what is read there is the kernels' to mask or to clear.

#include <limits>

#include "kernels/attention/attention_tile.h"
#include "kernels/cuda/hopper/bulk_copy.h"
#include "kernels/cuda/hopper/warpgroup.h"

namespace koine::cuda {

inline constexpr int kHeadTileRows = 64;

/// A tile of 64 rows of a head: boxes of 64 columns, then one of the 16 that are left of a head of 80.
template <int kHeadSize>
struct HeadTile {
  static_assert(kHeadSize % 64 == 0 || kHeadSize % 64 == 16);
  static constexpr int kWideBoxes = kHeadSize / 64;
  static constexpr bool kHasRest = kHeadSize % 64 != 0;
  static constexpr int kWideBox = kHeadTileRows * 64;  // elements
  static constexpr int kRest = kWideBoxes * kWideBox;
  static constexpr int kElements = kHeadTileRows * kHeadSize;
  static constexpr int kBytes = 2 * kElements;

  /// Where columns 8 * `chunk` to 8 * chunk + 7 of a row lie.
  KOINE_DEVICE static int place(int row, int chunk) {
    if (chunk < 8 * kWideBoxes) return chunk / 8 * kWideBox + row * 64 + (chunk % 8 ^ row % 8) * 8;
    return kRest + row * 16 + ((chunk - 8 * kWideBoxes) ^ (row / 4 % 2)) * 8;
  }
};

/// An operand's rows by boxes of 64 columns and of 16.
struct OperandMaps {
  TensorMap wide;
  TensorMap rest;
};

/// Asks for 64 rows; `full` expects HeadTile's bytes.
template <int kHeadSize>
KOINE_DEVICE void load_head_tile(BFloat16* to, const OperandMaps& maps, int column, int row, MBarrier& full) {
  using Tile = HeadTile<kHeadSize>;
  KOINE_UNROLL
  for (int box = 0; box < Tile::kWideBoxes; ++box) {
    tensor_load_2d(to + box * Tile::kWideBox, maps.wide, column + 64 * box, row, full);
  }
  if constexpr (Tile::kHasRest) tensor_load_2d(to + Tile::kRest, maps.rest, column + 64 * Tile::kWideBoxes, row, full);
}

/// result = rows columns^T over the head's columns: a tile's 64 rows by another's, as one group.
template <int kHeadSize>
KOINE_DEVICE void warpgroup_multiply_along_columns(Accumulator (&result)[kHeadTileRows / 8], const BFloat16* rows,
                                                   const BFloat16* columns) {
  using Tile = HeadTile<kHeadSize>;
  const std::uint64_t a = k_major_operand(rows, Swizzle::k128Bytes);
  const std::uint64_t b = k_major_operand(columns, Swizzle::k128Bytes);
  const std::uint64_t rest_of_a = k_major_operand(rows + Tile::kRest, Swizzle::k32Bytes);
  const std::uint64_t rest_of_b = k_major_operand(columns + Tile::kRest, Swizzle::k32Bytes);
  warpgroup_fence(result);
  KOINE_UNROLL
  for (int step = 0; step < 4 * Tile::kWideBoxes; ++step) {
    const int place = step / 4 * 2 * Tile::kWideBox + step % 4 * 32;  // bytes
    warpgroup_multiply<kHeadTileRows>(result, advanced(a, place), advanced(b, place), step > 0);
  }
  if constexpr (Tile::kHasRest) warpgroup_multiply<kHeadTileRows>(result, rest_of_a, rest_of_b, true);
  warpgroup_commit();
}

/// `kCount` of the sums from `first` on.
template <int kCount, int kSums>
KOINE_DEVICE Accumulator (&part_of(Accumulator (&sums)[kSums], int first))[kCount] {
  return reinterpret_cast<Accumulator(&)[kCount]>(sums[first]);
}

/// result += weights tile, along the tile's 64 rows, as one group.
template <int kHeadSize>
KOINE_DEVICE void warpgroup_multiply_along_rows(Accumulator (&result)[kHeadSize / 8],
                                                FragmentA (&weights)[kHeadTileRows / 16], const BFloat16* tile) {
  using Tile = HeadTile<kHeadSize>;
  constexpr int kWide = 64 * Tile::kWideBoxes;
  const std::uint64_t wide = mn_major_operand(tile, Swizzle::k128Bytes, 2 * Tile::kWideBox);
  const std::uint64_t rest = mn_major_operand(tile + Tile::kRest, Swizzle::k32Bytes, Tile::kBytes);
  warpgroup_fence(result, weights);
  KOINE_UNROLL
  for (int step = 0; step < kHeadTileRows / 16; ++step) {
    warpgroup_multiply<kWide, Major::kRows>(part_of<kWide / 8>(result, 0), weights[step], advanced(wide, step * 16 * 128),
                                            true);
    if constexpr (Tile::kHasRest) {
      warpgroup_multiply<16, Major::kRows>(part_of<2>(result, kWide / 8), weights[step], advanced(rest, step * 16 * 32),
                                           true);
    }
  }
  warpgroup_commit();
}
/// The same with the transpose of `weights` [64, 64], a tile in shared memory as a box of 64 columns lies.
template <int kHeadSize>
KOINE_DEVICE void warpgroup_multiply_along_rows(Accumulator (&result)[kHeadSize / 8], const BFloat16* weights,
                                                const BFloat16* tile) {
  using Tile = HeadTile<kHeadSize>;
  constexpr int kWide = 64 * Tile::kWideBoxes;
  const std::uint64_t a = mn_major_operand(weights, Swizzle::k128Bytes, 2 * kHeadTileRows * kHeadTileRows);
  const std::uint64_t wide = mn_major_operand(tile, Swizzle::k128Bytes, 2 * Tile::kWideBox);
  const std::uint64_t rest = mn_major_operand(tile + Tile::kRest, Swizzle::k32Bytes, Tile::kBytes);
  warpgroup_fence(result);
  KOINE_UNROLL
  for (int step = 0; step < kHeadTileRows / 16; ++step) {
    const std::uint64_t rows = advanced(a, step * 16 * 128);
    warpgroup_multiply<kWide, Major::kRows, Major::kRows>(part_of<kWide / 8>(result, 0), rows,
                                                          advanced(wide, step * 16 * 128), true);
    if constexpr (Tile::kHasRest) {
      warpgroup_multiply<16, Major::kRows, Major::kRows>(part_of<2>(result, kWide / 8), rows, advanced(rest, step * 16 * 32),
                                                         true);
    }
  }
  warpgroup_commit();
}

/// Sums of 64 columns, rounded to bf16, as left operands of the next product.
KOINE_DEVICE void as_operands(FragmentA (&operands)[kHeadTileRows / 16], const Accumulator (&sums)[kHeadTileRows / 8]) {
  KOINE_UNROLL
  for (int step = 0; step < kHeadTileRows / 16; ++step) operands[step] = as_operand(sums[2 * step], sums[2 * step + 1]);
}

/// Rows `rows` .. 63 of a tile in shared memory, by the threads of a warpgroup. Swizzles stay within a row of a box.
template <int kHeadSize>
KOINE_DEVICE void clear_rows_behind(BFloat16* tile, int rows) {
  using Tile = HeadTile<kHeadSize>;
  constexpr Pack<BFloat16, 8> kZeros = {};
  const auto clear_box = [&](BFloat16* box, int chunks_of_row) {
    KOINE_ROLLED
    for (int chunk = rows * chunks_of_row + warpgroup_thread(); chunk < kHeadTileRows * chunks_of_row;
         chunk += kWarpgroupThreads) {
      store_pack(box + chunk * 8, kZeros);
    }
  };
  KOINE_UNROLL
  for (int box = 0; box < Tile::kWideBoxes; ++box) clear_box(tile + box * Tile::kWideBox, 8);
  if constexpr (Tile::kHasRest) clear_box(tile + Tile::kRest, 2);
}

inline TensorMap head_rows_map(const void* data, const AttentionShape& shape, std::int64_t stride, int columns,
                               Swizzle swizzle) {
  return make_tensor_map({.data = data,
                          .type = DType::kBFloat16,
                          .dimensions = 2,
                          .extent = {shape.heads * shape.head_size, shape.queries.tokens},
                          .stride_bytes = {2, 2 * stride},
                          .box = {columns, kHeadTileRows},
                          .swizzle = swizzle});
}
inline OperandMaps operand_maps(const void* data, const AttentionShape& shape, std::int64_t stride) {
  OperandMaps maps = {head_rows_map(data, shape, stride, 64, Swizzle::k128Bytes), {}};
  if (shape.head_size % 64 != 0) maps.rest = head_rows_map(data, shape, stride, 16, Swizzle::k32Bytes);
  return maps;
}

/// What the kernels for 9.0 take, but for where the operands lie.
inline bool attention_in_head_tiles(const AttentionShape& shape) {
  const bool has_size = shape.head_size == 64 || shape.head_size == 80 || shape.head_size == 128;
  return attention_on_tensor_cores(shape) && kind_of(shape) == AttentionKind::kSelf && has_size &&
         shape.queries.tokens < std::numeric_limits<std::int32_t>::max() - kHeadTileRows;
}

}  // namespace koine::cuda
