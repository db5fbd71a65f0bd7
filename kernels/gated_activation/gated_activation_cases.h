#pragma once

#include "kernels/common/cases.h"
#include "kernels/gated_activation/gated_activation.h"

namespace koine::cases {

inline Case<GatedActivationForwardArguments> gated_activation_forward_case(std::int64_t rows, std::int64_t width) {
  using Arguments = GatedActivationForwardArguments;
  Case<Arguments> one(concatenate("[", rows, ", ", width, "]"));
  one.arguments.rows = rows, one.arguments.width = width;
  one.input("input", random(rows * 2 * width, 1, 1.5), &Arguments::input);
  one.output("output", rows * width, &Arguments::output);
  return one;
}

inline Case<GatedActivationBackwardArguments> gated_activation_backward_case(std::int64_t rows, std::int64_t width) {
  using Arguments = GatedActivationBackwardArguments;
  Case<Arguments> one(concatenate("[", rows, ", ", width, "]"));
  one.arguments.rows = rows, one.arguments.width = width;
  one.input("input", random(rows * 2 * width, 1, 1.5), &Arguments::input);
  one.input("d_output", random(rows * width, 2), &Arguments::d_output);
  one.output("d_input", rows * 2 * width, &Arguments::d_input);
  return one;
}

}  // namespace koine::cases
