#pragma once

// How the CPU variants cut a matrix product, pack its operands, share it among threads and finish it. They differ only in
// what multiplies one tile (TileEngine).
//
// C is cut into tiles whose borders depend on the shapes alone; k into blocks of kBlockDepth (but see dense_rows). Per tile
// and block of k,
//   sums[rows, columns] (+)= A[rows, depth] * panels[depth, columns]
// in fp32, in the thread's own part of the workspace; after the last block the epilogue reads the sums, while they are in
// cache, and writes C. Blocks are taken in ascending order and each element's sum does not depend on the tile it lies in, so
// a result depends neither on the number of threads nor on how many other rows and columns the product has.
//
// op(B) is always packed into panels of `panel_columns` columns: for each row of op(B) the panel's columns side by side, or,
// for bf16 pairs, for each two rows the panel's columns as (even row, odd row) pairs. Columns beyond n and rows up to a
// multiple of kDepthUnit are 0. These are oneDNN's layouts BA16a64b and BA16a64b2a where panel_columns is 64. A product with
// many rows packs B once; one with at most kFewRows rows packs each tile's panels right before they are used. op(A) is read
// in place, rows of the matrix as they lie, unless it is transposed, of another type than the panels, or of a depth the
// engine cannot take: then its rows are copied, transposed and converted, and padded with 0 to kDepthUnit.

#include <cstddef>
#include <cstdint>

#include "kernels/gemm/gemm.h"

namespace koine {

enum class PanelType { kFloat32, kBFloat16Pairs };

inline constexpr std::size_t size_of(PanelType type) { return type == PanelType::kFloat32 ? 4 : 2; }

/// Rows of so many fp32 or bf16 are no multiple of 4 KB, so that those of a tile do not fall into the same cache sets.
inline constexpr std::int64_t kBlockDepth = 992;
inline constexpr std::int64_t kDepthUnit = 32;
inline constexpr std::int64_t kMostDenseDepth = 4096;
inline constexpr std::int64_t kFewRows = 256;

/// One tile and one block of k. All strides in elements.
struct TileProduct {
  std::int64_t rows = 0;
  std::int64_t columns = 0;  ///< a multiple of the engine's panel_columns
  std::int64_t depth = 0;    ///< a multiple of the engine's depth_unit
  const void* a = nullptr;   ///< [rows, depth], row stride lda, of the panels' element type
  std::int64_t lda = 0;
  const void* panels = nullptr;
  std::int64_t panel_stride = 0;
  float* sums = nullptr;  ///< [rows, columns], contiguous
  bool add = false;       ///< sums += instead of sums =
};

struct TileEngine {
  PanelType panel_type = PanelType::kFloat32;
  std::int64_t panel_columns = 64;  ///< a multiple of 16
  std::int64_t depth_unit = 1;      ///< divides kDepthUnit
  /// The engine wants lda == depth. Rows read in place are then not cut into blocks, and only up to kMostDenseDepth.
  bool dense_rows = false;
  void (*multiply)(const TileProduct&) = nullptr;
};

std::size_t blocked_workspace_bytes(const TileEngine& engine, const GemmArguments& arguments);
void blocked_product(const TileEngine& engine, const GemmArguments& arguments, void* workspace);

// What is vectorised for the processor at hand (gemm_packing.cpp).

/// Rows first_row .. first_row + rows - 1 and columns first_column .. first_column + columns - 1 (at most panel_columns) of
/// op(B) as one panel of rows rounded up to kDepthUnit.
void pack_panel(const TileEngine& engine, const GemmArguments& arguments, std::int64_t first_row, std::int64_t rows,
                std::int64_t first_column, std::int64_t columns, void* panel);

/// Rows first_row .. first_row + rows - 1 and columns first_column .. first_column + columns - 1 of op(A) as contiguous
/// [rows, columns rounded up to kDepthUnit] of `type`'s elements.
void pack_rows(PanelType type, const GemmArguments& arguments, std::int64_t first_row, std::int64_t rows,
               std::int64_t first_column, std::int64_t columns, void* packed);

/// Applies the epilogue to the finished sums [rows, columns] (row stride `stride`) of the part of C that begins at
/// (first_row, first_column).
void finish_tile(const GemmArguments& arguments, std::int64_t first_row, std::int64_t rows, std::int64_t first_column,
                 std::int64_t columns, const float* sums, std::int64_t stride);

}  // namespace koine
