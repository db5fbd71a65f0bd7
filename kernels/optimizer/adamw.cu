// adamw, adamw_segments and adamw_rows share one inlined function, adamw_update, in which every multiply-add is written out:
// so a step of the dense update and a replayed step of a row compute the same bits, and those of the CPU where it has fused
// multiply-adds. Square root and division round to nearest (nvcc's default).
//
// adamw, adamw_segments: a block of 256 threads updates a piece of 8,192 elements, thread t groups t, t + 256, ... of four:
// 16 bytes of each fp32 buffer, 8 of the bf16 copy. adamw's only segment is the whole range; the others are found in a list
// of some hundred entries, which stays in the cache. Traffic: 16 bytes read and 16 written per element (gradients cleared),
// 2 more with a working copy, all but that copy marked as used once. Four loads a thread in flight, 64 KiB a multiprocessor
// at half of its threads.
//
// Weights that are kept in bf16 (master_weights.h) are joined in registers, 8 bytes of each half at a time, and split or
// rounded at random there: one Philox block for two groups of four, computed by each of the two threads. Each kind is a kernel
// of its own, so that fp32 masters pay for none of it.
//
// adamw_rows: a block takes a listed row, a thread four of its elements at a time, which stay in registers from the first
// missed step to the last. The scalars of the next step are loaded while one is computed. Where both moments are zero (a row
// no gradient has reached) a step is the decay alone, and has the same bits. Traffic: as above per element of a row that is
// behind; 4 bytes for one that is not.
//
// No shared memory; no sums, so nothing depends on any order. Misaligned buffers and ends of pieces are accessed one element
// at a time.

#include <algorithm>
#include <cmath>

#include "kernels/cuda/launch.h"
#include "kernels/optimizer/adamw.h"
#include "kernels/optimizer/segments_device.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kThreads = 256;
constexpr int kRowBlocks = 4;  // of rows on a multiprocessor at least: half of its threads

/// The buffers of an update.
struct Buffers {
  float* parameter;
  float* gradient;
  float* first_moment;
  float* second_moment;
  BFloat16* working;
  std::uint16_t* remainder = nullptr;
};

/// The moments of a shard, as if those of the elements before it were there.
float* counted_from_zero(void* moments, const ElementRange& range) {
  const auto address = reinterpret_cast<std::uintptr_t>(moments);
  return reinterpret_cast<float*>(address - static_cast<std::uintptr_t>(range.begin) * sizeof(float));
}
template <class Arguments>
Buffers buffers_of(const Arguments& a) {
  return {a.parameter, a.gradient, counted_from_zero(a.first_moment, a.range), counted_from_zero(a.second_moment, a.range),
          a.working};
}

KOINE_DEVICE void adamw_update(float& parameter, float& first_moment, float& second_moment, float gradient,
                               const AdamWStep& step) {
  const float squared = gradient * gradient;
  first_moment = fused(step.one_minus_beta1, gradient - first_moment, first_moment);
  second_moment = fused(step.one_minus_beta2, squared, step.beta2 * second_moment);
  const float denominator = sqrtf(second_moment) / step.sqrt_correction2 + step.epsilon;
  const float change = step.step_size * first_moment / denominator;
  parameter = fused(parameter, step.one_minus_rate_decay, -change);
}

/// Four neighbouring elements on their way through the registers.
struct Group {
  float parameter[4];
  float first_moment[4];
  float second_moment[4];
};

/// What of a group lies inside, and whether it can be moved as one.
struct Reach {
  std::int64_t at;
  int inside;  ///< of the four
  bool whole;
};

/// The address of an element of a buffer, or zero where there is none; of a buffer of 2 bytes twice it: a multiple of 16 where
/// four elements can be moved as one.
KOINE_DEVICE std::uintptr_t alignment_of(const float* buffer, std::int64_t at) {
  return buffer == nullptr ? 0 : reinterpret_cast<std::uintptr_t>(buffer + at);
}
KOINE_DEVICE std::uintptr_t alignment_of(const BFloat16* buffer, std::int64_t at) {
  return buffer == nullptr ? 0 : 2 * reinterpret_cast<std::uintptr_t>(buffer + at);
}
KOINE_DEVICE std::uintptr_t alignment_of(const std::uint16_t* buffer, std::int64_t at) {
  return buffer == nullptr ? 0 : 2 * reinterpret_cast<std::uintptr_t>(buffer + at);
}

KOINE_DEVICE Reach reach_of(const Buffers& buffers, std::int64_t at, std::int64_t left) {
  // At the same place of every buffer: one number says whether all of them are aligned there.
  const std::uintptr_t bits = alignment_of(buffers.parameter, at) | alignment_of(buffers.gradient, at) |
                              alignment_of(buffers.first_moment, at) | alignment_of(buffers.second_moment, at) |
                              alignment_of(buffers.working, at) | alignment_of(buffers.remainder, at);
  return {at, left < 4 ? static_cast<int>(left) : 4, left >= 4 && bits % 16 == 0};
}

KOINE_DEVICE void load(float (&to)[4], const float* from, const Reach& reach) {
  if (reach.whole) {
    load_streaming(to, from + reach.at);
    return;
  }
  KOINE_UNROLL
  for (int i = 0; i < 4; ++i) to[i] = i < reach.inside ? from[reach.at + i] : 0.0f;
}
KOINE_DEVICE void store(float* to, const float (&from)[4], const Reach& reach) {
  if (reach.whole) {
    store_streaming(to + reach.at, from);
    return;
  }
  KOINE_UNROLL
  for (int i = 0; i < 4; ++i) {
    if (i < reach.inside) to[reach.at + i] = from[i];
  }
}
KOINE_DEVICE void store_working(BFloat16* to, const float (&from)[4], const Reach& reach) {
  if (reach.whole) {
    store_floats(to + reach.at, from);
    return;
  }
  KOINE_UNROLL
  for (int i = 0; i < 4; ++i) {
    if (i < reach.inside) to[reach.at + i] = to_bfloat16(from[i]);
  }
}

KOINE_DEVICE void load_moments(Group& group, const Buffers& buffers, const Reach& reach) {
  load(group.first_moment, buffers.first_moment, reach);
  load(group.second_moment, buffers.second_moment, reach);
}
KOINE_DEVICE void store_moments(const Group& group, const Buffers& buffers, const Reach& reach) {
  store(buffers.first_moment, group.first_moment, reach);
  store(buffers.second_moment, group.second_moment, reach);
}
KOINE_DEVICE void load_group(Group& group, const Buffers& buffers, const Reach& reach) {
  load(group.parameter, buffers.parameter, reach);
  load_moments(group, buffers, reach);
}
KOINE_DEVICE void store_group(const Group& group, const Buffers& buffers, const Reach& reach) {
  store(buffers.parameter, group.parameter, reach);
  store_moments(group, buffers, reach);
  if (buffers.working != nullptr) store_working(buffers.working, group.parameter, reach);
}

/// The fp32 weights of four elements that are kept in bf16, as join_weights has them.
template <MasterKind kKind>
KOINE_DEVICE void join_group(float (&to)[4], const Buffers& buffers, const Reach& reach) {
  Pack<std::uint16_t, 4> upper = {};
  Pack<std::uint16_t, 4> lower = {};
  const auto* weights = reinterpret_cast<const std::uint16_t*>(buffers.working);
  if (reach.whole) {
    upper = load_pack<std::uint16_t, 4>(weights + reach.at);
    if (kKind == MasterKind::kRemainder) lower = load_pack<std::uint16_t, 4>(buffers.remainder + reach.at);
  } else {
    KOINE_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (i >= reach.inside) continue;
      upper.values[i] = weights[reach.at + i];
      if (kKind == MasterKind::kRemainder) lower.values[i] = buffers.remainder[reach.at + i];
    }
  }
  KOINE_UNROLL
  for (int i = 0; i < 4; ++i) {
    const BFloat16 weight = {upper.values[i]};
    to[i] = kKind == MasterKind::kRemainder ? join_float(weight, lower.values[i]) : to_float(weight);
  }
}

/// As split_weights.
template <MasterKind kKind>
KOINE_DEVICE void split_group(const float (&from)[4], const Buffers& buffers, const Reach& reach, std::uint32_t seed,
                              std::int64_t step) {
  Pack<std::uint16_t, 4> upper;
  Pack<std::uint16_t, 4> lower = {};
  if (kKind == MasterKind::kRemainder) {
    KOINE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const SplitFloat split = split_float(from[i]);
      upper.values[i] = split.weight.bits;
      lower.values[i] = split.remainder;
    }
  } else {
    PhiloxCounter draws = rounding_block(seed, step, reach.at / 8);
    KOINE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const std::int64_t element = reach.at + i;
      if (i > 0 && element % 8 == 0) draws = rounding_block(seed, step, element / 8);
      upper.values[i] = round_at_random(from[i], philox_draw(draws, static_cast<int>(element % 8))).bits;
    }
  }
  auto* weights = reinterpret_cast<std::uint16_t*>(buffers.working);
  if (reach.whole) {
    store_pack<std::uint16_t, 4>(weights + reach.at, upper);
    if (kKind == MasterKind::kRemainder) store_pack<std::uint16_t, 4>(buffers.remainder + reach.at, lower);
    return;
  }
  KOINE_UNROLL
  for (int i = 0; i < 4; ++i) {
    if (i >= reach.inside) continue;
    weights[reach.at + i] = upper.values[i];
    if (kKind == MasterKind::kRemainder) buffers.remainder[reach.at + i] = lower.values[i];
  }
}

KOINE_DEVICE void update_group(Group& group, const float (&gradient)[4], float factor, const AdamWStep& step) {
  KOINE_UNROLL
  for (int i = 0; i < 4; ++i) {
    adamw_update(group.parameter[i], group.first_moment[i], group.second_moment[i], factor * gradient[i], step);
  }
}

// --- adamw and adamw_segments -------------------------------------------------------------------------------------------

struct DenseParams {
  Buffers buffers;
  std::int64_t count;               ///< without a list: of the only segment
  std::int64_t segments;            ///< with one
  const FlatSegment* segment_list;  ///< null: none
  AdamWStep step;
  const AdamWStep* steps;  ///< null: `step`
  const float* gradient_factor;
  bool zero_gradient;
  ElementRange range;
  float* apart;
  std::uint32_t seed;
  const std::int64_t* number;  ///< of the step; null but for kNone
};

template <MasterKind kKind>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) adamw_kernel(DenseParams p) {
  const float factor = p.gradient_factor == nullptr ? 1.0f : *p.gradient_factor;
  if (factor == 0) return;
  SegmentPiece piece;
  if (p.segment_list != nullptr) {
    piece = clipped(find_piece(p.segment_list, p.segments, block_index().x), p.range);
  } else {
    piece.begin = std::int64_t{block_index().x} * kSegmentPiece;
    piece.count = p.count - piece.begin < kSegmentPiece ? p.count - piece.begin : kSegmentPiece;
  }
  const AdamWStep step = p.steps == nullptr ? p.step : p.steps[piece.group];
  Buffers buffers = p.buffers;
  if (piece.apart >= 0) {
    buffers.parameter = p.apart + (piece.apart - piece.begin);
    buffers.working = nullptr;
    buffers.remainder = nullptr;
  }
  const bool in_bf16 = kKind != MasterKind::kFloat32 && piece.apart < 0;
  const std::int64_t number = kKind == MasterKind::kNone ? *p.number : 0;
  constexpr float kZeros[4] = {0, 0, 0, 0};
  for (std::int64_t i = 4 * thread_index(); i < piece.count; i += 4 * kThreads) {
    const Reach reach = reach_of(buffers, piece.begin + i, piece.count - i);
    Group group;
    float gradient[4];
    if (in_bf16) {
      join_group<kKind>(group.parameter, buffers, reach);
      load_moments(group, buffers, reach);
    } else {
      load_group(group, buffers, reach);
    }
    load(gradient, buffers.gradient, reach);
    update_group(group, gradient, factor, step);
    if (in_bf16) {
      split_group<kKind>(group.parameter, buffers, reach, p.seed, number);
      store_moments(group, buffers, reach);
    } else {
      store_group(group, buffers, reach);
    }
    if (p.zero_gradient) store(buffers.gradient, kZeros, reach);
  }
}

void launch_dense(const Context& context, const char* kernel, std::int64_t elements, std::int64_t pieces,
                  const DenseParams& params, MasterKind kind = MasterKind::kFloat32) {
  if (pieces == 0) return;
  const auto function = kind == MasterKind::kRemainder ? adamw_kernel<MasterKind::kRemainder>
                        : kind == MasterKind::kNone    ? adamw_kernel<MasterKind::kNone>
                                                       : adamw_kernel<MasterKind::kFloat32>;
  launch(
      {.kernel = kernel, .shape = {elements}, .grid = {grid_extent(pieces)}, .threads = kThreads, .stream = context.stream},
      function, params);
}

// --- adamw_rows ---------------------------------------------------------------------------------------------------------

struct RowsParams {
  Buffers buffers;
  std::int64_t width;
  const std::int32_t* row_list;
  std::int64_t listed;
  const std::int64_t* listed_from;
  std::int32_t* last_step;
  const AdamWStep* history;
  std::int64_t step;
  const std::int64_t* step_from;
  bool with_gradient;
  const float* gradient_factor;
  bool zero_gradient;
  ElementRange range;
};

KOINE_DEVICE bool moments_are_zero(const Group& group) {
  std::uint32_t bits = 0;
  KOINE_UNROLL
  for (int i = 0; i < 4; ++i) {
    bits |= __builtin_bit_cast(std::uint32_t, group.first_moment[i]);
    bits |= __builtin_bit_cast(std::uint32_t, group.second_moment[i]);
  }
  return bits == 0;
}

/// Steps `first` .. `last` without a gradient. With epsilon zero a step without moments is 0 / 0, not the decay.
KOINE_DEVICE void replay(Group& group, const AdamWStep* history, std::int64_t first, std::int64_t last) {
  if (first > last) return;
  const bool decay_alone = moments_are_zero(group);
  const float no_gradient[4] = {0, 0, 0, 0};
  AdamWStep next = history[first];
  for (std::int64_t t = first; t <= last; ++t) {
    const AdamWStep step = next;
    next = history[t < last ? t + 1 : t];
    if (decay_alone && step.epsilon > 0) {
      KOINE_UNROLL
      for (int i = 0; i < 4; ++i) group.parameter[i] *= step.one_minus_rate_decay;
    } else {
      update_group(group, no_gradient, 1.0f, step);
    }
  }
}

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads, kRowBlocks) adamw_rows_kernel(RowsParams p) {
  const std::int64_t listed = p.listed_from == nullptr ? p.listed : *p.listed_from;
  const float factor = p.with_gradient && p.gradient_factor != nullptr ? *p.gradient_factor : 1.0f;
  const std::int64_t place = block_index().x;
  if (factor == 0 || place >= listed) return;  // the whole block
  const std::int64_t row = p.row_list == nullptr ? place : p.row_list[place];
  const std::int64_t step = p.step_from == nullptr ? p.step : *p.step_from;
  const std::int64_t first_missed = std::int64_t{p.last_step[row]} + 1;
  sync_block();  // all have read last_step
  if (first_missed > step) return;
  constexpr float kZeros[4] = {0, 0, 0, 0};
  const ElementRange inside = intersection({row * p.width, (row + 1) * p.width}, p.range);
  for (std::int64_t i = inside.begin + 4 * thread_index(); i < inside.end; i += 4 * block_threads()) {
    const Reach reach = reach_of(p.buffers, i, inside.end - i);
    Group group;
    float gradient[4] = {0, 0, 0, 0};
    load_group(group, p.buffers, reach);
    if (p.with_gradient) load(gradient, p.buffers.gradient, reach);
    replay(group, p.history, first_missed, p.with_gradient ? step - 1 : step);
    if (p.with_gradient) {
      update_group(group, gradient, factor, p.history[step]);
      if (p.zero_gradient) store(p.buffers.gradient, kZeros, reach);
    }
    store_group(group, p.buffers, reach);
  }
  if (thread_index() == 0) p.last_step[row] = static_cast<std::int32_t>(step);
}

}  // namespace

void adamw_portable(const Context& context, const AdamWArguments& a, void*) {
  const Buffers buffers = {a.parameter, a.gradient, a.first_moment, a.second_moment, a.working};
  launch_dense(
      context, "adamw", a.count, divide_up(a.count, kSegmentPiece),
      {buffers, a.count, 0, nullptr, a.step, a.step_from, a.gradient_factor, a.zero_gradient, {}, nullptr, 0, nullptr});
}

void adamw_segments_portable(const Context& context, const AdamWSegmentsArguments& a, void*) {
  Buffers buffers = buffers_of(a);
  if (a.master.kind != MasterKind::kFloat32) buffers.parameter = nullptr;
  if (a.master.kind == MasterKind::kRemainder) buffers.remainder = a.master.remainder;
  launch_dense(context, "adamw_segments", a.elements, a.pieces,
               {buffers,
                0,
                a.segments,
                a.segment_list,
                {},
                a.steps,
                a.gradient_factor,
                a.zero_gradient,
                a.range,
                a.master.apart,
                a.master.seed,
                a.master.step},
               a.master.kind);
}

void adamw_rows_portable(const Context& context, const AdamWRowsArguments& a, void*) {
  const std::int64_t rows = a.row_list == nullptr ? a.rows : a.listed;
  if (rows == 0) return;
  const Buffers buffers = buffers_of(a);
  const RowsParams params = {
      buffers,           a.width,         a.row_list, rows,        a.row_list == nullptr ? nullptr : a.listed_from,
      a.last_step,       a.history,       a.step,     a.step_from, a.with_gradient,
      a.gradient_factor, a.zero_gradient, a.range};
  const std::int64_t groups = divide_up(a.width, 4);
  const auto threads = static_cast<int>(std::min<std::int64_t>(divide_up(groups, kWarpThreads) * kWarpThreads, kThreads));
  launch({.kernel = "adamw_rows",
          .shape = {rows, a.width},
          .grid = {grid_extent(rows)},
          .threads = threads,
          .stream = context.stream},
         adamw_rows_kernel, params);
}

}  // namespace koine
