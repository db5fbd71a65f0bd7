#include <array>
#include <cmath>

#include "kernels/optimizer/adafactor_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

/// What fp32 may be away. The state here is near 1 (0.5 to 2), gradients are of size 1 to 5: x is a product of four numbers
/// with a rounding each, at most 10 in size, and the update of a parameter (0.1 at most) 1e-3 of it; R, C and V are one
/// multiply-add of a mean (1 to 25) summed in double.
void grant_adafactor(Case<AdafactorArguments>& test_case) {
  test_case.operand("parameter").accumulation = fp32_error(3, 0.1) + 1e-3 * fp32_error(12, 10);
  test_case.operand("state").accumulation = fp32_error(4, 25);
  test_case.operand("gradient").exact = true;
  for (auto& operand : test_case.operands) {  // a parameter between two bf16 may go to either
    if (operand.name == "working") operand.accumulation = std::ldexp(0.1, -8);
  }
}

TEST(Adafactor, Variants) {
  const std::vector<std::vector<std::array<std::int64_t, 3>>> lists = {
      {{1, 1, 0}},
      {{1, 1, 1}, {1, 7, 0}, {7, 1, 1}},
      {{3, 5, 1}, {1, 5, 0}, {3, 5, 0}, {32, 6, 0}},
      {{128, 256, 1}, {1, 256, 0}},
      {{129, 257, 1}, {1, 513, 0}, {130, 300, 0}, {127, 255, 1}},
  };
  for (const auto& shapes : lists) {
    for (const bool scaled : {false, true}) {
      Case<AdafactorArguments> test_case = adafactor_case(shapes, scaled, true);
      grant_adafactor(test_case);
      check_variants(test_case);
    }
  }
}

TEST(Adafactor, WithoutWorkingCopiesAndClearedGradients) {
  Case<AdafactorArguments> test_case = adafactor_case({{9, 20, 1}, {1, 20, 0}}, true, false);
  test_case.arguments.zero_gradient = false;
  grant_adafactor(test_case);
  check_variants(test_case);
}

TEST(Adafactor, ANormThatIsNotFiniteChangesNothing) {
  Case<AdafactorArguments> test_case = adafactor_case({{9, 20, 1}, {1, 20, 0}}, true, false);
  test_case.arguments.gradient_factor = test_case.keep(std::vector<float>{0.0f});
  for (const char* name : {"parameter", "gradient", "state"}) test_case.operand(name).exact = true;
  check_variants(test_case);
}

TEST(Adafactor, TakesTheGradientTimesTheFactor) {
  Case<AdafactorArguments> test_case = adafactor_case({{9, 20, 1}, {1, 20, 0}}, true, true);
  test_case.arguments.gradient_factor = test_case.keep(std::vector<float>{0.25f});
  grant_adafactor(test_case);
  check_variants(test_case);
}

}  // namespace
}  // namespace koine::testing
