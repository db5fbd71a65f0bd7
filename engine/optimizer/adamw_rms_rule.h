#pragma once

// AdamW whose rate is multiplied by the RMS of each parameter: two fp32 moments of every element.

#include "engine/optimizer/moments.h"
#include "engine/optimizer/update_rule.h"

namespace koine {

class AdamWRmsRule : public UpdateRule {
 public:
  AdamWRmsRule(ParameterStore& store, const TrainingSettings& settings);

  OptimizerState& state() override { return moments_; }
  StepScalars scalars(std::int64_t step, double learning_rate) const override;
  void launch(const Context& context, const StepScalars* scalars, const float* gradient_factor) override;

 private:
  ParameterStore& store_;
  TrainingSettings settings_;
  Moments moments_;
  SegmentList update_;  ///< a parameter each
};

}  // namespace koine
