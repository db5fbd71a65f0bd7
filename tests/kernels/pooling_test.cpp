#include "kernels/pooling/pooling_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

// Lengths 0 to 3 are the cases where special tokens leave nothing or little.
const std::vector<std::vector<std::int32_t>> kBatches = {{0}, {0, 1}, {0, 0, 1, 3, 6, 6, 46}, {0, 130}};

Case<MeanPoolingForwardArguments> forward_case(const std::vector<std::int32_t>& lengths, std::int64_t width, bool skip,
                                               bool by_position = false) {
  Case<MeanPoolingForwardArguments> test_case = mean_pooling_forward_case(lengths, width, skip, by_position);
  // Sums in order of at most 130 numbers near 1, divided by the sum of their weights: a random walk of roundings.
  test_case.operand("output").accumulation = fp32_error(12, 1);
  return test_case;
}

TEST(MeanPooling, Variants) {
  for (const auto& lengths : kBatches) {
    for (const std::int64_t width : {1, 7, 64, 768, 1000, 1100}) {
      for (const bool skip : {false, true}) {
        check_variants(forward_case(lengths, width, skip));
        check_variants(forward_case(lengths, width, skip, /*by_position=*/true));
        check_variants(mean_pooling_backward_case(lengths, width, skip));
      }
    }
  }
}

// Weights 1, 2, 3 of a first sequence, 1 of one token: (1 * 3 + 2 * 6 + 3 * 7) / 6, and 5.
TEST(MeanPooling, WeightsByPosition) {
  Case<MeanPoolingForwardArguments> test_case = forward_case({0, 3, 4}, 1, false, /*by_position=*/true);
  test_case.operands[0].values = {3, 6, 7, 5};
  EXPECT_EQ(reference_in_double(test_case).values(1), (std::vector<double>{6, 5}));
}

TEST(MeanPooling, GradientsAreTheDifferences) {
  for (const bool skip : {false, true}) {
    Case<MeanPoolingForwardArguments> forward = forward_case(kBatches[2], 2, skip);
    Case<MeanPoolingBackwardArguments> backward = mean_pooling_backward_case(kBatches[2], 2, skip);
    const std::vector<double> input = forward.operands[0].values;
    const auto loss = [&](const std::vector<double>& values) {
      forward.operands[0].values = values;
      return dot(backward.operands[0].values, reference_in_double(forward).values(1));
    };
    check_gradient("input", loss, input, reference_in_double(backward).values(1));
  }
}

}  // namespace
}  // namespace koine::testing
