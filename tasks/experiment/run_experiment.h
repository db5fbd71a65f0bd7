#pragma once

// Running an experiment, or as much of it as is not done yet.
//
// Order: the tokenizer; pretraining; then for every arm and seed its intermediate training; for every target, arm and seed
// the fine-tuning on the source language and the evaluation in every language. Folders below the output:
//
//   config.toml                               the experiment with every default written out
//   data/  tokenizer/  pretraining/           phases (phase.h)
//   intermediate/<arm>/seed-<n>/              phases; each model is trained once and used by every target
//   target/<arm>/<task>/seed-<n>/             phases; predictions/<task>/... in XTREME's layout, evaluations.json
//   results.json  costs.json  report.html     all figures so far (tasks/report), and what each training took
// The same call again skips what is done and continues what was interrupted, bit for bit. The seed of an arm's run is the
// seed of the target runs that build on it. Where nothing random separates two seeds (retrieval with a shared encoder), one
// seed is run.

#include <nlohmann/json.hpp>
#include <vector>

#include "tasks/experiment/experiment.h"
#include "tasks/experiment/training_phase.h"
#include "tasks/report/report.h"

namespace koine {

/// What one training took.
struct PhaseCost {
  std::string phase;  ///< its folder below the output
  std::int64_t steps = 0;
  std::int64_t tokens = 0;
  double seconds = 0;
  double flops = 0;
};

struct RunOutcome {
  bool interrupted = false;
  std::vector<ResultRow> rows;
  std::vector<PhaseCost> costs;
};

/// UserErrors for data that is missing or wrong; all data of a phase is read before the phase begins.
RunOutcome run_experiment(Experiment experiment, const RunOptions& options);

/// results.json, costs.json and report.html in the output.
void write_outcome(const Experiment& experiment, const RunOptions& options, const RunOutcome& outcome);

/// What the report of an experiment says besides the figures.
ReportDetails report_details(const Experiment& experiment, const RunOptions& options, const RunOutcome& outcome);

/// Where the data are to be generated: makes them in `folder` (once) and points the experiment there.
void generate_data(Experiment& experiment, const std::filesystem::path& folder, const RunOptions& options);

/// How often each task of an arm is drawn, up to a common factor, from the sizes of their training sets: the arm's own
/// weights, or by its sampler n (proportional), 1 (uniform), n^(1 / temperature), where n counts at most train_examples_cap.
std::vector<double> sampler_weights(const IntermediateSpec& arm, const std::vector<std::int64_t>& examples);

/// The tokenizer of a pretrained directory, of a given file, or trained into `folder` (once).
Tokenizer experiment_tokenizer(const Experiment& experiment, const std::filesystem::path& folder, bool redo);

/// Languages a list in an experiment stands for: itself, checked against what is there, or all that are there where it is
/// empty. UserError naming the folder where there is none, or the language that is missing.
std::vector<std::string> resolve_languages(const Task& task, const std::vector<std::string>& wanted,
                                           const std::filesystem::path& data, const std::string& split);

/// Longest sequences a phase uses: `wanted`, or where that is 0 the task's own as far as the model reads. UserError naming
/// `where` when what was wanted is more than the model reads.
std::int64_t resolve_length(std::int64_t wanted, const Task& task, std::int64_t model_maximum, const std::string& where);

/// Evaluates a loaded model on one split in several languages, one after the other: predictions in XTREME's layout below
/// `folder`/predictions, and `folder`/evaluations.json, rewritten after each language. Languages that stand there already
/// are not evaluated again. `evaluations`: by language, {metric, value, metrics, examples, tokens, seconds, flops}. False
/// where `options.stop` was set in between.
struct EvaluationPlan {
  const Task* task = nullptr;
  std::string split;
  std::vector<std::string> languages;
  FeatureOptions features;
  EvaluationOptions options;
};
bool evaluate_languages(Model& model, const EvaluationPlan& plan, const std::filesystem::path& data,
                        const Tokenizer& tokenizer, const std::filesystem::path& folder, const RunOptions& options,
                        nlohmann::json& evaluations);

}  // namespace koine
