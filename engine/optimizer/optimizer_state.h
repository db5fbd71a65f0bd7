#pragma once

// What an optimizer keeps from step to step, as checkpoints see it: tensors with names.

#include <vector>

#include "engine/files/safetensors.h"

namespace koine {

class OptimizerState {
 public:
  virtual ~OptimizerState() = default;

  /// All of it, in an order that stays. They refer to this.
  virtual std::vector<TensorSource> tensors() const = 0;
  /// Takes all of them from a file. UserError naming file and tensor where one is missing or of another shape.
  virtual void read(const SafetensorsFile& file) = 0;

 protected:
  OptimizerState() = default;
  OptimizerState(const OptimizerState&) = default;
  OptimizerState& operator=(const OptimizerState&) = default;
};

}  // namespace koine
