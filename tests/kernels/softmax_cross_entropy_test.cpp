#include "kernels/softmax_cross_entropy/softmax_cross_entropy_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

using Labels = std::vector<std::int32_t>;

using Gradient = LogitsGradient;

Labels random_labels(std::int64_t rows, std::int64_t classes) {
  TestRandom random(5);
  Labels labels(static_cast<std::size_t>(rows));
  for (std::int32_t& label : labels) label = static_cast<std::int32_t>(random.below(classes));
  return labels;
}

// Softmax probabilities in double, by the textbook.
std::vector<double> probabilities(const std::vector<double>& logits, std::int64_t start, std::int64_t classes) {
  std::vector<double> result(logits.begin() + start, logits.begin() + start + classes);
  const double largest = *std::max_element(result.begin(), result.end());
  double sum = 0;
  for (double& value : result) sum += value = std::exp(value - largest);
  for (double& value : result) value /= sum;
  return result;
}

// fp32 work on an element: its distance to the row's maximum (at most about 16 here: one rounding of that is 16 of the
// result), the exponential (2), the sum (a lane adds at most 1,024 positive terms in a chain, the error of each add of
// either sign: 6 times the root), a division and a product.
constexpr double kCrossEntropyRoundings = 16 + 2 + 6 * 32 + 2;

Case<SoftmaxCrossEntropyArguments> make_case(const std::string& name, const Labels& labels, std::int64_t classes,
                                             Gradient gradient, const std::vector<double>& logits, std::int64_t gap = 0) {
  Case<SoftmaxCrossEntropyArguments> test_case = softmax_cross_entropy_case(labels, classes, gradient, logits, gap);
  test_case.name = name;
  double largest = 0;
  for (std::int64_t row = 0; row < std::ssize(labels); ++row) {
    for (const double p : probabilities(logits, row * (classes + gap), classes)) largest = std::max(largest, p);
  }
  test_case.operand("loss").accumulation = fp32_error(kCrossEntropyRoundings, 1);
  if (gradient != Gradient::kNone) {
    test_case.operand(gradient == Gradient::kInPlace ? "logits" : "d_logits").accumulation =
        fp32_error(kCrossEntropyRoundings, 0.3 * largest);
  }
  return test_case;
}

void check_shape(std::int64_t rows, std::int64_t classes, Gradient gradient, std::int64_t gap = 0) {
  Labels labels = random_labels(rows, classes);
  if (rows > 2) labels[1] = kIgnoredLabel;
  check_variants(make_case(concatenate(rows, " x ", classes), labels, classes, gradient,
                           random_values(rows * (classes + gap), 3, 2), gap));
}

TEST(SoftmaxCrossEntropy, FewClasses) {
  check_shape(1, 1, Gradient::kApart);
  check_shape(5, 2, Gradient::kApart);
  check_shape(700, 3, Gradient::kApart);
  check_shape(1200, 17, Gradient::kApart);
  check_shape(40, 300, Gradient::kApart);
}
TEST(SoftmaxCrossEntropy, InPlaceWithRowsApart) {
  check_shape(5, 2, Gradient::kInPlace, 3);
  check_shape(40, 17, Gradient::kInPlace, 1);
  check_shape(3, 9000, Gradient::kInPlace, 5);
}
TEST(SoftmaxCrossEntropy, LossAlone) {
  check_shape(6, 3, Gradient::kNone);
  check_shape(4, 5000, Gradient::kNone);
}
TEST(SoftmaxCrossEntropy, AroundOneBlock) {
  for (const std::int64_t classes : {4095, 4096, 4097, 8192}) check_shape(3, classes, Gradient::kApart);
}
TEST(SoftmaxCrossEntropy, AWholeVocabulary) { check_shape(2, 250002, Gradient::kInPlace); }
TEST(SoftmaxCrossEntropy, NoRows) { check_shape(0, 3, Gradient::kApart); }

TEST(SoftmaxCrossEntropy, TheScaleFromMemory) {
  const std::vector<float> scale = {0.3f};
  const Labels labels = {3, kIgnoredLabel, 16};
  for (const std::int64_t classes : {17, 600, 5000}) {
    for (const Gradient gradient : {Gradient::kApart, Gradient::kInPlace}) {
      Case<SoftmaxCrossEntropyArguments> test_case = make_case(concatenate("scale from memory, ", classes), labels, classes,
                                                               gradient, random_values(3 * classes, 6, 2));
      test_case.arguments.gradient_scale = 1e9f;  // not this one
      test_case.arguments.gradient_scale_from = scale.data();
      test_case.array(scale);
      check_variants(test_case);
    }
  }
}

TEST(SoftmaxCrossEntropy, WhatAnIgnoredRowHoldsDoesNotMatter) {
  const Labels labels = {kIgnoredLabel, 1, kIgnoredLabel};
  for (const std::int64_t classes : {9, 513, 4099}) {
    std::vector<double> logits = random_values(3 * classes, 6, 2);
    std::fill(logits.begin(), logits.begin() + classes, NAN);
    std::fill(logits.end() - classes, logits.end(), INFINITY);
    Case<SoftmaxCrossEntropyArguments> test_case =
        make_case("ignored", labels, classes, Gradient::kApart, random_values(3 * classes, 6, 2));
    test_case.operands[0].values = logits;
    check_variants(test_case);
  }
}

// A row's loss and gradient do not depend on its place: not on the address, and not on the rows beside it.
TEST(SoftmaxCrossEntropy, ARowHasTheSameBitsEverywhere) {
  for (const std::int64_t classes : {301, 3001}) {
    const std::int64_t rows = 9, stride = classes + 1;  // rows at all places modulo 16 bytes that a type allows
    const std::vector<double> row = random_values(stride, 7, 2);
    std::vector<double> logits;
    for (std::int64_t r = 0; r < rows; ++r) logits.insert(logits.end(), row.begin(), row.end());
    const Labels labels(static_cast<std::size_t>(rows), 5);
    const Case<SoftmaxCrossEntropyArguments> test_case =
        make_case("the same rows", labels, classes, Gradient::kInPlace, logits, 1);
    for (const Variant<SoftmaxCrossEntropyArguments>& variant : operation<SoftmaxCrossEntropyArguments>().variants) {
      bool available = true;
      context_for(variant.device, &available);
      if (!available || variant.name == kReference) continue;
      for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
        const Outcome expected = launch(test_case, variant, type, type, true);
        for (const bool aligned : {true, false}) {
          const Outcome outcome = launch(test_case, variant, type, type, aligned);
          for (std::int64_t r = 0; r < rows; ++r) {
            ASSERT_EQ(outcome.value(1, r), expected.value(1, 0)) << variant.name << " row " << r;
            for (std::int64_t c = 0; c < classes; ++c) {
              ASSERT_EQ(outcome.value(0, r * stride + c), expected.value(0, c)) << variant.name << " " << r << ", " << c;
            }
          }
        }
      }
    }
  }
}

// On the CPU a wrong label is refused (below); a device has nobody to tell.
TEST(SoftmaxCrossEntropy, AWrongLabelShowsOnADevice) {
  for (const std::int64_t classes : {3, 600}) {
    Labels labels = {0, static_cast<std::int32_t>(classes), -1};
    Case<SoftmaxCrossEntropyArguments> test_case =
        make_case("wrong labels", labels, classes, Gradient::kApart, random_values(3 * classes, 6, 2));
    for (const Variant<SoftmaxCrossEntropyArguments>& variant : operation<SoftmaxCrossEntropyArguments>().variants) {
      bool available = true;
      context_for(variant.device, &available);
      if (variant.device != Device::kCuda || !available) continue;
      const Outcome outcome = launch(test_case, variant, DType::kFloat32, DType::kFloat32);
      EXPECT_TRUE(std::isfinite(outcome.value(1, 0)));
      for (const std::int64_t row : {1, 2}) {
        EXPECT_TRUE(std::isnan(outcome.value(1, row)));
        for (std::int64_t c = 0; c < classes; ++c) EXPECT_EQ(outcome.value(2, row * classes + c), 0);
      }
    }
  }
}

// Numbers of PyTorch 2.15 in double: torch.nn.functional.cross_entropy(x, torch.tensor([2, -100, 1]), reduction="none"), and
// the gradient of half its sum.
TEST(SoftmaxCrossEntropy, ReferenceIsPyTorchs) {
  const Labels labels = {2, kIgnoredLabel, 1};
  Case<SoftmaxCrossEntropyArguments> test_case =
      make_case("torch", labels, 4, Gradient::kApart, {1, 2, -1, 0.5, 3, 3, -3, 0, 0, -2, 4, 1});
  test_case.arguments.gradient_scale = 0.5f;
  const Outcome outcome = reference_in_double(test_case);
  const std::vector<double> loss = {3.495181898, 0, 6.068201921};
  const std::vector<double> d_logits = {0.112103909,    0.3047300188,  -0.4848283857, 0.0679944579, 0, 0, 0, 0,
                                        0.008554061313, -0.4988423337, 0.467035923,   0.02325234943};
  for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(outcome.value(1, static_cast<std::int64_t>(i)), loss[i], 4e-7);  // fp32
  for (std::size_t i = 0; i < 12; ++i) {
    EXPECT_NEAR(outcome.value(2, static_cast<std::int64_t>(i)), d_logits[i], 1e-10);  // ten digits were printed
  }
}

TEST(SoftmaxCrossEntropy, GradientsAreDifferencesOfTheLoss) {
  const std::int64_t classes = 7;
  const Labels labels = {2, kIgnoredLabel, 6, 0};
  const std::vector<double> logits = random_values(4 * classes, 8, 2);
  const Case<SoftmaxCrossEntropyArguments> test_case = make_case("differences", labels, classes, Gradient::kInPlace, logits);
  // The operation's own losses are fp32, too coarse for differences; so here is the formula once more.
  const auto loss = [&](const std::vector<double>& values) {
    double sum = 0;
    for (std::size_t row = 0; row < labels.size(); ++row) {
      if (labels[row] == kIgnoredLabel) continue;
      const std::vector<double> p = probabilities(values, static_cast<std::int64_t>(row) * classes, classes);
      sum -= std::log(p[static_cast<std::size_t>(labels[row])]);
    }
    return static_cast<double>(0.3f) * sum;
  };
  const Outcome outcome = reference_in_double(test_case);
  check_gradient("logits", loss, logits, outcome.values(0));
  double losses = 0;
  for (const double value : outcome.values(1)) losses += value;
  EXPECT_NEAR(static_cast<double>(0.3f) * losses, loss(logits), 4 * one_rounding(DType::kFloat32, losses));
}

TEST(SoftmaxCrossEntropy, HugeAndInfiniteLogits) {
  const Labels labels = {0, 1, 9000};
  std::vector<double> logits(3 * 9001, -INFINITY);
  logits[0] = 3e38;                                                        // certain, and right
  logits[9001] = 1e30, logits[9001 + 1] = -1e30, logits[9001 + 2] = 1e30;  // two equal ones, both wrong
  logits[3 * 9001 - 1] = -2e38;                                            // only the last block has a finite one
  check_variants(make_case("huge", labels, 9001, Gradient::kApart, logits));
  std::vector<double> few(3 * 101, -INFINITY);
  few[0] = 3e38, few[1] = -3e38, few[101] = 1e30, few[102] = -1e30, few[3 * 101 - 1] = -2e38;
  const Labels few_labels = {0, 1, 100};
  check_variants(make_case("huge, few", few_labels, 101, Gradient::kApart, few));
}

TEST(SoftmaxCrossEntropy, SaysWhichLabelIsWrong) {
  std::vector<float> logits(12), loss(4);
  const auto message = [&](const Labels& labels) -> std::string {
    SoftmaxCrossEntropyArguments arguments;
    arguments.rows = 4;
    arguments.classes = arguments.stride = 3;
    arguments.logits = logits.data();
    arguments.labels = labels.data();
    arguments.loss = loss.data();
    try {
      softmax_cross_entropy(Context{}, arguments);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message({0, 1, 2, kIgnoredLabel}), "");
  EXPECT_NE(message({0, 1, 3, 0}).find("label 3 of row 2 is outside [0, 3)"), std::string::npos);
  EXPECT_NE(message({0, -1, 2, 0}).find("label -1 of row 1 is outside [0, 3)"), std::string::npos);
}

}  // namespace
}  // namespace koine::testing
