#include "kernels/dropout/dropout.h"

#include "tests/kernels/suite.h"

namespace koine {
namespace {

using testing::Case;
using testing::fp32_error;
using testing::random_values;

struct Batch {
  explicit Batch(std::int64_t rows) {
    for (std::int64_t row = 0; row < rows; ++row) {
      examples.push_back(static_cast<std::uint32_t>(77 + row / 2));
      positions.push_back(static_cast<std::int32_t>(row % 2));
    }
  }
  std::vector<std::uint32_t> examples;
  std::vector<std::int32_t> positions;
};

Case<DropoutArguments> make_case(const Batch& batch, std::int64_t width, float rate, bool residual) {
  const auto rows = static_cast<std::int64_t>(batch.examples.size());
  Case<DropoutArguments> test_case(concatenate("[", rows, ", ", width, "] rate ", rate, residual ? " residual" : ""));
  test_case.set_type = [](auto& a, DType type) { a.type = type; };
  test_case.arguments.rows = rows;
  test_case.arguments.width = width;
  test_case.arguments.dropout.rate = rate;
  test_case.arguments.dropout.seed = 3;
  test_case.arguments.dropout.step = 4;
  test_case.arguments.dropout.site = 5;
  test_case.arguments.dropout.examples = batch.examples.data();
  test_case.arguments.dropout.positions = batch.positions.data();
  test_case.array(batch.examples);
  test_case.array(batch.positions);
  test_case.input("input", random_values(rows * width, 1), [](auto& a, void* data) { a.input = data; });
  if (residual) test_case.input("residual", random_values(rows * width, 2), [](auto& a, void* data) { a.residual = data; });
  // Where nothing is added, product or copy are rounded once, as the reference rounds them.
  auto& output = test_case.output("output", rows * width, [](auto& a, void* data) { a.output = data; });
  output.exact = !residual && rate == 0;
  output.accumulation = fp32_error(1, 4);
  return test_case;
}

TEST(Dropout, Variants) {
  for (const std::int64_t rows : {0, 1, 3, 40}) {
    for (const std::int64_t width : {1, 7, 64, 768, 1000, 1024}) {
      const Batch batch(rows);
      for (const float rate : {0.0f, 0.1f}) {
        check_variants(make_case(batch, width, rate, false));
        check_variants(make_case(batch, width, rate, true));
      }
    }
  }
}

TEST(Dropout, InPlace) {
  const Batch batch(3);
  Case<DropoutArguments> test_case = make_case(batch, 100, 0.3f, true);
  test_case.operands[0].written = true;
  test_case.operands[0].accumulation = fp32_error(1, 4);
  test_case.operands[0].bind = [](auto& a, void* data) {
    a.input = data;
    a.output = data;
  };
  test_case.operands[2].written = false;
  test_case.operands[2].bind = nullptr;
  check_variants(test_case);
}

constexpr std::int64_t kWidth = 200;

// What `variant` makes of ones, by these arguments.
std::vector<float> dropped_ones(const Variant<DropoutArguments>& variant, const Batch& batch, DropoutArguments arguments,
                                const std::vector<std::uint32_t>& steps = {}) {
  std::vector<float> ones(batch.examples.size() * kWidth, 1.0f);
  arguments.input = ones.data();
  arguments.output = ones.data();
  if (variant.device == Device::kCuda) {
    testing::launch_on_device(testing::context_for(variant.device), variant, arguments,
                              {testing::region_of(ones), testing::region_of(batch.examples),
                               testing::region_of(batch.positions), testing::region_of(steps)},
                              {}, nullptr);
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
    Batch batch(6);
    const auto run_batch = [&] { return dropped_ones(variant, batch, make_case(batch, kWidth, 0.5f, false).arguments); };
    const std::vector<float> before = run_batch();
    std::reverse(batch.examples.begin(), batch.examples.end());
    std::reverse(batch.positions.begin(), batch.positions.end());
    const std::vector<float> after = run_batch();
    for (std::int64_t row = 0; row < 6; ++row) {
      const auto first = before.begin() + row * kWidth;
      EXPECT_TRUE(std::equal(first, first + kWidth, after.begin() + (5 - row) * kWidth)) << variant.name << ", row " << row;
    }
  });
}

// All variants drop the same elements, those on a device also where they read the step from memory.
TEST(Dropout, StepMayBeReadFromMemory) {
  const Batch batch(3);
  const std::vector<std::uint32_t> steps = {7};
  DropoutArguments arguments = make_case(batch, kWidth, 0.5f, false).arguments;
  arguments.dropout.step = 7;
  const std::vector<float> expected = dropped_ones(testing::reference_variant<DropoutArguments>(), batch, arguments);
  for_each_variant([&](const Variant<DropoutArguments>& variant) {
    DropoutArguments changed = arguments;
    if (variant.device == Device::kCuda) {
      changed.dropout.step = 99;
      changed.dropout.step_from = steps.data();
    }
    EXPECT_EQ(dropped_ones(variant, batch, changed, steps), expected) << variant.name;
  });
}

// Linear, so its gradient is dropout itself.
TEST(Dropout, IsItsOwnGradient) {
  const Batch batch(2);
  constexpr std::int64_t kCount = 2 * 9;
  const std::vector<double> coefficients = random_values(kCount, 5);
  Case<DropoutArguments> forward = make_case(batch, 9, 0.4f, false);
  const auto loss = [&](const std::vector<double>& values) {
    forward.operands[0].values = values;
    return testing::dot(coefficients, testing::reference_in_double(forward).values(1));
  };
  Case<DropoutArguments> backward = make_case(batch, 9, 0.4f, false);
  backward.operands[0].values = coefficients;
  testing::check_gradient("input", loss, random_values(kCount, 6), testing::reference_in_double(backward).values(1));
}

}  // namespace
}  // namespace koine
