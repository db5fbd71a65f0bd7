#include "tasks/experiment/run_experiment.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "models/models.h"
#include "tasks/experiment/evaluate.h"
#include "tasks/experiment/phase.h"
#include "tasks/experiment/phase_data.h"
#include "tasks/experiment/prepare.h"
#include "tasks/experiment/toml_settings.h"
#include "tasks/formats/labels.h"

namespace koine {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

/// What a pretrained directory holds, by names and sizes: enough to notice another model under the same name.
std::string directory_fingerprint(const fs::path& directory) {
  std::vector<std::string> entries;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    if (entry.is_regular_file()) entries.push_back(concatenate(entry.path().filename().string(), " ", entry.file_size()));
  }
  std::sort(entries.begin(), entries.end());
  return xxh3_hex(join_names(entries));
}

/// Carries out the phases of a plan.
class Runner {
 public:
  Runner(Plan plan, const Tokenizer& tokenizer, const RunOptions& options)
      : options_(options), tokenizer_(tokenizer), data_(plan.experiment.data, tokenizer) {
    outcome_.plan = std::move(plan);
  }

  RunOutcome run();

 private:
  const Experiment& experiment() const { return outcome_.plan.experiment; }

  /// False where it was interrupted, here and below.
  bool run_phase(const PlannedPhase& phase);
  bool train(const PlannedPhase& phase, const StartPoint& start, const fs::path& folder, json& training);
  bool evaluate(const PlannedPhase& phase, const StartPoint& model, const fs::path& folder, json& evaluations);

  StartPoint start_of(const PlannedPhase& phase) const;
  std::vector<PhaseTask> tasks_of(const PlannedPhase& phase);
  std::string config_of(const PlannedPhase& phase, const StartPoint& start) const;

  const RunOptions& options_;
  const Tokenizer& tokenizer_;
  PhaseData data_;
  std::vector<StartPoint> models_;  ///< [phases done] what each left
  RunOutcome outcome_;
};

StartPoint Runner::start_of(const PlannedPhase& phase) const {
  if (phase.start.has_value()) return models_[*phase.start];
  StartPoint start;
  if (!phase.starts_fresh) {
    start.directory = experiment().model.directory;
    start.fingerprint = directory_fingerprint(start.directory);
    return start;
  }
  const ModelConfig& config = outcome_.plan.config;
  start.config = config;
  start.seed = phase.seed;
  start.fingerprint = xxh3_hex(concatenate(
      "fresh ", phase.seed, " ", config.hidden_size, " ", config.num_hidden_layers, " ", config.num_attention_heads, " ",
      config.intermediate_size, " ", config.max_position_embeddings, " ", config.hidden_dropout_prob, " ",
      config.attention_probs_dropout_prob, " ", config.initializer_range, " ", config.norm == NormPlacement::kPost));
  return start;
}

std::string pretraining_config(const PlannedPhase& phase) {
  const TrainedTask& text = phase.tasks.front();
  return concatenate("languages = ", toml_list(text.languages), "\nfiles = ", toml_list(text.files),
                     "\nmlm_probability = ", toml_number(text.mlm_probability),
                     "\nmax_seq_length = ", text.features.max_seq_length, "\nseed = ", phase.seed, "\n",
                     text.features.pack_lines ? "mlm_packed = true\n" : "", settings_toml(phase.settings));
}

/// What a task file says of the task; nothing of others.
std::string definition_line(const Task& task) {
  const std::string& definition = task.row().definition;
  return definition.empty() ? "" : "definition = " + toml_text(definition) + "\n";
}

std::string intermediate_config(const PlannedPhase& phase, const IntermediateSpec& arm) {
  std::string config = concatenate("seed = ", phase.seed, "\nsampler = ", toml_text(arm.sampler.kind),
                                   "\ntemperature = ", toml_number(arm.sampler.temperature),
                                   "\ntrain_examples_cap = ", arm.sampler.train_examples_cap,
                                   "\nmlm_probability = ", toml_number(arm.mlm_probability), "\nweights = [");
  for (const double weight : arm.sampler.weights) config += toml_number(weight) + ", ";
  config += "]\n";
  // What came later stands here only where it is used, so that older runs can be continued.
  if (!arm.sampler.weight_functions.empty())
    config += "weight_functions = " + toml_list(arm.sampler.weight_functions) + "\n";
  if (arm.features.pack_lines) config += "mlm_packed = true\n";
  config += settings_toml(phase.settings);
  for (const TrainedTask& task : phase.tasks) {
    config += concatenate("\n[task.", task.task->name(), "]\nlanguages = ", toml_list(task.languages),
                          "\nmax_seq_length = ", task.features.max_seq_length, "\ndoc_stride = ", task.features.doc_stride,
                          "\nmax_query_length = ", task.features.max_query_length,
                          "\nmax_train_examples = ", task.features.max_examples, "\n", definition_line(*task.task));
    if (task.head.name != task.task->name()) config += "head = " + toml_text(task.head.name) + "\n";
    if (!task.equal_tokens_to.empty()) config += "equal_tokens_to = " + toml_text(task.equal_tokens_to) + "\n";
  }
  return config;
}

/// -1: the task's own.
std::string layers_text(const std::vector<std::int64_t>& layers) {
  if (layers.empty()) return "-1";
  return layers.size() == 1 ? std::to_string(layers.front()) : toml_text(text_of({false, layers}));
}

std::string target_config(const PlannedPhase& phase, const TargetSpec& target, const std::string& source_language) {
  const PlannedEvaluation& evaluation = *phase.evaluation;
  std::string config = concatenate(
      "task = ", toml_text(target.task), "\ntrain_task = ", toml_text(target.train_task),
      "\nlanguages = ", toml_list(evaluation.languages), "\nsplit = ", toml_text(evaluation.split),
      "\nsource_language = ", toml_text(source_language), "\nmax_eval_examples = ", evaluation.features.max_examples,
      "\nmax_train_examples = ", target.features.max_examples, "\nmax_seq_length = ", evaluation.features.max_seq_length,
      "\ndoc_stride = ", evaluation.features.doc_stride, "\nmax_query_length = ", evaluation.features.max_query_length,
      "\nlayer = ", layers_text(evaluation.options.layers), "\npooling = \"", name_of(evaluation.options.pooling), "\"\n",
      definition_line(*evaluation.task));
  for (const TrainedTask& task : phase.tasks) {
    const std::string line = task.task == evaluation.task ? "" : definition_line(*task.task);
    config += line.empty() ? "" : "train_" + line;
  }
  if (!phase.tasks.empty()) config += concatenate("seed = ", phase.seed, "\n", settings_toml(phase.settings));
  return config;
}

std::string Runner::config_of(const PlannedPhase& phase, const StartPoint& start) const {
  const std::string common =
      concatenate("start = ", toml_text(start.directory.empty() ? "fresh" : start.directory.filename().string()),
                  "\nstart_fingerprint = \"", start.fingerprint, "\"\ntokenizer = \"", tokenizer_.fingerprint(),
                  "\"\nprecision = \"", name_of(options_.execution.precision), "\"\n");
  switch (phase.kind) {
    case PhaseKind::kPretraining:
      return common + pretraining_config(phase);
    case PhaseKind::kIntermediate:
      return common + intermediate_config(phase, experiment().intermediate[phase.arm]);
    case PhaseKind::kTarget:
      return common + target_config(phase, experiment().targets[phase.target], experiment().source_language);
  }
  throw Error("unknown kind of phase");
}

std::string message_of(const PlannedPhase& phase) {
  switch (phase.kind) {
    case PhaseKind::kPretraining:
      return "pretraining on " + phase.title;
    case PhaseKind::kIntermediate:
      return "intermediate training on " + phase.title;
    case PhaseKind::kTarget:
      return phase.title;
  }
  throw Error("unknown kind of phase");
}

std::vector<PhaseTask> Runner::tasks_of(const PlannedPhase& phase) {
  std::vector<PhaseTask> tasks = data_.tasks(phase.tasks, experiment().source_language, phase.settings.eval_examples);
  if (phase.kind == PhaseKind::kIntermediate) set_sampler(tasks, experiment().intermediate[phase.arm].sampler);
  return tasks;
}

bool Runner::train(const PlannedPhase& planned, const StartPoint& start, const fs::path& folder, json& training) {
  const fs::path mark = folder / "trained.json";
  if (fs::exists(mark)) {
    training = read_json(mark);
    return true;
  }
  TrainingPhase phase;
  phase.directory = folder;
  phase.start = start;
  phase.fresh_heads = planned.kind != PhaseKind::kPretraining;
  phase.settings = planned.settings;
  phase.tasks = tasks_of(planned);
  if (!planned.tasks.empty()) phase.labels = planned.tasks.front().task->labels();
  const PhaseTraining trained = run_training_phase(phase, tokenizer_, options_);
  if (trained.result.interrupted) return false;
  training = training_record(trained);
  training["left_out"] = left_out_record(phase.tasks);
  training["tasks"] = task_record(phase, trained.result);
  training["truncated"] = truncation_record(phase.tasks);
  write_file_atomically(mark, training.dump(2) + "\n");
  remove_checkpoints(folder);
  return true;
}

bool Runner::evaluate(const PlannedPhase& phase, const StartPoint& model_at, const fs::path& folder, json& evaluations) {
  ModelOptions options;
  options.execution = options_.execution;
  options.seed = model_at.seed;
  for (const TrainedTask& task : phase.tasks) add_head(options.heads, task.head);
  const std::unique_ptr<Model> model = make_model(model_at, options, false);
  return evaluate_languages(*model, *phase.evaluation, experiment().data, tokenizer_, folder, options_, evaluations);
}

bool Runner::run_phase(const PlannedPhase& phase) {
  StartPoint model = start_of(phase);
  PhaseFolder folder(options_.output / phase.folder, config_of(phase, model), options_.redo);
  if (!folder.done()) {
    options_.message(message_of(phase));
    json end_mark = {{"program", options_.program}, {"training", json::object()}};
    if (!phase.tasks.empty()) {
      if (!train(phase, model, folder.path(), end_mark["training"])) return false;
      model.directory = folder.path() / "model";
    }
    if (phase.evaluation.has_value()) {
      end_mark["languages"] = json::object();
      end_mark["order"] = phase.evaluation->languages;
      if (!evaluate(phase, model, folder.path(), end_mark["languages"])) return false;
    }
    folder.finish(std::move(end_mark));
    if (phase.kind == PhaseKind::kTarget && !experiment().save_models) fs::remove_all(folder.path() / "model");
  }
  model.directory = folder.path() / "model";
  model.fingerprint = folder.fingerprint();
  models_.push_back(model);
  add_result(outcome_, phase, folder.result());
  return true;
}

RunOutcome Runner::run() {
  for (const PlannedPhase& phase : outcome_.plan.phases) require(phase.missing.empty(), phase.missing);
  std::set<std::string> notes;
  for (const PlannedPhase& phase : outcome_.plan.phases) {
    if (phase.evaluation.has_value()) notes.insert(unlabelled_line(*phase.evaluation));
  }
  for (const std::string& note : notes) {
    if (!note.empty()) options_.message(note);
  }
  outcome_.interrupted = true;  // until the end is reached
  for (const PlannedPhase& phase : outcome_.plan.phases) {
    if (!run_phase(phase)) return std::move(outcome_);
  }
  outcome_.interrupted = false;
  return std::move(outcome_);
}

}  // namespace

RunOutcome run_experiment(Experiment experiment, const RunOptions& options) {
  require(experiment.data.empty() || fs::is_directory(experiment.data), "the data folder ", experiment.data.string(),
          " does not exist");
  prepare_data(experiment, options.output / "data", options);
  make_directory(options.output);
  const Tokenizer tokenizer = experiment_tokenizer(experiment, options.output, options.redo);
  const ModelConfig config = experiment_model_config(experiment, tokenizer);
  write_file_atomically(options.output / "config.toml", experiment_toml(experiment));
  return Runner(make_plan(std::move(experiment), config), tokenizer, options).run();
}

}  // namespace koine
