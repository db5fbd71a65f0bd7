// The packed variant: our own kernels for one tile, in fp32 for the processor at hand, or by bf16 dot products where it has
// them.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/gemm_packed.cpp"
#include "kernels/common/vector_targets.h"
#include "kernels/common/vector-inl.h"
// clang-format on

#include "kernels/gemm/gemm_packed.h"

#include <algorithm>

#include "kernels/gemm/gemm_blocked.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace {

using Floats = hn::ScalableTag<float>;
constexpr std::int64_t kLanes = static_cast<std::int64_t>(hn::MaxLanes(Floats()));
// AVX-512 has 32 registers: 6 rows x 4 vectors of sums. Others have 16: 6 x 2.
constexpr int kVectors = kLanes == 16 ? 4 : 2;
constexpr int kRows = 6;
constexpr std::int64_t kPanelColumns = kVectors * kLanes >= 16 ? kVectors * kLanes : 16;
// Depth for which a panel's rows stay in the first-level cache while all rows of the tile pass.
constexpr std::int64_t kCachedDepth = 512;

struct Strip {
  std::int64_t depth;
  const float* a;
  std::int64_t lda;
  const float* panel;  // row stride kPanelColumns
  float* sums;
  std::int64_t stride;
  bool add;
};

// sums[Rows, kVectors * kLanes] (+)= a[Rows, depth] * panel[depth, kVectors * kLanes]; each sum one chain in ascending
// depth.
template <int Rows>
void multiply_strip(const Strip& strip) {
  const Floats d;
  hn::Vec<Floats> sums[Rows][kVectors];
  for (int r = 0; r < Rows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      sums[r][v] = strip.add ? hn::LoadU(d, strip.sums + r * strip.stride + v * kLanes) : hn::Zero(d);
    }
  }
  const float* a = strip.a;
  const float* panel = strip.panel;
  const std::int64_t lda = strip.lda;
  for (std::int64_t k = 0; k < strip.depth; ++k, ++a, panel += kPanelColumns) {
    hn::Vec<Floats> b[kVectors];
    for (int v = 0; v < kVectors; ++v) b[v] = hn::LoadU(d, panel + v * kLanes);
    for (int r = 0; r < Rows; ++r) {
      const auto broadcast = hn::Set(d, a[r * lda]);
      for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::MulAdd(broadcast, b[v], sums[r][v]);
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sums[r][v], d, strip.sums + r * strip.stride + v * kLanes);
  }
}

constexpr void (*kStrips[kRows + 1])(const Strip&) = {nullptr,           multiply_strip<1>, multiply_strip<2>,
                                                      multiply_strip<3>, multiply_strip<4>, multiply_strip<5>,
                                                      multiply_strip<6>};

void multiply_floats(const TileProduct& product) {
  const auto* a = static_cast<const float*>(product.a);
  const auto* panels = static_cast<const float*>(product.panels);
  for (std::int64_t column = 0; column < product.columns; column += kVectors * kLanes) {
    const float* panel = panels + column / kPanelColumns * product.panel_stride + column % kPanelColumns;
    for (std::int64_t depth = 0; depth < product.depth; depth += kCachedDepth) {
      for (std::int64_t row = 0; row < product.rows; row += kRows) {
        kStrips[std::min<std::int64_t>(kRows, product.rows - row)](
            {std::min(kCachedDepth, product.depth - depth), a + row * product.lda + depth, product.lda,
             panel + depth * kPanelColumns, product.sums + row * product.columns + column, product.columns,
             product.add || depth > 0});
      }
    }
  }
}

std::int64_t panel_columns() { return kPanelColumns; }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace koine {
namespace {

HWY_EXPORT(multiply_floats);
HWY_EXPORT(panel_columns);

// Pairs where the processor multiplies them, else fp32. Made anew each time, because tests change what is dispatched to.
TileEngine engine_for(const GemmArguments& arguments) {
  static const bool have_pairs = bfloat16_dot_available();
  const std::int64_t columns = HWY_DYNAMIC_DISPATCH(panel_columns)();
  if (arguments.input_type == DType::kBFloat16 && have_pairs && columns == 64) {
    return {PanelType::kBFloat16Pairs, 64, 2, false, multiply_bfloat16_dot};
  }
  return {PanelType::kFloat32, columns, 1, false, [](const TileProduct& product) {
            HWY_DYNAMIC_DISPATCH(multiply_floats)(product);
          }};
}

}  // namespace

bool gemm_packed_supports(const GemmArguments& arguments) {
  return arguments.input_type != DType::kFloat64 && arguments.output_type != DType::kFloat64 && !arguments.dropout.active();
}

std::size_t gemm_packed_workspace(const GemmArguments& arguments) {
  return blocked_workspace_bytes(engine_for(arguments), arguments);
}

void gemm_packed(const Context&, const GemmArguments& arguments, void* workspace) {
  blocked_product(engine_for(arguments), arguments, workspace);
}

}  // namespace koine
#endif
