#pragma once

// What an experiment will cost, before it runs: tokens and FLOPs of every phase of its plan from the data themselves, and
// memory from dry runs.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/execution/execution.h"
#include "engine/settings/settings.h"
#include "engine/training/trainer.h"
#include "tasks/experiment/plan.h"

namespace koine {

struct PhaseEstimate {
  std::string label;      ///< "pretraining", "intermediate mnli", "target xnli", "evaluate xnli"
  std::int64_t runs = 1;  ///< arms x seeds that repeat it
  bool training = false;
  std::int64_t steps = 0;  ///< optimizer steps of one run; 0: prediction only
  double tokens = 0;       ///< read by one run
  double flops = 0;        ///< of one run: 3 x forward for training (forward and backward), forward for prediction
  std::string tasks;       ///< how likely each of several tasks is (probabilities_text); empty: one task
  std::string missing;     ///< why tokens and flops are unknown: the data that is not there; empty: known
};

struct ExperimentEstimate {
  Plan plan;
  std::vector<PhaseEstimate> phases;
  std::vector<std::string> problems;  ///< with its data (checks.h)
  /// Memory this process holds with the tokenizer and the training data loaded, as a run holds them.
  double resident_bytes = 0;
};

/// Tokens and forward FLOPs of one pass over a training set.
struct TrainingPass {
  double groups = 0;  ///< examples
  double tokens = 0;
  double flops = 0;
};

/// Adds steps, tokens and FLOPs of a training with these settings over `passes` (one per task), to be expected of its draws.
void add_training(PhaseEstimate& phase, const std::vector<TrainingPass>& passes, const std::vector<TrainingTask>& tasks,
                  const TrainingSettings& settings);

/// Every phase of an experiment at its full length (no early stop). Data that is not there leaves a phase unknown and says
/// so. Data to be generated and a tokenizer to be trained are made in a temporary folder.
ExperimentEstimate estimate_experiment(Experiment experiment, const std::filesystem::path& cache = {});

/// What is in memory at once.
struct MemoryQuestion {
  ModelConfig config;
  std::vector<HeadSpec> heads;
  Execution execution;
  bool training = true;
  std::int64_t tokens = 4096;  ///< in memory at a time
  bool keeps_best = false;     ///< a copy of the best weights (load_best_model_at_end with a dev set)
  bool from_file = false;      ///< the model is read from a directory
  double resident_bytes = 0;   ///< program, libraries, tokenizer, data: resident_memory() of a process that has loaded them
  std::string name = {};       ///< what is in memory: the phase's label
  OptimizerKind optimizer = OptimizerKind::kAdamW;
  MasterKind master = MasterKind::kFloat32;
  int ranks = 1;                    ///< that train together: the memory is that of one
  std::int64_t zero = 0;            ///< 1: they share out masters and moments, 2: gradients too
  std::int64_t gradient_parts = 0;  ///< of a step, 0: none
  bool recompute = false;
};

/// The trainings of a plan in its order, each with its heads and batch, one for all its seeds. A copy of the best weights is
/// kept from the first evaluation before the last step on: of trainings that `estimates` (of estimate_experiment) knows to
/// be shorter, none.
std::vector<MemoryQuestion> memory_questions(const Plan& plan, const Execution& execution,
                                             const std::vector<PhaseEstimate>& estimates = {});

struct MemoryLine {
  std::string name;
  double bytes = 0;
};
/// Peak memory. On the CPU what the process holds: parameters by buffer, activations at their highest point added up by name
/// over all layers, scratch, the copies a training keeps. The last line is the total. A checkpoint is written from where it
/// lies; resuming from one maps its files for the time of reading, which the total does not count. On a device its memory
/// alone: no program, no copy of the best weights, no file (the CUDA context comes on top, and goes by the driver's
/// version).
std::vector<MemoryLine> estimate_memory(const MemoryQuestion& question);

/// Bytes of physical memory this process holds (VmRSS); 0 where the system does not say.
double resident_memory();

/// Bytes of physical memory this machine has, or of it what a limit of control groups leaves this process.
double physical_memory();

}  // namespace koine
