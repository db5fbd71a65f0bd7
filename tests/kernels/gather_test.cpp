#include "kernels/gather/gather_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

// Distinct rows in a mixed order.
std::vector<std::int32_t> some_rows(std::int64_t count, std::int64_t rows) {
  std::vector<std::int32_t> all;
  for (std::int64_t row = 0; row < rows; ++row) all.push_back(static_cast<std::int32_t>(row));
  TestRandom random(4);
  for (std::int64_t i = rows - 1; i > 0; --i)
    std::swap(all[static_cast<std::size_t>(i)], all[static_cast<std::size_t>(random.below(i + 1))]);
  all.resize(static_cast<std::size_t>(count));
  return all;
}

template <class Arguments>
void check_copies(Case<Arguments> test_case) {
  test_case.operand("output").exact = true;
  check_variants(test_case);
}

TEST(GatherRows, Variants) {
  for (const std::int64_t width : {1, 7, 64, 768, 1000, 1024}) {
    for (const auto& [count, rows] : {std::pair<int, int>{0, 3}, {1, 1}, {5, 9}, {90, 100}}) {
      const std::vector<std::int32_t> indices = some_rows(count, rows);
      check_copies(gather_rows_case(indices, rows, width));
      check_copies(scatter_rows_case(indices, rows, width));
    }
  }
  check_copies(gather_rows_case({2, 2, 0}, 3, 5));  // repeated: by gather only
  check_copies(scatter_among_others_case(some_rows(5, 9), 9, 7));
  check_copies(scatter_among_others_case(some_rows(90, 100), 100, 64));
}

TEST(GatherRows, ScatterIsTheGradient) {
  const std::vector<std::int32_t> indices = some_rows(4, 6);
  Case<GatherRowsArguments> forward = gather_rows_case(indices, 6, 3);
  Case<ScatterRowsArguments> backward = scatter_rows_case(indices, 6, 3);
  const std::vector<double> coefficients = backward.operands[0].values;
  const std::vector<double> input = forward.operands[0].values;
  const auto loss = [&](const std::vector<double>& values) {
    forward.operands[0].values = values;
    return dot(coefficients, reference_in_double(forward).values(1));
  };
  check_gradient("input", loss, input, reference_in_double(backward).values(1));
}

TEST(GatherRows, RefusesRowsThatAreNotThere) {
  const std::vector<std::int32_t> indices = {0, 3};
  float memory[12] = {};
  GatherRowsArguments arguments;
  arguments.count = 2;
  arguments.rows = 3;
  arguments.width = 2;
  arguments.indices = indices.data();
  arguments.input = memory;
  arguments.output = memory + 6;
  EXPECT_THROW(gather_rows(Context{}, arguments), Error);
}

}  // namespace
}  // namespace koine::testing
