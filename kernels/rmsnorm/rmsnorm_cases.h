#pragma once

#include "kernels/common/cases.h"
#include "kernels/rmsnorm/rmsnorm.h"

namespace koine::cases {

inline Case<RmsNormForwardArguments> rmsnorm_forward_case(std::int64_t rows, std::int64_t width) {
  using Arguments = RmsNormForwardArguments;
  Case<Arguments> one(concatenate("[", rows, ", ", width, "]"));
  one.arguments.rows = rows, one.arguments.width = width;
  one.input("input", random(rows * width, 1, 1, 0.5), &Arguments::input);
  one.input_fp32("weight", random(width, 2, 0.2, 1), &Arguments::weight);
  one.output("output", rows * width, &Arguments::output);
  one.output_fp32("rstd", rows, &Arguments::rstd);
  return one;
}

/// `residual`: a gradient of the input comes from elsewhere, too.
inline Case<RmsNormBackwardArguments> rmsnorm_backward_case(std::int64_t rows, std::int64_t width, bool residual) {
  using Arguments = RmsNormBackwardArguments;
  Case<Arguments> one(concatenate("[", rows, ", ", width, "]", residual ? " residual" : ""));
  one.arguments.rows = rows, one.arguments.width = width;
  one.input("d_output", random(rows * width, 1), &Arguments::d_output);
  if (residual) one.input("d_residual_stream", random(rows * width, 2), &Arguments::d_residual_stream);
  one.input("input", random(rows * width, 3, 1, 0.5), &Arguments::input);
  one.input_fp32("rstd", random(rows, 4, 0.1, 1), &Arguments::rstd);
  one.input_fp32("weight", random(width, 5, 0.2, 1), &Arguments::weight);
  one.output("d_input", rows * width, &Arguments::d_input);
  one.in_out_fp32("d_weight", random(width, 6), &Arguments::d_weight);
  return one;
}

}  // namespace koine::cases
