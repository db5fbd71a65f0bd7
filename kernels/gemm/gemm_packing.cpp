// Packing of operands and the epilogue of a tile (gemm_blocked.h), vectorised for the processor at hand.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/gemm_packing.cpp"
#include "kernels/common/vector_targets.h"
#include "kernels/common/vector-inl.h"
// clang-format on

#include <algorithm>
#include <cstring>

#include "kernels/gemm/gemm_blocked.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace {

using Words = hn::ScalableTag<std::uint32_t>;
using Floats = hn::ScalableTag<float>;
using WordVector = hn::Vec<Words>;
constexpr std::int64_t kLanes = static_cast<std::int64_t>(hn::MaxLanes(Floats()));
static_assert(kLanes == 4 || kLanes == 8 || kLanes == 16, "transpose_words knows 128, 256 and 512 bits");

// --- packed words --------------------------------------------------------------------------------------------------------
//
// Everything is packed in 32-bit words: an fp32, or two bf16 of consecutive k (the lower half first).

HWY_INLINE WordVector as_words(hn::Vec<Floats> value) { return hn::BitCast(Words(), value); }

// `count` (at most kLanes) consecutive elements as fp32 words, 0 beyond.
template <class T>
HWY_INLINE WordVector load_float_words(const T* from, std::int64_t count) {
  const Floats d;
  return as_words(count >= kLanes ? load_float(d, from) : load_partial(d, from, static_cast<std::size_t>(count)));
}

// 2 * kLanes consecutive bf16 as kLanes words; `count` elements, 0 beyond.
HWY_INLINE WordVector load_neighbours(const BFloat16* from, std::int64_t count) {
  const Words d;
  if (count >= 2 * kLanes) return hn::LoadU(d, reinterpret_cast<const std::uint32_t*>(from));
  HWY_ALIGN std::uint32_t words[kLanes] = {};
  std::memcpy(words, from, static_cast<std::size_t>(count) * sizeof(BFloat16));
  return hn::Load(d, words);
}

// Words of two rows: column j is (even[j], odd[j]). A null odd row reads as 0.
HWY_INLINE WordVector load_row_pair(const BFloat16* even, const BFloat16* odd, std::int64_t count) {
  const auto low = hn::ShiftRight<16>(load_float_words(even, count));
  return odd == nullptr ? low : hn::Or(low, load_float_words(odd, count));
}

template <class T>
const T* element_at(const void* matrix, std::int64_t row, std::int64_t stride, std::int64_t column) {
  return static_cast<const T*>(matrix) + row * stride + column;
}

// --- transposition -------------------------------------------------------------------------------------------------------

// In each block of four lanes: rows become columns.
HWY_INLINE void transpose_blocks(WordVector* rows) {
  const Words d;
  const hn::Repartition<std::uint64_t, Words> d64;
  const auto wide = [&](auto v) { return hn::BitCast(d64, v); };
  const auto ab_low = wide(hn::InterleaveLower(d, rows[0], rows[1]));
  const auto ab_high = wide(hn::InterleaveUpper(d, rows[0], rows[1]));
  const auto cd_low = wide(hn::InterleaveLower(d, rows[2], rows[3]));
  const auto cd_high = wide(hn::InterleaveUpper(d, rows[2], rows[3]));
  rows[0] = hn::BitCast(d, hn::InterleaveLower(d64, ab_low, cd_low));
  rows[1] = hn::BitCast(d, hn::InterleaveUpper(d64, ab_low, cd_low));
  rows[2] = hn::BitCast(d, hn::InterleaveLower(d64, ab_high, cd_high));
  rows[3] = hn::BitCast(d, hn::InterleaveUpper(d64, ab_high, cd_high));
}

// Exchanges blocks of four lanes so that column 4 b + j, whose part from rows 4 g .. 4 g + 3 is block b of vectors[4 g + j],
// ends whole in columns[4 b + j].
template <std::int64_t Lanes, class D>
HWY_INLINE void gather_columns(D d, const hn::Vec<D>* vectors, hn::Vec<D>* columns) {
  if constexpr (Lanes == 16) {
    for (int j = 0; j < 4; ++j) {
      const auto a = vectors[j], b = vectors[4 + j], c = vectors[8 + j], e = vectors[12 + j];
      const auto ab_even = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(b), a);
      const auto ab_odd = hn::OddEvenBlocks(b, hn::SwapAdjacentBlocks(a));
      const auto ce_even = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(e), c);
      const auto ce_odd = hn::OddEvenBlocks(e, hn::SwapAdjacentBlocks(c));
      columns[j] = hn::ConcatLowerLower(d, ce_even, ab_even);
      columns[4 + j] = hn::ConcatLowerLower(d, ce_odd, ab_odd);
      columns[8 + j] = hn::ConcatUpperUpper(d, ce_even, ab_even);
      columns[12 + j] = hn::ConcatUpperUpper(d, ce_odd, ab_odd);
    }
  } else if constexpr (Lanes == 8) {
    for (int j = 0; j < 4; ++j) {
      columns[j] = hn::ConcatLowerLower(d, vectors[4 + j], vectors[j]);
      columns[4 + j] = hn::ConcatUpperUpper(d, vectors[4 + j], vectors[j]);
    }
  } else {
    for (int j = 0; j < Lanes; ++j) columns[j] = vectors[j];
  }
}

// out[column * stride + row] = word `column` of load(row, first column of a vector), for rows rounded up to kLanes (rows
// beyond read as 0) and `columns` columns.
template <class Load>
HWY_INLINE void transpose_words(const Load& load, std::int64_t rows, std::int64_t columns, std::uint32_t* out,
                                std::int64_t stride) {
  const Words d;
  for (std::int64_t row = 0; row < rows; row += kLanes) {
    for (std::int64_t column = 0; column < columns; column += kLanes) {
      WordVector in[kLanes], turned[kLanes];
      for (std::int64_t r = 0; r < kLanes; ++r) in[r] = row + r < rows ? load(row + r, column) : hn::Zero(d);
      for (std::int64_t group = 0; group < kLanes; group += 4) transpose_blocks(in + group);
      gather_columns<kLanes>(d, in, turned);
      const std::int64_t stored = std::min(kLanes, columns - column);
      for (std::int64_t c = 0; c < stored; ++c) hn::StoreU(turned[c], d, out + (column + c) * stride + row);
    }
  }
}

// --- op(B) -> panels -----------------------------------------------------------------------------------------------------

// B [k, n]: rows of the panel are parts of B's rows (or of two of them).
template <class T>
void pack_straight_panel(const GemmArguments& g, PanelType type, std::int64_t width, std::int64_t first_row,
                         std::int64_t rows, std::int64_t first_column, std::int64_t columns, std::uint32_t* panel) {
  const Words d;
  const std::int64_t step = type == PanelType::kFloat32 ? 1 : 2;
  for (std::int64_t row = 0; row < rows; row += step) {
    const T* even = element_at<T>(g.b, first_row + row, g.ldb, first_column);
    std::uint32_t* to = panel + row / step * width;
    for (std::int64_t column = 0; column < width; column += kLanes) {
      const std::int64_t count = columns - column;
      WordVector words = hn::Zero(d);
      if (count > 0) {
        if constexpr (sizeof(T) == sizeof(BFloat16)) {
          words = step == 1 ? load_float_words(even + column, count)
                            : load_row_pair(even + column, row + 1 < rows ? even + g.ldb + column : nullptr, count);
        } else {
          words = load_float_words(even + column, count);
        }
      }
      hn::StoreU(words, d, to + column);
    }
  }
}

// B [n, k]: columns of the panel are parts of B's rows.
template <class T>
void pack_turned_panel(const GemmArguments& g, PanelType type, std::int64_t width, std::int64_t first_row, std::int64_t rows,
                       std::int64_t first_column, std::int64_t columns, std::uint32_t* panel) {
  const T* corner = element_at<T>(g.b, first_column, g.ldb, first_row);
  if (type == PanelType::kFloat32) {
    transpose_words(
        [&](std::int64_t column, std::int64_t row) { return load_float_words(corner + column * g.ldb + row, rows - row); },
        columns, rows, panel, width);
  } else if constexpr (sizeof(T) == sizeof(BFloat16)) {
    transpose_words([&](std::int64_t column,
                        std::int64_t row) { return load_neighbours(corner + column * g.ldb + 2 * row, rows - 2 * row); },
                    columns, (rows + 1) / 2, panel, width);
  }
  const std::int64_t written = (columns + kLanes - 1) / kLanes * kLanes;
  if (written == width) return;
  const std::int64_t lines = type == PanelType::kFloat32 ? rows : (rows + 1) / 2;
  for (std::int64_t line = 0; line < lines; ++line)
    std::fill(panel + line * width + written, panel + (line + 1) * width, 0u);
}

template <class T>
void pack_panel_of(const TileEngine& engine, const GemmArguments& g, std::int64_t first_row, std::int64_t rows,
                   std::int64_t first_column, std::int64_t columns, std::uint32_t* panel) {
  const std::int64_t width = engine.panel_columns;
  if (g.transpose_b) {
    pack_turned_panel<T>(g, engine.panel_type, width, first_row, rows, first_column, columns, panel);
  } else {
    pack_straight_panel<T>(g, engine.panel_type, width, first_row, rows, first_column, columns, panel);
  }
  const std::int64_t per_line = engine.panel_type == PanelType::kFloat32 ? 1 : 2;
  const std::int64_t lines = (rows + per_line - 1) / per_line;
  const std::int64_t padded_lines = (rows + kDepthUnit - 1) / kDepthUnit * kDepthUnit / per_line;
  std::fill(panel + lines * width, panel + padded_lines * width, 0u);
}

void pack_panel_target(const TileEngine& engine, const GemmArguments& g, std::int64_t first_row, std::int64_t rows,
                       std::int64_t first_column, std::int64_t columns, void* panel) {
  auto* words = static_cast<std::uint32_t*>(panel);
  if (g.input_type == DType::kFloat32) {
    pack_panel_of<float>(engine, g, first_row, rows, first_column, columns, words);
  } else {
    pack_panel_of<BFloat16>(engine, g, first_row, rows, first_column, columns, words);
  }
}

// --- op(A) -> rows -------------------------------------------------------------------------------------------------------

// A [m, k]: rows copied, or converted to fp32.
template <class T>
void pack_straight_rows(PanelType type, const GemmArguments& g, std::int64_t first_row, std::int64_t rows,
                        std::int64_t first_column, std::int64_t columns, void* packed) {
  const Words d;
  const std::int64_t stride = (columns + kDepthUnit - 1) / kDepthUnit * kDepthUnit;
  for (std::int64_t row = 0; row < rows; ++row) {
    const T* from = element_at<T>(g.a, first_row + row, g.lda, first_column);
    if (size_of(type) == sizeof(T)) {
      T* to = static_cast<T*>(packed) + row * stride;
      std::memcpy(to, from, static_cast<std::size_t>(columns) * sizeof(T));
      std::memset(to + columns, 0, static_cast<std::size_t>(stride - columns) * sizeof(T));
    } else {
      auto* to = static_cast<std::uint32_t*>(packed) + row * stride;
      for (std::int64_t column = 0; column < stride; column += kLanes) {
        const std::int64_t count = columns - column;
        hn::StoreU(count > 0 ? load_float_words(from + column, count) : hn::Zero(d), d, to + column);
      }
    }
  }
}

// A [k, m]: rows of the packed matrix are parts of A's columns.
template <class T>
void pack_turned_rows(PanelType type, const GemmArguments& g, std::int64_t first_row, std::int64_t rows,
                      std::int64_t first_column, std::int64_t columns, void* packed) {
  auto* out = static_cast<std::uint32_t*>(packed);
  const std::int64_t per_word = type == PanelType::kFloat32 ? 1 : 2;
  const std::int64_t words = (columns + per_word - 1) / per_word;
  const std::int64_t stride = (columns + kDepthUnit - 1) / kDepthUnit * kDepthUnit / per_word;
  const T* corner = element_at<T>(g.a, first_column, g.lda, first_row);
  if (type == PanelType::kFloat32) {
    transpose_words(
        [&](std::int64_t column, std::int64_t row) { return load_float_words(corner + column * g.lda + row, rows - row); },
        words, rows, out, stride);
  } else if constexpr (sizeof(T) == sizeof(BFloat16)) {
    transpose_words(
        [&](std::int64_t pair, std::int64_t row) {
          const BFloat16* even = corner + 2 * pair * g.lda + row;
          return load_row_pair(even, 2 * pair + 1 < columns ? even + g.lda : nullptr, rows - row);
        },
        words, rows, out, stride);
  }
  const std::int64_t written = (words + kLanes - 1) / kLanes * kLanes;
  for (std::int64_t row = 0; row < rows && written < stride; ++row) {
    std::fill(out + row * stride + written, out + (row + 1) * stride, 0u);
  }
}

template <class T>
void pack_rows_of(PanelType type, const GemmArguments& g, std::int64_t first_row, std::int64_t rows,
                  std::int64_t first_column, std::int64_t columns, void* packed) {
  if (g.transpose_a) {
    pack_turned_rows<T>(type, g, first_row, rows, first_column, columns, packed);
  } else {
    pack_straight_rows<T>(type, g, first_row, rows, first_column, columns, packed);
  }
}

void pack_rows_target(PanelType type, const GemmArguments& g, std::int64_t first_row, std::int64_t rows,
                      std::int64_t first_column, std::int64_t columns, void* packed) {
  if (g.input_type == DType::kFloat32) {
    pack_rows_of<float>(type, g, first_row, rows, first_column, columns, packed);
  } else {
    pack_rows_of<BFloat16>(type, g, first_row, rows, first_column, columns, packed);
  }
}

// --- epilogue ------------------------------------------------------------------------------------------------------------

template <class T>
HWY_INLINE hn::Vec<Floats> load_some(const T* from, std::int64_t count) {
  const Floats d;
  return count >= kLanes ? load_float(d, from) : load_partial(d, from, static_cast<std::size_t>(count));
}

template <class T>
HWY_INLINE void store_some(hn::Vec<Floats> value, T* to, std::int64_t count) {
  const Floats d;
  if (count >= kLanes) {
    store_float(d, value, to);
  } else {
    store_partial(d, value, to, static_cast<std::size_t>(count));
  }
}

template <class T, GemmEpilogue kEpilogue>
void finish_rows(const GemmArguments& g, std::int64_t first_row, std::int64_t rows, std::int64_t first_column,
                 std::int64_t columns, const float* sums, std::int64_t stride) {
  const Floats d;
  const float* bias = g.bias == nullptr ? nullptr : g.bias + first_column;
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t offset = (first_row + row) * g.ldc + first_column;
    T* c = static_cast<T*>(g.c) + offset;
    T* pre_activation = g.pre_activation == nullptr ? nullptr : static_cast<T*>(g.pre_activation) + offset;
    const T* residual = g.residual == nullptr ? nullptr : static_cast<const T*>(g.residual) + offset;
    for (std::int64_t column = 0; column < columns; column += kLanes) {
      const std::int64_t count = columns - column;
      auto value = hn::LoadU(d, sums + row * stride + column);
      if (bias != nullptr) value = hn::Add(value, load_some(bias + column, count));
      if constexpr (kEpilogue == GemmEpilogue::kGelu) {
        value = rounded_to<T>(d, value);
        if (pre_activation != nullptr) store_some(value, pre_activation + column, count);
        value = gelu_erf(d, value);
      } else if constexpr (kEpilogue == GemmEpilogue::kGeluGradient) {
        value = hn::Mul(value, gelu_erf_gradient(d, load_some(pre_activation + column, count)));
      } else {
        if (residual != nullptr) value = hn::Add(value, load_some(residual + column, count));
        if (g.accumulate) value = hn::Add(load_some(c + column, count), value);
      }
      store_some(value, c + column, count);
    }
  }
}

template <class T>
void finish_tile_of(const GemmArguments& g, std::int64_t first_row, std::int64_t rows, std::int64_t first_column,
                    std::int64_t columns, const float* sums, std::int64_t stride) {
  const auto finish = g.epilogue == GemmEpilogue::kNone   ? finish_rows<T, GemmEpilogue::kNone>
                      : g.epilogue == GemmEpilogue::kGelu ? finish_rows<T, GemmEpilogue::kGelu>
                                                          : finish_rows<T, GemmEpilogue::kGeluGradient>;
  finish(g, first_row, rows, first_column, columns, sums, stride);
}

void finish_tile_target(const GemmArguments& g, std::int64_t first_row, std::int64_t rows, std::int64_t first_column,
                        std::int64_t columns, const float* sums, std::int64_t stride) {
  if (g.output_type == DType::kFloat32) {
    finish_tile_of<float>(g, first_row, rows, first_column, columns, sums, stride);
  } else {
    finish_tile_of<BFloat16>(g, first_row, rows, first_column, columns, sums, stride);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace koine {

HWY_EXPORT(pack_panel_target);
HWY_EXPORT(pack_rows_target);
HWY_EXPORT(finish_tile_target);

void pack_panel(const TileEngine& engine, const GemmArguments& arguments, std::int64_t first_row, std::int64_t rows,
                std::int64_t first_column, std::int64_t columns, void* panel) {
  HWY_DYNAMIC_DISPATCH(pack_panel_target)(engine, arguments, first_row, rows, first_column, columns, panel);
}

void pack_rows(PanelType type, const GemmArguments& arguments, std::int64_t first_row, std::int64_t rows,
               std::int64_t first_column, std::int64_t columns, void* packed) {
  HWY_DYNAMIC_DISPATCH(pack_rows_target)(type, arguments, first_row, rows, first_column, columns, packed);
}

void finish_tile(const GemmArguments& arguments, std::int64_t first_row, std::int64_t rows, std::int64_t first_column,
                 std::int64_t columns, const float* sums, std::int64_t stride) {
  HWY_DYNAMIC_DISPATCH(finish_tile_target)(arguments, first_row, rows, first_column, columns, sums, stride);
}

}  // namespace koine
#endif
