#include "kernels/gather/gather.h"

#include "tests/kernels/suite.h"

namespace koine {
namespace {

using testing::Case;
using testing::random_values;

// Distinct rows in a mixed order.
std::vector<std::int32_t> some_rows(std::int64_t count, std::int64_t rows) {
  std::vector<std::int32_t> all;
  for (std::int64_t row = 0; row < rows; ++row) all.push_back(static_cast<std::int32_t>(row));
  testing::TestRandom random(4);
  for (std::int64_t i = rows - 1; i > 0; --i)
    std::swap(all[static_cast<std::size_t>(i)], all[static_cast<std::size_t>(random.below(i + 1))]);
  all.resize(static_cast<std::size_t>(count));
  return all;
}

template <class Arguments>
Case<Arguments> make_case(const std::vector<std::int32_t>& indices, std::int64_t rows, std::int64_t width, bool gathers) {
  const auto count = static_cast<std::int64_t>(indices.size());
  Case<Arguments> test_case(concatenate(count, " of [", rows, ", ", width, "]"));
  test_case.set_type = [](auto& a, DType type) { a.type = type; };
  test_case.arguments.count = count;
  test_case.arguments.rows = rows;
  test_case.arguments.width = width;
  test_case.arguments.indices = indices.data();
  test_case.array(indices);
  test_case.input("input", random_values((gathers ? rows : count) * width, 1), [](auto& a, void* data) { a.input = data; });
  test_case.output("output", (gathers ? count : rows) * width, [](auto& a, void* data) { a.output = data; }).exact = true;
  return test_case;
}

TEST(GatherRows, Variants) {
  for (const std::int64_t width : {1, 7, 64, 768, 1000, 1024}) {
    for (const auto& [count, rows] : {std::pair<int, int>{0, 3}, {1, 1}, {5, 9}, {90, 100}}) {
      const std::vector<std::int32_t> indices = some_rows(count, rows);
      check_variants(make_case<GatherRowsArguments>(indices, rows, width, true));
      check_variants(make_case<ScatterRowsArguments>(indices, rows, width, false));
    }
  }
  const std::vector<std::int32_t> repeated = {2, 2, 0};  // by gather only
  check_variants(make_case<GatherRowsArguments>(repeated, 3, 5, true));
}

TEST(GatherRows, ScatterIsTheGradient) {
  const std::vector<std::int32_t> indices = some_rows(4, 6);
  Case<GatherRowsArguments> forward = make_case<GatherRowsArguments>(indices, 6, 3, true);
  Case<ScatterRowsArguments> backward = make_case<ScatterRowsArguments>(indices, 6, 3, false);
  const std::vector<double> coefficients = backward.operands[0].values;
  const std::vector<double> input = forward.operands[0].values;
  const auto loss = [&](const std::vector<double>& values) {
    forward.operands[0].values = values;
    return testing::dot(coefficients, testing::reference_in_double(forward).values(1));
  };
  testing::check_gradient("input", loss, input, testing::reference_in_double(backward).values(1));
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
}  // namespace koine
