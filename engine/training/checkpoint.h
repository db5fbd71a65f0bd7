#pragma once

// A training state on disk, all or nothing.
//
//   checkpoints/step-N/   model.safetensors      master weights, checkpoint names
//                         optimizer.safetensors  first and second moments: "first_moment.<name>", "second_moment.<name>"
//                         best.safetensors       weights of the best evaluation so far, where there was one
//                         state.json             step, task sampler, best metrics, evaluations without improvement, tokens,
//                                                settings fingerprint, version
//                         complete.json          end mark: size and XXH3 of every file; written last
// Written under checkpoints/step-N.partial, every file synced, then renamed and the folder synced. A folder without its end mark,
// or whose files do not match it, is not a checkpoint: it is refused by name.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/parameters/parameter_store.h"

namespace koine {

struct TrainingState {
  std::int64_t step = 0;
  std::int64_t tokens = 0;
  double seconds = 0;
  double flops = 0;
  double last_loss = 0;
  std::int64_t best_step = 0;
  double best_score = 0;
  bool has_best = false;
  std::map<std::string, double> best_metrics;
  std::int64_t evaluations_without_improvement = 0;
  std::string settings_fingerprint;  ///< a run resumes only under the settings it was started with
};

/// Writes checkpoints/step-N in `directory` and deletes the oldest beyond `keep`. `best`: the best weights so far, [table elements]
/// in the store's layout, or null.
void save_checkpoint(const std::filesystem::path& directory, const TrainingState& state, ParameterStore& store,
                     const std::vector<float>* best, std::int64_t keep);

/// The newest complete checkpoint folder in `directory`, or nothing. Half-written ones (.partial) are ignored; a step-N folder without
/// its end mark or with damaged files is a UserError naming it.
std::optional<std::filesystem::path> newest_checkpoint(const std::filesystem::path& directory);

/// Fills store (weights, moments) and `best` from a checkpoint folder.
TrainingState load_checkpoint(const std::filesystem::path& folder, ParameterStore& store, std::vector<float>& best);

}  // namespace koine
