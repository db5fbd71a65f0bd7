// A row of logits, piece by piece: the two passes softmax_cross_entropy and span_loss are made of. Included once per target
// (kernels/common/vector_targets.h).

#if defined(KOINE_KERNELS_SOFTMAX_CROSS_ENTROPY_SOFTMAX_ROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KOINE_KERNELS_SOFTMAX_CROSS_ENTROPY_SOFTMAX_ROW_INL_H_
#undef KOINE_KERNELS_SOFTMAX_CROSS_ENTROPY_SOFTMAX_ROW_INL_H_
#else
#define KOINE_KERNELS_SOFTMAX_CROSS_ENTROPY_SOFTMAX_ROW_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <limits>

#include "kernels/common/vector-inl.h"
#include "kernels/softmax_cross_entropy/softmax_statistics.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// The largest of `count` logits and the sum of exp(logit - largest). Logits of minus infinity are allowed.
template <class T>
SoftmaxStatistics softmax_statistics(const T* logits, std::int64_t count) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t whole = count / lanes * lanes;
  const auto left = static_cast<std::size_t>(count - whole);
  // The lowest finite number, so that a piece of nothing but minus infinity sums to 0 and not to NaN.
  const auto lowest = hn::Set(d, std::numeric_limits<float>::lowest());
  auto largest = lowest;
  for (std::int64_t c = 0; c < whole; c += lanes) largest = hn::Max(largest, load_float(d, logits + c));
  auto tail = lowest;
  if (left > 0) tail = hn::IfThenElse(hn::FirstN(d, left), load_partial(d, logits + whole, left), lowest);
  largest = hn::MaxOfLanes(d, hn::Max(largest, tail));
  auto sum = hn::Zero(d);
  for (std::int64_t c = 0; c < whole; c += lanes) sum = hn::Add(sum, exp(d, hn::Sub(load_float(d, logits + c), largest)));
  if (left > 0) sum = hn::Add(sum, hn::IfThenElseZero(hn::FirstN(d, left), exp(d, hn::Sub(tail, largest))));
  return {hn::GetLane(largest), sum_lanes(d, sum)};
}

/// d_logits[c] = factor * exp(logits[c] - largest), and less `label_gradient` at `label` (none: outside [0, count)). In
/// place allowed where the types are one.
template <class T, class Gradient>
void softmax_gradient(const T* logits, std::int64_t count, float largest, float factor, std::int64_t label,
                      float label_gradient, Gradient* d_logits) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto shift = hn::Set(d, largest);
  const auto scale = hn::Set(d, factor);
  const auto gradient = [&](hn::Vec<decltype(d)> x) HWY_ATTR { return hn::Mul(exp(d, hn::Sub(x, shift)), scale); };
  const bool labelled = label >= 0 && label < count;
  // Before the row is overwritten, and before it is rounded.
  const float at_label = labelled ? hn::GetLane(gradient(hn::Set(d, to_float(logits[label])))) - label_gradient : 0;
  std::int64_t c = 0;
  for (; c + lanes <= count; c += lanes) store_float(d, gradient(load_float(d, logits + c)), d_logits + c);
  if (c < count) {
    const auto left = static_cast<std::size_t>(count - c);
    store_partial(d, gradient(load_partial(d, logits + c, left)), d_logits + c, left);
  }
  if (labelled) store_element(d_logits, sizeof(Gradient) == 2 ? DType::kBFloat16 : DType::kFloat32, label, at_label);
}

}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#endif
