#pragma once

// A model's gradient against finite differences of its loss, in double precision.

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/random/philox.h"
#include "models/models.h"

namespace koine {

/// A pseudo-random direction of length 1 in a parameter's space.
inline std::vector<float> direction(std::int64_t count, std::uint32_t seed) {
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

/// Two directions of every parameter, with the dropout of one step.
inline void expect_finite_differences(Model& model, const PackedBatch& batch) {
  ParameterStore& store = model.parameters();
  store.reset_gradients();
  model.train_batch(batch, 1.0, {9, 3});
  const std::vector<float> gradients(store.gradient(0), store.gradient(0) + store.table().elements());

  ShiftedLoss loss(model, batch);
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

}  // namespace koine
