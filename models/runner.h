#pragma once

// One step of a model with its heads, on memory that is handed in: what a model runs and what a dry run counts. Nothing here
// waits for a device but what returns values to the host. Every call leaves the stack as it found it.

#include <vector>

#include "engine/batch/batch_view.h"
#include "engine/training/model.h"
#include "kernels/common/registry.h"

namespace koine {

class ModelRunner {
 public:
  virtual ~ModelRunner() = default;

  /// UserError for a batch this model cannot read.
  virtual void require_readable(const PackedBatch& batch) const = 0;

  /// Adds gradients, and the loss to `loss` (where the operations run). The step's numbers come from the batch where it
  /// names memory for them. `progress`, where given, is told how far backward is.
  virtual void train(const Context& context, const BatchView& batch, double gradient_scale, const StepIdentity& step,
                     StackMemory& stack, double* loss, const BackwardProgress& progress) = 0;
  /// Adds the loss without dropout to `loss`.
  virtual void loss(const Context& context, const BatchView& batch, StackMemory& stack, double* loss) = 0;
  /// As Model documents them.
  virtual std::vector<float> predict(const Context& context, const BatchView& batch, StackMemory& stack) = 0;
  virtual std::vector<float> encode_layers(const Context& context, const BatchView& batch,
                                           const std::vector<std::int64_t>& layers, Pooling pooling, StackMemory& stack) = 0;
  virtual std::vector<float> hidden_states(const Context& context, const BatchView& batch, std::int64_t layer,
                                           StackMemory& stack) = 0;
};

}  // namespace koine
