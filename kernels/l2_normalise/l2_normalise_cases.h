#pragma once

#include "kernels/common/cases.h"
#include "kernels/l2_normalise/l2_normalise.h"

namespace koine::cases {

/// Rows `stride` apart; what lies between them belongs to the operand.
template <class Arguments>
Case<Arguments> l2_normalise_case(std::int64_t rows, std::int64_t width, std::int64_t stride) {
  Case<Arguments> one(concatenate("[", rows, ", ", width, "] of ", stride));
  one.arguments.rows = rows, one.arguments.width = width, one.arguments.stride = stride;
  one.input("input", random(rows * stride, 1), &Arguments::input);
  one.input_fp32("scale", {2.5}, &Arguments::scale);
  return one;
}

inline Case<L2NormaliseForwardArguments> l2_normalise_forward_case(std::int64_t rows, std::int64_t width,
                                                                   std::int64_t stride) {
  using Arguments = L2NormaliseForwardArguments;
  Case<Arguments> one = l2_normalise_case<Arguments>(rows, width, stride);
  one.output("output", rows * width, &Arguments::output);
  return one;
}

inline Case<L2NormaliseBackwardArguments> l2_normalise_backward_case(std::int64_t rows, std::int64_t width,
                                                                     std::int64_t stride) {
  using Arguments = L2NormaliseBackwardArguments;
  Case<Arguments> one = l2_normalise_case<Arguments>(rows, width, stride);
  one.input("d_output", random(rows * width, 2), &Arguments::d_output);
  one.in_out("d_input", random(rows * stride, 3), &Arguments::d_input);  // what lies between its rows stays
  one.in_out_fp32("d_scale", {0.5}, &Arguments::d_scale);
  return one;
}

}  // namespace koine::cases
