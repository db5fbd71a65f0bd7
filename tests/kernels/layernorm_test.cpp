#include "kernels/layernorm/layernorm.h"

#include "tests/kernels/suite.h"

namespace koine {
namespace {

using testing::Case;
using testing::fp32_error;
using testing::Outcome;
using testing::random_values;

// A dropout over `rows` rows and the arrays it points to.
struct RowDropout {
  explicit RowDropout(std::int64_t rows, float rate) {
    for (std::int64_t row = 0; row < rows; ++row) {
      examples.push_back(static_cast<std::uint32_t>(1000 + row / 3));
      positions.push_back(static_cast<std::int32_t>(row % 3));
    }
    dropout.rate = rate;
    dropout.seed = 5;
    dropout.step = 6;
    dropout.site = 7;
    dropout.examples = examples.data();
    dropout.positions = positions.data();
  }
  std::vector<std::uint32_t> examples;
  std::vector<std::int32_t> positions;
  Dropout dropout;
};

void set_type(auto& arguments, DType type) { arguments.type = type; }

// Sums of n numbers of size 1 run in at least 16 places at once; their roundings add up like a random walk.
double sum_error(std::int64_t n, double magnitude) {
  return fp32_error(6 + 2 * std::sqrt(static_cast<double>(n) / 16), magnitude);
}

// The arrays of the dropout, if there is one, belong to the case.
template <class Arguments>
void set_dropout(Case<Arguments>& test_case, const RowDropout* dropout) {
  if (dropout == nullptr) return;
  test_case.arguments.dropout = dropout->dropout;
  test_case.array(dropout->examples);
  test_case.array(dropout->positions);
}

Case<LayerNormForwardArguments> forward_case(std::int64_t rows, std::int64_t width, bool residual,
                                             const RowDropout* dropout) {
  const std::int64_t count = rows * width;
  Case<LayerNormForwardArguments> test_case(
      concatenate("[", rows, ", ", width, "]", residual ? " residual" : "", dropout != nullptr ? " dropout" : ""));
  test_case.set_type = [](auto& a, DType type) { set_type(a, type); };
  test_case.arguments.rows = rows;
  test_case.arguments.width = width;
  set_dropout(test_case, dropout);
  test_case.input("input", random_values(count, 1, 1, 0.5), [](auto& a, void* data) { a.input = data; });
  if (residual) test_case.input("residual", random_values(count, 2), [](auto& a, void* data) { a.residual = data; });
  test_case.input_fp32("weight", random_values(width, 3, 0.2, 1),
                       [](auto& a, void* data) { a.weight = static_cast<float*>(data); });
  test_case.input_fp32("bias", random_values(width, 4), [](auto& a, void* data) { a.bias = static_cast<float*>(data); });
  if (residual || dropout != nullptr) {
    test_case.output("sum", count, [](auto& a, void* data) { a.sum = data; }).accumulation = fp32_error(1, 4);
  }
  test_case.output("output", count, [](auto& a, void* data) { a.output = data; }).accumulation = sum_error(width, 4);
  test_case.output_fp32("mean", rows, [](auto& a, void* data) { a.mean = static_cast<float*>(data); }).accumulation =
      sum_error(width, 1);
  // One column has no variance: rstd is 1 / sqrt(epsilon) = 316. Few columns may have little.
  test_case.output_fp32("rstd", rows, [](auto& a, void* data) { a.rstd = static_cast<float*>(data); }).accumulation =
      sum_error(width, width < 16 ? 316 : 2);
  return test_case;
}

TEST(LayerNorm, ForwardVariants) {
  for (const std::int64_t rows : {0, 1, 5}) {
    for (const std::int64_t width : {1, 7, 64, 768, 1000, 1024}) {
      const RowDropout dropout(rows, 0.1f);
      check_variants(forward_case(rows, width, false, nullptr));
      check_variants(forward_case(rows, width, true, nullptr));
      check_variants(forward_case(rows, width, true, &dropout));
      check_variants(forward_case(rows, width, false, &dropout));
    }
  }
  const RowDropout dropout(70, 0.1f);
  check_variants(forward_case(70, 768, true, &dropout));
  // Rows that a block of a device's threads shares, and too wide even for that.
  for (const std::int64_t width : {1032, 2560, 4096, 8208}) check_variants(forward_case(3, width, true, &dropout));
}

TEST(LayerNorm, ForwardMayWriteTheSumOverItsOperands) {
  for (const bool over_input : {true, false}) {
    const RowDropout dropout(4, 0.2f);
    Case<LayerNormForwardArguments> test_case = forward_case(4, 100, true, &dropout);
    for (auto& operand : test_case.operands) {
      if (operand.name == "sum") operand.bind = nullptr, operand.written = false;
      if (operand.name == (over_input ? "input" : "residual")) {
        operand.written = true;
        operand.accumulation = fp32_error(1, 4);
        operand.bind = [over_input](auto& a, void* data) {
          (over_input ? a.input : a.residual) = data;
          a.sum = data;
        };
      }
    }
    check_variants(test_case);
  }
}

// With a mean a thousand standard deviations off, E[x^2] - E[x]^2 would lose everything.
TEST(LayerNorm, VarianceIsOfCentredValues) {
  Case<LayerNormForwardArguments> test_case = forward_case(3, 768, false, nullptr);
  test_case.types = {DType::kFloat32};
  test_case.operands[0].values = random_values(3 * 768, 9, 1, 4096);
  for (auto& operand : test_case.operands) {
    // The mean is near 4096 and known to a few of its roundings, 2^-12 each; so are the centred values.
    if (operand.written) operand.accumulation = fp32_error(8, 4096);
  }
  check_variants(test_case);
}

Case<LayerNormBackwardArguments> backward_case(std::int64_t rows, std::int64_t width, bool stream,
                                               const RowDropout* dropout) {
  const std::int64_t count = rows * width;
  Case<LayerNormBackwardArguments> test_case(
      concatenate("[", rows, ", ", width, "]", stream ? " stream" : "", dropout != nullptr ? " dropout" : ""));
  test_case.set_type = [](auto& a, DType type) { set_type(a, type); };
  test_case.arguments.rows = rows;
  test_case.arguments.width = width;
  set_dropout(test_case, dropout);
  test_case.input("d_output", random_values(count, 1), [](auto& a, void* data) { a.d_output = data; });
  if (stream) {
    test_case.input("d_residual_stream", random_values(count, 2), [](auto& a, void* data) { a.d_residual_stream = data; });
  }
  test_case.input("sum", random_values(count, 3, 1, 0.5), [](auto& a, void* data) { a.sum = data; });
  test_case.input_fp32("mean", random_values(rows, 4, 0.1, 0.5),
                       [](auto& a, void* data) { a.mean = static_cast<float*>(data); });
  test_case.input_fp32("rstd", random_values(rows, 5, 0.1, 1),
                       [](auto& a, void* data) { a.rstd = static_cast<float*>(data); });
  test_case.input_fp32("weight", random_values(width, 6, 0.2, 1),
                       [](auto& a, void* data) { a.weight = static_cast<float*>(data); });
  test_case.output("d_sum", count, [](auto& a, void* data) { a.d_sum = data; }).accumulation = sum_error(width, 4);
  if (dropout != nullptr) {
    test_case.output("d_input", count, [](auto& a, void* data) { a.d_input = data; }).accumulation = sum_error(width, 5);
  }
  const double rows_error =
      fp32_error(4 + 2 * std::sqrt(static_cast<double>(rows)), 4 * std::sqrt(static_cast<double>(rows)));
  test_case
      .in_out_fp32("d_weight", random_values(width, 7), [](auto& a, void* data) { a.d_weight = static_cast<float*>(data); })
      .accumulation = rows_error;
  test_case.in_out_fp32("d_bias", random_values(width, 8), [](auto& a, void* data) { a.d_bias = static_cast<float*>(data); })
      .accumulation = rows_error;
  return test_case;
}

TEST(LayerNorm, BackwardVariants) {
  for (const std::int64_t rows : {0, 1, 5}) {
    for (const std::int64_t width : {1, 7, 64, 768, 1000, 1024}) {
      const RowDropout dropout(rows, 0.1f);
      check_variants(backward_case(rows, width, false, nullptr));
      check_variants(backward_case(rows, width, true, rows > 0 ? &dropout : nullptr));
    }
  }
  check_variants(backward_case(101, 72, true, nullptr));  // several blocks of rows
  const RowDropout dropout(21, 0.1f);
  check_variants(backward_case(21, 1024, true, &dropout));  // more rows than a device has on the way at a time
  for (const std::int64_t width : {1032, 2560, 4096, 4104}) check_variants(backward_case(11, width, true, &dropout));
}

TEST(LayerNorm, BackwardMayOverwriteWhatItReads) {
  for (const std::string name : {"d_output", "d_residual_stream"}) {
    Case<LayerNormBackwardArguments> test_case = backward_case(4, 100, true, nullptr);
    for (auto& operand : test_case.operands) {
      if (operand.name == "d_sum") operand.bind = nullptr, operand.written = false;
      if (operand.name == name) {
        operand.written = true;
        operand.accumulation = sum_error(100, 4);
        const auto bind = operand.bind;
        operand.bind = [bind](auto& a, void* data) {
          bind(a, data);
          a.d_sum = data;
        };
      }
    }
    check_variants(test_case);
  }
}

// loss = coefficients . output; its gradients by differences of the reference in double. mean and rstd reach backward in
// fp32, which costs a relative 2^-24 or so.
TEST(LayerNorm, GradientsAreTheDifferences) {
  constexpr std::int64_t kRows = 3;
  constexpr std::int64_t kWidth = 11;
  const RowDropout dropout(kRows, 0.25f);
  const std::vector<double> coefficients = random_values(kRows * kWidth, 21);
  Case<LayerNormForwardArguments> forward = forward_case(kRows, kWidth, true, &dropout);
  // Multiples of 2^-10, so that the fp32 parameters take the step exactly.
  for (auto& operand : forward.operands) {
    for (double& value : operand.values) value = std::round(value * 1024) / 1024;
  }
  const auto index_of = [&](const std::string& name) {
    for (std::size_t i = 0; i < forward.operands.size(); ++i) {
      if (forward.operands[i].name == name) return i;
    }
    throw Error(name);
  };
  const Outcome outcome = testing::reference_in_double(forward);

  Case<LayerNormBackwardArguments> backward = backward_case(kRows, kWidth, false, &dropout);
  for (auto& operand : backward.operands) {
    if (operand.name == "d_output") operand.values = coefficients;
    if (operand.name == "weight") operand.values = outcome.values(index_of("weight"));
    if (operand.name == "sum" || operand.name == "mean" || operand.name == "rstd") {
      operand.values = outcome.values(index_of(operand.name));
    }
    if (operand.name == "d_weight" || operand.name == "d_bias") std::fill(operand.values.begin(), operand.values.end(), 0);
  }
  const Outcome gradients = testing::reference_in_double(backward);
  for (std::size_t i = 0; i < backward.operands.size(); ++i) {
    const std::map<std::string, std::string> of = {
        {"d_sum", "residual"}, {"d_input", "input"}, {"d_weight", "weight"}, {"d_bias", "bias"}};
    const auto operand = of.find(backward.operands[i].name);
    if (operand == of.end()) continue;
    const std::size_t place = index_of(operand->second);
    const auto loss = [&](const std::vector<double>& values) {
      Case<LayerNormForwardArguments> changed = forward;
      changed.operands[place].values = values;
      return testing::dot(coefficients, testing::reference_in_double(changed).values(index_of("output")));
    };
    testing::check_gradient(operand->second, loss, forward.operands[place].values, gradients.values(i));
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
}  // namespace koine
