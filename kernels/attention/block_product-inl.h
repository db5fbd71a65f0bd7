// C = A B or C += A B for the small fp32 matrices of one attention head, held in cache. Included once per target
// (kernels/common/vector_targets.h).
//
// Register tiles of kTileRows x (kTileVectors vectors): each step of the depth loads kTileVectors vectors of B and
// broadcasts kTileRows elements of A. With 32 vector registers 8 x 3 accumulators, 3 vectors of B and one broadcast fill 28
// of them, and 24 independent FMAs hide the latency; with 16 registers 4 x 3. Rows and vectors are shared out evenly among
// the tiles, so that none is left with a single row.
//
// Every element is a chain of FMAs over kTileDepth steps of the depth, the chains added in ascending order, whatever tile it
// falls into: its bits depend on its own row of A, its own column of B and the depth alone.

#if defined(KOINE_KERNELS_ATTENTION_BLOCK_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KOINE_KERNELS_ATTENTION_BLOCK_PRODUCT_INL_H_
#undef KOINE_KERNELS_ATTENTION_BLOCK_PRODUCT_INL_H_
#else
#define KOINE_KERNELS_ATTENTION_BLOCK_PRODUCT_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// At most 16 lanes: a patch of dropout draws is 16 wide.
using ProductTag = hn::CappedTag<float, 16>;

inline constexpr bool kManyRegisters = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM;
inline constexpr int kTileRows = kManyRegisters ? 8 : 4;
inline constexpr int kTileVectors = 3;
/// Depth after which the sums go back to memory, so that the columns of B in use stay in the first-level cache.
inline constexpr std::int64_t kTileDepth = 128;

/// A row-major fp32 matrix in scratch.
struct Block {
  float* data;
  std::int64_t stride;
  float* row(std::int64_t index) const { return data + index * stride; }
};

/// The loops over the tile are unrolled by order: only then does the compiler keep `sum` in registers throughout.
template <bool kTransposeA, int kRows, int kVectors>
void multiply_tile(std::int64_t depth, const float* HWY_RESTRICT a, std::int64_t a_stride, const float* HWY_RESTRICT b,
                   std::int64_t b_stride, float* HWY_RESTRICT c, std::int64_t c_stride, bool accumulate) {
  const ProductTag d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  hn::Vec<ProductTag> sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) sum[row][v] = hn::Zero(d);
  }
  for (std::int64_t k = 0; k < depth; ++k) {
    hn::Vec<ProductTag> b_row[kVectors];
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) b_row[v] = hn::Load(d, b + k * b_stride + v * lanes);
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) {
      const auto element = hn::Set(d, kTransposeA ? a[k * a_stride + row] : a[row * a_stride + k]);
#pragma GCC unroll 3
      for (int v = 0; v < kVectors; ++v) sum[row][v] = hn::MulAdd(element, b_row[v], sum[row][v]);
    }
  }
#pragma GCC unroll 8
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) {
      float* target = c + row * c_stride + v * lanes;
      hn::Store(accumulate ? hn::Add(hn::Load(d, target), sum[row][v]) : sum[row][v], d, target);
    }
  }
}

using TileFunction = void (*)(std::int64_t, const float*, std::int64_t, const float*, std::int64_t, float*, std::int64_t,
                              bool);

template <bool kTransposeA, int... kRowsLessOne>
constexpr auto tile_table(std::integer_sequence<int, kRowsLessOne...>) {
  return std::array<std::array<TileFunction, kTileVectors>, kTileRows>{
      {{multiply_tile<kTransposeA, kRowsLessOne + 1, 1>, multiply_tile<kTransposeA, kRowsLessOne + 1, 2>,
        multiply_tile<kTransposeA, kRowsLessOne + 1, 3>}...}};
}

/// C [rows, columns] = (C +) op(A) [rows, depth] B [depth, columns]; A is [depth, rows] where kTransposeA. B and C have
/// aligned rows and room for `columns` rounded up to whole vectors; what stands there in B comes out in C.
template <bool kTransposeA>
void multiply(std::int64_t rows, std::int64_t columns, std::int64_t depth, const Block& a, const Block& b, const Block& c,
              bool accumulate) {
  static constexpr auto kTiles = tile_table<kTransposeA>(std::make_integer_sequence<int, kTileRows>());
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(ProductTag()));
  const std::int64_t vectors = (columns + lanes - 1) / lanes;
  const std::int64_t row_tiles = (rows + kTileRows - 1) / kTileRows;
  const std::int64_t column_tiles = (vectors + kTileVectors - 1) / kTileVectors;
  for (std::int64_t k = 0; k < depth; k += kTileDepth) {
    const std::int64_t tile_depth = std::min(kTileDepth, depth - k);
    for (std::int64_t column_tile = 0; column_tile < column_tiles; ++column_tile) {
      const std::int64_t first_vector = vectors * column_tile / column_tiles;
      const std::int64_t tile_vectors = vectors * (column_tile + 1) / column_tiles - first_vector;
      for (std::int64_t row_tile = 0; row_tile < row_tiles; ++row_tile) {
        const std::int64_t row = rows * row_tile / row_tiles;
        const std::int64_t tile_rows = rows * (row_tile + 1) / row_tiles - row;
        kTiles[tile_rows - 1][tile_vectors - 1](tile_depth, kTransposeA ? a.row(k) + row : a.row(row) + k, a.stride,
                                                b.row(k) + first_vector * lanes, b.stride, c.row(row) + first_vector * lanes,
                                                c.stride, accumulate || k > 0);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#endif
