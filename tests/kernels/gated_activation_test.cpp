#include "kernels/gated_activation/gated_activation_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

// A few fp32 operations on numbers up to the product of two inputs: vector_test.cpp has the bounds of the functions themselves.
constexpr double kGateRoundings = 8;

Case<GatedActivationForwardArguments> gated_forward(std::int64_t rows, std::int64_t width) {
  Case<GatedActivationForwardArguments> test_case = gated_activation_forward_case(rows, width);
  test_case.operand("output").accumulation = fp32_error(kGateRoundings, 8);
  return test_case;
}

Case<GatedActivationBackwardArguments> gated_backward(std::int64_t rows, std::int64_t width) {
  Case<GatedActivationBackwardArguments> test_case = gated_activation_backward_case(rows, width);
  test_case.operand("d_input").accumulation = fp32_error(kGateRoundings, 8);
  return test_case;
}

TEST(GatedActivation, Variants) {
  for (const std::int64_t rows : {0, 1, 3, 40}) {
    for (const std::int64_t width : {1, 7, 64, 1024, 1000}) {
      check_variants(gated_forward(rows, width));
      check_variants(gated_backward(rows, width));
    }
  }
}

TEST(GatedActivation, BackwardInPlace) {
  for (const std::int64_t width : {24, 33}) {
    Case<GatedActivationBackwardArguments> test_case = gated_backward(5, width);
    test_case.in_place("input", "d_input");
    check_variants(test_case);
  }
}

// gelu(1) = 0.841192 and gelu(-1) = -0.158808 by torch.nn.functional.gelu(approximate="tanh"); a row's values follow its gates.
TEST(GatedActivation, GatesTheSecondHalfByTheFirst) {
  Case<GatedActivationForwardArguments> test_case = gated_forward(2, 2);
  test_case.operand("input").values = {1, -1, 10, 100, 0, 1, 5, 2};
  const std::vector<double> output = reference_in_double(test_case).values(test_case.index_of("output"));
  const double expected[] = {8.41192, -15.8808, 0, 1.682384};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(output[static_cast<std::size_t>(i)], expected[i], 5e-5) << i;
}

TEST(GatedActivation, GradientsAreTheDifferences) {
  Case<GatedActivationForwardArguments> forward = gated_forward(3, 5);
  Case<GatedActivationBackwardArguments> backward = gated_backward(3, 5);
  const std::vector<double> input = forward.operand("input").values.list();
  const std::vector<double> d_output = backward.operand("d_output").values.list();
  const auto loss = [&](const std::vector<double>& values) {
    forward.operand("input").values = values;
    return dot(d_output, reference_in_double(forward).values(forward.index_of("output")));
  };
  const std::vector<double> d_input = reference_in_double(backward).values(backward.index_of("d_input"));
  check_gradient("input", loss, input, d_input);
}

}  // namespace
}  // namespace koine::testing
