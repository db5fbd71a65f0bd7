#pragma once

#include "kernels/activation/activation.h"
#include "kernels/common/cases.h"

namespace koine::cases {

inline Case<ActivationForwardArguments> activation_forward_case(Activation activation, std::int64_t count,
                                                                double scale = 2) {
  using Arguments = ActivationForwardArguments;
  Case<Arguments> one(concatenate("activation ", static_cast<int>(activation), ", ", count, " elements"));
  one.arguments.activation = activation, one.arguments.count = count;
  one.input("input", random(count, 1, scale), &Arguments::input);
  one.output("output", count, &Arguments::output);
  return one;
}

/// `saved` is what forward saved: its input, or, for tanh, its output.
inline Case<ActivationBackwardArguments> activation_backward_case(Activation activation, std::int64_t count,
                                                                  double scale = 2) {
  using Arguments = ActivationBackwardArguments;
  Case<Arguments> one(concatenate("activation ", static_cast<int>(activation), ", ", count, " elements"));
  one.arguments.activation = activation, one.arguments.count = count;
  Values saved = random(count, 1, scale);
  if (activation == Activation::kTanh) {
    for (double& value : saved) value = std::tanh(value);
  }
  one.input("saved", std::move(saved), &Arguments::saved);
  one.input("d_output", random(count, 2), &Arguments::d_output);
  one.output("d_input", count, &Arguments::d_input);
  return one;
}

}  // namespace koine::cases
