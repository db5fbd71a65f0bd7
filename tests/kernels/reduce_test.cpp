#include "kernels/reduce/reduce.h"

#include "tests/kernels/suite.h"

namespace koine {
namespace {

using testing::Case;
using testing::fp32_error;
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
}

// A double as the output is more than the suite's operands know, so these two are driven by hand.
template <class Arguments>
double run_variant_on(const Variant<Arguments>& variant, Arguments arguments, double start) {
  testing::Buffer workspace(variant.workspace_bytes == nullptr ? 0 : variant.workspace_bytes(arguments));
  arguments.output = &start;
  operation<Arguments>().validate(arguments);
  variant.launch(Context{}, arguments, workspace.data());
  EXPECT_TRUE(workspace.guards_intact());
  return start;
}

std::vector<float> floats(std::int64_t count, std::uint64_t seed) {
  const std::vector<double> values = random_values(count, seed);
  return {values.begin(), values.end()};
}

TEST(SumOfSquares, AgreesWithTheReferenceOnAllThreads) {
  const auto& table = operation<SumOfSquaresArguments>();
  for (const std::int64_t rows : {0, 1, 3, 50}) {
    for (const std::int64_t width : {1, 7, 768, 1000, 20000}) {
      const std::vector<float> input = floats(rows * width, 5);
      SumOfSquaresArguments arguments;
      arguments.rows = rows;
      arguments.width = width;
      arguments.input = input.data();
      const double truth = run_variant_on(table.variants.back(), arguments, 0.25);
      testing::for_each_instruction_set([&](const std::string& instructions) {
        const double first = run_variant_on(table.variants.front(), arguments, 0.25);
        // Sums of positive doubles in another order: at most as many roundings of 2^-53 as there are terms.
        EXPECT_NEAR(first, truth, truth * 1e-16 * static_cast<double>(rows * width + 4)) << instructions;
        testing::for_each_thread_count(
            [&](int) { EXPECT_EQ(first, run_variant_on(table.variants.front(), arguments, 0.25)) << instructions; });
      });
    }
  }
}

TEST(SumOfSquares, ListedRowsGiveTheBitsOfAllRows) {
  constexpr std::int64_t kRows = 300;
  for (const std::int64_t width : {33, 768, 9000}) {
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
    arguments.input = input.data();
    for (const auto& variant : operation<SumOfSquaresArguments>().variants) {
      arguments.row_list = nullptr;
      const double all = run_variant_on(variant, arguments, 1.0 / 3);
      arguments.row_list = listed.data();
      arguments.listed = static_cast<std::int64_t>(listed.size());
      EXPECT_EQ(all, run_variant_on(variant, arguments, 1.0 / 3)) << variant.name;
    }
  }
}

TEST(Sum, IsInOrder) {
  for (const std::int64_t count : {0, 1, 1000}) {
    const std::vector<float> input = floats(count, 3);
    SumArguments arguments;
    arguments.count = count;
    arguments.input = input.data();
    double truth = 0.5;
    for (const float value : input) truth += static_cast<double>(value);
    for (const auto& variant : operation<SumArguments>().variants) {
      EXPECT_EQ(run_variant_on(variant, arguments, 0.5), truth) << variant.name;
    }
  }
}

}  // namespace
}  // namespace koine
