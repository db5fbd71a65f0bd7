#include "kernels/pooling/pooling.h"

#include "tests/kernels/suite.h"

namespace koine {
namespace {

using testing::Case;
using testing::fp32_error;
using testing::random_values;

// Lengths 0 to 3 are the cases where special tokens leave nothing or little.
const std::vector<std::vector<std::int32_t>> kBatches = {{0}, {0, 1}, {0, 0, 1, 3, 6, 6, 46}, {0, 130}};

Case<MeanPoolingForwardArguments> forward_case(const std::vector<std::int32_t>& lengths, std::int64_t width, bool skip) {
  Case<MeanPoolingForwardArguments> test_case(
      concatenate(lengths.size() - 1, " sequences, width ", width, skip ? " skip" : ""));
  test_case.set_type = [](auto& a, DType type) { a.type = type; };
  test_case.arguments.tokens = lengths.back();
  test_case.arguments.sequences = static_cast<std::int64_t>(lengths.size()) - 1;
  test_case.arguments.width = width;
  test_case.arguments.cumulative_lengths = lengths.data();
  test_case.array(lengths);
  test_case.arguments.skip_special = skip;
  test_case.input("input", random_values(lengths.back() * width, 1), [](auto& a, void* data) { a.input = data; });
  // Sums in order of at most 130 numbers near 1, divided by their count: a random walk of roundings.
  test_case.output("output", test_case.arguments.sequences * width, [](auto& a, void* data) { a.output = data; })
      .accumulation = fp32_error(12, 1);
  return test_case;
}

Case<MeanPoolingBackwardArguments> backward_case(const std::vector<std::int32_t>& lengths, std::int64_t width, bool skip) {
  Case<MeanPoolingBackwardArguments> test_case(
      concatenate(lengths.size() - 1, " sequences, width ", width, skip ? " skip" : ""));
  test_case.set_type = [](auto& a, DType type) { a.type = type; };
  test_case.arguments.tokens = lengths.back();
  test_case.arguments.sequences = static_cast<std::int64_t>(lengths.size()) - 1;
  test_case.arguments.width = width;
  test_case.arguments.cumulative_lengths = lengths.data();
  test_case.array(lengths);
  test_case.arguments.skip_special = skip;
  test_case.input("d_output", random_values(test_case.arguments.sequences * width, 2),
                  [](auto& a, void* data) { a.d_output = data; });
  test_case.output("d_input", lengths.back() * width, [](auto& a, void* data) { a.d_input = data; });
  return test_case;
}

TEST(MeanPooling, Variants) {
  for (const auto& lengths : kBatches) {
    for (const std::int64_t width : {1, 7, 64, 768, 1000, 1100}) {
      for (const bool skip : {false, true}) {
        check_variants(forward_case(lengths, width, skip));
        check_variants(backward_case(lengths, width, skip));
      }
    }
  }
}

TEST(MeanPooling, GradientsAreTheDifferences) {
  for (const bool skip : {false, true}) {
    Case<MeanPoolingForwardArguments> forward = forward_case(kBatches[2], 2, skip);
    Case<MeanPoolingBackwardArguments> backward = backward_case(kBatches[2], 2, skip);
    const std::vector<double> input = forward.operands[0].values;
    const auto loss = [&](const std::vector<double>& values) {
      forward.operands[0].values = values;
      return testing::dot(backward.operands[0].values, testing::reference_in_double(forward).values(1));
    };
    testing::check_gradient("input", loss, input, testing::reference_in_double(backward).values(1));
  }
}

}  // namespace
}  // namespace koine
