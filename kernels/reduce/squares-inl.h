// The sum of squares of a range, in double with the vector's lanes in a fixed order. Included once per target
// (kernels/common/vector_targets.h).

#if defined(KOINE_KERNELS_REDUCE_SQUARES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KOINE_KERNELS_REDUCE_SQUARES_INL_H_
#undef KOINE_KERNELS_REDUCE_SQUARES_INL_H_
#else
#define KOINE_KERNELS_REDUCE_SQUARES_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

#include "kernels/common/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

inline double squares(const float* values, std::int64_t count) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> d32;
  hn::Vec<decltype(d)> slots[kSlots] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  for_lanes_in_slots(d32, count, [&](std::int64_t i, auto lanes, auto slot) KOINE_LANES {
    const auto value = hn::PromoteTo(d, lanes.load(d32, values + i));
    slots[slot] = hn::MulAdd(value, value, slots[slot]);
  });
  const auto sum = hn::Add(hn::Add(slots[0], slots[1]), hn::Add(slots[2], slots[3]));
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#endif
