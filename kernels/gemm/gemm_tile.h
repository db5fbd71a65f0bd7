#pragma once

// One tile of a bf16 product on tensor cores, for the kernels of gemm.cu and weight_gradients.cu.
//
// A block of 128 threads, 4 warps in a square, makes a kSize x kSize tile of C; a warp a quarter of it: 64 x 64 elements at
// kSize 128, so that per step of 16 in depth it reads 4 KiB from shared memory for 32 mma.m16n8k16, half of what the banks
// deliver in the time the tensor cores of an A100 take.
//
// Operands go to shared memory in slices 32 deep, four slices in a ring, three of them under way (cp.async, 16 bytes). They
// lie there as in global memory: lines of 32 along the depth for A [m, k] and B [n, k], lines of kSize for A [k, m] and
// B [k, n]; ldmatrix, transposing for the latter, gives the same fragments of both. A line's 16-byte chunks are permuted by
// the line's number, so that the eight rows of each 8 x 8 matrix lie in different banks, and the copies' writes do too.
//
// Each sum runs over the depth in ascending steps of 16, whatever the size of the tile: an element of C depends on its row
// of A and column of B alone.
//
// Registers at kSize 128: 128 sums, 40 of fragments.

#include <algorithm>

#include "kernels/cuda/async_copy.h"
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/vector.h"

namespace koine::cuda {

inline constexpr int kTileThreads = 128;
inline constexpr int kTileDepth = 32;
inline constexpr int kTileStages = 4;

/// A of kSize rows and B of kSize columns; afterwards the tile of C in fp32, which is not larger.
template <int kSize>
struct TileMemory {
  alignas(128) BFloat16 a[kTileStages][kSize * kTileDepth];
  alignas(128) BFloat16 b[kTileStages][kSize * kTileDepth];
};

/// Blocks of a multiprocessor that the kernels plan with: limits the registers of a thread to 255 and 128.
template <int kSize>
inline constexpr int kTileBlocks = kSize == 128 ? 2 : 4;

/// op(A) seen as [extent, depth], or op(B) turned so: depth contiguous, or extent contiguous.
struct TileOperand {
  const BFloat16* data;
  std::int64_t stride;
  int extent;
};

/// Where chunk `chunk` (8 elements) of line `line` of a slice lies, in elements.
template <int kSize, bool kDepthContiguous>
KOINE_DEVICE int chunk_place(int line, int chunk) {
  constexpr int kLineChunks = (kDepthContiguous ? kTileDepth : kSize) / 8;
  const int permuted = kDepthContiguous ? chunk ^ (line / 2 % 4) : chunk ^ (line % 8);
  return (line * kLineChunks + permuted) * 8;
}

/// The first `count` of 8 elements, zeros behind.
KOINE_DEVICE void copy_some(BFloat16* to, const BFloat16* from, int count) {
  Pack<BFloat16, 8> pack;
  KOINE_UNROLL
  for (int i = 0; i < 8; ++i) {
    pack.values[i] = BFloat16{0};
    if (i < count) pack.values[i] = from[i];
  }
  store_pack<BFloat16, 8>(to, pack);
}

/// What one thread copies of each slice: one chunk of every kLines-th line. Without kVector, addresses need no alignment.
template <int kSize, bool kDepthContiguous, bool kVector>
class SliceLoader {
 public:
  KOINE_DEVICE SliceLoader(const TileOperand& operand, int first)
      : line_(thread_index() / kLineChunks), chunk_(thread_index() % kLineChunks) {
    if (kDepthContiguous) {
      lines_inside_ = operand.extent - first - line_;
      inside_ = 0;
      line_stride_ = operand.stride;
      step_ = kTileDepth;
      from_ = operand.data + (first + line_) * operand.stride + 8 * chunk_;
    } else {
      lines_inside_ = 0;
      inside_ = operand.extent - first - 8 * chunk_;
      line_stride_ = operand.stride;
      step_ = kTileDepth * operand.stride;
      from_ = operand.data + line_ * operand.stride + first + 8 * chunk_;
    }
    place_ = chunk_place<kSize, kDepthContiguous>(line_, chunk_);
  }

  KOINE_DEVICE void skip(std::int64_t depth) { from_ += kDepthContiguous ? depth : depth * line_stride_; }

  /// Starts copying the next slice, of which `depth` lie inside the matrix.
  KOINE_DEVICE void load(BFloat16* slice, int depth) {
    const int count = kDepthContiguous ? depth - 8 * chunk_ : inside_;  // elements of the chunk inside, or more than 8
    const int lines = kDepthContiguous ? lines_inside_ : depth - line_;
    if (kVector && (count <= 0 || count >= 8)) {
      KOINE_UNROLL
      for (int i = 0; i < kCopies; ++i) {
        async_copy<16>(slice + place_ + i * kLines * kLineChunks * 8, from_ + i * kLines * line_stride_,
                       count >= 8 && i * kLines < lines);
      }
    } else {
      KOINE_UNROLL
      for (int i = 0; i < kCopies; ++i) {
        copy_some(slice + place_ + i * kLines * kLineChunks * 8, from_ + i * kLines * line_stride_,
                  i * kLines < lines ? count : 0);
      }
    }
    from_ += step_;
  }

 private:
  static constexpr int kLineChunks = (kDepthContiguous ? kTileDepth : kSize) / 8;
  static constexpr int kLines = kTileThreads / kLineChunks;  // a multiple of 8: place_ holds for all of a thread's chunks
  static constexpr int kCopies = kSize * kTileDepth / 8 / kTileThreads;
  int line_;
  int chunk_;
  int lines_inside_;
  int inside_;
  int place_;
  std::int64_t line_stride_;
  std::int64_t step_;
  const BFloat16* from_;
};

/// Where this lane reads its row of the four 8 x 8 matrices that make 16 rows of op(A), or 16 columns of op(B), 16 deep. All
/// addresses of a slice follow from one by exclusive or and constants, because the permutation works on those bits alone.
template <int kSize, bool kDepthContiguous, bool kColumns>
class FragmentReader {
 public:
  /// `first`: the warp's first row or column.
  KOINE_DEVICE explicit FragmentReader(int first) {
    const int lane = lane_index();
    const int near = lane % 16;                // in the direction that the first two matrices share
    const int far = lane % 8 + lane / 16 * 8;  // in the other
    const int near_half = lane / 16;
    const int far_half = lane / 8 % 2;
    if constexpr (kDepthContiguous) {
      place_ =
          kColumns ? chunk_place<kSize, true>(first + far, far_half) : chunk_place<kSize, true>(first + near, near_half);
    } else {
      place_ = kColumns ? chunk_place<kSize, false>(near, first / 8 + near_half)
                        : chunk_place<kSize, false>(far, first / 8 + far_half);
    }
  }
  /// Rows (columns) [first + 16 group, ... + 16), depth [depth, depth + 16) of the slice in `stage`.
  KOINE_DEVICE void read(std::uint32_t (&x)[4], const BFloat16* stages, int stage, int group, int depth) const {
    const int place = stage * (kSize * kTileDepth) + place_;
    if constexpr (kDepthContiguous) {
      load_matrix_x4(x, stages + (place ^ depth) + group * (16 * kTileDepth));
    } else {
      load_matrix_x4_transposed(x, stages + (place ^ (16 * group)) + depth * kSize);
    }
  }

 private:
  int place_;
};

/// The sums a warp holds. With kRowSums also those of the rows of op(A), which come from the tensor cores too, as a product
/// with ones: in the warps of the first column of warps where asked for.
template <int kSize, bool kRowSums>
struct TileSums {
  static constexpr int kRowFragments = kSize / 32;
  static constexpr int kColumnFragments = kSize / 16;
  Accumulator c[kRowFragments][kColumnFragments] = {};
  Accumulator rows[kRowSums ? kRowFragments : 1] = {};
};

/// Multiplies the slices of a tile. A step is 16 deep and goes through the warp's columns 16 at a time; while the tensor
/// cores work on these, the next 16 columns come from shared memory, and at the start of a step the next step's rows.
template <int kSize, bool kTransposeA, bool kTransposeB, bool kRowSums>
class SliceMultiplier {
 public:
  using Sums = TileSums<kSize, kRowSums>;
  static constexpr int kGroups = Sums::kColumnFragments / 2;  // of 16 columns; even
  static constexpr int kSteps = kTileDepth / 16;

  KOINE_DEVICE SliceMultiplier(const TileMemory<kSize>& memory, bool row_sums)
      : memory_(memory),
        reader_a_(warp_index() / 2 * (kSize / 2)),
        reader_b_(warp_index() % 2 * (kSize / 2)),
        row_sums_(row_sums) {}

  /// Brings what the first products of a slice need.
  KOINE_DEVICE void begin(int stage) {
    read_rows(stage, 0);
    read_columns(stage, 0);
  }
  /// `meanwhile()` is called once other reads are on their way; `next_slice()` when this slice has been read to the end.
  template <class Meanwhile, class NextSlice>
  KOINE_DEVICE void multiply(Sums& sums, int stage, const Meanwhile& meanwhile, const NextSlice& next_slice) {
    KOINE_UNROLL
    for (int place = 0; place < kSteps * kGroups; ++place) {
      if (place + 1 < kSteps * kGroups) read_columns(stage, place + 1);
      if (place % kGroups == 0 && place / kGroups + 1 < kSteps) read_rows(stage, place / kGroups + 1);
      if (place == 0) meanwhile();
      if (place + 1 == kSteps * kGroups) next_slice();
      multiply_group(sums, place);
    }
  }

 private:
  KOINE_DEVICE void read_rows(int stage, int step) {
    KOINE_UNROLL
    for (int i = 0; i < Sums::kRowFragments; ++i) {
      reader_a_.read(rows_[step % 2][i].x, memory_.a[0], stage, i, 16 * step);
    }
  }
  KOINE_DEVICE void read_columns(int stage, int place) {
    reader_b_.read(columns_[place % 2], memory_.b[0], stage, place % kGroups, 16 * (place / kGroups));
  }
  KOINE_DEVICE void multiply_group(Sums& sums, int place) const {
    const FragmentA(&rows)[Sums::kRowFragments] = rows_[place / kGroups % 2];
    const std::uint32_t(&x)[4] = columns_[place % 2];
    const int column = place % kGroups * 2;
    KOINE_UNROLL
    for (int i = 0; i < Sums::kRowFragments; ++i) {
      multiply_add(sums.c[i][column], rows[i], {{x[0], x[1]}});
      multiply_add(sums.c[i][column + 1], rows[i], {{x[2], x[3]}});
    }
    if constexpr (kRowSums) {
      constexpr std::uint32_t kTwoOnes = 0x3f803f80u;
      if (column == 0 && row_sums_) {
        KOINE_UNROLL
        for (int i = 0; i < Sums::kRowFragments; ++i) multiply_add(sums.rows[i], rows[i], {{kTwoOnes, kTwoOnes}});
      }
    }
  }

  const TileMemory<kSize>& memory_;
  FragmentReader<kSize, !kTransposeA, false> reader_a_;
  FragmentReader<kSize, kTransposeB, true> reader_b_;
  bool row_sums_;
  FragmentA rows_[2][Sums::kRowFragments];
  std::uint32_t columns_[2][4];  // two FragmentB each
};

/// sums = op(A)[first_row.., begin..end] op(B)[begin..end, first_column..]. All copies have arrived when this returns, and
/// all threads have read what they need: `memory` is free. `row_sums` is the same in all threads of a warp.
template <int kSize, bool kTransposeA, bool kTransposeB, bool kVector, bool kRowSums>
KOINE_DEVICE void multiply_tile(TileMemory<kSize>& memory, const TileOperand& a, const TileOperand& b, int first_row,
                                int first_column, int begin, int end, bool row_sums, TileSums<kSize, kRowSums>& sums) {
  SliceLoader<kSize, !kTransposeA, kVector> loader_a(a, first_row);
  SliceLoader<kSize, kTransposeB, kVector> loader_b(b, first_column);
  loader_a.skip(begin);
  loader_b.skip(begin);
  const int slices = (end - begin + kTileDepth - 1) / kTileDepth;
  const auto load_slice = [&](int slice) {
    if (slice < slices) {
      const int stage = slice % kTileStages;
      const int depth = end - begin - slice * kTileDepth;
      loader_a.load(memory.a[stage], depth < kTileDepth ? depth : kTileDepth);
      loader_b.load(memory.b[stage], depth < kTileDepth ? depth : kTileDepth);
    }
    async_commit();  // also where there was nothing: groups are counted
  };
  KOINE_UNROLL
  for (int slice = 0; slice < kTileStages - 1; ++slice) load_slice(slice);

  SliceMultiplier<kSize, kTransposeA, kTransposeB, kRowSums> multiplier(memory, row_sums);
  async_wait<kTileStages - 2>();
  sync_block();
  if (slices > 0) multiplier.begin(0);
  for (int slice = 0; slice < slices; ++slice) {
    multiplier.multiply(
        sums, slice % kTileStages,
        // Into the place of the slice before this one, which all threads had read at the last barrier.
        [&] { load_slice(slice + kTileStages - 1); },
        [&] {
          async_wait<kTileStages - 2>();
          sync_block();
          if (slice + 1 < slices) multiplier.begin((slice + 1) % kTileStages);
        });
  }
  async_wait<0>();
  sync_block();
}

/// Where 4 columns (`column` a multiple of 4) of a row of the tile lie in fp32, in elements: permuted so that neither the
/// writes of accumulators nor the reads of rows meet in a bank.
template <int kSize>
KOINE_DEVICE int staged_place(int row, int column) {
  return row * kSize + 4 * ((column / 4) ^ (row % 4 * 2));
}

/// Puts the tile into shared memory; to be read after the next barrier.
template <int kSize, bool kRowSums>
KOINE_DEVICE void stage_tile(float* staged, const TileSums<kSize, kRowSums>& sums) {
  using Sums = TileSums<kSize, kRowSums>;
  const int lane = lane_index();
  const int first_row = warp_index() / 2 * (kSize / 2) + lane / 4;
  const int first_column = warp_index() % 2 * (kSize / 2) + 2 * (lane % 4);
  KOINE_UNROLL
  for (int i = 0; i < Sums::kRowFragments; ++i) {
    KOINE_UNROLL
    for (int j = 0; j < Sums::kColumnFragments; ++j) {
      const int column = first_column + 8 * j;
      KOINE_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int place = staged_place<kSize>(first_row + 16 * i + 8 * half, column / 4 * 4) + column % 4;
        store_pack<float, 2>(staged + place, {{sums.c[i][j].x[2 * half], sums.c[i][j].x[2 * half + 1]}});
      }
    }
  }
}
/// Columns [column, column + 8) of a row; `column` is a multiple of 8.
template <int kSize>
KOINE_DEVICE void read_staged(float (&values)[8], const float* staged, int row, int column) {
  // Half of the lanes read the second four first: eight lanes then meet all banks.
  const bool swapped = (lane_index() & 4) != 0;
  const Pack<float, 4> first = load_pack<float, 4>(staged + staged_place<kSize>(row, column + (swapped ? 4 : 0)));
  const Pack<float, 4> second = load_pack<float, 4>(staged + staged_place<kSize>(row, column + (swapped ? 0 : 4)));
  KOINE_UNROLL
  for (int i = 0; i < 4; ++i) {
    values[i] = swapped ? second.values[i] : first.values[i];
    values[4 + i] = swapped ? first.values[i] : second.values[i];
  }
}

/// Place of a block's tile in C.
struct TilePlace {
  int row;
  int column;
};
/// Blocks run in order of their number; those that run together make a compact patch of C, bands of 16 tiles high, so that
/// they find each other's operands in the L2 cache.
KOINE_DEVICE TilePlace tile_place(int tile, int row_tiles, int column_tiles) {
  constexpr int kBand = 16;
  const int band = tile / (kBand * column_tiles);
  const int inside = tile % (kBand * column_tiles);
  const int height = row_tiles - band * kBand < kBand ? row_tiles - band * kBand : kBand;
  return {band * kBand + inside % height, inside / height};
}

}  // namespace koine::cuda
