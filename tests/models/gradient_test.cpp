// The gradient of a two-layer model, with every head and dropout, against finite differences in double precision.

#include <gtest/gtest.h>

#include <cmath>

#include "tests/models/tiny.h"

namespace koine {
namespace {

class GradientTest : public testing::TestWithParam<std::tuple<NormPlacement, HeadKind>> {};

/// A pseudo-random direction of length 1 in a parameter's space.
std::vector<float> direction(std::int64_t count, std::uint32_t seed) {
  std::vector<float> result(static_cast<std::size_t>(count));
  double squares = 0;
  for (std::size_t i = 0; i < result.size(); ++i) {
    const std::uint32_t bits = philox({static_cast<std::uint32_t>(i), 0, 0, 0}, {seed, 11})[0];
    result[i] = static_cast<float>(bits / 4294967296.0 - 0.5);
    squares += static_cast<double>(result[i]) * result[i];
  }
  for (float& value : result) value = static_cast<float>(value / std::sqrt(squares));
  return result;
}

class ShiftedLoss {
 public:
  ShiftedLoss(Model& model, const PackedBatch& batch) : model_(model), batch_(batch) {}

  /// Loss with parameter `index` moved by `step` along `along`.
  double at(int index, const std::vector<float>& along, double step) {
    ParameterStore& store = model_.parameters();
    float* values = store.master(index);
    const std::vector<float> saved(values, values + along.size());
    for (std::size_t i = 0; i < along.size(); ++i) values[i] = static_cast<float>(values[i] + step * along[i]);
    store.refresh_working(model_.context());
    const double loss = model_.train_batch(batch_, 1.0, {9, 3});
    std::copy(saved.begin(), saved.end(), values);
    return loss;
  }

 private:
  Model& model_;
  const PackedBatch& batch_;
};

TEST_P(GradientTest, MatchesFiniteDifferences) {
  const auto [norm, kind] = GetParam();
  ModelConfig config = tiny::config(norm);
  config.hidden_dropout_prob = 0.2;
  config.attention_probs_dropout_prob = 0.2;
  const std::unique_ptr<Model> model = tiny::model(config, kind, DType::kFloat64, /*reference=*/true);
  const std::vector<Example> examples = tiny::examples(kind, {5, 1, 9, 3}, 1);
  const PackedBatch batch = tiny::packed(examples, kind);
  ParameterStore& store = model->parameters();
  if (const int scale = store.table().find("logit_scale"); scale >= 0) {
    *store.master(scale) = 4;  // with its 100, differences at these steps would see the curvature of the softmax
    store.refresh_working(model->context());
  }
  store.reset_gradients();
  model->train_batch(batch, 1.0, {9, 3});
  const std::vector<float> gradients(store.gradient(0), store.gradient(0) + store.table().elements());

  ShiftedLoss loss(*model, batch);
  int checked = 0;
  for (int index = 0; index < store.table().size(); ++index) {
    const ParameterSpec& spec = store.table()[index];
    const float* gradient = gradients.data() + spec.offset;
    for (std::uint32_t trial = 0; trial < 2; ++trial) {
      const std::vector<float> along = direction(spec.count(), trial + 17u * static_cast<std::uint32_t>(index));
      double expected = 0;
      double length = 0;
      for (std::size_t i = 0; i < along.size(); ++i) {
        expected += static_cast<double>(gradient[i]) * along[i];
        length += static_cast<double>(gradient[i]) * gradient[i];
      }
      // Central differences at h and 2h, extrapolated: error O(h^4). Losses are fp32 per example (6e-8 of about 10 in all):
      // with h = 1/64 that is 4e-5 in the derivative. Both terms are far below what a wrong factor or a missing term would
      // make.
      const double h = 1.0 / 64;
      const double narrow = (loss.at(index, along, h) - loss.at(index, along, -h)) / (2 * h);
      const double wide = (loss.at(index, along, 2 * h) - loss.at(index, along, -2 * h)) / (4 * h);
      const double measured = (4 * narrow - wide) / 3;
      EXPECT_NEAR(measured, expected, 2e-4 + 2e-4 * std::sqrt(length)) << spec.name;
      ++checked;
    }
  }
  EXPECT_EQ(checked, 2 * store.table().size());
}

INSTANTIATE_TEST_SUITE_P(AllHeads, GradientTest,
                         testing::Combine(testing::Values(NormPlacement::kPost, NormPlacement::kPre),
                                          testing::ValuesIn(tiny::head_kinds())));

}  // namespace
}  // namespace koine
