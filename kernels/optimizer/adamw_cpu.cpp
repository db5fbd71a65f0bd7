// Both forms apply one inlined function, adamw_update(), whose products that feed additions are written as multiply-adds: so the
// dense update and the replay of missed steps compute the same bits. Dense: a task is a range of elements. Rows: a task is a
// block of rows; each vector stays in registers from its first missed step to the last. Where both moments are zero bit for
// bit (a row no gradient has reached) a step is the decay alone.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/optimizer/adamw_cpu.cpp"
#include "kernels/common/vector_targets.h"
#include "kernels/common/vector-inl.h"
#include "kernels/optimizer/adamw-inl.h"
// clang-format on

#include <algorithm>

#include "kernels/common/parallel.h"
#include "kernels/optimizer/adamw.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace {

void dense(const AdamWArguments& a, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const auto factor = hn::Set(d, a.gradient_factor == nullptr ? 1.0f : *a.gradient_factor);
  const AdamWStep step = a.step_from == nullptr ? a.step : *a.step_from;
  for_lanes(d, end - begin, [&](std::int64_t offset, auto lanes) KOINE_LANES {
    const std::int64_t i = begin + offset;
    auto parameter = lanes.load(d, a.parameter + i);
    auto first = lanes.load(d, a.first_moment + i);
    auto second = lanes.load(d, a.second_moment + i);
    adamw_update(d, parameter, first, second, hn::Mul(factor, lanes.load(d, a.gradient + i)), step);
    lanes.store(d, parameter, a.parameter + i);
    lanes.store(d, first, a.first_moment + i);
    lanes.store(d, second, a.second_moment + i);
    if (a.working != nullptr) lanes.store(d, parameter, a.working + i);
    if (a.zero_gradient) lanes.store(d, hn::Zero(d), a.gradient + i);
  });
}

// Whether both moments of `count` elements are zero, signs included.
bool moments_are_zero(const float* first_moment, const float* second_moment, std::int64_t count) {
  const hn::ScalableTag<float> d;
  const hn::Rebind<std::int32_t, decltype(d)> di;
  auto bits = hn::Zero(di);
  for_lanes(d, count, [&](std::int64_t i, auto lanes) KOINE_LANES {
    const auto first = hn::BitCast(di, lanes.load(d, first_moment + i));
    const auto second = hn::BitCast(di, lanes.load(d, second_moment + i));
    bits = hn::Or(bits, hn::Or(first, second));
  });
  return hn::AllTrue(di, hn::Eq(bits, hn::Zero(di)));
}

/// What of a row is updated: `count` elements.
struct RowPart {
  std::int64_t count;
  float* parameter;
  float* gradient;
  float* first_moment;
  float* second_moment;
  BFloat16* working;
};
RowPart part_of(const AdamWRowsArguments& a, std::int64_t row) {
  const ElementRange inside = intersection({row * a.width, (row + 1) * a.width}, a.range);
  const std::int64_t state = inside.begin - a.range.begin;
  return {inside.count(),
          a.parameter + inside.begin,
          a.gradient + inside.begin,
          static_cast<float*>(a.first_moment) + state,
          static_cast<float*>(a.second_moment) + state,
          a.working == nullptr ? nullptr : a.working + inside.begin};
}

// parameter * the decay of each step in turn, for a row without moments. Eight vectors at a time hide the latency.
void decay_row(const AdamWRowsArguments& a, const RowPart& part, std::int64_t first_step, std::int64_t last_step) {
  const hn::ScalableTag<float> d;
  constexpr std::int64_t kVectors = 8;
  const auto lanes_of_a_vector = static_cast<std::int64_t>(hn::Lanes(d));
  float* parameter = part.parameter;
  std::int64_t i = 0;
  for (; i + kVectors * lanes_of_a_vector <= part.count; i += kVectors * lanes_of_a_vector) {
    hn::Vec<decltype(d)> values[kVectors];
    for (std::int64_t k = 0; k < kVectors; ++k) values[k] = hn::LoadU(d, parameter + i + k * lanes_of_a_vector);
    for (std::int64_t step = first_step; step <= last_step; ++step) {
      const auto decay = hn::Set(d, a.history[step].one_minus_rate_decay);
      for (std::int64_t k = 0; k < kVectors; ++k) values[k] = hn::Mul(values[k], decay);
    }
    for (std::int64_t k = 0; k < kVectors; ++k) hn::StoreU(values[k], d, parameter + i + k * lanes_of_a_vector);
  }
  for_lanes(d, part.count - i, [&](std::int64_t offset, auto lanes) KOINE_LANES {
    auto value = lanes.load(d, parameter + i + offset);
    for (std::int64_t step = first_step; step <= last_step; ++step) {
      value = hn::Mul(value, hn::Set(d, a.history[step].one_minus_rate_decay));
    }
    lanes.store(d, value, parameter + i + offset);
  });
}

// Replays steps first_step .. last_step of a row without a gradient, then, where with_gradient, applies step a.step.
void update_row(const AdamWRowsArguments& a, const RowPart& part, std::int64_t first_step, std::int64_t last_step) {
  const hn::ScalableTag<float> d;
  const auto factor = hn::Set(d, a.gradient_factor == nullptr ? 1.0f : *a.gradient_factor);
  for_lanes(d, part.count, [&](std::int64_t i, auto lanes) KOINE_LANES {
    auto parameter = lanes.load(d, part.parameter + i);
    auto first = lanes.load(d, part.first_moment + i);
    auto second = lanes.load(d, part.second_moment + i);
    for (std::int64_t step = first_step; step <= last_step; ++step) {
      adamw_update(d, parameter, first, second, hn::Zero(d), a.history[step]);
    }
    if (a.with_gradient) {
      adamw_update(d, parameter, first, second, hn::Mul(factor, lanes.load(d, part.gradient + i)), a.history[a.step]);
      if (a.zero_gradient) lanes.store(d, hn::Zero(d), part.gradient + i);
    }
    lanes.store(d, parameter, part.parameter + i);
    lanes.store(d, first, part.first_moment + i);
    lanes.store(d, second, part.second_moment + i);
    if (part.working != nullptr) lanes.store(d, parameter, part.working + i);
  });
}

void copy_to_working(const RowPart& part) {
  const hn::ScalableTag<float> d;
  for_lanes(d, part.count, [&](std::int64_t i, auto lanes) KOINE_LANES {
    lanes.store(d, lanes.load(d, part.parameter + i), part.working + i);
  });
}

// With epsilon zero a step without moments is 0 / 0, not the decay.
bool all_epsilons_positive(const AdamWRowsArguments& a, std::int64_t first_step, std::int64_t last_step) {
  for (std::int64_t step = first_step; step <= last_step; ++step) {
    if (!(a.history[step].epsilon > 0)) return false;
  }
  return true;
}

void rows(const AdamWRowsArguments& a, std::int64_t begin, std::int64_t end) {
  const std::int64_t last_replayed = a.with_gradient ? a.step - 1 : a.step;
  for (std::int64_t listed = begin; listed < end; ++listed) {
    const std::int64_t row = a.row_list == nullptr ? listed : a.row_list[listed];
    std::int64_t first_missed = a.last_step[row] + 1;
    if (first_missed > a.step) continue;
    const RowPart part = part_of(a, row);
    if (first_missed <= last_replayed && moments_are_zero(part.first_moment, part.second_moment, part.count) &&
        all_epsilons_positive(a, first_missed, last_replayed)) {
      decay_row(a, part, first_missed, last_replayed);
      first_missed = last_replayed + 1;
    }
    if (first_missed <= a.step) {
      update_row(a, part, first_missed, last_replayed);
    } else if (part.working != nullptr) {
      copy_to_working(part);
    }
    a.last_step[row] = static_cast<std::int32_t>(a.step);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace koine {
namespace {
HWY_EXPORT(dense);
HWY_EXPORT(rows);

/// Elements begin .. end - 1 of `a`, whose weights are kept in bf16, from element `first` of the flat buffers on: joined and
/// split in the first cache.
void dense_in_bf16(AdamWArguments a, const MasterWeights& master, BFloat16* working, std::int64_t first, std::int64_t begin,
                   std::int64_t end) {
  constexpr std::int64_t kJoined = 1024;
  float weights[kJoined];
  const AdamWArguments all = a;
  a.parameter = weights;
  for (std::int64_t i = begin; i < end; i += kJoined) {
    const std::int64_t count = std::min(kJoined, end - i);
    a.gradient = all.gradient + i;
    a.first_moment = all.first_moment + i;
    a.second_moment = all.second_moment + i;
    join_weights(master, working, first + i, count, weights);
    HWY_DYNAMIC_DISPATCH(dense)(a, 0, count);
    split_weights(master, working, first + i, count, weights);
  }
}

// A factor of exactly 0: the norm was not finite.
bool gives_nothing(const float* gradient_factor) { return gradient_factor != nullptr && *gradient_factor == 0; }

// Numbers that lie in memory stand among the others from here on.
AdamWRowsArguments with_numbers_read(AdamWRowsArguments a) {
  if (a.listed_from != nullptr) a.listed = *a.listed_from;
  if (a.step_from != nullptr) a.step = *a.step_from;
  return a;
}

}  // namespace

void adamw_cpu(const Context&, const AdamWArguments& a, void*) {
  if (gives_nothing(a.gradient_factor)) return;
  parallel_ranges(a.count, 16384, [&](std::int64_t begin, std::int64_t end) { HWY_DYNAMIC_DISPATCH(dense)(a, begin, end); });
}

void adamw_segments_cpu(const Context& context, const AdamWSegmentsArguments& a, void*) {
  if (gives_nothing(a.gradient_factor)) return;
  for (std::int64_t index = 0; index < a.segments; ++index) {
    const FlatSegment& segment = a.segment_list[index];
    const ElementRange inside = intersection({segment.offset, segment.offset + segment.count()}, a.range);
    if (inside.count() == 0) continue;
    AdamWArguments one;
    one.count = inside.count();
    one.gradient = a.gradient + inside.begin;
    one.first_moment = static_cast<float*>(a.first_moment) + (inside.begin - a.range.begin);
    one.second_moment = static_cast<float*>(a.second_moment) + (inside.begin - a.range.begin);
    one.step_from = a.steps + segment.group;
    one.gradient_factor = a.gradient_factor;
    one.zero_gradient = a.zero_gradient;
    if (segment.apart >= 0) {
      one.parameter = a.master.apart + segment.apart + (inside.begin - segment.offset);
    } else if (a.master.kind == MasterKind::kFloat32) {
      one.parameter = a.parameter + inside.begin;
      one.working = a.working == nullptr ? nullptr : a.working + inside.begin;
    } else {
      parallel_ranges(one.count, 16384, [&](std::int64_t begin, std::int64_t end) {
        dense_in_bf16(one, a.master, a.working, inside.begin, begin, end);
      });
      continue;
    }
    adamw_cpu(context, one, nullptr);
  }
}

void adamw_rows_cpu(const Context&, const AdamWRowsArguments& given, void*) {
  if (given.with_gradient && gives_nothing(given.gradient_factor)) return;
  const AdamWRowsArguments a = with_numbers_read(given);
  const std::int64_t count = a.row_list == nullptr ? a.rows : a.listed;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t row = a.row_list == nullptr ? i : a.row_list[i];
    check(row >= 0 && row < a.rows, "adamw_rows: row ", row, " of the list is not one of [", a.rows, ", ", a.width, "]");
    check(a.last_step[row] <= (a.with_gradient ? a.step - 1 : a.step), "adamw_rows: row ", row, " of [", a.rows, ", ",
          a.width, "] already stands at step ", a.last_step[row], ", behind step ", a.step);
  }
  parallel_ranges(count, rows_of_a_task(a.width), [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(rows)(a, begin, end);
  });
}

}  // namespace koine
#endif
