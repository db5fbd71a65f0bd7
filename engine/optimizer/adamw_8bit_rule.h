#pragma once

// AdamW with moments in 8 bits.

#include "engine/optimizer/coded_moments.h"
#include "engine/optimizer/update_rule.h"

namespace koine {

class AdamW8BitRule : public UpdateRule {
 public:
  AdamW8BitRule(ParameterStore& store, const TrainingSettings& settings, int lazy_table);

  OptimizerState& state() override { return moments_; }
  RowMoments row_moments(int index) const override;
  StepScalars scalars(std::int64_t step, double learning_rate) const override;
  void launch(const Context& context, const StepScalars* scalars, const float* gradient_factor) override;

 private:
  ParameterStore& store_;
  TrainingSettings settings_;
  CodedMoments moments_;
  AdamW8BitArguments sizes_;  ///< elements, tensors and pieces alone
  Buffer list_;               ///< of what is updated, numbered, on the store's device
  Buffer maps_;               ///< of both moments, [2, 256] fp32
};

}  // namespace koine
