// A task is a block of rows; the draws of a segment of a row are made just before they are used.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/dropout/dropout_cpu.cpp"
#include "kernels/common/vector_targets.h"
#include "kernels/common/vector-inl.h"
#include "kernels/random/dropout_mask-inl.h"
// clang-format on

#include <algorithm>

#include "kernels/common/parallel.h"
#include "kernels/dropout/dropout.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace {

constexpr std::int64_t kSegment = 512;

template <class T>
void drop_rows(const DropoutArguments& a, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const std::uint32_t threshold = a.dropout.threshold();
  const float scale = a.dropout.scale();
  const bool drops = a.dropout.active();
  HWY_ALIGN std::uint16_t draws[kSegment + kDrawPadding];
  for (std::int64_t row = begin; row < end; ++row) {
    for (std::int64_t column = 0; column < a.width; column += kSegment) {
      const std::int64_t count = std::min(kSegment, a.width - column);
      const std::int64_t first = row * a.width + column;
      const T* input = static_cast<const T*>(a.input) + first;
      const T* residual = a.residual == nullptr ? nullptr : static_cast<const T*>(a.residual) + first;
      T* output = static_cast<T*>(a.output) + first;
      if (drops) {
        fill_hidden_draws(a.dropout, a.dropout.examples[row], static_cast<std::uint32_t>(a.dropout.positions[row]), column,
                          count, draws);
      }
      for_lanes(d, count, [&](std::int64_t i, auto lanes) KOINE_LANES {
        const auto multiplier = drops ? keep_multiplier(d, draws + i, threshold, scale) : hn::Set(d, 1.0f);
        const auto value = lanes.load(d, input + i);
        const auto result =
            residual == nullptr ? hn::Mul(value, multiplier) : hn::MulAdd(value, multiplier, lanes.load(d, residual + i));
        lanes.store(d, result, output + i);
      });
    }
  }
}

void drop(const DropoutArguments& a, std::int64_t begin, std::int64_t end) {
  a.type == DType::kFloat32 ? drop_rows<float>(a, begin, end) : drop_rows<BFloat16>(a, begin, end);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace koine {
namespace {
HWY_EXPORT(drop);
}  // namespace

void dropout_cpu(const Context&, const DropoutArguments& a, void*) {
  parallel_ranges(a.rows, rows_of_a_task(a.width), [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(drop)(a, begin, end);
  });
}

}  // namespace koine
#endif
