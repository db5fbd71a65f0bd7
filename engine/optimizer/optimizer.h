#pragma once

// An optimizer over a whole ParameterStore: clipping by the global norm, the rule of the settings (update_rule.h), lazy rows.
//
// A step of AdamW is four operations whatever the number of parameters: the norm of all gradients and the clipping factor from
// it (gradient_norm, two launches), the update of everything dense (adamw_segments, one), that of the lazy table's touched rows
// (adamw_rows, one). The norm is summed in double in an order that only the shapes decide; of a lazy table only the rows
// that were touched are read, which changes no bit of it. Bytes a step: 36 per dense element (38 with a working copy), the
// gradient read twice and cleared; of a lazy table as many per touched element, and per replayed one 24 (26).
//
// Everything the operations read lies where the store lies. On a device, prepare_rows, enqueue_step and catch_up put work
// into the context's stream and return: what changes from step to step (rows, rates, the step's number) goes there through
// pinned memory of kUploads slots, and the host waits only where it is more than so many uploads ahead. All calls use one
// stream, or streams the caller orders.

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "engine/batch/packed_batch.h"
#include "engine/optimizer/moments.h"
#include "engine/optimizer/update_rule.h"
#include "engine/parameters/parameter_store.h"
#include "engine/settings/settings.h"
#include "kernels/common/buffer.h"
#include "kernels/common/own_scratch.h"
#include "kernels/cuda/runtime.h"
#include "kernels/optimizer/adamw.h"
#include "kernels/optimizer/gradient_norm.h"

namespace koine {

class Optimizer {
 public:
  /// `lazy`: treat the parameter marked lazy_rows by touched rows only (bit for bit the dense result), where the rule has such
  /// a form and the masters are fp32. At most one parameter may be so marked: its rows are the word ids of the batches. `store` has gradients and
  /// outlives the optimizer. The state begins at zero. Of a store that ranks share out (ParameterStore::shards) a rank updates
  /// its range, with all gradients in the norm, and gives the others the weights; the same bits. Where it has the gradients of
  /// its range alone, ranks add up the norm's cells (gradient_norm.h). Steps are collective then, and
  /// a norm that is not finite leaves the gradients of its range alone.
  Optimizer(ParameterStore& store, const TrainingSettings& settings, bool lazy);
  ~Optimizer();
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Brings the rows a batch will read up to date. To be called before the forward of every batch that is trained on.
  void prepare_rows(const Context& context, const PackedBatch& batch);
  /// Rows that have gradients in this step beside those of its own batches, ascending: other ranks' batches have them.
  void touch_rows(const std::vector<std::int32_t>& rows);
  /// Norm of all gradients (of rows prepared since the last step, for lazy tables), then clipping factor, then the update of
  /// step steps() + 1 with `learning_rate`; gradients are zero afterwards. Does not wait for a device. A non-finite norm
  /// changes no weight, moment or gradient, but steps() has gone on: whoever learns of it from norm() has to stop.
  void enqueue_step(const Context& context, double learning_rate);
  /// The norm before clipping of the last step enqueued; waits for it.
  double norm(const Context& context);
  /// Where that norm lies when the step has run: on the device of the store.
  const float* norm_on_device() const { return &results_.as<Results>()->norm; }
  /// enqueue_step and norm. After a non-finite norm everything is as before the call: the gradients stay for whoever looks
  /// for the cause.
  double step(const Context& context, double learning_rate);
  /// Brings every row up to date: before a checkpoint, an evaluation, a save. Changes no bit of what follows.
  void catch_up(const Context& context);

  /// Who gives the others the weights of a store that is shared out, when they are in the stream: the store itself unless
  /// something else is said, before anything that follows there.
  void share_by(std::function<void(void* stream)> share) { share_ = std::move(share); }

  std::int64_t steps() const { return steps_; }

  /// What it keeps: to be saved after catch_up.
  OptimizerState& state() { return rule_->state(); }
  /// Where that is two moments of every element.
  Moments& moments() const;

  /// Continues behind step `steps` of another run whose weights the store now holds, and whose state state(), taken after
  /// catch_up.
  void restore(std::int64_t steps);

  /// prepare_rows and enqueue_step in halves: the first uploads the numbers and lists (and counts the step), the second puts
  /// operations into the stream that find all of them in memory. So a second half that was recorded into a graph can be
  /// launched behind any first one whose rows are at most `most_rows`.
  void upload_rows(const Context& context, const PackedBatch& batch);
  void launch_rows(const Context& context, std::int64_t most_rows);
  void upload_step(const Context& context, double learning_rate);
  void launch_step(const Context& context, std::int64_t most_rows);
  /// Rows touched since the last step.
  std::int64_t touched_rows() const { return std::ssize(touched_); }

  static constexpr int kUploads = 4;

 private:
  /// What lies in front of a list of rows.
  struct Numbers {
    StepScalars scalars;
    std::int64_t listed = 0;
    std::int64_t step = 0;
  };
  static constexpr std::size_t kListBegin = 128;  ///< bytes from the numbers to the rows
  static_assert(sizeof(Numbers) <= kListBegin);
  struct Results {
    double sum_of_squares = 0;
    float norm = 0;
    float factor = 0;
  };
  /// Where an upload waits to be copied.
  struct Slot {
    cuda::PinnedMemory memory;
    cuda::Event copied;
  };

  void find_table(bool lazy);
  SegmentList segments_of_norm() const;
  GradientNormArguments norm_arguments() const;
  void reserve_history(std::int64_t steps);
  void fill_last_steps(std::int32_t step);
  void upload(const Context& context, const Buffer& list, const Numbers& numbers, const std::vector<std::int32_t>& rows,
              bool into_history);
  Context with_scratch(const Context& context);
  void launch_norm(const Context& context, std::int64_t most_rows);
  void launch_update(const Context& context);
  AdamWRowsArguments table_arguments() const;

  ParameterStore& store_;
  TrainingSettings settings_;
  Device device_;
  std::int64_t steps_ = 0;
  int table_index_ = -1;  ///< the parameter marked lazy_rows; -1: none
  bool lazy_ = false;     ///< it is treated so
  std::unique_ptr<UpdateRule> rule_;
  std::function<void(void* stream)> share_;
  SegmentList norm_;   ///< every parameter but that one
  Buffer norm_cells_;  ///< where gradients are shared out
  Buffer results_;
  Buffer batch_list_;  ///< Numbers and rows of the last batch prepared
  Buffer step_list_;   ///< Numbers of the last step, and the rows it touched
  Buffer last_step_;   ///< [rows] of the table
  Buffer history_;     ///< [history_steps_ + 1] scalars of every step, for the table
  std::int64_t history_steps_ = 0;
  std::vector<std::int32_t> touched_;  ///< rows of the batches since the last step, ascending
  std::vector<std::int32_t> stepped_;  ///< those of the last step
  std::vector<std::int32_t> merged_;   ///< touched_ while it grows
  std::vector<Slot> slots_;            ///< [kUploads] on a device; on the CPU none: it may be one without CUDA
  std::size_t next_slot_ = 0;
  cuda::PinnedMemory norm_on_host_;
  OwnScratch scratch_;
};

}  // namespace koine
