#pragma once

// AdamW over a whole ParameterStore: decay groups, clipping by the global norm, lazy rows.

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/batch/packed_batch.h"
#include "engine/parameters/parameter_store.h"
#include "engine/training/settings.h"
#include "kernels/optimizer/adamw.h"

namespace koine {

class Optimizer {
 public:
  /// `lazy`: treat parameters marked lazy_rows by touched rows only (bit for bit the dense result).
  Optimizer(ParameterStore& store, const TrainingSettings& settings, bool lazy);

  /// Brings the rows a batch will read up to date. To be called before the forward of every batch.
  void prepare_rows(const Context& context, const PackedBatch& batch);
  /// Norm of all gradients (of rows prepared since the last step, for lazy tables), then clipping factor, then the update of step
  /// steps() + 1 with `learning_rate`; gradients are zero afterwards. Returns the norm before clipping. A non-finite norm
  /// changes nothing, and the gradients stay for whoever looks for the cause.
  double step(const Context& context, double learning_rate);
  /// Brings every row up to date: before a checkpoint, an evaluation, a save.
  void catch_up(const Context& context);

  std::int64_t steps() const { return steps_; }

  /// For checkpoints: steps taken and, for lazy tables after catch_up, nothing else besides the store's moments.
  void restore(std::int64_t steps);

 private:
  void mark_touched(const PackedBatch& batch);

  ParameterStore& store_;
  TrainingSettings settings_;
  bool lazy_;
  std::int64_t steps_ = 0;
  std::vector<AdamWStep> history_decay_;     ///< scalars of every step, for lazy rows (which decay)
  std::vector<std::int32_t> last_step_;      ///< of every row of the lazy table
  std::vector<std::int32_t> touched_;        ///< rows of the batches since the last step, ascending
  int lazy_index_ = -1;
};

}  // namespace koine
