#pragma once

// Adafactor, T5's form and that of transformers: update_rule.h says in what they differ.

#include "engine/optimizer/factored_moments.h"
#include "engine/optimizer/update_rule.h"

namespace koine {

class AdafactorRule : public UpdateRule {
 public:
  AdafactorRule(ParameterStore& store, const TrainingSettings& settings);

  OptimizerState& state() override { return moments_; }
  StepScalars scalars(std::int64_t step, double learning_rate) const override;
  void launch(const Context& context, const StepScalars* scalars, const float* gradient_factor) override;

 private:
  ParameterStore& store_;
  TrainingSettings settings_;
  FactoredMoments moments_;
  AdafactorSizes sizes_;
  Buffer list_;  ///< of the tensors, numbered, on the store's device
};

}  // namespace koine
