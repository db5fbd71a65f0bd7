#include "kernels/reduce/reduce.h"

#include "tests/kernels/suite.h"

namespace koine {
namespace {

using testing::Case;
using testing::fp32_error;
using testing::launch_on_device;
using testing::random_values;

Case<ColumnSumArguments> column_case(std::int64_t rows, std::int64_t width, std::int64_t stride) {
  Case<ColumnSumArguments> test_case(concatenate("[", rows, ", ", width, "] stride ", stride));
  test_case.set_type = [](auto& a, DType type) { a.type = type; };
  test_case.arguments.rows = rows;
  test_case.arguments.width = width;
  test_case.arguments.stride = stride;
  test_case.input("input", random_values(rows * stride, 1), [](auto& a, void* data) { a.input = data; });
  // Numbers of size 1 added up in blocks: a random walk of roundings of their sum.
  const double n = std::max(1.0, static_cast<double>(rows));
  test_case.in_out_fp32("output", random_values(width, 2), [](auto& a, void* data) { a.output = static_cast<float*>(data); })
      .accumulation = fp32_error(4 + 2 * std::sqrt(n), std::sqrt(n));
  return test_case;
}

TEST(ColumnSum, Variants) {
  for (const std::int64_t rows : {0, 1, 2, 7, 64, 300}) {
    for (const std::int64_t width : {1, 7, 64, 768, 1000, 1024}) {
      check_variants(column_case(rows, width, width));
      check_variants(column_case(rows, width, width + 13));
    }
  }
  check_variants(column_case(70, 264, 280));  // every row on 16 bytes, more columns than a block of a device's threads has
}

// A double as the output is more than the suite's operands know, so these two are driven by hand.
std::vector<float> floats(std::int64_t count, std::uint64_t seed) {
  const std::vector<double> values = random_values(count, seed);
  return {values.begin(), values.end()};
}

/// The sum of squares of `input` and `start`, on a device where the variant is for one.
double squares_on(const Variant<SumOfSquaresArguments>& variant, SumOfSquaresArguments arguments,
                  const std::vector<float>& input, double start, const std::vector<std::int32_t>& listed = {}) {
  std::vector<double> output = {start};
  arguments.output = output.data();
  arguments.input = input.data() + (std::ssize(input) - arguments.rows * arguments.width);
  operation<SumOfSquaresArguments>().validate(arguments);
  testing::Buffer workspace(variant.workspace_bytes == nullptr ? 0 : variant.workspace_bytes(arguments));
  if (variant.device == Device::kCuda) {
    launch_on_device(testing::context_for(variant.device), variant, arguments,
                     {testing::region_of(input), testing::region_of(output), testing::region_of(listed)}, {&workspace},
                     workspace.data());
  } else {
    variant.launch(Context{}, arguments, workspace.data());
  }
  EXPECT_TRUE(workspace.guards_intact()) << variant.name;
  return output[0];
}

TEST(SumOfSquares, AgreesWithTheReferenceOnAllThreads) {
  const auto& table = operation<SumOfSquaresArguments>();
  for (const std::int64_t rows : {0, 1, 3, 50}) {
    for (const std::int64_t width : {1, 7, 768, 1000, 20000}) {
      const std::vector<float> input = floats(rows * width, 5);
      SumOfSquaresArguments arguments;
      arguments.rows = rows;
      arguments.width = width;
      const double truth = squares_on(table.variants.back(), arguments, input, 0.25);
      // Sums of positive doubles in another order: at most as many roundings of 2^-53 as there are terms.
      const double tolerance = truth * 1e-16 * static_cast<double>(rows * width + 4);
      for (const auto& variant : table.variants) {
        if (variant.name == kReference || (variant.device == Device::kCuda && cuda::device_count() == 0)) continue;
        if (variant.device == Device::kCuda) {
          const double first = squares_on(variant, arguments, input, 0.25);
          EXPECT_NEAR(first, truth, tolerance) << variant.name << " [" << rows << ", " << width << "]";
          testing::for_each_schedule([&](const std::string& schedule) {
            EXPECT_EQ(first, squares_on(variant, arguments, input, 0.25)) << schedule;
          });
          std::vector<float> shifted = {1e9f};  // the same bits where nothing is aligned
          shifted.insert(shifted.end(), input.begin(), input.end());
          EXPECT_EQ(first, squares_on(variant, arguments, shifted, 0.25)) << "misaligned";
          continue;
        }
        testing::for_each_instruction_set([&](const std::string& instructions) {
          const double first = squares_on(variant, arguments, input, 0.25);
          EXPECT_NEAR(first, truth, tolerance) << instructions;
          testing::for_each_thread_count(
              [&](int) { EXPECT_EQ(first, squares_on(variant, arguments, input, 0.25)) << instructions; });
        });
      }
    }
  }
}

TEST(SumOfSquares, ListedRowsGiveTheBitsOfAllRows) {
  constexpr std::int64_t kRows = 300;
  for (const std::int64_t width : {33, 768, 2500}) {
    std::vector<float> input(static_cast<std::size_t>(kRows * width));
    std::vector<std::int32_t> listed;
    testing::TestRandom random(8);
    for (std::int32_t row = 0; row < kRows; ++row) {
      if (random.below(4) != 0) continue;
      listed.push_back(row);
      for (std::int64_t c = 0; c < width; ++c)
        input[static_cast<std::size_t>(row * width + c)] = static_cast<float>(random.normal());
    }
    SumOfSquaresArguments arguments;
    arguments.rows = kRows;
    arguments.width = width;
    for (const auto& variant : operation<SumOfSquaresArguments>().variants) {
      if (variant.device == Device::kCuda && cuda::device_count() == 0) continue;
      arguments.row_list = nullptr;
      const double all = squares_on(variant, arguments, input, 1.0 / 3);
      arguments.row_list = listed.data();
      arguments.listed = static_cast<std::int64_t>(listed.size());
      EXPECT_EQ(all, squares_on(variant, arguments, input, 1.0 / 3, listed)) << variant.name << ", width " << width;
    }
  }
}

// The sum of `start` and `input`, on a device where the variant is for one.
double sum_on(const Variant<SumArguments>& variant, const std::vector<float>& input, double start) {
  std::vector<double> output = {start};
  const SumArguments arguments = {std::ssize(input), input.data(), output.data()};
  operation<SumArguments>().validate(arguments);
  if (variant.device == Device::kCuda) {
    launch_on_device(testing::context_for(variant.device), variant, arguments,
                     {testing::region_of(input), testing::region_of(output)}, {}, nullptr);
  } else {
    variant.launch(Context{}, arguments, nullptr);
  }
  return output[0];
}

TEST(Sum, IsInOrder) {
  for (const std::int64_t count : {0, 1, 1000, 5000}) {
    const std::vector<float> input = floats(count, 3);
    double truth = 0.5;
    double magnitudes = 0.5;
    for (const float value : input) truth += static_cast<double>(value);
    for (const float value : input) magnitudes += std::fabs(static_cast<double>(value));
    for (const auto& variant : operation<SumArguments>().variants) {
      if (variant.device == Device::kCpu) {
        EXPECT_EQ(sum_on(variant, input, 0.5), truth) << variant.name;
        continue;
      }
      if (cuda::device_count() == 0) continue;
      // An order of its own: every number takes part in at most 20 additions (in threads of 512, then pairs), each of which
      // rounds by 2^-53 of what it has; the sum in order rounds `count` times, by as much of partial sums of size
      // sqrt(count).
      const double tolerance = 0x1p-53 * (20 + std::sqrt(static_cast<double>(count))) * magnitudes;
      const double first = sum_on(variant, input, 0.5);
      EXPECT_NEAR(first, truth, tolerance) << variant.name << ", " << count;
      testing::for_each_schedule(
          [&](const std::string& schedule) { EXPECT_EQ(sum_on(variant, input, 0.5), first) << schedule; });
    }
  }
}

}  // namespace
}  // namespace koine
