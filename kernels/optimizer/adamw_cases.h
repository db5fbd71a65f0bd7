#pragma once

#include "kernels/common/cases.h"
#include "kernels/optimizer/adamw.h"

namespace koine::cases {

/// The four buffers of fp32 that an update goes over, and a working copy in bf16 where wanted.
template <class Arguments>
void add_adamw_buffers(Case<Arguments>& one, std::int64_t count, bool working) {
  one.types = {DType::kFloat32};
  one.in_out_fp32("parameter", random(count, 1, 0.02), &Arguments::parameter);
  one.in_out_fp32("gradient", random(count, 2), &Arguments::gradient);
  one.in_out_fp32("first_moment", random(count, 3, 0.1), &Arguments::first_moment);
  one.in_out_fp32("second_moment", random_squares(count, 4, 0.1), &Arguments::second_moment);
  if (working) one.fixed(one.output("working", count, &Arguments::working), DType::kBFloat16);
}

inline Case<AdamWArguments> adamw_case(std::int64_t count, bool working) {
  Case<AdamWArguments> one(concatenate(count, " elements"));
  one.arguments.count = count;
  one.arguments.step = adamw_step(7, 1e-3, 0.9, 0.999, 1e-8, 0.01);
  add_adamw_buffers(one, count, working);
  return one;
}

/// The segments begin in flat buffers of `count` elements; a step for each of their groups.
inline Case<AdamWSegmentsArguments> adamw_segments_case(std::vector<FlatSegment> segments, std::int64_t count,
                                                        std::vector<AdamWStep> steps, bool working) {
  Case<AdamWSegmentsArguments> one(concatenate(segments.size(), " segments of ", count, " elements"));
  AdamWSegmentsArguments& a = one.arguments;
  a.pieces = number_pieces(segments), a.segments = std::ssize(segments);
  for (const FlatSegment& segment : segments) a.elements += segment.count();
  a.segment_list = one.keep(std::move(segments)), a.steps = one.keep(std::move(steps));
  add_adamw_buffers(one, count, working);
  return one;
}

/// The listed rows of a table that last moved at step 0, brought to the last step of `history` with a gradient.
inline Case<AdamWRowsArguments> adamw_rows_case(std::vector<std::int32_t> listed, std::int64_t rows, std::int64_t width,
                                                std::vector<AdamWStep> history, bool working) {
  Case<AdamWRowsArguments> one(concatenate(listed.size(), " of [", rows, ", ", width, "]"));
  AdamWRowsArguments& a = one.arguments;
  a.rows = rows, a.width = width, a.listed = std::ssize(listed), a.step = std::ssize(history) - 1, a.with_gradient = true;
  a.row_list = one.keep(std::move(listed)), a.history = one.keep(std::move(history));
  a.last_step = one.keep(std::vector<std::int32_t>(static_cast<std::size_t>(rows), 0));
  add_adamw_buffers(one, rows * width, working);
  return one;
}

}  // namespace koine::cases
