#include "kernels/layernorm/layernorm_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

// Sums of n numbers of size 1 run in at least 16 places at once; their roundings add up like a random walk.
double sum_error(std::int64_t n, double magnitude) {
  return fp32_error(6 + 2 * std::sqrt(static_cast<double>(n) / 16), magnitude);
}

Case<LayerNormForwardArguments> forward_case(const LayerNormShape& shape) {
  Case<LayerNormForwardArguments> test_case = layernorm_forward_case(shape);
  if (shape.residual || shape.dropout_rate > 0) test_case.operand("sum").accumulation = fp32_error(1, 4);
  test_case.operand("output").accumulation = sum_error(shape.width, 4);
  test_case.operand("mean").accumulation = sum_error(shape.width, 1);
  // One column has no variance: rstd is 1 / sqrt(epsilon) = 316. Few columns may have little.
  test_case.operand("rstd").accumulation = sum_error(shape.width, shape.width < 16 ? 316 : 2);
  return test_case;
}

TEST(LayerNorm, ForwardVariants) {
  for (const std::int64_t rows : {0, 1, 5}) {
    for (const std::int64_t width : {1, 7, 64, 768, 1000, 1024}) {
      check_variants(forward_case({rows, width}));
      check_variants(forward_case({rows, width, true}));
      check_variants(forward_case({rows, width, true, 0.1f}));
      check_variants(forward_case({rows, width, false, 0.1f}));
    }
  }
  check_variants(forward_case({70, 768, true, 0.1f}));
  // Rows that a block of a device's threads shares, and too wide even for that.
  for (const std::int64_t width : {1032, 2560, 4096, 8208}) check_variants(forward_case({3, width, true, 0.1f}));
}

TEST(LayerNorm, ForwardMayWriteTheSumOverItsOperands) {
  for (const bool over_input : {true, false}) {
    Case<LayerNormForwardArguments> test_case = forward_case({4, 100, true, 0.2f});
    test_case.in_place(over_input ? "input" : "residual", "sum");
    check_variants(test_case);
  }
}

// With a mean a thousand standard deviations off, E[x^2] - E[x]^2 would lose everything.
TEST(LayerNorm, VarianceIsOfCentredValues) {
  Case<LayerNormForwardArguments> test_case = forward_case({3, 768});
  test_case.types = {DType::kFloat32};
  test_case.operands[0].values = random_values(3 * 768, 9, 1, 4096);
  for (auto& operand : test_case.operands) {
    // The mean is near 4096 and known to a few of its roundings, 2^-12 each; so are the centred values.
    if (operand.written) operand.accumulation = fp32_error(8, 4096);
  }
  check_variants(test_case);
}

Case<LayerNormBackwardArguments> backward_case(const LayerNormShape& shape) {
  Case<LayerNormBackwardArguments> test_case = layernorm_backward_case(shape);
  test_case.operand("d_sum").accumulation = sum_error(shape.width, 4);
  if (shape.dropout_rate > 0) test_case.operand("d_input").accumulation = sum_error(shape.width, 5);
  const double root = std::sqrt(static_cast<double>(shape.rows));
  for (const char* sums : {"d_weight", "d_bias"}) test_case.operand(sums).accumulation = fp32_error(4 + 2 * root, 4 * root);
  return test_case;
}

TEST(LayerNorm, BackwardVariants) {
  for (const std::int64_t rows : {0, 1, 5}) {
    for (const std::int64_t width : {1, 7, 64, 768, 1000, 1024}) {
      check_variants(backward_case({rows, width}));
      check_variants(backward_case({rows, width, true, rows > 0 ? 0.1f : 0.0f}));
    }
  }
  check_variants(backward_case({101, 72, true}));         // several blocks of rows
  check_variants(backward_case({21, 1024, true, 0.1f}));  // more rows than a device has on the way at a time
  for (const std::int64_t width : {1032, 2560, 4096, 4104}) check_variants(backward_case({11, width, true, 0.1f}));
}

TEST(LayerNorm, BackwardMayOverwriteWhatItReads) {
  for (const std::string name : {"d_output", "d_residual_stream"}) {
    Case<LayerNormBackwardArguments> test_case = backward_case({4, 100, true});
    test_case.in_place(name, "d_sum");
    check_variants(test_case);
  }
}

// loss = coefficients . output; its gradients by differences of the reference in double. mean and rstd reach backward in
// fp32, which costs a relative 2^-24 or so.
TEST(LayerNorm, GradientsAreTheDifferences) {
  constexpr std::int64_t kRows = 3;
  constexpr std::int64_t kWidth = 11;
  const std::vector<double> coefficients = random_values(kRows * kWidth, 21);
  Case<LayerNormForwardArguments> forward = forward_case({kRows, kWidth, true, 0.25f});
  // Multiples of 2^-10, so that the fp32 parameters take the step exactly.
  for (auto& operand : forward.operands) {
    for (double& value : operand.values) value = std::round(value * 1024) / 1024;
  }
  const Outcome outcome = reference_in_double(forward);

  Case<LayerNormBackwardArguments> backward = backward_case({kRows, kWidth, false, 0.25f});
  for (auto& operand : backward.operands) {
    if (operand.name == "d_output") operand.values = coefficients;
    if (operand.name == "weight") operand.values = outcome.values(forward.index_of("weight"));
    if (operand.name == "sum" || operand.name == "mean" || operand.name == "rstd") {
      operand.values = outcome.values(forward.index_of(operand.name));
    }
    if (operand.name == "d_weight" || operand.name == "d_bias") std::fill(operand.values.begin(), operand.values.end(), 0);
  }
  const Outcome gradients = reference_in_double(backward);
  for (std::size_t i = 0; i < backward.operands.size(); ++i) {
    const std::map<std::string, std::string> of = {
        {"d_sum", "residual"}, {"d_input", "input"}, {"d_weight", "weight"}, {"d_bias", "bias"}};
    const auto operand = of.find(backward.operands[i].name);
    if (operand == of.end()) continue;
    const std::size_t place = forward.index_of(operand->second);
    const auto loss = [&](const std::vector<double>& values) {
      Case<LayerNormForwardArguments> changed = forward;
      changed.operands[place].values = values;
      return dot(coefficients, reference_in_double(changed).values(forward.index_of("output")));
    };
    check_gradient(operand->second, loss, forward.operands[place].values, gradients.values(i));
  }
}

TEST(LayerNorm, RefusesWhatIsNoShape) {
  LayerNormForwardArguments arguments;
  arguments.rows = 2;
  arguments.width = 0;
  EXPECT_THROW(layernorm_forward(Context{}, arguments), Error);
  arguments.width = 4;
  arguments.dropout.rate = 1;
  EXPECT_THROW(layernorm_forward(Context{}, arguments), Error);
}

}  // namespace
}  // namespace koine::testing
