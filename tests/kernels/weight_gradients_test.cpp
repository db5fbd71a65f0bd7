#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "kernels/gemm/weight_gradients_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

using Layer = WeightGradientLayer;

// As in gemm_test.cpp: six standard deviations of a chain of roundings at sums of `rows` products, and ten roundings at the
// size of the largest results.
double granted(std::int64_t rows) {
  const double root = std::sqrt(static_cast<double>(rows)) + 1;
  return fp32_error(2.5 * root, root) + fp32_error(10, 5 * root);
}

Case<WeightGradientsArguments> make_case(const std::string& name, const std::vector<Layer>& layers) {
  Case<WeightGradientsArguments> test_case = weight_gradients_case(layers);
  test_case.name = name;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    test_case.operand(concatenate("d_weight ", i)).accumulation = granted(layers[i].rows);
    if (layers[i].bias) test_case.operand(concatenate("d_bias ", i)).accumulation = granted(layers[i].rows);
  }
  return test_case;
}

TEST(WeightGradients, OneLayer) {
  for (const Layer& layer : {Layer{1, 1, 1}, Layer{3, 70, 40}, Layer{72, 65, 33, true, 3}, Layer{64, 128, 100},
                             Layer{130, 8, 31, false}, Layer{8, 16, 200}}) {
    check_variants(make_case(concatenate(layer.out, "x", layer.in, "x", layer.rows), {layer}));
  }
}

TEST(WeightGradients, EmptyLayers) {
  check_variants(make_case("nothing", {}));
  check_variants(make_case("no rows", {{5, 6, 0}}));
  check_variants(make_case("no outputs and no inputs among others", {{0, 6, 4}, {9, 0, 4}, {4, 3, 2}, {5, 0, 3, false}}));
}

TEST(WeightGradients, LayersOfABlock) {
  check_variants(make_case("four layers", {{96, 32, 50}, {32, 32, 50}, {136, 32, 50}, {32, 136, 50, false}}));
  check_variants(
      make_case("of different kinds", {{70, 40, 33}, {8, 130, 64, false, 8}, {3, 5, 1}, {17, 9, 0}, {66, 67, 20, true, 1}}));
  check_variants(make_case("as many as go", std::vector<Layer>(WeightGradientsArguments::kMost, {9, 7, 5})));
}

// So many tiles that bf16 takes the large ones.
TEST(WeightGradients, LargeTiles) {
  bool available = false;
  context_for(Device::kCuda, &available);
  if (!available) GTEST_SKIP();
  Case<WeightGradientsArguments> test_case = make_case("large tiles", {{136, 136, 72}, {16392, 8, 24}, {8, 24, 40}});
  const Variant<WeightGradientsArguments>& variant = operation<WeightGradientsArguments>().variants.front();
  ASSERT_EQ(variant.name, "portable");
  const DType type = DType::kBFloat16;
  const Outcome truth = launch(test_case, reference_variant<WeightGradientsArguments>(), type, DType::kFloat64);
  const Outcome rounded = launch(test_case, reference_variant<WeightGradientsArguments>(), type, type);
  const Outcome outcome = launch(test_case, variant, type, type, true);
  for (std::size_t i = 0; i < test_case.operands.size(); ++i) {
    if (test_case.operands[i].written) compare_operand(test_case, i, outcome, rounded, truth, "large tiles: ");
  }
  EXPECT_TRUE(same_bits(outcome, launch(test_case, variant, type, type, true)));
}

TEST(WeightGradients, CountsWork) {
  WeightGradientsArguments a;
  a.type = DType::kBFloat16;
  a.count = 2;
  float bias = 0;
  a.entries[0] = {.out = 3, .in = 5, .rows = 7, .d_bias = &bias};
  a.entries[1] = {.out = 2, .in = 4, .rows = 6};
  EXPECT_EQ(operation<WeightGradientsArguments>().flops(a), 210 + 21 + 96);
  EXPECT_EQ(operation<WeightGradientsArguments>().bytes(a), 7 * 8 * 2 + 15 * 8 + 3 * 8 + 6 * 6 * 2 + 8 * 8);
}

TEST(WeightGradients, RefusesWrongArguments) {
  std::vector<float> data(64);
  WeightGradientsArguments good;
  good.count = 1;
  good.entries[0] = {
      .out = 4, .in = 4, .rows = 4, .x = data.data(), .ldx = 4, .dy = data.data(), .lddy = 4, .d_weight = data.data() + 32};
  const auto refuses = [&](const char* text, const std::function<void(WeightGradientsArguments&)>& spoil) {
    WeightGradientsArguments a = good;
    spoil(a);
    try {
      operation<WeightGradientsArguments>().validate(a);
      ADD_FAILURE() << "accepted: " << text;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
    }
  };
  EXPECT_NO_THROW(operation<WeightGradientsArguments>().validate(good));
  refuses("at most 8", [](auto& a) { a.count = 9; });
  refuses("negative size", [](auto& a) { a.entries[0].rows = -1; });
  refuses("ldx is shorter", [](auto& a) { a.entries[0].ldx = 3; });
  refuses("lddy is shorter", [](auto& a) { a.entries[0].lddy = 3; });
  refuses("d_weight is null", [](auto& a) { a.entries[0].d_weight = nullptr; });
  refuses("x or dy is null", [](auto& a) { a.entries[0].dy = nullptr; });
}

}  // namespace
}  // namespace koine::testing
