// A dual encoder's loss is the softmax cross-entropy of its scaled cosines, each query against all candidates of its batch.

#include <gtest/gtest.h>

#include <cmath>

#include "engine/training/trainer.h"
#include "tests/engine/temporary_folder.h"
#include "tests/models/tiny.h"

namespace koine {
namespace {

ModelConfig still_config() {
  ModelConfig config = tiny::config(NormPlacement::kPost);
  config.hidden_dropout_prob = 0;
  config.attention_probs_dropout_prob = 0;
  return config;
}

void set_scale(Model& model, float scale) {
  ParameterStore& store = model.parameters();
  const int index = store.table().find("logit_scale");
  ASSERT_GE(index, 0);
  EXPECT_EQ(*store.master(index), 100.0f) << "what XTREME-R's begins with";
  store.write(ParameterStore::Values::kMaster, index, &scale);
}

/// The formula in double, on the vectors the model gives.
double loss_of(const std::vector<float>& vectors, std::size_t width, double scale) {
  const std::size_t pairs = vectors.size() / width / kPair;
  double loss = 0;
  for (std::size_t q = 0; q < pairs; ++q) {
    std::vector<double> scores;
    for (std::size_t c = 0; c < pairs; ++c) {
      double cosine = 0;
      for (std::size_t i = 0; i < width; ++i)
        cosine += static_cast<double>(vectors[2 * q * width + i]) * vectors[(2 * c + 1) * width + i];
      scores.push_back(scale * cosine);
    }
    double sum = 0;
    for (const double score : scores) sum += std::exp(score - scores[q]);
    loss += std::log(sum);
  }
  return loss;
}

TEST(DualEncoder, LossIsTheFormula) {
  const std::unique_ptr<Model> model = tiny::model(still_config(), HeadKind::kDualEncoder, DType::kFloat32);
  set_scale(*model, 7);
  const PackedBatch batch =
      tiny::packed(tiny::examples(HeadKind::kDualEncoder, {5, 1, 9, 3, 4, 12}, 1), HeadKind::kDualEncoder);
  EXPECT_EQ(batch.labels, (std::vector<std::int32_t>{0, 1, 2}));
  EXPECT_EQ(batch.counted_labels, 3);
  const std::vector<float> vectors = model->predict(batch);
  const auto width = static_cast<std::size_t>(model->hidden_size());
  ASSERT_EQ(vectors.size(), 6 * width);
  for (std::size_t row = 0; row < 6; ++row) {
    double squares = 0;
    for (std::size_t i = 0; i < width; ++i) squares += std::pow(vectors[row * width + i], 2);
    EXPECT_NEAR(squares, 1, 1e-6);
  }
  EXPECT_NEAR(model->evaluate_loss(batch), loss_of(vectors, width, 7), 1e-5);  // scores of 7 and losses in fp32
  EXPECT_GT(model->evaluate_loss(batch), 0.1);
}

// More pairs than one chunk of scores has room for: losses, and the gradients that candidates get from every chunk.
TEST(DualEncoder, ScoresInChunks) {
  const std::unique_ptr<Model> model = tiny::model(still_config(), HeadKind::kDualEncoder, DType::kFloat32);
  const std::size_t pairs = 2100;  // squared, above 2^22
  model->reserve(2 * pairs, true);
  set_scale(*model, 7);
  const PackedBatch batch = tiny::packed(tiny::examples(HeadKind::kDualEncoder, std::vector<std::int64_t>(2 * pairs, 1), 1),
                                         HeadKind::kDualEncoder);
  // One-token sequences are all alike: their ids make them differ.
  PackedBatch varied = batch;
  for (std::size_t i = 0; i < varied.source.ids.size(); ++i)
    varied.source.ids[i] = static_cast<std::int32_t>(3 + (i * i) % 31);
  varied.source.rebuild_orders();
  const auto width = static_cast<std::size_t>(model->hidden_size());
  const double loss = model->evaluate_loss(varied);
  EXPECT_NEAR(loss / loss_of(model->predict(varied), width, 7), 1, 1e-6);

  ParameterStore& store = model->parameters();
  store.reset_gradients();
  model->train_batch(varied, 1.0, {1, 1});
  const int index = store.table().find("roberta.pooler.dense.weight");
  const ParameterSpec& spec = store.table()[index];
  const std::vector<float> gradient(store.gradient(index), store.gradient(index) + spec.count());
  double expected = 0;
  for (const float value : gradient) expected += static_cast<double>(value) * value;
  expected = std::sqrt(expected);
  const std::vector<float> middle(store.master(index), store.master(index) + spec.count());
  const auto shifted = [&](double step) {
    std::vector<float> moved = middle;
    for (std::size_t i = 0; i < moved.size(); ++i) moved[i] += static_cast<float>(step * gradient[i] / expected);
    store.write(ParameterStore::Values::kMaster, index, moved.data());
    store.refresh_working(model->context());
    return model->evaluate_loss(varied);
  };
  // Along the gradient, in fp32: losses of 8 each with roundings of 5e-7, 2,100 of them; the difference is thousands of times
  // that, and what the step of 1/64 bends is below the per cent allowed. Half of a gradient would be missing by far more.
  const double h = 1.0 / 256;
  EXPECT_NEAR((shifted(h) - shifted(-h)) / (2 * h) / expected, 1, 0.01);
}

struct Training {
  std::unique_ptr<Model> model = tiny::model(still_config(), HeadKind::kDualEncoder, DType::kFloat32);
  Dataset dataset;
  TrainingRun run;

  Training() {
    dataset.name = "pairs train en";
    dataset.head = HeadKind::kDualEncoder;
    dataset.classes = 1;
    dataset.group = kPair;
    dataset.examples = tiny::examples(HeadKind::kDualEncoder, {5, 9, 3, 8, 7, 12, 4, 6, 10, 2, 11, 5, 6, 6, 9, 3}, 1);
    run.model = model.get();
    run.tasks = {{"pairs", 0, &dataset}};
    run.settings.learning_rate = 5e-3;
    run.settings.max_steps = 30;
    run.settings.per_device_train_batch_size = 4;
    run.settings.gradient_accumulation_steps = 2;
    run.settings.max_tokens_per_batch = 100;
  }
  double loss() { return model->evaluate_loss(pack_groups(dataset, std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6, 7})); }
};

TEST(DualEncoder, LearnsToTellItsPairsApart) {
  Training training;
  const double before = training.loss();
  train(training.run);
  EXPECT_LT(training.loss(), before / 10) << "of " << before;
}

// Its negatives are the others of its batch: a batch is not cut to fit memory, as others are, but refused before the start.
TEST(DualEncoder, BatchesAreNotCut) {
  Training training;
  training.run.settings.max_tokens_per_batch = 40;
  expect_user_error([&] { train(training.run); },
                    {"pairs train en: 4 examples (per_device_train_batch_size)", "max_tokens_per_batch = 40"});
  // The same examples at a time in other batches compete with others: a run cannot be continued so.
  Training other;
  const std::map<std::string, std::string> settings = deciding_settings(other.run);
  other.run.settings.per_device_train_batch_size = 8;
  other.run.settings.gradient_accumulation_steps = 1;
  EXPECT_NE(deciding_settings(other.run), settings);
}

}  // namespace
}  // namespace koine
