#pragma once

// AdamW over a whole ParameterStore: decay groups, clipping by the global norm, lazy rows.
//
// Neighbouring parameters of one decay group are updated by one call. The norm is summed parameter by parameter in the order
// of the table, in double; of a lazy table only the rows that were touched, which changes no bit of it (reduce.h). Bytes a
// step: 32 per dense element (34 with a working copy); of a lazy table as many per touched element, and per replayed one 24
// (26).

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/batch/packed_batch.h"
#include "engine/parameters/parameter_store.h"
#include "engine/training/settings.h"
#include "kernels/optimizer/adamw.h"

namespace koine {

class Optimizer {
 public:
  /// `lazy`: treat the parameter marked lazy_rows by touched rows only (bit for bit the dense result). At most one parameter
  /// may be so marked: its rows are the word ids of the batches. `store` has training state and outlives the optimizer.
  Optimizer(ParameterStore& store, const TrainingSettings& settings, bool lazy);

  /// Brings the rows a batch will read up to date. To be called before the forward of every batch that is trained on.
  void prepare_rows(const Context& context, const PackedBatch& batch);
  /// Norm of all gradients (of rows prepared since the last step, for lazy tables), then clipping factor, then the update of
  /// step steps() + 1 with `learning_rate`; gradients are zero afterwards. Returns the norm before clipping. A non-finite
  /// norm changes nothing, and the gradients stay for whoever looks for the cause.
  double step(const Context& context, double learning_rate);
  /// Brings every row up to date: before a checkpoint, an evaluation, a save. Changes no bit of what follows.
  void catch_up(const Context& context);

  std::int64_t steps() const { return steps_; }

  /// Continues behind step `steps` of another run whose weights and moments the store now holds, taken after catch_up.
  void restore(std::int64_t steps);

 private:
  /// Parameters that lie side by side and are updated alike.
  struct Run {
    int first = 0;
    std::int64_t count = 0;
    bool decay = false;
  };
  struct Scalars {
    double sum_of_squares = 0;
    float norm = 0;
    float factor = 0;
  };

  void collect_runs();
  Context with_scratch(const Context& context);
  void sum_gradients(const Context& context);
  void update(const Context& context, double learning_rate);
  void run_lazy_rows(const Context& context, const std::int32_t* rows, std::int64_t listed, bool with_gradient);
  void mark_touched(const std::vector<std::int32_t>& rows);
  AdamWStep scalars_of(double learning_rate, bool decay) const;

  ParameterStore& store_;
  TrainingSettings settings_;
  std::int64_t steps_ = 0;
  std::vector<Run> runs_;                ///< every parameter but the lazy one
  int lazy_index_ = -1;                  ///< -1: none
  std::vector<AdamWStep> history_;       ///< [steps + 1] scalars of every step, for the lazy table
  std::vector<std::int32_t> last_step_;  ///< of every row of the lazy table
  std::vector<std::int32_t> touched_;    ///< rows of the batches since the last step, ascending
  std::vector<std::int32_t> merged_;     ///< touched_ while it grows
  Scalars scalars_;
  std::unique_ptr<StackMemory> scratch_;  ///< of the operations called here, from a dry run of them
};

}  // namespace koine
