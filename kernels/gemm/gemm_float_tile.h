#pragma once

// One tile of an fp32 product by fused multiply-adds, for the kernels of gemm.cu and weight_gradients.cu.
//
// A block of 128 threads makes 128 x 64 elements of C, a thread 8 x 8 of them: 64 multiply-adds for four 16-byte reads from
// shared memory. Slices of op(A) and op(B), 16 deep, lie there depth by depth, in two buffers: the next slice is read into
// registers while this one is multiplied. Each sum is one chain of fused multiply-adds in ascending depth.
//
// Any strides and alignments: elements are read one by one, neighbouring lanes at neighbouring addresses.

#include "kernels/cuda/vector.h"

namespace koine::cuda {

inline constexpr int kFloatThreads = 128;
inline constexpr int kFloatRows = 128;
inline constexpr int kFloatColumns = 64;
inline constexpr int kFloatDepth = 16;

struct FloatTileMemory {
  // Four more than a line needs: what lies 8 lines apart shares a bank, not what lies next to each other.
  alignas(16) float a[2][kFloatDepth][kFloatRows + 4];
  alignas(16) float b[2][kFloatDepth][kFloatColumns + 4];
};

struct FloatTileSums {
  float c[8][8] = {};
  float row = 0;  ///< of row thread_index() of the tile: the sum of op(A)'s elements, where asked for
};

/// op(A) as [extent, depth], or op(B) turned so. Depth contiguous, or extent.
struct FloatOperand {
  const float* data;
  std::int64_t stride;
  int extent;
  bool depth_contiguous;
};

/// What one thread reads of each slice: kSize * kFloatDepth / kFloatThreads elements, `step` apart.
template <int kSize>
class FloatLoader {
 public:
  static constexpr int kReads = kSize * kFloatDepth / kFloatThreads;

  KOINE_DEVICE FloatLoader(const FloatOperand& operand, int first, int begin) {
    if (operand.depth_contiguous) {
      depth_ = thread_index() % kFloatDepth;
      line_ = thread_index() / kFloatDepth;
      depth_step_ = 0;
      line_step_ = kFloatThreads / kFloatDepth;
    } else {
      depth_ = thread_index() / kSize;
      line_ = thread_index() % kSize;
      depth_step_ = kFloatThreads / kSize;
      line_step_ = 0;
    }
    const std::int64_t line_stride = operand.depth_contiguous ? operand.stride : 1;
    const std::int64_t depth_stride = operand.depth_contiguous ? 1 : operand.stride;
    step_ = depth_step_ * depth_stride + line_step_ * line_stride;
    slice_step_ = kFloatDepth * depth_stride;
    from_ = operand.data + (first + line_) * line_stride + (begin + depth_) * depth_stride;
    inside_ = operand.extent - first - line_;
  }

  /// Reads the next slice, `depth` of which lie inside the matrix; zeros for the rest.
  KOINE_DEVICE void read(int depth) {
    KOINE_UNROLL
    for (int i = 0; i < kReads; ++i) {
      const bool inside = i * line_step_ < inside_ && depth_ + i * depth_step_ < depth;
      values_[i] = inside ? from_[i * step_] : 0.0f;
    }
    from_ += slice_step_;
  }
  /// Where column c of B lies: 4 columns at a time change places in the upper half, so that the lanes' 16-byte reads, 8
  /// columns apart, meet all banks.
  KOINE_DEVICE static int place(int line) { return kSize == kFloatColumns ? line ^ (line / 32 % 2 * 4) : line; }
  template <int kLine>
  KOINE_DEVICE void write(float (&slice)[kFloatDepth][kLine]) const {
    KOINE_UNROLL
    for (int i = 0; i < kReads; ++i) slice[depth_ + i * depth_step_][place(line_ + i * line_step_)] = values_[i];
  }

 private:
  int depth_, line_, depth_step_, line_step_, inside_;
  std::int64_t step_, slice_step_;
  const float* from_;
  float values_[kReads];
};

/// Row `i` (0..7) of the eight this thread has; its eight columns are together.
KOINE_DEVICE int float_row(int i) { return thread_index() / 8 * 4 + i % 4 + i / 4 * 64; }
KOINE_DEVICE int float_column() { return thread_index() % 8 * 8; }

KOINE_DEVICE void multiply_float_slice(const float (&a)[kFloatDepth][kFloatRows + 4],
                                       const float (&b)[kFloatDepth][kFloatColumns + 4], FloatTileSums& sums) {
  const int column = float_column();
  const int swap = column / 32 * 4;
  KOINE_UNROLL
  for (int k = 0; k < kFloatDepth; ++k) {
    const Pack<float, 4> a_packs[2] = {load_pack<float, 4>(&a[k][float_row(0)]), load_pack<float, 4>(&a[k][float_row(4)])};
    const Pack<float, 4> b_packs[2] = {load_pack<float, 4>(&b[k][column ^ swap]),
                                       load_pack<float, 4>(&b[k][(column + 4) ^ swap])};
    KOINE_UNROLL
    for (int i = 0; i < 8; ++i) {
      KOINE_UNROLL
      for (int j = 0; j < 8; ++j) {
        sums.c[i][j] = fused(a_packs[i / 4].values[i % 4], b_packs[j / 4].values[j % 4], sums.c[i][j]);
      }
    }
  }
}

/// sums = op(A)[first_row.., begin..end] op(B)[begin..end, first_column..]. `row_sums` is the same in all threads.
KOINE_DEVICE void multiply_float_tile(FloatTileMemory& memory, const FloatOperand& a, const FloatOperand& b, int first_row,
                                      int first_column, int begin, int end, bool row_sums, FloatTileSums& sums) {
  FloatLoader<kFloatRows> loader_a(a, first_row, begin);
  FloatLoader<kFloatColumns> loader_b(b, first_column, begin);
  const int slices = (end - begin + kFloatDepth - 1) / kFloatDepth;
  if (slices > 0) {
    loader_a.read(end - begin);
    loader_b.read(end - begin);
  }
  for (int slice = 0; slice < slices; ++slice) {
    const int buffer = slice % 2;
    loader_a.write(memory.a[buffer]);
    loader_b.write(memory.b[buffer]);
    sync_block();  // the buffer written next was read before this barrier
    if (slice + 1 < slices) {
      loader_a.read(end - begin - (slice + 1) * kFloatDepth);
      loader_b.read(end - begin - (slice + 1) * kFloatDepth);
    }
    multiply_float_slice(memory.a[buffer], memory.b[buffer], sums);
    if (row_sums) {
      for (int k = 0; k < kFloatDepth; ++k) sums.row += memory.a[buffer][k][thread_index()];
    }
  }
}

}  // namespace koine::cuda
