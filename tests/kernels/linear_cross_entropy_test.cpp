#include "kernels/linear_cross_entropy/linear_cross_entropy_cases.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

using Labels = std::vector<std::int32_t>;
using LinearCase = Case<LinearCrossEntropyArguments>;
using LinearShape = LinearCrossEntropyShape;

Labels drawn_labels(std::int64_t rows, std::int64_t classes) {
  TestRandom random(5);
  Labels labels(static_cast<std::size_t>(rows));
  for (std::int32_t& label : labels) label = static_cast<std::int32_t>(random.below(classes));
  if (rows > 2) labels[1] = kIgnoredLabel;
  return labels;
}

/// The losses, and what roundings of gradients are measured by: of each operand the largest sum of the sizes of its terms.
struct Truth {
  std::vector<double> losses;
  double logits = 0;  ///< of the products that a logit is the sum of
  double d_hidden = 0;
  double d_weight = 0;
  double d_bias = 0;
};

/// By the textbook, from lists of numbers.
Truth truth_of(const LinearShape& shape, const Labels& labels, const std::vector<double>& hidden,
               const std::vector<double>& weight, const std::vector<double>& bias) {
  Truth truth;
  const auto rows = std::ssize(labels);
  std::vector<double> of_weight(weight.size()), of_bias(static_cast<std::size_t>(shape.classes));
  for (std::int64_t r = 0; r < rows; ++r) {
    std::vector<double> p;
    for (std::int64_t c = 0; c < shape.classes; ++c) {
      double logit = bias.empty() ? 0 : bias[static_cast<std::size_t>(c)], size = std::fabs(logit);
      for (std::int64_t i = 0; i < shape.in; ++i) {
        const double term =
            hidden[static_cast<std::size_t>(r * shape.in + i)] * weight[static_cast<std::size_t>(c * shape.in + i)];
        logit += term, size += std::fabs(term);
      }
      p.push_back(logit);
      truth.logits = std::max(truth.logits, size);
    }
    const std::int32_t label = labels[static_cast<std::size_t>(r)];
    if (label == kIgnoredLabel) {
      truth.losses.push_back(0);
      continue;
    }
    const double largest = *std::max_element(p.begin(), p.end());
    double sum = 0;
    for (const double logit : p) sum += std::exp(logit - largest);
    truth.losses.push_back(std::log(sum) + largest - p[static_cast<std::size_t>(label)]);
    std::vector<double> of_hidden(static_cast<std::size_t>(shape.in));
    for (std::int64_t c = 0; c < shape.classes; ++c) {
      // A probability and 1 are rounded each by itself.
      const double size = 0.3 * (std::exp(p[static_cast<std::size_t>(c)] - largest) / sum + (c == label ? 1 : 0));
      of_bias[static_cast<std::size_t>(c)] += size;
      for (std::int64_t i = 0; i < shape.in; ++i) {
        of_hidden[static_cast<std::size_t>(i)] += size * std::fabs(weight[static_cast<std::size_t>(c * shape.in + i)]);
        of_weight[static_cast<std::size_t>(c * shape.in + i)] +=
            size * std::fabs(hidden[static_cast<std::size_t>(r * shape.in + i)]);
      }
    }
    truth.d_hidden = std::max(truth.d_hidden, *std::max_element(of_hidden.begin(), of_hidden.end()));
  }
  truth.d_weight = *std::max_element(of_weight.begin(), of_weight.end());
  truth.d_bias = *std::max_element(of_bias.begin(), of_bias.end());
  return truth;
}

/// What a case grants in a type: roundings of the logits (at most one for each of their terms), of which a loss is a difference
/// of two and a gradient a relative error; of the softmax (its exponential 2, a thread's chain of sums and the tiles' up to 32
/// of either sign: 6 roots, a division, a product), of the sums of a gradient; and in bf16 the rounding of d, which the products
/// read.
void grant(LinearCase& test_case, const LinearShape& shape, const Labels& labels, DType type) {
  const auto list = [&](const char* name) -> std::vector<double> { return test_case.operand(name).values.list(); };
  const Truth truth =
      truth_of(shape, labels, list("hidden"), list("weight"), shape.bias ? list("bias") : std::vector<double>());
  const double logits = 2 * fp32_error(static_cast<double>(shape.in) + 1, truth.logits);
  const double softmax = fp32_error(2 + 6 * std::sqrt(32.0) + 2, 1);
  test_case.types = {type};
  test_case.operand("loss").accumulation = logits + 16 * softmax;  // of losses below 16
  if (!shape.gradients) return;
  const double relative = logits + softmax + (type == DType::kBFloat16 ? std::ldexp(1.0, -8) : 0);
  const auto sums = [](std::int64_t terms, double size) { return fp32_error(static_cast<double>(terms), size); };
  test_case.operand("d_hidden").accumulation = relative * truth.d_hidden + sums(shape.classes, truth.d_hidden);
  test_case.operand("d_weight").accumulation = relative * truth.d_weight + sums(std::ssize(labels), truth.d_weight + 0.5);
  if (shape.bias) {
    test_case.operand("d_bias").accumulation = relative * truth.d_bias + sums(std::ssize(labels), truth.d_bias + 0.5);
  }
}

void check_labels(const Labels& labels, const LinearShape& shape,
                  const std::vector<DType>& types = {DType::kFloat32, DType::kBFloat16}) {
  for (const DType type : types) {
    LinearCase test_case = linear_cross_entropy_case(labels, shape);
    grant(test_case, shape, labels, type);
    check_variants(test_case);
  }
}

TEST(LinearCrossEntropy, OneTile) {
  check_labels(drawn_labels(1, 9), {.classes = 9, .in = 1});
  check_labels(drawn_labels(5, 70), {.classes = 70, .in = 20});
}
TEST(LinearCrossEntropy, TilesAndGroups) {
  // Whole last tiles and groups, and such of one.
  check_labels(drawn_labels(4, 48), {.classes = 48, .in = 12, .group_rows = 2, .tile_classes = 24});
  check_labels(drawn_labels(4, 49), {.classes = 49, .in = 5, .bias = false, .group_rows = 3, .tile_classes = 24});
}
TEST(LinearCrossEntropy, LossAlone) {
  check_labels(drawn_labels(5, 60), {.classes = 60, .in = 12, .gradients = false, .group_rows = 2, .tile_classes = 24});
}
TEST(LinearCrossEntropy, LabelsInEveryTile) {
  check_labels({0, 15, 16, 31, 32, 40, kIgnoredLabel}, {.classes = 41, .in = 6, .tile_classes = 16}, {DType::kFloat32});
  check_labels(Labels(1, kIgnoredLabel), {.classes = 18, .in = 2, .tile_classes = 16}, {DType::kBFloat16});
}
TEST(LinearCrossEntropy, NoRows) {
  const LinearShape shape = {.classes = 9, .in = 3};
  check_variants(linear_cross_entropy_case({}, shape));
}

TEST(LinearCrossEntropy, TheScaleFromMemory) {
  const std::vector<float> scale = {0.3f};
  const LinearShape shape = {.classes = 30, .in = 5, .tile_classes = 16};
  const Labels labels = {3, kIgnoredLabel, 29};
  LinearCase test_case = linear_cross_entropy_case(labels, shape);
  grant(test_case, shape, labels, DType::kFloat32);
  test_case.arguments.gradient_scale = 1e9f;  // not this one
  test_case.arguments.gradient_scale_from = scale.data();
  test_case.array(scale);
  check_variants(test_case);
}

/// Each usable variant of this machine.
void for_each_variant(const std::function<void(const Variant<LinearCrossEntropyArguments>&)>& body) {
  for (const Variant<LinearCrossEntropyArguments>& variant : operation<LinearCrossEntropyArguments>().variants) {
    bool available = true;
    context_for(variant.device, &available);
    if (available && variant.name != kReference) body(variant);
  }
}

// The largest logit comes in the last tile, or the first, and the others vanish beside it; or are minus infinity but there.
TEST(LinearCrossEntropy, LargestLogitsAnywhere) {
  const LinearShape shape = {.classes = 41, .in = 2, .tile_classes = 16};
  const Labels labels = {40, 0, 3};
  for (const std::size_t place : {0, 17, 40}) {
    for (const double rest : {-300.0, double{-INFINITY}}) {
      LinearCase test_case = linear_cross_entropy_case(labels, shape);
      std::vector<double> bias(41, rest);
      bias[place] = 200;
      test_case.operand("bias").values = bias;
      const Outcome expected = reference_in_double(test_case);
      for_each_variant([&](const Variant<LinearCrossEntropyArguments>& variant) {
        const Outcome outcome = launch(test_case, variant, DType::kFloat32, DType::kFloat32, true);
        const std::size_t loss = test_case.index_of("loss"), d_bias = test_case.index_of("d_bias");
        for (std::int64_t r = 0; r < 3; ++r) {
          if (std::isinf(expected.value(loss, r))) {
            EXPECT_EQ(outcome.value(loss, r), expected.value(loss, r)) << variant.name;
          } else {
            EXPECT_NEAR(outcome.value(loss, r), expected.value(loss, r), 1e-4) << variant.name;  // roundings of 500
          }
        }
        for (std::int64_t c = 0; c < 41; ++c) {
          EXPECT_NEAR(outcome.value(d_bias, c), expected.value(d_bias, c), 1e-6) << variant.name << " " << c;
        }
      });
    }
  }
}

// A row's loss and gradient do not depend on the rows beside it, nor on its group.
TEST(LinearCrossEntropy, ARowHasTheSameBitsEverywhere) {
  const LinearShape shape = {.classes = 70, .in = 9, .group_rows = 3, .tile_classes = 32};
  LinearCase test_case = linear_cross_entropy_case(Labels(7, 33), shape);
  std::vector<double> hidden = test_case.operand("hidden").values.list();
  for (std::size_t i = 9; i < hidden.size(); ++i) hidden[i] = hidden[i - 9];
  test_case.operand("hidden").values = hidden;
  for_each_variant([&](const Variant<LinearCrossEntropyArguments>& variant) {
    for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
      const Outcome outcome = launch(test_case, variant, type, type);
      for (std::int64_t r = 1; r < 7; ++r) {
        EXPECT_EQ(outcome.value(test_case.index_of("loss"), r), outcome.value(test_case.index_of("loss"), 0));
        for (std::int64_t i = 0; i < 9; ++i) {
          EXPECT_EQ(outcome.value(test_case.index_of("d_hidden"), r * 9 + i),
                    outcome.value(test_case.index_of("d_hidden"), i))
              << variant.name << " row " << r;
        }
      }
    }
  });
}

// On the CPU a wrong label is refused; a device has nobody to tell: the loss is NaN, and nothing is learnt from the row.
TEST(LinearCrossEntropy, WrongLabels) {
  const LinearShape shape = {.classes = 41, .in = 2, .tile_classes = 16};
  const LinearCase test_case = linear_cross_entropy_case({0, 41, -1}, shape);
  for_each_variant([&](const Variant<LinearCrossEntropyArguments>& variant) {
    if (variant.device == Device::kCpu) {
      try {
        launch(test_case, variant, DType::kFloat32, DType::kFloat32);
        ADD_FAILURE() << variant.name << " took label 41 of 41 classes";
      } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("label 41 of row 1 is outside [0, 41)"), std::string::npos) << error.what();
      }
      return;
    }
    const Outcome outcome = launch(test_case, variant, DType::kFloat32, DType::kFloat32);
    EXPECT_TRUE(std::isfinite(outcome.value(test_case.index_of("loss"), 0)));
    for (const std::int64_t row : {1, 2}) {
      EXPECT_TRUE(std::isnan(outcome.value(test_case.index_of("loss"), row)));
      for (std::int64_t i = 0; i < 2; ++i) EXPECT_EQ(outcome.value(test_case.index_of("d_hidden"), row * 2 + i), 0);
    }
  });
}

TEST(LinearCrossEntropy, GradientsAreDifferencesOfTheLoss) {
  const LinearShape shape = {.classes = 7, .in = 3};
  const Labels labels = {2, kIgnoredLabel, 6, 0};
  LinearCase test_case = linear_cross_entropy_case(labels, shape);
  for (const char* sum : {"d_weight", "d_bias"}) {
    for (double& value : test_case.operand(sum).values) value = 0;
  }
  const std::vector<double> hidden = test_case.operand("hidden").values, weight = test_case.operand("weight").values,
                            bias = test_case.operand("bias").values;
  const auto loss = [&](const std::vector<double>& h, const std::vector<double>& w, const std::vector<double>& b) {
    double sum = 0;
    for (const double one : truth_of(shape, labels, h, w, b).losses) sum += one;
    return static_cast<double>(0.3f) * sum;
  };
  const Outcome outcome = reference_in_double(test_case);
  const auto gradient = [&](const char* name) { return outcome.values(test_case.index_of(name)); };
  check_gradient(
      "hidden", [&](const std::vector<double>& h) { return loss(h, weight, bias); }, hidden, gradient("d_hidden"));
  check_gradient(
      "weight", [&](const std::vector<double>& w) { return loss(hidden, w, bias); }, weight, gradient("d_weight"));
  check_gradient(
      "bias", [&](const std::vector<double>& b) { return loss(hidden, weight, b); }, bias, gradient("d_bias"));
  double losses = 0;
  for (const double value : gradient("loss")) losses += value;
  EXPECT_NEAR(static_cast<double>(0.3f) * losses, loss(hidden, weight, bias), 4 * one_rounding(DType::kFloat32, losses));
}

// What is kept is the batch's smallest part: a tile, not rows over all classes.
TEST(LinearCrossEntropy, TilesAreWhatIsKept) {
  LinearCrossEntropyArguments a;
  a.type = DType::kBFloat16;
  a.rows = 8192, a.classes = 250112, a.in = 1024;
  a.d_hidden = &a;  // gradients are wanted; nothing is launched
  a.d_weight = &a.gradient_scale;
  const auto workspace = [&](std::string_view name) {
    for (const Variant<LinearCrossEntropyArguments>& variant : operation<LinearCrossEntropyArguments>().variants) {
      if (variant.name == name) return variant.workspace_bytes(a);
    }
    return std::size_t{0};
  };
  // 2,048 rows of 4,096 logits, their gradients in bf16, and sums of 1,024; less than a sixteenth of those over all classes.
  EXPECT_GT(workspace("portable"), std::size_t{2048} * (4096 * 6 + 1024 * 4));
  EXPECT_LT(workspace("portable"), std::size_t{2048} * 250112 * 4 / 16);
  EXPECT_GT(workspace("portable_kept"), std::size_t{1} << 30);
}

}  // namespace
}  // namespace koine::testing
