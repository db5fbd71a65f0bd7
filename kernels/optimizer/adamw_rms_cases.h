#pragma once

#include "kernels/common/cases.h"
#include "kernels/optimizer/adamw_rms.h"

namespace koine::cases {

/// The segments, tensors of flat buffers of `count` elements, with the steps of groups 0 and 1.
inline Case<AdamWRmsArguments> adamw_rms_case(std::vector<FlatSegment> segments, std::int64_t count, bool working,
                                              double scale = 0.02) {
  using Arguments = AdamWRmsArguments;
  Case<Arguments> one(concatenate(segments.size(), " tensors of ", count, " elements"));
  one.types = {DType::kFloat32};
  Arguments& a = one.arguments;
  a.pieces = number_pieces(segments), a.segments = std::ssize(segments);
  for (const FlatSegment& segment : segments) a.elements += segment.count();
  a.segment_list = one.keep(std::move(segments));
  a.steps = one.keep(
      std::vector<AdamWStep>{adamw_rms_step(7, 1e-2, 0.9, 0.999, 1e-6, 0), adamw_rms_step(7, 1e-2, 0.9, 0.999, 1e-6, 0.1)});
  one.in_out_fp32("parameter", random(count, 1, scale), &Arguments::parameter);
  one.in_out_fp32("gradient", random(count, 2), &Arguments::gradient);
  one.in_out_fp32("first_moment", random(count, 3, 0.1), &Arguments::first_moment);
  one.in_out_fp32("second_moment", random_squares(count, 4, 0.1), &Arguments::second_moment);
  if (working) one.fixed(one.output("working", count, &Arguments::working), DType::kBFloat16);
  return one;
}

}  // namespace koine::cases
