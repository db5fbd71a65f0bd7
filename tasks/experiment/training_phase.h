#pragma once

// One training of an experiment, from a start to a saved model: pretraining, intermediate training and fine-tuning are all
// this.

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/tokenizer/tokenizer.h"
#include "engine/training/trainer.h"
#include "models/models.h"
#include "tasks/common/task.h"
#include "tasks/experiment/rank_jobs.h"
#include "tasks/experiment/sampler.h"

namespace koine {

/// How a run is carried out, reports and stops.
struct RunOptions {
  std::filesystem::path output;
  Execution execution;
  const std::atomic<bool>* stop = nullptr;  ///< finish the step, write a checkpoint, return
  bool redo = false;                        ///< make phases again whose settings changed, instead of refusing
  std::string only = {};                    ///< of an experiment: the phases to carry out (selection.h); empty: all
  std::filesystem::path cache = {};         ///< of training sets (example_cache.h); empty: none
  std::string program = "koine";            ///< program and version, for done.json
  std::function<void(const std::string& text)> message = [](const std::string&) {};
  /// Makes the progress line of one training; empty: none.
  std::function<std::unique_ptr<TrainingObserver>()> progress;
  std::filesystem::path powercap = "/sys/class/powercap";                ///< where the processor's counters of energy are
  std::shared_ptr<bool> told_of_energy = std::make_shared<bool>(false);  ///< that it is not measured
};

/// Where parameters come from: a transformers directory, or fresh ones from `config` and `seed`.
struct StartPoint {
  std::filesystem::path directory;
  ModelConfig config;
  std::uint32_t seed = 1;
  std::string fingerprint;  ///< of the phase that made the directory; of the files' names and sizes otherwise
};

/// A task of a training phase with its data.
struct PhaseTask {
  std::string name;
  HeadSpec head;
  const Dataset* train = nullptr;
  const TaskData* dev = nullptr;  ///< may be null
  double weight = 1;
  double mlm_probability = 0;                  ///< of plain text: masked, or taken out by span corruption; 0: another task
  LeftOut left_out = {};                       ///< of the training files
  Truncation truncation = {};                  ///< of the training set
  std::optional<TimeFunction> weight_at = {};  ///< this and the next two as TrainingTask has them
  std::int64_t examples_cap = 0;
  std::int64_t batch_size = 0;
  std::int64_t translated_tokens = 0;  ///< of the training set, in other languages than the one the task is in
  std::int64_t tokens_of_source =
      0;  ///< of the source language's training set, where this one was given as many; 0: it was not
};

/// Draws the tasks of a phase as a sampler says, from the sizes of their training sets.
void set_sampler(std::vector<PhaseTask>& tasks, const SamplerSpec& sampler);

/// The number of a head among `heads`, by its name; one that is not there is added.
int add_head(std::vector<HeadSpec>& heads, const HeadSpec& head);

struct TrainingPhase {
  std::int64_t number = 0;  ///< in the plan, by which the other ranks find it
  std::filesystem::path directory;
  StartPoint start;
  bool fresh_heads = true;  ///< a head that the start happens to hold under the same name is not taken over
  std::vector<PhaseTask> tasks;
  std::vector<std::string> labels;  ///< of a single classification head
  TrainingSettings settings;
};

/// The heads of a model drawn anew from `seed`: classifier and span parameters. The pooler, part of the published encoders,
/// stays where the checkpoint had it.
void renew_heads(Model& model, const LoadReport& report, std::uint32_t seed, double standard_deviation);

/// A model from its start point. What reading it noticed is told.
std::unique_ptr<Model> make_model(const StartPoint& start, const ModelOptions& options, bool fresh_heads,
                                  const std::function<void(const std::string& text)>& message = {});

/// What a training phase gave.
struct PhaseTraining {
  TrainingResult result;                      ///< of the attempt that made the model
  std::uint32_t seed = 1;                     ///< of it
  std::optional<double> joules = {};          ///< it took (work_energy.h)
  std::map<std::string, Collapse> collapsed;  ///< by task: its answers on the validation data, where they are one class
  std::string earlier_attempts;               ///< JSON: training_record of each attempt that collapsed before
};

/// Seed of an attempt (from 0; 0 has the phase's own): far from the seeds of a grid, which are small numbers.
std::uint32_t seed_of_attempt(std::uint32_t seed, std::int64_t attempt);

/// Trains, resuming from `directory`/checkpoints where there is one, and writes `directory`/model with the tokenizer beside
/// it. Where it was interrupted the result says so and there is no model. Whoever called it puts an end mark and then calls
/// remove_checkpoints.
///
/// A trained model whose answers on the validation data of a task are all one class (tasks/common/guards.h) is told. With
/// settings.restarts it is left, and the training done again with another seed, in `directory`/attempt-2 and so on, at most
/// so often; the last attempt's model stays whatever it answers. `directory`/attempts.json holds the record of each attempt
/// that was left, and is written before the next begins, so that a phase continued goes on with the same attempt.
PhaseTraining run_training_phase(const TrainingPhase& phase, const Tokenizer& tokenizer, const RunOptions& options);

/// What a rank that follows does instead: whenever rank 0 trains, it trains with it, and whenever rank 0 evaluates, it computes
/// part of the predictions, until rank 0 says that the command is over. `phase_of` gives the phase of a job: the same start, tasks
/// and settings as rank 0 has; `evaluated_model_of` the model that rank 0 evaluates, and may be empty where it only trains.
void follow_trainings(const Tokenizer& tokenizer, const RunOptions& options,
                      const std::function<TrainingPhase(const RankJob& job)>& phase_of,
                      const std::function<std::unique_ptr<Model>(const RankJob& job)>& evaluated_model_of = {});

/// {"steps", "total_steps", "final_loss", "tokens", "seconds", "flops", "best_step", "stopped_early", "best_metrics", "seed",
/// "joules" (null: not measured)},
/// and where there are any "collapsed": {task: ...} and "collapsed_attempts": [...].
nlohmann::json training_record(const PhaseTraining& trained);

/// {task: ...} of the tasks of which examples were cut.
nlohmann::json truncation_record(const std::vector<PhaseTask>& tasks);

/// A training's record as lines for people: what was cut, what collapsed, how often it was begun again.
std::vector<std::string> guard_lines(const nlohmann::json& training);

void remove_checkpoints(const std::filesystem::path& directory);

/// What each task had of a training, for the records of a phase: {"mnli": {"examples", "tokens" (of its training set),
/// "probability": [at the first step, at the last], "steps", "trained_tokens", and, where it was given as many tokens as the
/// source language's set, "source_tokens"}}. Steps and tokens trained are missing where the result does not know them.
nlohmann::json task_record(const TrainingPhase& phase, const TrainingResult& result);
/// The same as a line for people for each task of several, or with equal tokens.
std::vector<std::string> task_lines(const nlohmann::json& record);

/// What the files held beyond the data sets, for the records of a phase: {"squad": {"count": 9, "total": 10, "what":
/// "..."}}, tasks of which nothing was left out not among them; and as a line for people: "squad: 9 of 10 questions left
/// out: ...".
nlohmann::json left_out_record(const std::vector<PhaseTask>& tasks);
std::vector<std::string> left_out_lines(const nlohmann::json& record);

/// The tokenizer beside a model (or `file`, where not empty). UserError where its ids and the rows of the embedding table do
/// not belong together: fewer rows than ids, or 1024 and more to spare (the published models have at most 878).
Tokenizer matching_tokenizer(const std::filesystem::path& model_directory, const ModelConfig& config,
                             const std::filesystem::path& file = {});
void require_matching(const Tokenizer& tokenizer, const ModelConfig& config, const std::filesystem::path& model);

/// XXH3 of what a data set teaches: ids, labels, order.
std::string fingerprint_of(const Dataset& dataset);

/// Plain text as masked-language examples, one line each, cut to `max_seq_length` (what is cut is counted in `truncation`),
/// or packed, each file by itself (families/text.h); blank lines are left out. UserError naming the file where it holds none.
Dataset read_plain_text(const std::vector<std::filesystem::path>& files, const Tokenizer& tokenizer,
                        std::int64_t max_seq_length, Truncation& truncation, bool packed = false);

}  // namespace koine
