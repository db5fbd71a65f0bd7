// A task is a piece of a segment: first the sum of its parameters' squares, in double with the vector's lanes in a fixed order,
// then, when the pieces of each tensor are added up in their order, its update.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/optimizer/adamw_rms_cpu.cpp"
#include "kernels/common/vector_targets.h"
#include "kernels/common/vector-inl.h"
#include "kernels/optimizer/adamw-inl.h"
#include "kernels/reduce/squares-inl.h"
// clang-format on

#include <algorithm>
#include <cmath>

#include "kernels/common/parallel.h"
#include "kernels/optimizer/adamw_rms.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace {

void update(const AdamWRmsArguments& a, const AdamWStep& step, float scale, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const auto factor = hn::Set(d, a.gradient_factor == nullptr ? 1.0f : *a.gradient_factor);
  for_lanes(d, end - begin, [&](std::int64_t offset, auto lanes) KOINE_LANES {
    const std::int64_t i = begin + offset;
    const auto gradient = hn::Mul(factor, lanes.load(d, a.gradient + i));
    auto first = lanes.load(d, a.first_moment + i);
    auto second = lanes.load(d, a.second_moment + i);
    update_moments(d, first, second, gradient, step);
    const auto scaled = hn::Mul(hn::Set(d, scale * step.step_size), first);
    const auto change = hn::Div(scaled, denominator_of(d, second, step));
    const auto moved = hn::Sub(lanes.load(d, a.parameter + i), change);
    const auto parameter = hn::Mul(moved, hn::Set(d, step.one_minus_rate_decay));
    lanes.store(d, parameter, a.parameter + i);
    lanes.store(d, first, a.first_moment + i);
    lanes.store(d, second, a.second_moment + i);
    if (a.working != nullptr) lanes.store(d, parameter, a.working + i);
    if (a.zero_gradient) lanes.store(d, hn::Zero(d), a.gradient + i);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace koine {
namespace {
HWY_EXPORT(squares);
HWY_EXPORT(update);

/// task(segment, begin, end) for every piece, begin and end in the flat buffers.
template <class Task>
void for_pieces(const AdamWRmsArguments& a, const Task& task) {
  parallel_for(a.pieces, [&](std::int64_t piece) {
    const FlatSegment* behind = std::upper_bound(a.segment_list, a.segment_list + a.segments, piece,
                                                 [](std::int64_t p, const FlatSegment& s) { return p < s.first_piece; });
    const FlatSegment& segment = behind[-1];
    const std::int64_t begin = (piece - segment.first_piece) * kSegmentPiece;
    const std::int64_t end = std::min(begin + kSegmentPiece, segment.count());
    task(piece, behind - 1 - a.segment_list, segment.offset + begin, segment.offset + end);
  });
}

}  // namespace

void adamw_rms_cpu(const Context&, const AdamWRmsArguments& a, void* workspace) {
  if (a.gradient_factor != nullptr && *a.gradient_factor == 0) return;
  auto* sums = static_cast<double*>(workspace);
  auto* scales = reinterpret_cast<float*>(sums + a.pieces);
  for_pieces(a, [&](std::int64_t piece, std::int64_t, std::int64_t begin, std::int64_t end) {
    sums[piece] = HWY_DYNAMIC_DISPATCH(squares)(a.parameter + begin, end - begin);
  });
  for (std::int64_t index = 0; index < a.segments; ++index) {
    const FlatSegment& segment = a.segment_list[index];
    double sum = 0;
    for (std::int64_t piece = 0; piece < pieces_of(segment); ++piece) sum += sums[segment.first_piece + piece];
    const double root = std::sqrt(sum / static_cast<double>(segment.count()));
    scales[index] = static_cast<float>(std::max(kAdamWRmsLeastScale, root));
  }
  for_pieces(a, [&](std::int64_t, std::int64_t index, std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(update)(a, a.steps[a.segment_list[index].group], scales[index], begin, end);
  });
}

}  // namespace koine
#endif
