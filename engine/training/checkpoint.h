#pragma once

// A training state on disk, all or nothing.
//
//   checkpoints/step-N/   model.safetensors      master weights, checkpoint names
//                         optimizer.safetensors  the optimizer's tensors, as it names them (engine/optimizer/)
//                         best.safetensors       weights of the best evaluation so far, where they are kept
//                         state.json             TrainingState, and the version of this layout
//                         complete.json          end mark: size and XXH3 of every file; written last
//
// Written under checkpoints/step-N.partial, every file synced, then renamed and the folder synced. A folder without its end
// mark, or whose files do not match it, is not a checkpoint: it is refused by name. Names ending in .partial are left-overs
// of writers that were killed; they are ignored, and removed by the next save.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/optimizer/optimizer_state.h"
#include "engine/parameters/parameter_store.h"

namespace koine {

/// What a task had of a run.
struct TaskCount {
  std::int64_t steps = 0;
  std::int64_t tokens = 0;
};

/// What of a run is not in the parameter buffers. Which task and examples a step takes is a pure function of seed and step,
/// so the samplers need nothing here: whoever resumes draws the earlier steps' tasks once more.
struct TrainingState {
  std::int64_t step = 0;
  std::int64_t tokens = 0;
  double seconds = 0;
  double flops = 0;
  std::map<std::string, TaskCount> tasks;  ///< each task's part of `step` and `tokens`
  double last_loss = 0;
  std::int64_t evaluated_step = -1;  ///< the last evaluation was behind this step; -1: none yet
  std::int64_t best_step = 0;
  double best_score = 0;
  bool has_best = false;
  std::map<std::string, double> best_metrics;
  std::int64_t evaluations_without_improvement = 0;
  /// Setting -> value, of everything that decides the run's bits: a run resumes only under the settings it was started with.
  std::map<std::string, std::string> settings;
};

/// Writes checkpoints/step-N in `directory` and deletes the oldest beyond `keep`. `best`: the best weights so far, [table
/// elements] in the store's layout, or empty. UserError naming the folder where it cannot be written or the disk is full;
/// earlier checkpoints are then as they were, and nothing half-written is left.
void save_checkpoint(const std::filesystem::path& directory, const TrainingState& state, const ParameterStore& store,
                     const OptimizerState& optimizer, const std::vector<float>& best, std::int64_t keep);

/// What ranks do that do not write, while one saves the same: they give what they have of a state that is shared out.
void follow_checkpoint(const ParameterStore& store, const OptimizerState& optimizer);

/// The newest checkpoint folder in `directory`, or nothing where there is none. UserError naming it when it lacks its end
/// mark or a file, or a file has another size than the mark says.
std::optional<std::filesystem::path> newest_checkpoint(const std::filesystem::path& directory);

/// Fills the store's weights, the optimizer's state and `best` (empty where there is none) from a checkpoint folder, having compared
/// every file with the end mark. UserError naming the folder, file and tensor. The working copies are not touched.
TrainingState load_checkpoint(const std::filesystem::path& folder, ParameterStore& store, OptimizerState& optimizer,
                              std::vector<float>& best);

/// A setting that the saved ones lack, because the program that wrote them had none, counts as what that program did.
/// UserError naming the setting that differs, both values and what to do; `folder` is the checkpoint's.
void require_same_settings(const std::filesystem::path& folder, const std::map<std::string, std::string>& saved,
                           const std::map<std::string, std::string>& present);

}  // namespace koine
