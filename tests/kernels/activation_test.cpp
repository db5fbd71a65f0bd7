#include "kernels/activation/activation.h"

#include "tests/kernels/suite.h"

namespace koine {
namespace {

using testing::Case;
using testing::fp32_error;
using testing::random_values;

constexpr Activation kAll[] = {Activation::kGeluErf, Activation::kGeluTanh, Activation::kTanh};

// A few fp32 operations on numbers up to the input's size: vector_test.cpp has the bounds of the functions themselves.
constexpr double kRoundings = 6;

Case<ActivationForwardArguments> forward_case(Activation activation, std::int64_t count, double scale) {
  Case<ActivationForwardArguments> test_case(concatenate("activation ", static_cast<int>(activation), " count ", count));
  test_case.set_type = [](auto& a, DType type) { a.type = type; };
  test_case.arguments.activation = activation;
  test_case.arguments.count = count;
  test_case.input("input", random_values(count, 1, scale), [](auto& a, void* data) { a.input = data; });
  test_case.output("output", count, [](auto& a, void* data) { a.output = data; }).accumulation = fp32_error(kRoundings, 2);
  return test_case;
}

Case<ActivationBackwardArguments> backward_case(Activation activation, std::int64_t count, double scale) {
  Case<ActivationBackwardArguments> test_case(concatenate("activation ", static_cast<int>(activation), " count ", count));
  test_case.set_type = [](auto& a, DType type) { a.type = type; };
  test_case.arguments.activation = activation;
  test_case.arguments.count = count;
  std::vector<double> saved = random_values(count, 1, scale);
  if (activation == Activation::kTanh) {
    for (double& value : saved) value = std::tanh(value);
  }
  test_case.input("saved", saved, [](auto& a, void* data) { a.saved = data; });
  test_case.input("d_output", random_values(count, 2), [](auto& a, void* data) { a.d_output = data; });
  test_case.output("d_input", count, [](auto& a, void* data) { a.d_input = data; }).accumulation = fp32_error(kRoundings, 4);
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
    forward.operands[0].written = true;
    forward.operands[0].accumulation = fp32_error(kRoundings, 2);
    forward.operands[0].bind = [](auto& a, void* data) { a.input = a.output = data; };
    forward.operands[1].written = false;
    forward.operands[1].bind = nullptr;
    check_variants(forward);
    Case<ActivationBackwardArguments> backward = backward_case(activation, 100, 1);
    backward.operands[1].written = true;
    backward.operands[1].accumulation = fp32_error(kRoundings, 4);
    backward.operands[1].bind = [](auto& a, void* data) { a.d_output = a.d_input = data; };
    backward.operands[2].written = false;
    backward.operands[2].bind = nullptr;
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
      return testing::dot(coefficients, testing::reference_in_double(forward).values(1));
    };
    testing::check_gradient("input", loss, input, testing::reference_in_double(backward).values(2));
  }
}

}  // namespace
}  // namespace koine
