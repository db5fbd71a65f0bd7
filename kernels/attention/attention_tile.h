#pragma once

// Tiles of bf16 rows in shared memory for the tensor-core kernels of attention, and the products made of them.
//
// A tile is [rows, kHeadSize] without padding. The 16-byte chunks of a row are permuted so that the eight rows an ldmatrix
// reads at one column lie in eight different groups of four banks: with n chunks in a row, row r starts at group r * n mod
// 8, and chunk c lies at c ^ s, where
//   n mod 8 == 0 (64, 128 columns): s = r mod 8           n mod 8 == 4 (32, 96): s = r / 2 mod 4
//   n mod 8 == 2 (80):              s = r / 4 mod 2
// Chunks stay within their row (n is a multiple of the power of two that s ranges over), and whole rows are written by
// consecutive threads, so that stores are free of conflicts too.
//
// Columns behind the head's size and rows behind the sequence's end are zeros: they add nothing to any product.

#include "kernels/attention/attention_cuda.h"
#include "kernels/cuda/async_copy.h"
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/vector.h"
#include "kernels/cuda/warp.h"

#if KOINE_ON_DEVICE
/// A loop that stays one: unrolled, its addresses would take registers the products need.
#define KOINE_ROLLED _Pragma("unroll 1")
#else
#define KOINE_ROLLED
#endif

namespace koine::cuda {

template <int kRows, int kHeadSize>
struct alignas(16) AttentionTile {
  static constexpr int kChunks = kHeadSize / 8;
  BFloat16 elements[kRows * kHeadSize];

  KOINE_DEVICE BFloat16* chunk(int row, int column_chunk) {
    const int swizzle = kChunks % 8 == 0 ? row % 8 : kChunks % 8 == 4 ? row / 2 % 4 : row / 4 % 2;
    return elements + row * kHeadSize + (column_chunk ^ swizzle) * 8;
  }
};

/// The rows [begin, begin + kRows) of one head, as a kernel's operand lies in global memory.
struct AttentionRows {
  const BFloat16* from;  // row 0 of the sequence, column 0 of the head
  std::int64_t stride;
  int length;  // rows of the sequence
  int columns;
  bool vectors;
};

/// Of query or d_output; of key or value.
KOINE_DEVICE AttentionRows query_rows(const AttentionParams& p, const AttentionPlace& at, const void* operand,
                                      std::int64_t stride) {
  return {static_cast<const BFloat16*>(operand) + at.first_query * stride + at.head * p.head_size, stride, at.queries,
          p.head_size, p.vectors};
}
template <AttentionKind kKind>
KOINE_DEVICE AttentionRows key_rows(const AttentionParams& p, const AttentionPlace& at, const void* operand) {
  const std::int64_t stride = key_stride<kKind>(p);
  return {static_cast<const BFloat16*>(operand) + at.first_key * stride + at.head * p.head_size, stride, at.keys,
          p.head_size, p.vectors};
}

/// Starts bringing rows [begin, begin + kRows) into the tile, by all kThreads threads: there after async_wait and a barrier.
template <int kThreads, int kRows, int kHeadSize>
KOINE_DEVICE void load_tile(AttentionTile<kRows, kHeadSize>& tile, const AttentionRows& rows, int begin) {
  constexpr int kChunks = kHeadSize / 8;
  // Heads whose rows divide the threads: a thread keeps its column, and, as the permutation is that of 8 rows, its place in a
  // row, so that both addresses go on by a constant. Kernels for wider heads have not the two registers this takes.
  constexpr int kStep = kThreads / kChunks;
  if constexpr (kHeadSize <= 64 && kThreads % kChunks == 0 && kStep % 8 == 0) {
    if (rows.vectors) {
      const int first = thread_index() / kChunks;
      const int column = thread_index() % kChunks * 8;
      const int end = column < rows.columns ? rows.length - begin : 0;
      BFloat16* to = tile.chunk(first, thread_index() % kChunks);
      const BFloat16* from = rows.from + (begin + first) * rows.stride + column;
      KOINE_ROLLED
      for (int row = first; row < kRows; row += kStep) {
        async_copy<16>(to, from, row < end);
        to += kStep * kHeadSize;
        from += kStep * rows.stride;
      }
      return;
    }
  }
  if (rows.vectors) {
    const BFloat16* from = rows.from + begin * rows.stride;
    KOINE_ROLLED
    for (int index = thread_index(); index < kRows * kChunks; index += kThreads) {
      const int row = index / kChunks;
      const int column = index % kChunks * 8;
      const bool inside = begin + row < rows.length && column < rows.columns;
      async_copy<16>(tile.chunk(row, index % kChunks), from + row * rows.stride + column, inside);
    }
    return;
  }
  KOINE_ROLLED
  for (int index = thread_index(); index < kRows * kChunks; index += kThreads) {
    const int row = begin + index / kChunks;
    const int column = index % kChunks * 8;
    Pack<BFloat16, 8> pack;
    KOINE_UNROLL
    for (int j = 0; j < 8; ++j) {
      const bool inside = row < rows.length && column + j < rows.columns;
      pack.values[j] = inside ? rows.from[row * rows.stride + column + j] : BFloat16{0};
    }
    store_pack(tile.chunk(index / kChunks, index % kChunks), pack);
  }
}

/// Where this lane points ldmatrix for rows row .. row+15 and columns 16 * step .. +15 of a tile: the upper left, upper
/// right, lower left and lower right quarter in that order. One pattern for every operand, so that they share address
/// registers.
template <class Tile>
KOINE_DEVICE const BFloat16* patch_row(Tile& tile, int row, int step) {
  const int lane = lane_index();
  return tile.chunk(row + lane / 16 * 8 + lane % 8, 2 * step + lane / 8 % 2);
}

/// Rows row .. row+15, columns 16 * step .. +15 of a tile as operand A.
template <class Tile>
KOINE_DEVICE FragmentA load_a(Tile& tile, int row, int step) {
  std::uint32_t x[4];
  load_matrix_x4(x, patch_row(tile, row, step));
  return {{x[0], x[2], x[1], x[3]}};
}

/// The transpose of rows row .. row+15, columns 16 * step .. +15 of a tile as operand A.
template <class Tile>
KOINE_DEVICE FragmentA load_a_transposed(Tile& tile, int row, int step) {
  FragmentA a;
  load_matrix_x4_transposed(a.x, patch_row(tile, row, step));
  return a;
}

/// B = the transpose of rows row .. row+15 of a tile at columns 16 * step .. +15: what multiplies along the columns. b[i] is
/// for the results' columns row + 8 i .. +7.
template <class Tile>
KOINE_DEVICE void load_b_transposed(FragmentB (&b)[2], Tile& tile, int row, int step) {
  std::uint32_t x[4];
  load_matrix_x4(x, patch_row(tile, row, step));
  b[0] = {{x[0], x[1]}};
  b[1] = {{x[2], x[3]}};
}

/// B = rows row .. row+15 of a tile at columns 16 * pair .. +15: what multiplies along the rows. b[i] is for the results'
/// columns 16 * pair + 8 i .. +7.
template <class Tile>
KOINE_DEVICE void load_b(FragmentB (&b)[2], Tile& tile, int row, int pair) {
  std::uint32_t x[4];
  load_matrix_x4_transposed(x, patch_row(tile, row, pair));
  b[0] = {{x[0], x[2]}};
  b[1] = {{x[1], x[3]}};
}

template <int kCount>
KOINE_DEVICE void clear(Accumulator (&accumulators)[kCount]) {
  KOINE_UNROLL
  for (int i = 0; i < kCount; ++i) accumulators[i] = {{0, 0, 0, 0}};
}

/// Dropout in a tile of scores, 8 * kCount other rows wide: one bit for each score this lane holds, all in one word. Drawn
/// before the scores are computed, while their registers are free; the empty assembly statements keep the compiler from
/// drawing later, and from keeping the twenty round keys of Philox in registers round the loop.
struct AttentionDraws {
  DropoutParams dropout;
  PhiloxKey key;
  std::uint32_t example;
  std::uint32_t head;

  /// Bits 8 i .. 8 i + 7: what kept_attention says at (row + i * row_step, column + i * column_step), for kCount / 2
  /// patches.
  template <int kCount>
  KOINE_DEVICE std::uint32_t kept(int row, int column, int row_step, int column_step) const {
    PhiloxKey again = key;
#if KOINE_ON_DEVICE
    asm volatile("" : "+r"(again[0]), "+r"(again[1]));
#endif
    std::uint32_t bits = 0;
    KOINE_UNROLL
    for (int patch = 0; patch < kCount / 2; ++patch) {
      bits |= kept_attention(dropout, again, example, head, static_cast<std::uint32_t>(row + patch * row_step),
                             static_cast<std::uint32_t>(column + patch * column_step))
              << (8 * patch);
    }
#if KOINE_ON_DEVICE
    asm volatile("" : "+r"(bits));
#endif
    return bits;
  }
};
template <bool kDropout>
KOINE_DEVICE AttentionDraws attention_draws(const AttentionParams& p, const AttentionPlace& at) {
  AttentionDraws draws = {p.dropout, {0, 0}, 0, static_cast<std::uint32_t>(at.head)};
  if constexpr (kDropout) {
    draws.key = dropout_key(p.dropout);
    draws.example = p.dropout.examples[at.sequence];
  }
  return draws;
}

/// Two neighbouring results [16, 8], rounded to bf16, as operand A [16, 16] of the next product: the layouts agree.
KOINE_DEVICE FragmentA as_operand(const Accumulator& left, const Accumulator& right) {
  return {{pack_bfloat16(left.x[0], left.x[1]), pack_bfloat16(left.x[2], left.x[3]), pack_bfloat16(right.x[0], right.x[1]),
           pack_bfloat16(right.x[2], right.x[3])}};
}

/// result [16, 8 * kCount] = a [16, kHeadSize] (rows row .. of tile)^T, the 16 columns of step i of `a` from operand(i).
template <int kHeadSize, int kCount, class Tile, class Operand>
KOINE_DEVICE void multiply_along_columns(Accumulator (&result)[kCount], Tile& tile, Operand operand, int row = 0) {
  clear(result);
  KOINE_UNROLL
  for (int step = 0; step < kHeadSize / 16; ++step) {
    const FragmentA a = operand(step);
    KOINE_UNROLL
    for (int pair = 0; pair < kCount / 2; ++pair) {
      FragmentB b[2];
      load_b_transposed(b, tile, row + 16 * pair, step);
      multiply_add(result[2 * pair], a, b[0]);
      multiply_add(result[2 * pair + 1], a, b[1]);
    }
  }
}

/// result [16, kHeadSize] += a [16, 16] times rows row .. row+15 of `tile`.
template <int kHeadSize, class Tile>
KOINE_DEVICE void multiply_rows(Accumulator (&result)[kHeadSize / 8], const FragmentA& a, Tile& tile, int row) {
  KOINE_UNROLL
  for (int pair = 0; pair < kHeadSize / 16; ++pair) {
    FragmentB b[2];
    load_b(b, tile, row, pair);
    multiply_add(result[2 * pair], a, b[0]);
    multiply_add(result[2 * pair + 1], a, b[1]);
  }
}

/// result [16, kHeadSize] += weights [16, 8 * kCount], rounded to bf16, times rows row .. of `tile`.
template <int kHeadSize, int kCount, class Tile>
KOINE_DEVICE void multiply_along_rows(Accumulator (&result)[kHeadSize / 8], const Accumulator (&weights)[kCount], Tile& tile,
                                      int row = 0) {
  KOINE_UNROLL
  for (int step = 0; step < kCount / 2; ++step) {
    multiply_rows<kHeadSize>(result, as_operand(weights[2 * step], weights[2 * step + 1]), tile, row + 16 * step);
  }
}

/// Rounds a warp's 16 rows of results and stores those that exist: through the warp's own 16 rows of a tile, so that whole
/// rows go out 16 bytes a lane. factor[i]: of rows g + 8 i. Nobody else may use these rows of the tile any more.
template <int kHeadSize, class Tile>
KOINE_DEVICE void store_rows(const Accumulator (&result)[kHeadSize / 8], const float (&factor)[2], Tile& tile, int tile_row,
                             BFloat16* to, std::int64_t stride, int rows, int columns, bool vectors) {
  constexpr int kChunks = kHeadSize / 8;
  const int g = lane_index() / 4;
  const int t = lane_index() % 4;
  sync_warp();
  KOINE_UNROLL
  for (int n = 0; n < kChunks; ++n) {
    KOINE_UNROLL
    for (int half = 0; half < 2; ++half) {
      const std::uint32_t pair =
          pack_bfloat16(result[n].x[2 * half] * factor[half], result[n].x[2 * half + 1] * factor[half]);
      store_pack(tile.chunk(tile_row + g + 8 * half, n) + 2 * t, __builtin_bit_cast(Pack<BFloat16, 2>, pair));
    }
  }
  sync_warp();
  KOINE_UNROLL
  for (int i = 0; i < kChunks / 2; ++i) {
    const int index = i * kWarpThreads + lane_index();
    const int row = index / kChunks;
    const int column = index % kChunks * 8;
    const Pack<BFloat16, 8> pack = load_pack<BFloat16, 8>(tile.chunk(tile_row + row, index % kChunks));
    if (row >= rows || column >= columns) continue;
    BFloat16* target = to + row * stride + column;
    if (vectors) {
      store_pack(target, pack);
    } else {
      KOINE_UNROLL
      for (int j = 0; j < 8; ++j) {
        if (column + j < columns) target[j] = pack.values[j];
      }
    }
  }
}

/// Calls `function` with the kind of a shape the tensor-core kernels take, and the head size of theirs that has room for it,
/// as constants.
template <class Function>
void with_kernel(const AttentionShape& shape, const Function& function) {
  using Self = std::integral_constant<AttentionKind, AttentionKind::kSelf>;
  using Any = std::integral_constant<AttentionKind, AttentionKind::kAny>;
  const auto with_size = [&](auto size) {
    kind_of(shape) == AttentionKind::kSelf ? function(Self(), size) : function(Any(), size);
  };
  if (shape.head_size <= 32) {
    with_size(std::integral_constant<int, 32>());
  } else if (shape.head_size <= 64) {
    with_size(std::integral_constant<int, 64>());
  } else if (shape.head_size <= 80) {
    with_size(std::integral_constant<int, 80>());
  } else if (shape.head_size <= 96) {
    with_size(std::integral_constant<int, 96>());
  } else {
    function(Self(), std::integral_constant<int, 128>());
  }
}

}  // namespace koine::cuda
