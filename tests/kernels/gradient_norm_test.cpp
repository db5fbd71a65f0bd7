#include <array>
#include <limits>

#include "kernels/optimizer/gradient_norm_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(ClipFactor, IsPyTorchs) {
  for (const auto& variant : operation<ClipFactorArguments>().variants) {
    if (variant.device == Device::kCuda && cuda::device_count() == 0) continue;
    const auto clip = [&](double squares, float maximum) {
      const Outcome outcome = launch(clip_factor_case(squares, maximum), variant, DType::kFloat32, DType::kFloat32);
      return std::pair(static_cast<float>(outcome.value(0, 0)), static_cast<float>(outcome.value(1, 0)));
    };
    EXPECT_EQ(clip(16, 1), (std::pair<float, float>(4, static_cast<float>(1 / (4 + 1e-6))))) << variant.name;
    EXPECT_EQ(clip(0.25, 1), (std::pair<float, float>(0.5f, 1))) << variant.name;
    EXPECT_EQ(clip(16, 0), (std::pair<float, float>(4, 1))) << variant.name;
    EXPECT_EQ(clip(0, 1), (std::pair<float, float>(0, 1))) << variant.name;
    const double infinity = std::numeric_limits<double>::infinity();
    EXPECT_EQ(clip(infinity, 1), (std::pair<float, float>(kInfinity, 0))) << variant.name;
    EXPECT_EQ(clip(infinity, 0), (std::pair<float, float>(kInfinity, 0))) << variant.name;
    EXPECT_EQ(clip(1e80, 1), (std::pair<float, float>(kInfinity, 0))) << variant.name << ": no float";
    EXPECT_TRUE(std::isnan(clip(std::nan(""), 1).first)) << variant.name;
    EXPECT_EQ(clip(std::nan(""), 1).second, 0.0f) << variant.name;
    // 1e-10 / 1e36 is no float, and is not taken for a norm that is not finite.
    EXPECT_EQ(clip(1e72, 1e-10f).second, std::numeric_limits<float>::min()) << variant.name;
  }
}

/// A flat buffer: segments at odd places, an empty one, one longer than a piece; a table [rows, width] in between.
struct Flat {
  Flat(std::int64_t table_rows, std::int64_t table_width, bool with_segments = true) : rows(table_rows), width(table_width) {
    table_offset = 1027;
    const std::int64_t behind = (table_offset + rows * width + 63) / 64 * 64;
    if (with_segments) {
      segments = {
          {0, 1, 5, 0, 0}, {64, 30, 32, 0, 0}, {1027, 1, 0, 0, 0}, {behind, 3, 7000, 0, 0}, {behind + 21000, 1, 3, 0, 0}};
    }
    elements = behind + 21003;
  }
  std::int64_t rows;
  std::int64_t width;
  std::int64_t table_offset;
  std::int64_t elements;
  std::vector<FlatSegment> segments;
  std::vector<std::int32_t> listed;
  std::vector<std::int64_t> listed_count = {0};

  /// Normal numbers everywhere but in rows that are not listed, and between segments.
  std::vector<double> gradients() {
    std::vector<double> values(static_cast<std::size_t>(elements), 0.0);
    TestRandom random(4);
    for (const FlatSegment& segment : segments) {
      for (std::int64_t i = 0; i < segment.count(); ++i) {
        values[static_cast<std::size_t>(segment.offset + i)] = random.normal();
      }
    }
    for (std::int32_t row = 0; row < rows; ++row) {
      if (random.below(4) != 0) continue;
      listed.push_back(row);
      for (std::int64_t i = 0; i < width; ++i) {
        values[static_cast<std::size_t>(table_offset + row * width + i)] = random.normal();
      }
    }
    listed_count[0] = std::ssize(listed);
    return values;
  }
  Case<GradientNormArguments> test_case(float maximum_norm) {
    Case<GradientNormArguments> result =
        gradient_norm_case(segments, {rows, width, table_offset}, maximum_norm, gradients());
    result.array(listed_count);
    // Sums of doubles in another order may round to the neighbouring float.
    result.operand("norm").accumulation = fp32_error(1, std::sqrt(static_cast<double>(elements)));
    result.operand("factor").accumulation = fp32_error(1, 1);
    return result;
  }
};

TEST(GradientNorm, VariantsAgreeWithTheReference) {
  for (const auto& [rows, width] : std::vector<std::pair<std::int64_t, std::int64_t>>{{0, 1}, {40, 33}, {3, 9000}}) {
    for (const float maximum : {0.0f, 1.0f}) {
      Flat flat(rows, width);
      check_variants(flat.test_case(maximum));
    }
  }
  Flat table_alone(7, 100, false);
  check_variants(table_alone.test_case(1.0f));
  Flat nothing(0, 1, false);
  check_variants(nothing.test_case(1.0f));
}

TEST(GradientNorm, ListedRowsGiveTheBitsOfAllRows) {
  // 1500 rows: more rows than a block takes.
  for (const auto& [rows, width] : std::vector<std::pair<std::int64_t, std::int64_t>>{{40, 33}, {1500, 8}, {20, 2500}}) {
    Flat flat(rows, width);
    Case<GradientNormArguments> test_case = flat.test_case(0.5f);
    test_case.array(flat.listed);
    for (const auto& variant : operation<GradientNormArguments>().variants) {
      if (variant.device == Device::kCuda && cuda::device_count() == 0) continue;
      const auto results = [&](const std::int32_t* list, std::int64_t listed, const std::int64_t* listed_from) {
        test_case.arguments.row_list = list;
        test_case.arguments.listed = listed;
        test_case.arguments.listed_from = listed_from;
        const Outcome outcome = launch(test_case, variant, DType::kFloat32, DType::kFloat32);
        return std::array<double, 3>{*test_case.arguments.sum_of_squares, outcome.value(1, 0), outcome.value(2, 0)};
      };
      const auto all = results(nullptr, 0, nullptr);
      EXPECT_GT(all[0], 0) << variant.name;
      EXPECT_EQ(all, results(flat.listed.data(), flat.listed_count[0], nullptr)) << variant.name << " " << test_case.name;
      flat.listed.resize(flat.listed.size() + 3, 0);  // more than counted
      test_case.arrays.back() = region_of(flat.listed);
      EXPECT_EQ(all, results(flat.listed.data(), std::ssize(flat.listed), flat.listed_count.data())) << variant.name;
      flat.listed.resize(flat.listed.size() - 3);
      test_case.arrays.back() = region_of(flat.listed);
    }
  }
}

TEST(GradientNorm, OneValueThatIsNotFiniteGivesFactorZero) {
  for (const double bad : {std::numeric_limits<double>::infinity(), std::nan("")}) {
    Flat flat(40, 33);
    Case<GradientNormArguments> test_case = flat.test_case(0.0f);
    test_case.operands[0].values[static_cast<std::size_t>(flat.table_offset + 40 * 33 - 1)] = bad;
    for (const auto& variant : operation<GradientNormArguments>().variants) {
      if (variant.device == Device::kCuda && cuda::device_count() == 0) continue;
      const Outcome outcome = launch(test_case, variant, DType::kFloat32, DType::kFloat32);
      EXPECT_FALSE(std::isfinite(outcome.value(1, 0))) << variant.name;
      EXPECT_EQ(outcome.value(2, 0), 0.0) << variant.name;
    }
  }
}

}  // namespace
}  // namespace koine::testing
