#pragma once

#include "kernels/dropout/dropout.h"
#include "kernels/random/dropout_cases.h"

namespace koine::cases {

/// `length`: rows of an example.
inline Case<DropoutArguments> dropout_case(std::int64_t rows, std::int64_t width, float rate, bool residual,
                                           std::int64_t length = 2) {
  using Arguments = DropoutArguments;
  Case<Arguments> one(concatenate("[", rows, ", ", width, "] rate ", rate, residual ? " residual" : ""));
  one.arguments.rows = rows, one.arguments.width = width;
  one.arguments.dropout = row_dropout(one, rows, rate, length);
  one.input("input", random(rows * width, 1), &Arguments::input);
  if (residual) one.input("residual", random(rows * width, 2), &Arguments::residual);
  one.output("output", rows * width, &Arguments::output);
  return one;
}

}  // namespace koine::cases
