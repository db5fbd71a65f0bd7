#include "tasks/experiment/run_experiment.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "engine/files/atomic_file.h"
#include "engine/files/hash_cache.h"
#include "engine/files/text_file.h"
#include "engine/training/shared_prediction.h"
#include "kernels/common/check.h"
#include "models/models.h"
#include "tasks/common/prediction.h"
#include "tasks/experiment/checks.h"
#include "tasks/experiment/evaluate.h"
#include "tasks/experiment/phase.h"
#include "tasks/experiment/phase_data.h"
#include "tasks/experiment/phase_files.h"
#include "tasks/experiment/prepare.h"
#include "tasks/experiment/rank_jobs.h"
#include "tasks/experiment/selection.h"
#include "tasks/experiment/toml_settings.h"
#include "tasks/formats/labels.h"

namespace koine {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

/// What a pretrained directory holds, by names and sizes. (What its files hold stands in [file_hashes] of config.toml.)
std::string directory_fingerprint(const fs::path& directory) {
  std::vector<std::string> entries;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    if (entry.is_regular_file()) entries.push_back(concatenate(entry.path().filename().string(), " ", entry.file_size()));
  }
  std::sort(entries.begin(), entries.end());
  return xxh3_hex(join_names(entries));
}

/// "40 s", "12 min", "3.4 h".
std::string round_duration(double seconds) {
  if (seconds < 90) return concatenate(std::llround(seconds), " s");
  if (seconds < 5400) return concatenate(std::llround(seconds / 60), " min");
  return concatenate(static_cast<double>(std::llround(seconds / 360)) / 10, " h");
}

/// What a phase took, by its end mark; nothing where it was done in several parts.
std::optional<double> seconds_of(const json& mark) {
  if (!mark.contains("seconds") || !mark["seconds"].is_number()) return std::nullopt;
  return mark["seconds"].get<double>();
}

/// Whether this is the end mark of a phase with that fingerprint.
bool is_end_mark(const json& mark, const std::string& fingerprint) {
  return mark.is_object() && mark.contains("fingerprint") && mark["fingerprint"] == fingerprint;
}

/// Carries out the phases of a plan.
class Runner {
 public:
  Runner(Plan plan, const Tokenizer& tokenizer, const RunOptions& options)
      : options_(options),
        tokenizer_(tokenizer),
        hashes_(options.output / "hashes.json"),
        cache_(options.cache, hashes_, options.message),
        data_(plan.experiment.data, tokenizer, &cache_) {
    outcome_.plan = std::move(plan);
  }

  /// `preparing` is let go when all phases are known and compared.
  RunOutcome run(std::unique_ptr<FolderLock> preparing);

 private:
  const Experiment& experiment() const { return outcome_.plan.experiment; }

  /// What a phase is described by in its config.toml, and what it leaves to those that build on it.
  struct Prepared {
    StartPoint start;
    std::string config;
    FileHashes files;
    StartPoint model;
    bool done = false;
    std::optional<double> seconds = {};  ///< it took, where it is done and was not done in several parts
  };
  Prepared prepare(const PlannedPhase& phase);

  void prepare_phases();
  /// False where it was interrupted, here and below.
  bool run_chosen();
  bool run_phase(std::size_t number);
  bool train(std::size_t number, const StartPoint& start, const fs::path& folder, json& training);
  bool evaluate(std::size_t number, const StartPoint& model, const fs::path& folder, json& evaluations);

  StartPoint start_of(const PlannedPhase& phase) const;
  template <class Work>
  void with_phase_named(const PlannedPhase& phase, const Work& work) const;
  void require_starts() const;
  void check_chosen() const;
  void require_same_start(const PlannedPhase& phase) const;
  bool is_chosen(std::size_t number) const { return std::binary_search(chosen_.begin(), chosen_.end(), number); }
  std::string time_left() const;
  void collect();
  std::string config_of(const PlannedPhase& phase, const StartPoint& start) const;

  const RunOptions& options_;
  const Tokenizer& tokenizer_;
  HashCache hashes_;
  ExampleCache cache_;
  PhaseData data_;
  std::vector<Prepared> prepared_;
  std::vector<std::size_t> chosen_;  ///< phases to carry out
  RunOutcome outcome_;
};

/// Does `work`, and names the phase where one of its JSON files is broken.
template <class Work>
void Runner::with_phase_named(const PlannedPhase& phase, const Work& work) const {
  try {
    work();
  } catch (const json::exception& error) {
    fail_user((options_.output / phase.folder).string(), ": one of its JSON files is not what koine writes there (",
              error.what(), "); delete this folder to make the phase again");
  }
}

/// Random parameters: the same for every rank.
StartPoint fresh_start(const Plan& plan, const PlannedPhase& phase) {
  StartPoint start;
  start.config = plan.config;
  start.seed = phase.seed;
  return start;
}

StartPoint Runner::start_of(const PlannedPhase& phase) const {
  if (phase.start.has_value()) return prepared_[*phase.start].model;
  StartPoint start;
  if (!phase.starts_fresh) {
    start.directory = experiment().model.directory;
    start.fingerprint = directory_fingerprint(start.directory);
    return start;
  }
  const ModelConfig& config = outcome_.plan.config;
  start = fresh_start(outcome_.plan, phase);
  start.fingerprint = xxh3_hex(concatenate(
      "fresh ", phase.seed, " ", config.hidden_size, " ", config.num_hidden_layers, " ", config.num_attention_heads, " ",
      config.intermediate_size, " ", config.max_position_embeddings, " ", config.hidden_dropout_prob, " ",
      config.attention_probs_dropout_prob, " ", config.initializer_range, " ", config.norm == NormPlacement::kPost,
      config.encoder_decoder.decoder_layers > 0
          ? concatenate(" mt5 ", config.encoder_decoder.head_size, " ", config.encoder_decoder.decoder_layers)
          : ""));
  return start;
}

std::string pretraining_config(const PlannedPhase& phase) {
  const TrainedTask& text = phase.tasks.front();
  return concatenate("languages = ", toml_list(text.languages), "\nfiles = ", toml_list(text.files),
                     "\nmlm_probability = ", toml_number(text.mlm_probability),
                     "\nmax_seq_length = ", text.features.max_seq_length, "\nseed = ", phase.seed, "\n",
                     text.features.pack_lines ? "mlm_packed = true\n" : "", phase_settings_toml(phase.settings));
}

/// What a task file says of the task; nothing of others.
std::string definition_line(const Task& task) {
  const std::string& definition = task.row().definition;
  return definition.empty() ? "" : "definition = " + toml_text(definition) + "\n";
}

/// What only tasks as texts have.
std::string text_form_lines(const Task& task, const FeatureOptions& features) {
  if (!task.is_text_form()) return "";
  return concatenate("text_form = true\nmax_target_length = ", features.max_target_length, "\n");
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
  config += phase_settings_toml(phase.settings);
  for (const TrainedTask& task : phase.tasks) {
    config += concatenate("\n[task.", task.task->name(), "]\nlanguages = ", toml_list(task.languages),
                          "\nmax_seq_length = ", task.features.max_seq_length, "\ndoc_stride = ", task.features.doc_stride,
                          "\nmax_query_length = ", task.features.max_query_length,
                          "\nmax_train_examples = ", task.features.max_examples, "\n", definition_line(*task.task),
                          text_form_lines(*task.task, task.features));
    if (task.head.name != task.task->name()) config += "head = " + toml_text(task.head.name) + "\n";
    if (!task.equal_tokens_to.empty()) config += "equal_tokens_to = " + toml_text(task.equal_tokens_to) + "\n";
    if (const auto batch = arm.sampler.batch_sizes.find(task.task->name()); batch != arm.sampler.batch_sizes.end())
      config += concatenate("per_device_train_batch_size = ", batch->second, "\n");
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
      definition_line(*evaluation.task), text_form_lines(*evaluation.task, evaluation.features));
  if (evaluation.options.choices != ChoiceSearch::kGenerate)
    config += "choices = " + toml_text(name_of(evaluation.options.choices)) + "\n";
  for (const TrainedTask& task : phase.tasks) {
    const std::string line = task.task == evaluation.task ? "" : definition_line(*task.task);
    config += line.empty() ? "" : "train_" + line;
  }
  if (!phase.tasks.empty()) config += concatenate("seed = ", phase.seed, "\n", phase_settings_toml(phase.settings));
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

std::string heading_of(const PlannedPhase& phase, const Experiment& experiment) {
  if (phase.kind == PhaseKind::kPretraining) return "pretraining on " + phase.title;
  const std::string& arm = experiment.intermediate[phase.arm].name;
  if (phase.kind == PhaseKind::kIntermediate) return concatenate("intermediate training ", arm, " / seed ", phase.seed);
  return concatenate(arm, " / ", experiment.targets[phase.target].name, " / seed ", phase.seed);
}

/// A phase of the plan as it is trained, without its folder.
TrainingPhase training_phase_of(const Plan& plan, std::size_t number, const StartPoint& start, PhaseData& data) {
  const PlannedPhase& planned = plan.phases[number];
  const Experiment& experiment = plan.experiment;
  TrainingPhase phase;
  phase.number = static_cast<std::int64_t>(number);
  phase.start = start;
  phase.fresh_heads = planned.kind != PhaseKind::kPretraining;
  phase.settings = planned.settings;
  phase.tasks = data.tasks(planned.tasks, experiment.source_language, planned.settings.eval_examples);
  if (planned.kind == PhaseKind::kIntermediate) set_sampler(phase.tasks, experiment.intermediate[planned.arm].sampler);
  if (!planned.tasks.empty()) phase.labels = planned.tasks.front().task->labels();
  return phase;
}

bool Runner::train(std::size_t number, const StartPoint& start, const fs::path& folder, json& training) {
  const fs::path mark = folder / "trained.json";
  if (fs::exists(mark)) {
    training = read_json(mark);
    require_same_model(folder, training);
    return true;
  }
  TrainingPhase phase = training_phase_of(outcome_.plan, number, start, data_);
  phase.directory = folder;
  const PhaseTraining trained = run_training_phase(phase, tokenizer_, options_);
  if (trained.result.interrupted) return false;
  training = training_record(trained);
  training["left_out"] = left_out_record(phase.tasks);
  training["tasks"] = task_record(phase, trained.result);
  training["truncated"] = truncation_record(phase.tasks);
  training["files"] = model_record(folder);
  write_file_atomically(mark, training.dump(2) + "\n");
  remove_checkpoints(folder);
  return true;
}

/// The model that a phase evaluates.
std::unique_ptr<Model> evaluated_model(const PlannedPhase& phase, const StartPoint& model_at, const Execution& execution,
                                       const std::function<void(const std::string& text)>& message) {
  ModelOptions options;
  options.execution = execution;
  options.seed = model_at.seed;
  for (const TrainedTask& task : phase.tasks) add_head(options.heads, task.head);
  return make_model(model_at, options, false, message);
}

bool Runner::evaluate(std::size_t number, const StartPoint& model_at, const fs::path& folder, json& evaluations) {
  const PlannedPhase& phase = outcome_.plan.phases[number];
  Communicator* const ranks = options_.execution.communicator;
  RankJob job;
  job.kind = RankJob::Kind::kEvaluate;
  job.phase = static_cast<std::int64_t>(number);
  if (!model_at.directory.empty()) job.start = fs::absolute(model_at.directory);
  tell_job(ranks, job);
  const std::unique_ptr<Model> model = evaluated_model(phase, model_at, options_.execution, options_.message);
  const bool whole =
      evaluate_languages(*model, *phase.evaluation, experiment().data, tokenizer_, folder, options_, evaluations);
  if (several_ranks(ranks)) end_help(*ranks);
  return whole;
}

Runner::Prepared Runner::prepare(const PlannedPhase& phase) {
  Prepared prepared;
  prepared.start = start_of(phase);
  prepared.config = config_of(phase, prepared.start);
  prepared.files = data_files(phase.tasks, phase.evaluation, experiment().data, experiment().source_language, hashes_);
  if (!phase.start.has_value() && !prepared.start.directory.empty())
    prepared.files.merge(model_files(prepared.start.directory, hashes_));
  const fs::path folder = options_.output / phase.folder;
  prepared.model = prepared.start;
  prepared.model.directory = folder / "model";
  prepared.model.fingerprint = phase_fingerprint(folder, prepared.config, prepared.files);
  if (!options_.redo) require_same_phase(folder, prepared.config, prepared.files);
  if (!fs::exists(folder / "done.json")) return prepared;
  const json mark = read_json(folder / "done.json");
  prepared.done = is_end_mark(mark, prepared.model.fingerprint);
  if (prepared.done) prepared.seconds = seconds_of(mark);
  return prepared;
}

/// Every chosen phase that is not done finds the model it begins with, or the phase that makes it is chosen as well.
void Runner::require_starts() const {
  const Plan& plan = outcome_.plan;
  for (const std::size_t number : chosen_) {
    const PlannedPhase& phase = plan.phases[number];
    if (prepared_[number].done || !phase.start.has_value()) continue;
    if (prepared_[*phase.start].done || is_chosen(*phase.start)) continue;
    const PlannedPhase& start = plan.phases[*phase.start];
    require_unlocked(options_.output / start.folder);
    const std::string name = phase_name(plan, start);
    fail_user("--only ", options_.only, ": ", phase_name(plan, phase), " begins with the model of ", name,
              ", which is not done (", (options_.output / start.folder).string(), "); run that first: --only ", name);
  }
}

/// The model a phase begins with is still the one that the earlier phase left.
void Runner::require_same_start(const PlannedPhase& phase) const {
  if (!phase.start.has_value()) return;
  const fs::path folder = options_.output / outcome_.plan.phases[*phase.start].folder;
  require_same_model(folder, read_json(folder / "done.json"));
}

/// "about 40 min left in all": phases take what those with the same label took that are done.
std::string Runner::time_left() const {
  const std::vector<PlannedPhase>& phases = outcome_.plan.phases;
  std::map<std::string, std::pair<double, int>> known;
  for (std::size_t i = 0; i < phases.size(); ++i) {
    if (!prepared_[i].seconds.has_value()) continue;
    known[phases[i].label].first += *prepared_[i].seconds;
    ++known[phases[i].label].second;
  }
  double left = 0;
  int unknown = 0;
  for (const std::size_t i : chosen_) {
    if (prepared_[i].done) continue;
    const auto found = known.find(phases[i].label);
    unknown += found == known.end() ? 1 : 0;
    if (found != known.end()) left += found->second.first / found->second.second;
  }
  if (unknown == 0) return "about " + round_duration(left) + " left in all";
  const std::string more = concatenate(unknown, unknown == 1 ? " phase" : " phases", " of unknown length");
  return left > 0 ? concatenate("about ", round_duration(left), " and ", more, " left in all") : more + " left in all";
}

bool Runner::run_phase(std::size_t number) {
  const PlannedPhase& phase = outcome_.plan.phases[number];
  Prepared& prepared = prepared_[number];
  PhaseFolder folder(options_.output / phase.folder, prepared.config, prepared.files, options_.redo);
  const bool keeps_model = phase.kind != PhaseKind::kTarget || experiment().save_models;
  if (!folder.done()) {
    const auto start = std::chrono::steady_clock::now();
    options_.message(
        concatenate("[", number + 1, "/", prepared_.size(), "] ", heading_of(phase, experiment()), ", ", time_left()));
    require_same_start(phase);
    StartPoint model = prepared.start;
    json end_mark = {{"program", options_.program}, {"training", json::object()}, {"keeps_model", keeps_model}};
    if (!phase.tasks.empty()) {
      if (!train(number, model, folder.path(), end_mark["training"])) return false;
      model.directory = folder.path() / "model";
      end_mark["files"] = end_mark["training"].value("files", json::object());
      end_mark["training"].erase("files");
    }
    if (phase.evaluation.has_value()) {
      end_mark["languages"] = json::object();
      end_mark["order"] = phase.evaluation->languages;
      if (!evaluate(number, model, folder.path(), end_mark["languages"])) return false;
    }
    if (!folder.continued())
      end_mark["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    folder.finish(std::move(end_mark));
  }
  prepared.done = true;
  prepared.seconds = seconds_of(folder.result());
  if (!folder.result().value("keeps_model", true)) remove_at_once(folder.path() / "model");
  return true;
}

/// What all phases gave that are done by now, here or by other processes.
void Runner::collect() {
  for (std::size_t i = 0; i < prepared_.size(); ++i) {
    const PlannedPhase& phase = outcome_.plan.phases[i];
    const fs::path mark = options_.output / phase.folder / "done.json";
    if (!fs::exists(mark)) continue;
    with_phase_named(phase, [&] {
      const json result = read_json(mark);
      if (!is_end_mark(result, prepared_[i].model.fingerprint)) return;
      ++outcome_.done;
      add_result(outcome_, phase, result);
    });
  }
}

void Runner::prepare_phases() {
  std::set<std::string> notes;
  for (const PlannedPhase& phase : outcome_.plan.phases) {
    if (phase.evaluation.has_value()) notes.insert(unlabelled_line(*phase.evaluation));
  }
  for (const std::string& note : notes) {
    if (!note.empty()) options_.message(note);
  }
  for (const PlannedPhase& phase : outcome_.plan.phases) prepared_.push_back(prepare(phase));
  hashes_.save();
  require_starts();
}

bool Runner::run_chosen() {
  for (const std::size_t number : chosen_) {
    bool whole = false;
    with_phase_named(outcome_.plan.phases[number], [&] { whole = run_phase(number); });
    if (!whole) return false;
  }
  return true;
}

/// The chosen phases that are still to be trained, before the first of them begins.
void Runner::check_chosen() const {
  const Plan& plan = outcome_.plan;
  std::vector<std::size_t> phases = chosen_;
  std::erase_if(phases, [&](std::size_t number) {
    const bool trained = !options_.redo && fs::exists(options_.output / plan.phases[number].folder / "trained.json");
    return prepared_[number].done || trained;
  });
  Problems problems = data_problems(plan, phases);
  const auto append = [&](const Problems& more) { problems.insert(problems.end(), more.begin(), more.end()); };
  append(disk_problems(plan, phases, options_.output));
  if (const std::optional<double> room = device_room(options_.execution))
    append(memory_problems(plan, phases, options_.execution, *room));
  refuse(problems);
}

RunOutcome Runner::run(std::unique_ptr<FolderLock> preparing) {
  chosen_ = select_phases(outcome_.plan, options_.only);
  const auto incomplete = [](const PlannedPhase& phase) { return !phase.missing.empty(); };
  if (std::any_of(outcome_.plan.phases.begin(), outcome_.plan.phases.end(), incomplete))
    refuse(data_problems(outcome_.plan, select_phases(outcome_.plan, "")));
  prepare_phases();
  check_chosen();
  preparing.reset();
  RankJob begin;
  begin.kind = RankJob::Kind::kBegin;
  begin.precision = name_of(options_.execution.precision);
  begin.data = fs::absolute(experiment().data);
  tell_job(options_.execution.communicator, begin);
  outcome_.interrupted = !run_chosen();
  const std::unique_ptr<FolderLock> collecting = lock_output(options_.output, options_);
  collect();
  write_outcome(options_, outcome_);
  return std::move(outcome_);
}

}  // namespace

std::unique_ptr<FolderLock> lock_output(const fs::path& output, const RunOptions& options) {
  make_directory(output);
  bool told = false;
  return std::make_unique<FolderLock>(output, [&] {
    if (options.stop != nullptr && options.stop->load()) throw Interrupted();
    if (!told) options.message("waiting for another koine that prepares or collects in " + output.string());
    told = true;
    return true;
  });
}

RunOutcome run_experiment(Experiment experiment, const RunOptions& options, std::unique_ptr<FolderLock> preparing) {
  require(experiment.data.empty() || fs::is_directory(experiment.data), "the data folder ", experiment.data.string(),
          " does not exist");
  if (preparing == nullptr) preparing = lock_output(options.output, options);
  prepare_data(experiment, options.output / "data", options);
  remove_leftovers(options.output, false);
  const Tokenizer tokenizer = experiment_tokenizer(experiment, options.output, options.redo);
  const ModelConfig config = experiment_model_config(experiment, tokenizer);
  write_file_atomically(options.output / "config.toml", experiment_toml(experiment));
  return Runner(make_plan(std::move(experiment), config), tokenizer, options).run(std::move(preparing));
}

void follow_experiment(Experiment experiment, const RunOptions& options) {
  const Tokenizer tokenizer = prepared_tokenizer(experiment, options.output);
  const ModelConfig config = experiment_model_config(experiment, tokenizer);
  const Plan plan = make_plan(std::move(experiment), config);
  HashCache hashes;
  ExampleCache cache(options.cache, hashes, options.message);
  PhaseData data(plan.experiment.data, tokenizer, &cache);
  const auto number_of = [&](const RankJob& job) {
    check(job.phase >= 0 && job.phase < std::ssize(plan.phases), "rank 0 is at phase ", job.phase, " of ",
          plan.phases.size());
    return static_cast<std::size_t>(job.phase);
  };
  const auto start_of = [&](const RankJob& job) {
    StartPoint start = job.start.empty() ? fresh_start(plan, plan.phases[number_of(job)]) : StartPoint{};
    start.directory = job.start;
    return start;
  };
  follow_trainings(
      tokenizer, options, [&](const RankJob& job) { return training_phase_of(plan, number_of(job), start_of(job), data); },
      [&](const RankJob& job) {
        return evaluated_model(plan.phases[number_of(job)], start_of(job), options.execution, {});
      });
}

}  // namespace koine
