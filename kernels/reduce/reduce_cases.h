#pragma once

#include "kernels/common/cases.h"
#include "kernels/reduce/reduce.h"

namespace koine::cases {

inline Case<ColumnSumArguments> column_sum_case(std::int64_t rows, std::int64_t width, std::int64_t stride) {
  using Arguments = ColumnSumArguments;
  Case<Arguments> one(concatenate("[", rows, ", ", width, "] stride ", stride));
  one.arguments.rows = rows, one.arguments.width = width, one.arguments.stride = stride;
  one.input("input", random(rows * stride, 1), &Arguments::input);
  one.in_out_fp32("output", random(width, 2), &Arguments::output);
  return one;
}

/// The sum, a double, starts from `start`; it is the case's first array.
template <class Arguments>
Case<Arguments> sum_case(std::string name, std::int64_t count, double start) {
  Case<Arguments> one(std::move(name));
  one.types = {DType::kFloat32};
  one.arguments.output = one.keep(std::vector<double>{start});
  one.input_fp32("input", random(count, 5), &Arguments::input);
  return one;
}

inline Case<SumOfSquaresArguments> sum_of_squares_case(std::int64_t rows, std::int64_t width, double start) {
  auto one = sum_case<SumOfSquaresArguments>(concatenate("[", rows, ", ", width, "]"), rows * width, start);
  one.arguments.rows = rows, one.arguments.width = width;
  return one;
}

inline Case<SumArguments> sum_case(std::int64_t count, double start) {
  auto one = sum_case<SumArguments>(concatenate(count, " elements"), count, start);
  one.arguments.count = count;
  return one;
}

}  // namespace koine::cases
