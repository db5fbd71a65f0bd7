#include "kernels/span_loss/span_loss_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

using Gradient = LogitsGradient;

// As for softmax cross-entropy: distance to the maximum (16), exponential (2), a chain of at most 128 adds a lane (6 times
// its root), a division and a product; the gradient is at most half its scale, the loss of order 1.
constexpr double kSpanLossRoundings = 16 + 2 + 6 * 12 + 2;

Case<SpanLossArguments> make_case(const std::string& name, const Spans& spans, Gradient gradient,
                                  std::vector<double> logits) {
  Case<SpanLossArguments> test_case = span_loss_case(spans, gradient, std::move(logits));
  test_case.name = name;
  test_case.operand("loss").accumulation = fp32_error(kSpanLossRoundings, 1);
  if (gradient != Gradient::kNone) {
    test_case.operand(gradient == Gradient::kInPlace ? "logits" : "d_logits").accumulation =
        fp32_error(kSpanLossRoundings, 0.25);
  }
  return test_case;
}

Spans mixed_spans() {
  Spans spans;
  spans.add(45, 3, 7);
  spans.add(0, 0, 0);
  spans.add(1, 0, 0);
  spans.add(17, 17, 2);     // start behind the end: not counted
  spans.add(512, 511, -1);  // end not counted
  spans.add(5, -1, 99);     // neither
  spans.add(513, 0, 512);
  return spans;
}

TEST(SpanLoss, VariantsAgree) {
  const Spans spans = mixed_spans();
  for (const Gradient gradient : {Gradient::kNone, Gradient::kApart, Gradient::kInPlace}) {
    check_variants(make_case("mixed", spans, gradient, random_values(2 * spans.tokens(), 4, 2)));
  }
}

TEST(SpanLoss, TheScaleFromMemory) {
  const Spans spans = mixed_spans();
  const std::vector<float> scale = {0.5f};
  Case<SpanLossArguments> test_case =
      make_case("scale from memory", spans, Gradient::kApart, random_values(2 * spans.tokens(), 4, 2));
  test_case.arguments.gradient_scale = 1e9f;  // not this one
  test_case.arguments.gradient_scale_from = scale.data();
  test_case.array(scale);
  check_variants(test_case);
}

TEST(SpanLoss, LogitsThatAreNotCountedOrImpossible) {
  Spans spans;
  spans.add(130, -1, 130);  // neither counted: its logits may be anything
  spans.add(140, 139, 128);
  std::vector<double> logits = random_values(2 * spans.tokens(), 4, 2);
  std::fill(logits.begin(), logits.begin() + 2 * 130, NAN);
  for (std::size_t i = 130; i < 270; i += 3) logits[2 * i] = -INFINITY;  // token 139 is not among them
  logits[2 * 131] = 1e30;
  check_variants(make_case("impossible", spans, Gradient::kApart, logits));
}

TEST(SpanLoss, NothingAtAll) {
  check_variants(make_case("no sequences", Spans(), Gradient::kApart, {}));
  Spans empty;
  empty.add(0, 0, 0);
  check_variants(make_case("an empty sequence", empty, Gradient::kApart, {}));
}

// Numbers of PyTorch 2.15 in double: cross_entropy of y[0:3] with start 1, end 2 and of y[3:5] with start 0, end 0, half the
// sum of start and end each; the gradient of the mean of the two.
TEST(SpanLoss, ReferenceIsPyTorchs) {
  Spans spans;
  spans.add(3, 1, 2);
  spans.add(2, 0, 0);
  const Outcome outcome =
      reference_in_double(make_case("torch", spans, Gradient::kApart, {1, 0, 2, -1, -1, 3, 0.5, 0.5, 4, 1}));
  const std::vector<double> d_logits = {0.06487411509,  0.01165315564, -0.07365387183, 0.004286956386, 0.00877975674,
                                        -0.01594011203, -0.2426719423, -0.1556148328,  0.2426719423,   0.1556148328};
  EXPECT_NEAR(outcome.value(1, 0), 0.2074480602628077, 1.5e-8);  // one rounding to fp32
  EXPECT_NEAR(outcome.value(1, 1), 2.2519137012263637, 1.2e-7);
  for (std::size_t i = 0; i < 10; ++i) EXPECT_NEAR(outcome.value(2, static_cast<std::int64_t>(i)), d_logits[i], 1e-10);
}

TEST(SpanLoss, GradientsAreDifferencesOfTheLoss) {
  Spans spans;
  spans.add(6, 2, 5);
  spans.add(0, 0, 0);
  spans.add(4, 4, 1);  // start not counted
  const std::vector<double> logits = random_values(2 * spans.tokens(), 8, 2);
  // The operation's own losses are fp32, too coarse for differences; so here is the formula once more.
  const auto loss = [&](const std::vector<double>& values) {
    double sum = 0;
    for (std::size_t n = 0; n < spans.start.size(); ++n) {
      for (const int column : {0, 1}) {
        const std::int32_t first = spans.cumulative_lengths[n], last = spans.cumulative_lengths[n + 1];
        const std::int32_t label = column == 0 ? spans.start[n] : spans.end[n];
        if (label < 0 || label >= last - first) continue;
        double normalizer = 0;
        for (std::int32_t i = first; i < last; ++i) normalizer += std::exp(values[static_cast<std::size_t>(2 * i + column)]);
        sum += (std::log(normalizer) - values[static_cast<std::size_t>(2 * (first + label) + column)]) / 2;
      }
    }
    return 0.5 * sum;
  };
  const Outcome outcome = reference_in_double(make_case("differences", spans, Gradient::kInPlace, logits));
  check_gradient("logits", loss, logits, outcome.values(0));
  EXPECT_NEAR(0.5 * (outcome.value(1, 0) + outcome.value(1, 2)), loss(logits), 3e-7);  // losses of order 2 in fp32
  EXPECT_EQ(outcome.value(1, 1), 0);
}

TEST(SpanLoss, SaysWhichShapeIsWrong) {
  const Spans spans = mixed_spans();
  Case<SpanLossArguments> test_case = make_case("wrong", spans, Gradient::kNone, random_values(2 * spans.tokens()));
  test_case.arguments.tokens -= 1;
  const Variant<SpanLossArguments>& variant = choose_variant(Context{}, test_case.arguments);  // the lengths are on the host
  try {
    launch(test_case, variant, DType::kFloat32, DType::kFloat32);
    ADD_FAILURE() << "lengths that do not add up were accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("run from 0 to 1093, the batch has 1092 tokens"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace koine::testing
