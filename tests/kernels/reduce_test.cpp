#include "kernels/reduce/reduce_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

Case<ColumnSumArguments> column_case(std::int64_t rows, std::int64_t width, std::int64_t stride) {
  Case<ColumnSumArguments> test_case = column_sum_case(rows, width, stride);
  // Numbers of size 1 added up in blocks: a random walk of roundings of their sum.
  const double n = std::max(1.0, static_cast<double>(rows));
  test_case.operand("output").accumulation = fp32_error(4 + 2 * std::sqrt(n), std::sqrt(n));
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

/// What `variant` adds to `start`.
template <class Arguments>
double sum_by(const Variant<Arguments>& variant, const Case<Arguments>& test_case, double start, bool aligned = false) {
  double& sum = *test_case.arguments.output;
  sum = start;
  launch(test_case, variant, DType::kFloat32, DType::kFloat32, aligned);
  return sum;
}

TEST(SumOfSquares, AgreesWithTheReferenceOnAllThreads) {
  for (const std::int64_t rows : {0, 1, 3, 50}) {
    for (const std::int64_t width : {1, 7, 768, 1000, 20000}) {
      const Case<SumOfSquaresArguments> test_case = sum_of_squares_case(rows, width, 0.25);
      const double truth = sum_by(reference_variant<SumOfSquaresArguments>(), test_case, 0.25);
      // Sums of positive doubles in another order: at most as many roundings of 2^-53 as there are terms.
      const double tolerance = truth * 1e-16 * static_cast<double>(rows * width + 4);
      for (const auto& variant : operation<SumOfSquaresArguments>().variants) {
        if (variant.name == kReference || (variant.device == Device::kCuda && cuda::device_count() == 0)) continue;
        if (variant.device == Device::kCuda) {
          const double first = sum_by(variant, test_case, 0.25, true);
          EXPECT_NEAR(first, truth, tolerance) << variant.name << " " << test_case.name;
          for_each_schedule(
              [&](const std::string& schedule) { EXPECT_EQ(first, sum_by(variant, test_case, 0.25, true)) << schedule; });
          EXPECT_EQ(first, sum_by(variant, test_case, 0.25, false)) << "the same bits where nothing is aligned";
          continue;
        }
        for_each_instruction_set([&](const std::string& instructions) {
          const double first = sum_by(variant, test_case, 0.25);
          EXPECT_NEAR(first, truth, tolerance) << instructions;
          for_each_thread_count([&](int) { EXPECT_EQ(first, sum_by(variant, test_case, 0.25)) << instructions; });
        });
      }
    }
  }
}

TEST(SumOfSquares, ListedRowsGiveTheBitsOfAllRows) {
  constexpr std::int64_t kRows = 300;
  for (const std::int64_t width : {33, 768, 2500}) {
    Case<SumOfSquaresArguments> all = sum_of_squares_case(kRows, width, 0);
    std::vector<double>& input = all.operand("input").values;
    std::vector<std::int32_t> listed;
    TestRandom random(8);
    for (std::int32_t row = 0; row < kRows; ++row) {
      const auto begin = input.begin() + row * width;
      if (random.below(4) == 0) {
        listed.push_back(row);
      } else {
        std::fill(begin, begin + width, 0.0);
      }
    }
    Case<SumOfSquaresArguments> some = all;
    some.arguments.listed = std::ssize(listed);
    some.arguments.row_list = some.keep(listed);
    for (const auto& variant : operation<SumOfSquaresArguments>().variants) {
      if (variant.device == Device::kCuda && cuda::device_count() == 0) continue;
      const double sum = sum_by(variant, all, 1.0 / 3);
      EXPECT_GT(sum, 1) << variant.name;
      EXPECT_EQ(sum, sum_by(variant, some, 1.0 / 3)) << variant.name << ", width " << width;
    }
  }
}

TEST(Sum, IsInOrder) {
  for (const std::int64_t count : {0, 1, 1000, 5000}) {
    const Case<SumArguments> test_case = sum_case(count, 0.5);
    double truth = 0.5;
    double magnitudes = 0.5;
    for (const double value : test_case.operands[0].values) {
      truth += round_to(DType::kFloat32, value);
      magnitudes += std::fabs(value);
    }
    for (const auto& variant : operation<SumArguments>().variants) {
      if (variant.device == Device::kCpu) {
        EXPECT_EQ(sum_by(variant, test_case, 0.5), truth) << variant.name;
        continue;
      }
      if (cuda::device_count() == 0) continue;
      // An order of its own: every number takes part in at most 20 additions (in threads of 512, then pairs), each of which
      // rounds by 2^-53 of what it has; the sum in order rounds `count` times, by as much of partial sums of size
      // sqrt(count).
      const double tolerance = 0x1p-53 * (20 + std::sqrt(static_cast<double>(count))) * magnitudes;
      const double first = sum_by(variant, test_case, 0.5);
      EXPECT_NEAR(first, truth, tolerance) << variant.name << ", " << count;
      for_each_schedule([&](const std::string& schedule) { EXPECT_EQ(sum_by(variant, test_case, 0.5), first) << schedule; });
    }
  }
}

}  // namespace
}  // namespace koine::testing
