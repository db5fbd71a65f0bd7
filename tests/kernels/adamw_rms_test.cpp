#include <cmath>

#include "kernels/optimizer/adamw_rms_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

/// Numbers of size 0.1 to 5 with a handful of roundings each; an update is 1e-2 of the tensor's RMS (0.02) times at most a
/// hundred or so (a moment of 0.5 over a root of 0.004).
void grant_adamw_rms(Case<AdamWRmsArguments>& test_case) {
  test_case.operand("parameter").accumulation = fp32_error(3, 0.1) + fp32_error(8, 0.02);
  test_case.operand("first_moment").accumulation = fp32_error(3, 5);
  test_case.operand("second_moment").accumulation = fp32_error(3, 0.5);
  test_case.operand("gradient").exact = true;
  for (auto& operand : test_case.operands) {  // a parameter between two bf16 may go to either
    if (operand.name == "working") operand.accumulation = std::ldexp(0.1, -8);
  }
}

TEST(AdamWRms, Variants) {
  const std::vector<std::pair<std::vector<FlatSegment>, std::int64_t>> lists = {
      {{{0, 1, 1}}, 1},
      {{{0, 3, 5}, {16, 1, 7, 0, 1}, {23, 1, 9}}, 40},
      {{{1, 1, 255}, {256, 1, 8192, 0, 1}, {8449, 1, 8193}, {16642, 40, 257, 0, 1}}, 27000},
  };
  for (const auto& [segments, count] : lists) {
    Case<AdamWRmsArguments> test_case = adamw_rms_case(segments, count, false);
    grant_adamw_rms(test_case);
    check_variants(test_case);
  }
}

TEST(AdamWRms, KeepsWorkingCopiesAndTakesTheFactor) {
  Case<AdamWRmsArguments> test_case = adamw_rms_case({{0, 3, 100}, {300, 1, 100, 0, 1}}, 400, true);
  test_case.arguments.gradient_factor = test_case.keep(std::vector<float>{0.25f});
  test_case.arguments.zero_gradient = false;
  grant_adamw_rms(test_case);
  check_variants(test_case);
}

// Weights of 1e-6 move as if their RMS were 1e-3.
TEST(AdamWRms, TheScaleIsNeverBelowItsLeast) {
  Case<AdamWRmsArguments> test_case = adamw_rms_case({{0, 3, 100}}, 300, true, 1e-6);
  grant_adamw_rms(test_case);
  test_case.operand("parameter").accumulation = fp32_error(8, 1e-3);
  check_variants(test_case);
}

TEST(AdamWRms, ANormThatIsNotFiniteChangesNothing) {
  Case<AdamWRmsArguments> test_case = adamw_rms_case({{0, 3, 100}, {300, 1, 100, 0, 1}}, 400, false);
  test_case.arguments.gradient_factor = test_case.keep(std::vector<float>{0.0f});
  for (const char* name : {"parameter", "gradient", "first_moment", "second_moment"}) test_case.operand(name).exact = true;
  check_variants(test_case);
}

}  // namespace
}  // namespace koine::testing
