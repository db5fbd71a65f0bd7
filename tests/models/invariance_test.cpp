// What koine promises bit for bit: run = run, one thread = many, packed = padded = alone, lazy = dense, accumulation within
// a rounding; and what a model refuses.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "engine/optimizer/optimizer.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "tests/models/tiny.h"

namespace koine {
namespace {

std::vector<float> gradients_of(Model& model) {
  ParameterStore& store = model.parameters();
  return {store.gradient(0), store.gradient(0) + store.table().elements()};
}

std::vector<float> trained(const ModelConfig& config, HeadKind kind, DType precision, bool lazy) {
  const std::unique_ptr<Model> model = tiny::model(config, kind, precision);
  TrainingSettings settings;
  settings.learning_rate = 1e-2;
  Optimizer optimizer(model->parameters(), settings, lazy && model->word_gradient_is_sparse());
  for (std::uint32_t step = 0; step < 6; ++step) {
    const PackedBatch batch = tiny::packed(tiny::examples(kind, {4, 11, 2, 7}, step), kind);
    optimizer.prepare_rows(model->context(), batch);
    model->train_batch(batch, 1.0 / static_cast<double>(batch.counted_labels), {1, step});
    optimizer.step(model->context(), settings.learning_rate);
  }
  optimizer.catch_up(model->context());
  ParameterStore& store = model->parameters();
  return {store.master(0), store.master(0) + store.table().elements()};
}

class InvarianceTest : public testing::TestWithParam<std::tuple<NormPlacement, DType>> {};

TEST_P(InvarianceTest, SameBitsWithAnyNumberOfThreads) {
  const auto [norm, precision] = GetParam();
  const int before = thread_count();
  for (const HeadKind kind : tiny::head_kinds()) {
    set_thread_count(1);
    const std::vector<float> one = trained(tiny::config(norm), kind, precision, true);
    const std::vector<float> again = trained(tiny::config(norm), kind, precision, true);
    set_thread_count(3);
    const std::vector<float> three = trained(tiny::config(norm), kind, precision, true);
    EXPECT_EQ(std::memcmp(one.data(), again.data(), one.size() * sizeof(float)), 0);
    EXPECT_EQ(std::memcmp(one.data(), three.data(), one.size() * sizeof(float)), 0);
  }
  set_thread_count(before);
}

TEST_P(InvarianceTest, LazyRowsAreTheDenseUpdate) {
  const auto [norm, precision] = GetParam();
  const std::vector<float> lazy = trained(tiny::config(norm), HeadKind::kSequence, precision, true);
  const std::vector<float> dense = trained(tiny::config(norm), HeadKind::kSequence, precision, false);
  EXPECT_EQ(std::memcmp(lazy.data(), dense.data(), lazy.size() * sizeof(float)), 0);
}

TEST_P(InvarianceTest, PackedIsPaddedIsAlone) {
  const auto [norm, precision] = GetParam();
  const std::unique_ptr<Model> model = tiny::model(tiny::config(norm), HeadKind::kToken, precision);
  const std::vector<std::int64_t> lengths = {6, 1, 13, 4};
  const std::vector<Example> examples = tiny::examples(HeadKind::kToken, lengths, 3);
  const std::vector<float> together = model->hidden_states(tiny::packed(examples, HeadKind::kToken), 2);

  std::vector<std::int32_t> padded;
  for (const Example& example : examples) {
    std::vector<std::int32_t> row = example.ids;
    row.resize(16, 1);
    padded.insert(padded.end(), row.begin(), row.end());
  }
  const std::vector<float> from_padded = model->hidden_states(pack_padded(padded, 4, 16, 1), 2);
  EXPECT_EQ(together, from_padded);

  std::vector<float> alone;
  for (const Example& example : examples) {
    const std::vector<float> part = model->hidden_states(tiny::packed({example}, HeadKind::kToken), 2);
    alone.insert(alone.end(), part.begin(), part.end());
  }
  EXPECT_EQ(together, alone);
}

TEST_P(InvarianceTest, LayersOfOnePassAreThoseOfTheirOwn) {
  const auto [norm, precision] = GetParam();
  const std::unique_ptr<Model> model = tiny::model(tiny::config(norm), HeadKind::kSequence, precision);
  const PackedBatch batch = tiny::packed(tiny::examples(HeadKind::kSequence, {5, 1, 30, 2}, 3), HeadKind::kSequence);
  for (const Pooling pooling :
       {Pooling::kMean, Pooling::kMeanWithoutSpecial, Pooling::kFirstToken, Pooling::kPositionWeightedMean}) {
    std::vector<float> alone;
    for (const std::int64_t layer : {2, 0, 1}) {
      const std::vector<float> vectors = model->encode(batch, layer, pooling);
      alone.insert(alone.end(), vectors.begin(), vectors.end());
    }
    EXPECT_EQ(model->encode_layers(batch, {2, 0, 1}, pooling), alone);
  }
}

// Weights 1 to 4 over a sequence's tokens: a tenth of the sum.
TEST_P(InvarianceTest, WeightsOfAMeanFollowPositions) {
  const auto [norm, precision] = GetParam();
  const std::unique_ptr<Model> model = tiny::model(tiny::config(norm), HeadKind::kSequence, precision);
  const PackedBatch batch = tiny::packed(tiny::examples(HeadKind::kSequence, {3, 4}, 3), HeadKind::kSequence);
  const std::vector<float> tokens = model->hidden_states(batch, 1);
  const std::vector<float> vectors = model->encode(batch, 1, Pooling::kPositionWeightedMean);
  const auto width = static_cast<std::size_t>(model->hidden_size());
  for (std::size_t column = 0; column < width; ++column) {
    float sum = 0;
    for (std::size_t token = 0; token < 4; ++token)
      sum += static_cast<float>(token + 1) * tokens[(3 + token) * width + column];
    // A few roundings of fp32; where vectors are bf16, one to its 8 bits.
    EXPECT_NEAR(vectors[width + column], sum / 10, (precision == DType::kBFloat16 ? 1.0 / 256 : 1e-6) * (1 + std::abs(sum)));
  }
}

TEST(Model, RunsNoBlockAboveTheLastLayerAskedFor) {
  const std::unique_ptr<Model> model = tiny::model(tiny::config(NormPlacement::kPost), HeadKind::kSequence, DType::kFloat32);
  const PackedBatch batch = tiny::packed(tiny::examples(HeadKind::kSequence, {5}, 3), HeadKind::kSequence);
  struct Asked {
    std::vector<std::int64_t> layers;
    std::int64_t blocks;
  };
  for (const auto& [layers, blocks] : {Asked{{1, 0}, 1}, Asked{{0}, 0}, Asked{{0, 1, 2}, 2}}) {
    Profile profile;
    profile.clock = [] { return 0.0; };
    model->context().profile = &profile;
    model->encode_layers(batch, layers, Pooling::kMean);
    model->context().profile = nullptr;
    EXPECT_EQ(profile.operations["attention_forward"].calls, blocks);
  }
}

TEST_P(InvarianceTest, DropoutDoesNotDependOnTheBatch) {
  const auto [norm, precision] = GetParam();
  ModelConfig config = tiny::config(norm);
  config.hidden_dropout_prob = 0.3;
  config.attention_probs_dropout_prob = 0.3;
  const std::unique_ptr<Model> model = tiny::model(config, HeadKind::kSequence, precision);
  std::vector<Example> examples = tiny::examples(HeadKind::kSequence, {6, 3, 13, 4}, 3);
  const double together = model->train_batch(tiny::packed(examples, HeadKind::kSequence), 1, {4, 2});
  double alone = 0;
  for (const Example& example : examples)
    alone += model->train_batch(tiny::packed({example}, HeadKind::kSequence), 1, {4, 2});
  EXPECT_EQ(together, alone);
  const double other_step = model->train_batch(tiny::packed(examples, HeadKind::kSequence), 1, {4, 3});
  EXPECT_NE(together, other_step);
  for (Example& example : examples) example.number += 1;
  EXPECT_NE(together, model->train_batch(tiny::packed(examples, HeadKind::kSequence), 1, {4, 2}));
}

TEST_P(InvarianceTest, AccumulatedIsOneBatchUpToRounding) {
  const auto [norm, precision] = GetParam();
  for (const HeadKind kind : tiny::head_kinds()) {
    if (facts_of(kind).in_batch) continue;  // in two batches each query has fewer candidates
    const std::vector<Example> examples = tiny::examples(kind, {6, 3, 13, 4}, 3);
    const PackedBatch whole = tiny::packed(examples, kind);
    const double scale = 1.0 / static_cast<double>(whole.counted_labels);
    const std::unique_ptr<Model> model = tiny::model(tiny::config(norm), kind, precision);
    const double loss = model->train_batch(whole, scale, {4, 2});
    const std::vector<float> at_once = gradients_of(*model);
    model->parameters().reset_gradients();
    double sum = 0;
    for (int half = 0; half < 2; ++half) {
      const std::vector<Example> part(examples.begin() + 2 * half, examples.begin() + 2 * half + 2);
      sum += model->train_batch(tiny::packed(part, kind), scale, {4, 2});
    }
    const std::vector<float> accumulated = gradients_of(*model);
    EXPECT_NEAR(sum, loss, 1e-12 * std::abs(loss));
    double difference = 0;
    double total = 0;
    for (std::size_t i = 0; i < at_once.size(); ++i) {
      difference += std::pow(static_cast<double>(at_once[i]) - accumulated[i], 2);
      total += std::pow(static_cast<double>(at_once[i]), 2);
    }
    // The same products, summed over tokens in two parts instead of one: a few fp32 roundings (6e-8) of each sum.
    EXPECT_LE(std::sqrt(difference / total), 5e-7);
  }
}

INSTANTIATE_TEST_SUITE_P(BothFamilies, InvarianceTest,
                         testing::Combine(testing::Values(NormPlacement::kPost, NormPlacement::kPre),
                                          testing::Values(DType::kFloat32, DType::kBFloat16)));

TEST(Model, RefusesWhatItCannotRead) {
  const std::unique_ptr<Model> model = tiny::model(tiny::config(NormPlacement::kPost), HeadKind::kSequence, DType::kFloat32);
  const std::vector<Example> long_example = tiny::examples(HeadKind::kSequence, {33}, 1);
  try {
    model->predict(tiny::packed(long_example, HeadKind::kSequence));
    FAIL() << "a sequence beyond the position table was accepted";
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("33 tokens"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("at most 32"), std::string::npos) << error.what();
  }
  std::vector<Example> wrong_id = tiny::examples(HeadKind::kSequence, {5}, 1);
  wrong_id[0].ids[2] = tiny::kVocabulary;
  EXPECT_THROW(model->predict(tiny::packed(wrong_id, HeadKind::kSequence)), UserError);
}

TEST(Model, ReservesWhatItUses) {
  for (const NormPlacement norm : {NormPlacement::kPost, NormPlacement::kPre}) {
    for (const HeadKind kind : tiny::head_kinds()) {
      // Any batch within the budget fits, whatever its lengths; a stack that is too small throws.
      const std::unique_ptr<Model> model = tiny::model(tiny::config(norm), kind, DType::kFloat32);
      for (const std::vector<std::int64_t>& lengths :
           {std::vector<std::int64_t>(256, 1), std::vector<std::int64_t>(8, 32), std::vector<std::int64_t>{31, 1, 17, 2}}) {
        const PackedBatch batch = tiny::packed(tiny::examples(kind, lengths, 2), kind);
        EXPECT_TRUE(std::isfinite(model->train_batch(batch, 1, {1, 1})));
        EXPECT_TRUE(std::isfinite(model->evaluate_loss(batch)));
      }
    }
  }
}

TEST(Model, ReservesForAnyNumberOfCountedTokens) {
  // A product over a large vocabulary takes its workspace by another rule where it has few rows.
  ModelConfig config = tiny::config(NormPlacement::kPost);
  config.vocab_size = 120002;
  ModelOptions options;
  options.training = true;
  options.heads = {{"", HeadKind::kMaskedLm, static_cast<std::int32_t>(config.vocab_size)}};
  const std::unique_ptr<Model> model = make_model(config, options);
  model->reserve(600, true);
  for (const std::int64_t counted : {3, 100, 130, 200, 256, 257, 300}) {
    std::vector<Example> examples = tiny::examples(HeadKind::kMaskedLm, std::vector<std::int64_t>(20, 30), 4);
    std::int64_t left = counted;
    for (Example& example : examples) {
      for (std::int32_t& label : example.labels) label = left-- > 0 ? 7 : kIgnoredLabel;
    }
    const PackedBatch batch = tiny::packed(examples, HeadKind::kMaskedLm);
    ASSERT_EQ(batch.counted_labels, counted);
    EXPECT_TRUE(std::isfinite(model->train_batch(batch, 1, {1, 1}))) << counted;
  }
}

}  // namespace
}  // namespace koine
