#pragma once

// AdamW: two fp32 moments of every element, neighbours of one decay group updated as one segment.

#include "engine/optimizer/moments.h"
#include "engine/optimizer/update_rule.h"

namespace koine {

class AdamWRule : public UpdateRule {
 public:
  AdamWRule(ParameterStore& store, const TrainingSettings& settings, int lazy_table);

  OptimizerState& state() override { return moments_; }
  RowMoments row_moments(int index) const override { return {moments_.first(index), moments_.second(index)}; }
  StepScalars scalars(std::int64_t step, double learning_rate) const override;
  void launch(const Context& context, const StepScalars* scalars, const float* gradient_factor) override;

 private:
  ParameterStore& store_;
  TrainingSettings settings_;
  Moments moments_;
  SegmentList update_;
};

}  // namespace koine
