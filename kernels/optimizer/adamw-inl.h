// One step of AdamW on vectors, whose products that feed additions are multiply-adds. Included once per target
// (kernels/common/vector_targets.h).

#if defined(KOINE_KERNELS_OPTIMIZER_ADAMW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KOINE_KERNELS_OPTIMIZER_ADAMW_INL_H_
#undef KOINE_KERNELS_OPTIMIZER_ADAMW_INL_H_
#else
#define KOINE_KERNELS_OPTIMIZER_ADAMW_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/optimizer/adamw.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// moment += (1 - beta1) (gradient - moment);  second = beta2 second + (1 - beta2) gradient^2
template <class D, class V>
HWY_INLINE void update_moments(D d, V& first_moment, V& second_moment, V gradient, const AdamWStep& step) {
  const auto squared = hn::Mul(gradient, gradient);
  first_moment = hn::MulAdd(hn::Set(d, step.one_minus_beta1), hn::Sub(gradient, first_moment), first_moment);
  second_moment = hn::MulAdd(hn::Set(d, step.one_minus_beta2), squared, hn::Mul(hn::Set(d, step.beta2), second_moment));
}

/// What a step divides by.
template <class D, class V>
HWY_INLINE V denominator_of(D d, V second_moment, const AdamWStep& step) {
  const auto root = hn::Div(hn::Sqrt(second_moment), hn::Set(d, step.sqrt_correction2));
  return hn::Add(root, hn::Set(d, step.epsilon));
}

template <class D, class V>
HWY_INLINE void adamw_update(D d, V& parameter, V& first_moment, V& second_moment, V gradient, const AdamWStep& step) {
  update_moments(d, first_moment, second_moment, gradient, step);
  const auto scaled = hn::Mul(hn::Set(d, step.step_size), first_moment);
  const auto change = hn::Div(scaled, denominator_of(d, second_moment, step));
  parameter = hn::MulSub(parameter, hn::Set(d, step.one_minus_rate_decay), change);
}

}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#endif
