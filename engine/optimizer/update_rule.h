#pragma once

// How the weights are updated: one class for each optimizer. A rule owns its state (names in a checkpoint, bytes in a plan)
// and puts the operations of a step into a stream; the norm, clipping, the rows of a lazy table and what goes to a device
// from step to step are around any of them (optimizer.h).
//
//   adamw         kernels/optimizer/adamw.h. Two fp32 moments of every element.
//   adafactor_t5  kernels/optimizer/adafactor.h as T5 had it: matrices of at least 128 rows and columns are factored, the rate
//                 is multiplied by max(1e-3, RMS of the parameter), nothing decays. rows + columns fp32 numbers of a factored
//                 matrix, one of every other element.
//   adafactor     the same as transformers has it (relative_step=False): every matrix is factored, the rate is as it is given
//                 unless adafactor_scale_parameter, weight_decay as of AdamW.
//   adamw_rms     kernels/optimizer/adamw_rms.h: AdamW, its rate multiplied by max(1e-3, RMS of the parameter); nanoT5's.
//   adamw_8bit    kernels/optimizer/adamw_8bit.h: AdamW with moments in 8 bits, an fp32 scale for each 256; parameters of fewer
//                 than 4,096 elements and embeddings keep fp32 ones.

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/optimizer/optimizer_state.h"
#include "engine/parameters/parameter_store.h"
#include "engine/settings/settings.h"
#include "kernels/common/buffer.h"
#include "kernels/optimizer/adafactor.h"
#include "kernels/optimizer/adamw.h"
#include "kernels/optimizer/segments.h"

namespace koine {

/// The scalars of a step, as an update finds them in memory.
struct StepScalars {
  AdamWStep adamw[2];  ///< of what does not decay, of what does; of adamw_rms too
  AdafactorStep adafactor[2];
  std::int64_t number = 0;  ///< of the step, from 1
};

/// Moments of a parameter, [rows, width] fp32.
struct RowMoments {
  void* first = nullptr;
  void* second = nullptr;
};

/// A list of tensors in the memory of a device.
struct SegmentList {
  SegmentList() = default;
  SegmentList(std::vector<FlatSegment> list, Device device);

  std::int64_t elements = 0;
  std::int64_t segments = 0;
  std::int64_t pieces = 0;
  Buffer list;
};

class UpdateRule {
 public:
  virtual ~UpdateRule() = default;
  UpdateRule(const UpdateRule&) = delete;
  UpdateRule& operator=(const UpdateRule&) = delete;

  virtual OptimizerState& state() = 0;
  /// The scalars of step `step` (from 1).
  virtual StepScalars scalars(std::int64_t step, double learning_rate) const = 0;
  /// Puts the update of all parameters but the lazy table, and the clearing of their gradients, into the context's stream.
  /// Where `gradient_factor` is 0 when it runs it changes nothing.
  virtual void launch(const Context& context, const StepScalars* scalars, const float* gradient_factor) = 0;
  /// The fp32 moments of a table, which adamw_rows may bring up to date row by row; null: this rule updates whole tables.
  virtual RowMoments row_moments(int /*index*/) const { return {}; }

 protected:
  UpdateRule() = default;
};

/// AdamW's scalars of a step, with and without decay.
StepScalars adamw_scalars(const TrainingSettings& settings, std::int64_t step, double learning_rate);

/// The masters of a store as an update takes them.
MasterWeights masters_of_step(const ParameterStore& store, const TrainingSettings& settings, const StepScalars* scalars);

/// `lazy_table`: the parameter that is updated by touched rows elsewhere; -1: none. `store` outlives the rule.
std::unique_ptr<UpdateRule> make_update_rule(ParameterStore& store, const TrainingSettings& settings, int lazy_table);

/// Whether a table may be updated by touched rows only.
bool has_lazy_rows(OptimizerKind kind);

/// Bytes of an optimizer's state, by name; shared out over `ranks` of the rank that has most of it.
std::vector<ParameterStore::Footprint> optimizer_footprint(OptimizerKind kind, const ParameterTable& table, int ranks = 1);

}  // namespace koine
