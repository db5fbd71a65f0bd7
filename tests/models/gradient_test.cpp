// The gradient of a two-layer model, with every head and dropout, against finite differences in double precision.

#include <gtest/gtest.h>

#include "tests/models/finite_differences.h"
#include "tests/models/tiny.h"

namespace koine {
namespace {

class GradientTest : public testing::TestWithParam<std::tuple<NormPlacement, HeadKind>> {};

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
  expect_finite_differences(*model, batch);
}

INSTANTIATE_TEST_SUITE_P(AllHeads, GradientTest,
                         testing::Combine(testing::Values(NormPlacement::kPost, NormPlacement::kPre),
                                          testing::ValuesIn(tiny::head_kinds())));

}  // namespace
}  // namespace koine
