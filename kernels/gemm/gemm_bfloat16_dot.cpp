#include <algorithm>

#include "kernels/gemm/gemm_packed.h"

#if defined(__x86_64__) && (defined(__clang__) || __GNUC__ >= 10)
#include <immintrin.h>
#define KOINE_TARGET_BF16 __attribute__((target("avx512f,avx512bf16")))
#endif

namespace koine {

#if defined(KOINE_TARGET_BF16)
namespace {

constexpr int kRows = 6;
constexpr int kVectors = 4;
constexpr int kLanes = 16;
constexpr std::int64_t kPanelColumns = kVectors * kLanes;
// Depth for which a panel's rows stay in the first-level cache while all rows of the tile pass.
constexpr std::int64_t kCachedDepth = 1024;

struct Strip {
  std::int64_t pairs;
  const BFloat16* a;
  std::int64_t lda;
  const BFloat16* panel;
  float* sums;
  std::int64_t stride;
  bool add;
};

// sums[Rows, 64] (+)= a[Rows, 2 pairs] * panel[2 pairs, 64]; each sum one chain in ascending depth.
template <int Rows>
KOINE_TARGET_BF16 void multiply_strip(const Strip& strip) {
  __m512 sums[Rows][kVectors];
  for (int r = 0; r < Rows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      sums[r][v] = strip.add ? _mm512_loadu_ps(strip.sums + r * strip.stride + v * kLanes) : _mm512_setzero_ps();
    }
  }
  const BFloat16* a = strip.a;
  const BFloat16* panel = strip.panel;
  const std::int64_t lda = strip.lda;
  for (std::int64_t pair = 0; pair < strip.pairs; ++pair, a += 2, panel += 2 * kPanelColumns) {
    __m512bh b[kVectors];
    for (int v = 0; v < kVectors; ++v) b[v] = (__m512bh)_mm512_loadu_si512(panel + 2 * v * kLanes);
    for (int r = 0; r < Rows; ++r) {
      std::int32_t both;
      __builtin_memcpy(&both, a + r * lda, sizeof both);
      const __m512bh broadcast = (__m512bh)_mm512_set1_epi32(both);
      for (int v = 0; v < kVectors; ++v) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], broadcast, b[v]);
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int v = 0; v < kVectors; ++v) _mm512_storeu_ps(strip.sums + r * strip.stride + v * kLanes, sums[r][v]);
  }
}

constexpr void (*kStrips[kRows + 1])(const Strip&) = {nullptr,           multiply_strip<1>, multiply_strip<2>,
                                                      multiply_strip<3>, multiply_strip<4>, multiply_strip<5>,
                                                      multiply_strip<6>};

}  // namespace

bool bfloat16_dot_available() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512bf16") != 0;
}

void multiply_bfloat16_dot(const TileProduct& product) {
  const auto* a = static_cast<const BFloat16*>(product.a);
  const auto* panels = static_cast<const BFloat16*>(product.panels);
  for (std::int64_t column = 0; column < product.columns; column += kPanelColumns) {
    const BFloat16* panel = panels + column / kPanelColumns * product.panel_stride;
    for (std::int64_t depth = 0; depth < product.depth; depth += kCachedDepth) {
      for (std::int64_t row = 0; row < product.rows; row += kRows) {
        kStrips[std::min<std::int64_t>(kRows, product.rows - row)](
            {std::min(kCachedDepth, product.depth - depth) / 2, a + row * product.lda + depth, product.lda,
             panel + depth * kPanelColumns, product.sums + row * product.columns + column, product.columns,
             product.add || depth > 0});
      }
    }
  }
}

#else

bool bfloat16_dot_available() { return false; }
void multiply_bfloat16_dot(const TileProduct&) { check(false, "this build has no bf16 dot products"); }

#endif

}  // namespace koine
