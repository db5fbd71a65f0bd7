#include <iterator>

#include "kernels/dropout/dropout_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

Case<DropoutArguments> make_case(std::int64_t rows, std::int64_t width, float rate, bool residual) {
  Case<DropoutArguments> test_case = dropout_case(rows, width, rate, residual);
  // Where nothing is added, product or copy are rounded once, as the reference rounds them.
  test_case.operand("output").exact = !residual && rate == 0;
  test_case.operand("output").accumulation = fp32_error(1, 4);
  return test_case;
}

TEST(Dropout, Variants) {
  for (const std::int64_t rows : {0, 1, 3, 40}) {
    for (const std::int64_t width : {1, 7, 64, 768, 1000, 1024}) {
      for (const float rate : {0.0f, 0.1f}) {
        check_variants(make_case(rows, width, rate, false));
        check_variants(make_case(rows, width, rate, true));
      }
    }
  }
}

TEST(Dropout, InPlace) {
  Case<DropoutArguments> test_case = make_case(3, 100, 0.3f, true);
  test_case.in_place("input", "output");
  check_variants(test_case);
}

constexpr std::int64_t kWidth = 200;

// What `variant` makes of rows of ones.
std::vector<float> dropped_ones(const Variant<DropoutArguments>& variant, const Case<DropoutArguments>& test_case) {
  DropoutArguments arguments = test_case.arguments;
  std::vector<float> ones(static_cast<std::size_t>(arguments.rows * arguments.width), 1.0f);
  arguments.input = ones.data();
  arguments.output = ones.data();
  if (variant.device == Device::kCuda) {
    std::vector<Region> regions = test_case.arrays;
    regions.push_back(region_of(ones));
    launch_on_device(context_for(variant.device), variant, arguments, regions, {}, nullptr);
  } else {
    run_variant(Context{}, variant, arguments);
  }
  return ones;
}

void for_each_variant(const std::function<void(const Variant<DropoutArguments>&)>& body) {
  for (const auto& variant : operation<DropoutArguments>().variants) {
    if (variant.device == Device::kCpu || cuda::device_count() > 0) body(variant);
  }
}

// A row's mask does not depend on which row of the batch it is.
TEST(Dropout, MaskIsIndependentOfTheLayout) {
  for_each_variant([](const Variant<DropoutArguments>& variant) {
    Case<DropoutArguments> test_case = make_case(6, kWidth, 0.5f, false);
    const std::vector<float> before = dropped_ones(variant, test_case);
    Dropout& dropout = test_case.arguments.dropout;
    dropout.examples = test_case.keep(std::vector<std::uint32_t>(std::make_reverse_iterator(dropout.examples + 6),
                                                                 std::make_reverse_iterator(dropout.examples)));
    dropout.positions = test_case.keep(std::vector<std::int32_t>(std::make_reverse_iterator(dropout.positions + 6),
                                                                 std::make_reverse_iterator(dropout.positions)));
    const std::vector<float> after = dropped_ones(variant, test_case);
    for (std::int64_t row = 0; row < 6; ++row) {
      const auto first = before.begin() + row * kWidth;
      EXPECT_TRUE(std::equal(first, first + kWidth, after.begin() + (5 - row) * kWidth)) << variant.name << ", row " << row;
    }
  });
}

// All variants drop the same elements, those on a device also where they read the step from memory.
TEST(Dropout, StepMayBeReadFromMemory) {
  Case<DropoutArguments> test_case = make_case(3, kWidth, 0.5f, false);
  test_case.arguments.dropout.step = 7;
  const std::vector<float> expected = dropped_ones(reference_variant<DropoutArguments>(), test_case);
  for_each_variant([&](const Variant<DropoutArguments>& variant) {
    Case<DropoutArguments> changed = test_case;
    if (variant.device == Device::kCuda) {
      changed.arguments.dropout.step = 99;
      changed.arguments.dropout.step_from = changed.keep(std::vector<std::uint32_t>{7});
    }
    EXPECT_EQ(dropped_ones(variant, changed), expected) << variant.name;
  });
}

// Linear, so its gradient is dropout itself.
TEST(Dropout, IsItsOwnGradient) {
  constexpr std::int64_t kCount = 2 * 9;
  const std::vector<double> coefficients = random_values(kCount, 5);
  Case<DropoutArguments> forward = make_case(2, 9, 0.4f, false);
  const auto loss = [&](const std::vector<double>& values) {
    forward.operands[0].values = values;
    return dot(coefficients, reference_in_double(forward).values(1));
  };
  Case<DropoutArguments> backward = make_case(2, 9, 0.4f, false);
  backward.operands[0].values = coefficients;
  check_gradient("input", loss, random_values(kCount, 6), reference_in_double(backward).values(1));
}

}  // namespace
}  // namespace koine::testing
