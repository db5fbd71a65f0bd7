#include "kernels/l2_normalise/l2_normalise_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

// Sums of up to 1,030 squares near 1 in fp32, by 128 threads: a random walk of some 12 roundings; results are near the scale.
constexpr double kNormaliseRoundings = 12;

Case<L2NormaliseForwardArguments> forward_case(std::int64_t rows, std::int64_t width, std::int64_t stride) {
  Case<L2NormaliseForwardArguments> test_case = l2_normalise_forward_case(rows, width, stride);
  test_case.operand("output").accumulation = fp32_error(kNormaliseRoundings, 2.5);
  return test_case;
}

Case<L2NormaliseBackwardArguments> backward_case(std::int64_t rows, std::int64_t width, std::int64_t stride) {
  Case<L2NormaliseBackwardArguments> test_case = l2_normalise_backward_case(rows, width, stride);
  // Where a row is one number, what is left of its gradient is the rounding of two equal terms of size scale / |x|.
  test_case.operand("d_input").accumulation = fp32_error(kNormaliseRoundings, width == 1 ? 100 : 2.5);
  test_case.operand("d_scale").accumulation = fp32_error(kNormaliseRoundings, static_cast<double>(rows));
  return test_case;
}

TEST(L2Normalise, Variants) {
  for (const std::int64_t rows : {0, 1, 5, 130}) {
    for (const std::int64_t width : {1, 7, 64, 384, 1030}) {
      for (const std::int64_t stride : {width, 2 * width}) {
        if (rows == 130 && width > 64) continue;
        check_variants(forward_case(rows, width, stride));
        check_variants(backward_case(rows, width, stride));
      }
    }
  }
}

TEST(L2Normalise, WithoutAScale) {
  Case<L2NormaliseForwardArguments> forward = forward_case(3, 33, 40);
  forward.operand("scale").bind = [](auto& to, void*) { to.scale = nullptr; };
  check_variants(forward);
  Case<L2NormaliseBackwardArguments> backward = backward_case(3, 33, 40);
  backward.operand("scale").bind = [](auto& to, void*) { to.scale = nullptr; };
  backward.operand("d_scale").bind = [](auto& to, void*) { to.d_scale = nullptr; };
  backward.operand("d_scale").written = false;
  check_variants(backward);
}

// 3-4-5 by a scale of 2.5, and a row of zeros, which has no direction and gets none.
TEST(L2Normalise, LengthsAndZeros) {
  Case<L2NormaliseForwardArguments> forward = forward_case(2, 2, 2);
  forward.operand("input").values = {3, 4, 0, 0};
  EXPECT_EQ(reference_in_double(forward).values(forward.index_of("output")), (std::vector<double>{1.5, 2, 0, 0}));
  check_variants(forward);
  Case<L2NormaliseBackwardArguments> backward = backward_case(2, 2, 2);
  backward.operand("input").values = {3, 4, 0, 0};
  const Outcome outcome = reference_in_double(backward);
  EXPECT_EQ(outcome.value(backward.index_of("d_input"), 2), 0);
  EXPECT_EQ(outcome.value(backward.index_of("d_input"), 3), 0);
  check_variants(backward);
}

TEST(L2Normalise, GradientsAreTheDifferences) {
  Case<L2NormaliseForwardArguments> forward = forward_case(3, 5, 7);
  Case<L2NormaliseBackwardArguments> backward = backward_case(3, 5, 7);
  const std::vector<double> d_output = backward.operand("d_output").values.list();
  const std::vector<double> input = forward.operand("input").values.list();
  const Outcome outcome = reference_in_double(backward);
  const std::vector<double> d_input = outcome.values(backward.index_of("d_input"));
  const auto loss = [&](const std::vector<double>& values) {
    forward.operand("input").values = values;
    return dot(d_output, reference_in_double(forward).values(forward.index_of("output")));
  };
  // The elements between the rows are no part of it: there d_input stays what it was.
  std::vector<double> gradient(input.size());
  for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] = i % 7 < 5 ? d_input[i] : 0;
  check_gradient("input", loss, input, gradient);
  // Linear in the scale: its gradient is the loss itself by the scale, stored in fp32 behind the 0.5 there was.
  EXPECT_NEAR(outcome.value(backward.index_of("d_scale"), 0) - 0.5, loss(input) / 2.5, 3e-7);
}

}  // namespace
}  // namespace koine::testing
