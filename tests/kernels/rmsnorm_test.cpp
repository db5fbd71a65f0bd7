#include "kernels/rmsnorm/rmsnorm_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

// Sums of n numbers of size 1 run in at least 16 places at once; their roundings add up like a random walk.
double rms_sum_error(std::int64_t n, double magnitude) {
  return fp32_error(6 + 2 * std::sqrt(static_cast<double>(n) / 16), magnitude);
}

Case<RmsNormForwardArguments> rms_forward(std::int64_t rows, std::int64_t width) {
  Case<RmsNormForwardArguments> test_case = rmsnorm_forward_case(rows, width);
  test_case.operand("output").accumulation = rms_sum_error(width, 4);
  // Few columns may have small squares: of one column rstd is 1 / |x|.
  test_case.operand("rstd").accumulation = rms_sum_error(width, width < 16 ? 30 : 2);
  return test_case;
}

Case<RmsNormBackwardArguments> rms_backward(std::int64_t rows, std::int64_t width, bool residual) {
  Case<RmsNormBackwardArguments> test_case = rmsnorm_backward_case(rows, width, residual);
  test_case.operand("d_input").accumulation = rms_sum_error(width, 6);
  const double root = std::sqrt(static_cast<double>(rows));
  test_case.operand("d_weight").accumulation = fp32_error(4 + 2 * root, 4 * root);
  return test_case;
}

TEST(RmsNorm, Variants) {
  for (const std::int64_t rows : {0, 1, 5}) {
    for (const std::int64_t width : {1, 7, 512, 1000}) {
      check_variants(rms_forward(rows, width));
      check_variants(rms_backward(rows, width, false));
      check_variants(rms_backward(rows, width, true));
    }
  }
  // The widest row of a block's registers, and one too wide for them.
  for (const std::int64_t width : {4096, 4104}) {
    check_variants(rms_forward(3, width));
    check_variants(rms_backward(3, width, true));
  }
  // Several blocks' shares of d_weight.
  check_variants(rms_backward(130, 64, true));
  check_variants(rms_backward(70, 33, true));
}

TEST(RmsNorm, BackwardInPlace) {
  for (const char* over : {"d_output", "d_residual_stream"}) {
    for (const std::int64_t width : {96, 100, 1001}) {
      Case<RmsNormBackwardArguments> test_case = rms_backward(9, width, true);
      test_case.in_place(over, "d_input");
      check_variants(test_case);
    }
  }
}

// 3 and 4: the mean square is 12.5.
TEST(RmsNorm, DividesByTheRootOfTheMeanSquare) {
  Case<RmsNormForwardArguments> test_case = rms_forward(1, 2);
  test_case.arguments.epsilon = 3.5;
  test_case.operand("input").values = {3, 4};
  test_case.operand("weight").values = {1, 2};
  const Outcome outcome = reference_in_double(test_case);
  EXPECT_EQ(outcome.value(test_case.index_of("rstd"), 0), 0.25);
  EXPECT_EQ(outcome.values(test_case.index_of("output")), (std::vector<double>{0.75, 2}));
  check_variants(test_case);
}

TEST(RmsNorm, GradientsAreTheDifferences) {
  Case<RmsNormForwardArguments> forward = rms_forward(3, 7);
  Case<RmsNormBackwardArguments> backward = rms_backward(3, 7, false);
  const std::vector<double> input = forward.operand("input").values.list();
  const std::vector<double> weight = forward.operand("weight").values.list();
  const std::vector<double> d_output = backward.operand("d_output").values.list();
  backward.operand("input").values = input;
  backward.operand("weight").values = weight;
  backward.operand("rstd").values = reference_in_double(forward).values(forward.index_of("rstd"));
  backward.operand("d_weight").values = std::vector<double>(7);
  const Outcome outcome = reference_in_double(backward);
  const auto loss_of = [&](const char* operand) {
    return [&forward, &d_output, operand](const std::vector<double>& values) {
      forward.operand(operand).values = values;
      return dot(d_output, reference_in_double(forward).values(forward.index_of("output")));
    };
  };
  check_gradient("input", loss_of("input"), input, outcome.values(backward.index_of("d_input")));
  forward.operand("input").values = input;
  check_gradient("weight", loss_of("weight"), weight, outcome.values(backward.index_of("d_weight")));
}

}  // namespace
}  // namespace koine::testing
