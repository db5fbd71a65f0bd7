#pragma once

// The training loop: draws the task of each step, packs its batches, accumulates, updates, evaluates, stops early, logs,
// checkpoints and resumes bit for bit.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/batch/batcher.h"
#include "engine/batch/span_corruption.h"
#include "engine/optimizer/optimizer.h"
#include "engine/ranks/communicator.h"
#include "engine/settings/settings.h"
#include "engine/training/checkpoint.h"
#include "engine/training/model.h"
#include "engine/training/time_function.h"

namespace koine {

/// One task of a run. A run with one task is the rule; with several, each optimizer step, all its micro-batches, belongs to
/// one of them, drawn by Philox from (seed, step) in proportion to its weight, as jiant draws them (nyu-mll/jiant,
/// jiant/proj/main/components/task_sampler.py; run_train_step of runner.py). Tasks may share a head.
struct TrainingTask {
  std::string name;
  int head = 0;  ///< of the model
  const Dataset* train = nullptr;
  double weight = 1;                           ///< of the sampler
  const MaskingSettings* masking = nullptr;    ///< for kMaskedLm
  std::optional<TimeFunction> weight_at = {};  ///< where set, the weight by the steps before this one, in place of `weight`
  std::int64_t examples_cap = 0;  ///< counted at most in the number of steps, as jiant's configurator does; 0: all
  std::int64_t batch_size = 0;    ///< in place of the settings' per_device_train_batch_size; 0: that
  const SpanCorruption* corruption = nullptr;  ///< of plain text for kTextToText: spans are drawn anew as masks are
};

/// Dev metrics by name, larger is better, for early stopping by their mean; empty: no evaluation. Of several ranks the first calls
/// it, and may have the others predict with it (shared_prediction.h).
using EvaluateFunction = std::function<std::map<std::string, double>(Model& model)>;

/// Where a run reports. Implementations: observers.h. All calls come from the training thread.
class TrainingObserver {
 public:
  virtual ~TrainingObserver() = default;
  struct Step {
    std::int64_t step = 0;  ///< from 1
    std::int64_t total = 0;
    double epoch = 0;          ///< passes over the step's task so far
    double loss = 0;           ///< mean over the counted labels of this step
    double gradient_norm = 0;  ///< before clipping
    double learning_rate = 0;
    std::int64_t tokens = 0;  ///< real tokens of this step
    double seconds = 0;       ///< of this step
    std::string task;
    std::optional<double> probability = {};  ///< with which this step's task was drawn, where there are several
    /// Of several ranks on CPUs: seconds in which gradients, losses and weights were told the others, and those that this rank
    /// waited for it.
    std::optional<CommunicationSeconds> communication = {};
    std::optional<std::int64_t> communication_bytes = {};  ///< of several ranks: what this one sent since the step before
  };
  /// Before the first step of this call of train(): `step` steps were taken earlier (0: a fresh run) of `total`.
  virtual void on_start(std::int64_t /*step*/, std::int64_t /*total*/) {}
  virtual void on_step(const Step& step) = 0;
  virtual void on_evaluation(std::int64_t step, const std::map<std::string, double>& metrics, bool best) = 0;
  virtual void on_message(const std::string& text) = 0;
  /// While something is evaluated: `done` of `total` tokens of `what` ("mnli dev").
  virtual void on_evaluating(const std::string& /*what*/, std::int64_t /*done*/, std::int64_t /*total*/) {}
  /// When train() returns; not when it throws.
  virtual void on_end() {}
};

struct TrainingResult {
  std::int64_t steps = 0;        ///< taken, all resumed parts together
  std::int64_t total_steps = 0;  ///< planned
  double final_loss = 0;
  std::int64_t tokens = 0;
  double seconds = 0;  ///< of the steps, evaluations not included
  double flops = 0;
  bool interrupted = false;  ///< stopped by `stop`; a checkpoint was written where the run has a directory
  bool stopped_early = false;
  std::int64_t best_step = 0;
  std::map<std::string, double> best_metrics;
  /// Each task's part of steps and tokens; empty where the run resumed from a checkpoint of a program that did not count.
  std::map<std::string, TaskCount> tasks;
};

struct TrainingRun {
  Model* model = nullptr;
  std::vector<TrainingTask> tasks;
  TrainingSettings settings;
  EvaluateFunction evaluate;  ///< may be empty
  std::vector<TrainingObserver*> observers;
  Communicator* communicator = nullptr;     ///< of the ranks that train together; null: this process alone
  std::string program;                      ///< and its version: must be the same on all ranks
  std::filesystem::path directory;          ///< for checkpoints; empty: none are written
  bool resume = false;                      ///< continue from the newest checkpoint in `directory`, where there is one
  const std::atomic<bool>* stop = nullptr;  ///< set by a signal handler: finish the step, write a checkpoint, return
};

/// Runs it.
///
/// A step draws its task and its examples from (seed, steps before it), packs them into micro-batches of at most
/// max_tokens_per_batch tokens, adds up their gradients scaled by 1 / (counted labels of the step), and updates. Dropout is
/// named by the seed and the number of steps before this one. So the cut into micro-batches decides only where fp32 gradient
/// sums are rounded: the same labels count, the same elements drop, and results agree but for that rounding. (Where the
/// examples of a batch compete, as a dual encoder's do, a micro-batch is per_device_train_batch_size examples as they were
/// drawn, whatever their lengths.)
///
/// Ranks. All of them call train() with the same run, but for observers, which only rank 0 should have; first they compare
/// settings, data, program and weights, and Error names who differs. A step is that of one process, whatever their number:
/// per_device_train_batch_size * gradient_accumulation_steps examples, which every rank cuts into the same parts of like cost
/// (engine/batch/step_parts.h) and of which it computes its own. Counted labels, losses and gradients of a step are summed
/// over the ranks; gradients leave in buckets as the backward of the step's last micro-batch completes them
/// (engine/ranks/gradient_buckets.h). With gradient_parts they are added up in a fixed order (engine/ranks/ordered_sum.h), and
/// any number of ranks gives the same bits: weights, moments, losses. Rank 0 evaluates and writes checkpoints while the others
/// wait; all of them read the one that is resumed from, so `directory` is one that all see. They stop together, where any was
/// told to.
///
/// With zero = 1 they share out masters and moments: each updates a range of elements and gives the others the weights; the
/// same bits again. With zero = 2 gradients too: each part of a step leaves as its backward goes (engine/ranks/sharded_sum.h), and
/// so has to be one micro-batch, which is looked at before the first step. All take part in writing a checkpoint, whose files are those of one rank; at the end rank 0 has the master
/// weights, in host memory, and the others have working weights alone.
///
/// Early stopping as jiant's: the score of an evaluation is the mean of its metrics; strictly greater than the best is an
/// improvement; early_stopping_patience evaluations in a row without one end the run. The best weights are kept in memory
/// and are the model's at the end (load_best_model_at_end).
///
/// An evaluation during which `stop` is set counts as not made: it is made again when the run resumes. A resumed run gives
/// the same bits as an uninterrupted one: weights, moments, losses, evaluations.
///
/// Throws UserError for settings that cannot be (naming the setting), for a weight that is negative or not a number at one of
/// the run's steps, for a directory with checkpoints of an earlier run
/// where `resume` is false, for a checkpoint made under other settings; Error naming step and example numbers when a loss or
/// gradient is not finite. Checkpoints: `directory`/checkpoints/step-N (see checkpoint.h).
TrainingResult train(const TrainingRun& run);

/// Optimizer steps a run takes: max_steps, or ceil(epochs * sum over tasks of ceil(groups / (batch * accumulation))), where a
/// task has at most examples_cap groups and batches of its own size where it has one.
std::int64_t total_steps(const TrainingRun& run);

/// Everything that decides the bits of a run, and so what a checkpoint resumes under: the settings whose effect says so
/// (setting_keys.h), steps, warm-up steps, examples of a step, seed, device, precision, tasks with their data.
std::map<std::string, std::string> deciding_settings(const TrainingRun& run);

/// Index of the task of step `step` (from 0), each as likely as its share of the weights. UserError when all weights are 0.
int draw_task(std::uint32_t seed, std::int64_t step, std::span<const TrainingTask> tasks);

/// How likely each task is at a step (from 0): its share of the weights. UserError naming the task and the step for a weight
/// that is negative or not finite, and where all are 0.
std::vector<double> task_probabilities(std::int64_t step, std::span<const TrainingTask> tasks);

}  // namespace koine
