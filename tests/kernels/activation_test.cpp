#include "kernels/activation/activation_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

constexpr Activation kAll[] = {Activation::kGeluErf, Activation::kGeluTanh, Activation::kTanh};

// A few fp32 operations on numbers up to the input's size: vector_test.cpp has the bounds of the functions themselves.
constexpr double kRoundings = 6;

Case<ActivationForwardArguments> forward_case(Activation activation, std::int64_t count, double scale) {
  Case<ActivationForwardArguments> test_case = activation_forward_case(activation, count, scale);
  test_case.operand("output").accumulation = fp32_error(kRoundings, 2);
  return test_case;
}

Case<ActivationBackwardArguments> backward_case(Activation activation, std::int64_t count, double scale) {
  Case<ActivationBackwardArguments> test_case = activation_backward_case(activation, count, scale);
  test_case.operand("d_input").accumulation = fp32_error(kRoundings, 4);
  return test_case;
}

TEST(Activation, Variants) {
  for (const Activation activation : kAll) {
    for (const std::int64_t count : {0, 1, 7, 64, 1000, 40000}) {
      check_variants(forward_case(activation, count, 2));
      check_variants(backward_case(activation, count, 2));
    }
  }
}

TEST(Activation, InPlace) {
  for (const Activation activation : kAll) {
    Case<ActivationForwardArguments> forward = forward_case(activation, 100, 1);
    forward.in_place("input", "output");
    check_variants(forward);
    Case<ActivationBackwardArguments> backward = backward_case(activation, 100, 1);
    backward.in_place("d_output", "d_input");
    check_variants(backward);
  }
}

TEST(Activation, GradientsAreTheDifferences) {
  for (const Activation activation : kAll) {
    constexpr std::int64_t kCount = 40;
    Case<ActivationForwardArguments> forward = forward_case(activation, kCount, 2);
    const std::vector<double> input = forward.operands[0].values;
    Case<ActivationBackwardArguments> backward = backward_case(activation, kCount, 2);
    if (activation != Activation::kTanh) backward.operands[0].values = input;
    const std::vector<double> coefficients = backward.operands[1].values;
    const auto loss = [&](const std::vector<double>& values) {
      forward.operands[0].values = values;
      return dot(coefficients, reference_in_double(forward).values(1));
    };
    check_gradient("input", loss, input, reference_in_double(backward).values(2));
  }
}

}  // namespace
}  // namespace koine::testing
