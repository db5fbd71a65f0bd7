#pragma once

// When forward reads weights and backward writes gradients, against what a model's table says of its stages.

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "tests/models/tiny.h"

namespace koine::tiny {

/// Trains a batch, and looks at every stage that is told for what is not to be there yet.
inline void expect_stages(const ModelConfig& config, HeadKind kind, const PackedBatch& batch) {
  ModelOptions options;
  options.training = true;
  options.heads = {head(kind)};
  const std::unique_ptr<Model> model = make_model(config, options);
  model->reserve(batch.tokens(), true);
  ParameterStore& store = model->parameters();
  std::vector<int> told;
  model->add_batch(batch, 1, {1, 1}, [&](int parameters, const cuda::Event*) {
    if (told.empty() ? parameters > 0 : parameters > told.back()) told.push_back(parameters);
    for (int index = parameters; index < store.table().size(); ++index) {
      if (store.table()[index].collects) continue;
      const float* gradient = store.gradient(index);
      EXPECT_TRUE(std::all_of(gradient, gradient + store.table()[index].count(), [](float value) { return value == 0; }))
          << store.table()[index].name << " has a gradient before its stage, behind " << parameters << " parameters";
    }
  });
  EXPECT_EQ(told, store.table().stage_ends());
}

/// Trains a batch whose weights are there only from the time on that the model asks for them.
inline void expect_asks(const ModelConfig& config, HeadKind kind, const PackedBatch& batch) {
  ModelOptions options;
  options.training = true;
  options.heads = {head(kind)};
  const std::unique_ptr<Model> model = make_model(config, options);
  model->reserve(batch.tokens(), true);
  ParameterStore& store = model->parameters();
  const std::vector<float> weights = store.read_all(ParameterStore::Values::kMaster);
  const double loss = model->train_batch(batch, 1, {1, 1});
  store.write_all(ParameterStore::Values::kMaster,
                  std::vector<float>(weights.size(), std::numeric_limits<float>::quiet_NaN()));
  std::vector<int> asked;
  ASSERT_TRUE(model->ask_before_reading([&](int first) {
    if (!asked.empty() && asked.back() == first) return;
    asked.push_back(first);
    for (int index = first; index < store.table().size(); ++index)
      store.write(ParameterStore::Values::kMaster, index, weights.data() + store.table()[index].offset);
  }));
  EXPECT_EQ(model->train_batch(batch, 1, {1, 1}), loss) << "weights were read before they were asked for";
  std::vector<int> begins = store.table().stage_ends();
  begins.insert(begins.begin(), 0);
  begins.pop_back();
  EXPECT_EQ(asked, std::vector<int>(begins.rbegin(), begins.rend())) << "stage by stage, from the end of the table";
}

}  // namespace koine::tiny
