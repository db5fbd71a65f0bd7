#include "tasks/experiment/run_experiment.h"

#include <algorithm>
#include <cmath>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/common/prediction.h"
#include "tasks/experiment/phase.h"
#include "tasks/experiment/settings_keys.h"

namespace koine {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

json to_json(const TrainingResult& result) {
  return {{"steps", result.steps},
          {"total_steps", result.total_steps},
          {"final_loss", result.final_loss},
          {"tokens", result.tokens},
          {"seconds", result.seconds},
          {"flops", result.flops},
          {"best_step", result.best_step},
          {"stopped_early", result.stopped_early},
          {"best_metrics", result.best_metrics}};
}

json to_json(const Evaluation& evaluation) {
  return {{"metric", evaluation.metric},     {"value", evaluation.value},   {"metrics", evaluation.metrics},
          {"examples", evaluation.examples}, {"tokens", evaluation.tokens}, {"seconds", evaluation.seconds}};
}

/// FLOPs of one pass over a data set; unknown where the model has no head to count.
std::optional<double> forward_flops(const Model& model, const Dataset& dataset) {
  if (model.heads().empty()) return std::nullopt;
  std::vector<std::int64_t> lengths;
  std::int64_t tokens = 0;
  for (const Example& example : dataset.examples) {
    lengths.push_back(static_cast<std::int64_t>(example.ids.size()));
    tokens += lengths.back();
  }
  return model.forward_flops(lengths, 0, dataset.head == HeadKind::kToken ? tokens : dataset.groups());
}

/// What a pretrained directory holds, by names and sizes: enough to notice another model under the same name.
std::string directory_fingerprint(const fs::path& directory) {
  std::vector<std::string> entries;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    if (entry.is_regular_file()) entries.push_back(concatenate(entry.path().filename().string(), " ", entry.file_size()));
  }
  std::sort(entries.begin(), entries.end());
  return xxh3_hex(joined(entries));
}

/// Training text of the "mlm" task, below the data folder.
std::vector<std::string> text_files(const fs::path& data) {
  std::vector<std::string> files;
  for (const Task::FileStatus& file : find_task("mlm").check_files(data)) {
    if (file.present && file.split == "train")
      files.push_back(fs::relative(fs::absolute(data / file.path), fs::absolute(data)).string());
  }
  return files;
}

/// One run of an experiment: what its phases share.
class Runner {
 public:
  Runner(const Experiment& experiment, const RunOptions& options)
      : experiment_(experiment),
        options_(options),
        tokenizer_(experiment_tokenizer(experiment, options.output, options.redo)) {
    if (experiment.model.directory.empty()) {
      config_ = experiment.model.config;
      config_.vocab_size = tokenizer_.vocabulary_size();
    } else {
      config_ = read_model_config(experiment.model.directory);
      require_matching(tokenizer_, config_, experiment.model.directory);
    }
  }

  RunOutcome run();

 private:
  StartPoint fresh_start(std::uint32_t seed) const;
  StartPoint pretrained_start(std::uint32_t seed);
  bool run_pretraining();
  bool run_arm(const IntermediateSpec& arm, std::uint32_t seed);
  bool run_target(const IntermediateSpec& arm, const TargetSpec& target, std::uint32_t seed);
  bool evaluate_target(const TargetSpec& target, const StartPoint& model_at, const EvaluationPlan& plan, PhaseFolder& folder,
                       json& evaluations);
  bool train_target(const IntermediateSpec& arm, const TargetSpec& target, std::uint32_t seed, const StartPoint& start,
                    PhaseFolder& folder, json& training);
  void add_rows(const IntermediateSpec& arm, const TargetSpec& target, std::uint32_t seed, const json& result);
  void add_cost(const PhaseFolder& folder);
  bool seed_matters(const IntermediateSpec& arm, const TargetSpec& target) const;

  std::string common_config(const StartPoint& start) const;
  std::string arm_label(const IntermediateSpec& arm) const {
    return arm.tasks.empty() ? "" : concatenate(" after ", arm.name);
  }
  FeatureOptions features_for(FeatureOptions features, const Task& task, const std::string& where) const;
  const TaskData& data_of(const Task& task, const std::string& split, const std::string& language,
                          const FeatureOptions& features);
  const Dataset& training_set(const Task& task, const std::vector<std::string>& languages, const FeatureOptions& features);
  const TaskData* dev_set(const Task& task, const FeatureOptions& features, const TrainingSettings& settings);
  PhaseTask arm_task(const IntermediateSpec& arm, const std::string& name, std::string& config);
  void set_weights(const IntermediateSpec& arm, std::vector<PhaseTask>& tasks) const;

  const Experiment& experiment_;
  const RunOptions& options_;
  Tokenizer tokenizer_;
  ModelConfig config_;
  StartPoint pretrained_;
  std::map<std::pair<std::string, std::uint32_t>, StartPoint> starts_;  ///< of arm and seed
  std::map<std::string, std::unique_ptr<TaskData>> data_;               ///< read once, by task, split, language, options
  std::map<std::string, std::unique_ptr<Dataset>> merged_;              ///< training sets of several languages
  RunOutcome outcome_;
};

FeatureOptions Runner::features_for(FeatureOptions features, const Task& task, const std::string& where) const {
  features.max_seq_length = resolve_length(features.max_seq_length, task, config_.maximum_length(), where);
  return features;
}

const TaskData& Runner::data_of(const Task& task, const std::string& split, const std::string& language,
                                const FeatureOptions& features) {
  const std::string key = concatenate(task.name(), " ", split, " ", language, " ", features.max_seq_length, " ",
                                      features.doc_stride, " ", features.max_query_length, " ", features.max_examples);
  std::unique_ptr<TaskData>& entry = data_[key];
  if (entry == nullptr) entry = task.load(experiment_.data, split, language, tokenizer_, features);
  return *entry;
}

const Dataset& Runner::training_set(const Task& task, const std::vector<std::string>& languages,
                                    const FeatureOptions& features) {
  if (languages.size() == 1) return data_of(task, "train", languages.front(), features).dataset();
  const std::string key =
      concatenate(task.name(), " ", joined(languages), " ", features.max_seq_length, " ", features.max_examples);
  std::unique_ptr<Dataset>& entry = merged_[key];
  if (entry != nullptr) return *entry;
  entry = std::make_unique<Dataset>();
  for (const std::string& language : languages) {
    const Dataset& part = data_of(task, "train", language, features).dataset();
    if (entry->examples.empty()) {
      *entry = part;
      entry->name = concatenate(task.name(), " train ", joined(languages));
    } else {
      entry->examples.insert(entry->examples.end(), part.examples.begin(), part.examples.end());
    }
  }
  for (std::size_t i = 0; i < entry->examples.size(); ++i) entry->examples[i].number = static_cast<std::uint32_t>(i);
  return *entry;
}

const TaskData* Runner::dev_set(const Task& task, const FeatureOptions& features, const TrainingSettings& settings) {
  if (task.head() == HeadKind::kMaskedLm) return nullptr;
  const std::vector<std::string> there = task.available_languages(experiment_.data, "dev");
  if (std::find(there.begin(), there.end(), experiment_.source_language) == there.end()) return nullptr;
  FeatureOptions dev = features;
  dev.max_examples = settings.eval_examples;
  return &data_of(task, "dev", experiment_.source_language, dev);
}

StartPoint Runner::fresh_start(std::uint32_t seed) const {
  StartPoint start;
  start.config = config_;
  start.seed = seed;
  start.fingerprint = xxh3_hex(concatenate(
      "fresh ", seed, " ", config_.hidden_size, " ", config_.num_hidden_layers, " ", config_.num_attention_heads, " ",
      config_.intermediate_size, " ", config_.max_position_embeddings, " ", config_.hidden_dropout_prob, " ",
      config_.attention_probs_dropout_prob, " ", config_.initializer_range, " ", config_.norm == NormPlacement::kPost));
  return start;
}

StartPoint Runner::pretrained_start(std::uint32_t seed) {
  if (!pretrained_.directory.empty()) return pretrained_;
  if (experiment_.model.directory.empty()) return fresh_start(seed);
  pretrained_.directory = experiment_.model.directory;
  pretrained_.fingerprint = directory_fingerprint(experiment_.model.directory);
  return pretrained_;
}

std::string Runner::common_config(const StartPoint& start) const {
  return concatenate("start = ", toml_text(start.directory.empty() ? "fresh" : start.directory.filename().string()),
                     "\nstart_fingerprint = \"", start.fingerprint, "\"\ntokenizer = \"", tokenizer_.fingerprint(),
                     "\"\nprecision = \"", name_of(options_.execution.precision), "\"\n");
}

bool Runner::run_pretraining() {
  const PretrainingSpec& spec = *experiment_.pretraining;
  const Task& mlm = find_task("mlm");
  std::vector<std::string> languages;
  if (!spec.languages.empty() || spec.files.empty())
    languages = resolve_languages(mlm, spec.languages, experiment_.data, "train");
  FeatureOptions features;
  features.max_seq_length = resolve_length(spec.max_seq_length, mlm, config_.maximum_length(),
                                           experiment_.file.string() + ": pretraining.max_seq_length");
  const StartPoint start = pretrained_start(spec.seed);
  TrainingPhase phase;
  phase.settings = spec.settings;
  phase.settings.seed = spec.seed;
  const std::string config =
      concatenate(common_config(start), "languages = ", toml_list(languages), "\nfiles = ", toml_list(spec.files),
                  "\nmlm_probability = ", toml_number(spec.mlm_probability), "\nmax_seq_length = ", features.max_seq_length,
                  "\nseed = ", spec.seed, "\n", settings_toml(phase.settings));
  PhaseFolder folder(options_.output / "pretraining", config, options_.redo);
  if (!folder.done()) {
    Dataset text;
    if (!languages.empty()) text = training_set(mlm, languages, features);
    if (!spec.files.empty()) {
      std::vector<fs::path> files;
      for (const std::string& file : spec.files) files.push_back(experiment_.data / file);
      Dataset more = read_plain_text(files, tokenizer_, features.max_seq_length);
      if (languages.empty())
        text = {.name = more.name, .head = more.head, .classes = more.classes, .group = 1, .examples = {}};
      for (Example& example : more.examples) {
        example.number = static_cast<std::uint32_t>(text.examples.size());
        text.examples.push_back(std::move(example));
      }
    }
    phase.label = "pretraining";
    phase.directory = folder.path();
    phase.start = start;
    phase.fresh_heads = false;
    phase.tasks.push_back({"mlm",
                           {"", HeadKind::kMaskedLm, static_cast<std::int32_t>(config_.vocab_size)},
                           &text,
                           nullptr,
                           1,
                           spec.mlm_probability});
    options_.message("pretraining on text in " + (languages.empty() ? joined(spec.files) : joined(languages)));
    const TrainingResult result = run_training_phase(phase, tokenizer_, options_);
    if (result.interrupted) return false;
    folder.finish({{"program", options_.program}, {"training", to_json(result)}});
    remove_checkpoints(folder.path());
  }
  add_cost(folder);
  pretrained_.directory = folder.path() / "model";
  pretrained_.fingerprint = folder.fingerprint();
  return true;
}

PhaseTask Runner::arm_task(const IntermediateSpec& arm, const std::string& name, std::string& config) {
  const Task& task = find_task(name);
  const bool mlm = task.head() == HeadKind::kMaskedLm;
  const std::vector<std::string> languages =
      resolve_languages(task, mlm ? arm.mlm_languages : arm.languages, experiment_.data, "train");
  const FeatureOptions features =
      features_for(arm.features, task, concatenate(experiment_.file.string(), ": ", arm.name, ".max_seq_length"));
  config +=
      concatenate("\n[task.", name, "]\nlanguages = ", toml_list(languages), "\nmax_seq_length = ", features.max_seq_length,
                  "\ndoc_stride = ", features.doc_stride, "\nmax_query_length = ", features.max_query_length,
                  "\nmax_train_examples = ", features.max_examples, "\n");
  PhaseTask result;
  result.name = name;
  const std::int32_t classes = mlm ? static_cast<std::int32_t>(config_.vocab_size) : 0;
  result.head = {name, task.head(), classes};
  result.mlm_probability = arm.mlm_probability;
  return result;
}

void Runner::set_weights(const IntermediateSpec& arm, std::vector<PhaseTask>& tasks) const {
  std::vector<std::int64_t> examples;
  for (const PhaseTask& task : tasks) examples.push_back(task.train->groups());
  const std::vector<double> weights = sampler_weights(arm, examples);
  for (std::size_t i = 0; i < tasks.size(); ++i) tasks[i].weight = weights[i];
}

bool Runner::run_arm(const IntermediateSpec& arm, std::uint32_t seed) {
  const StartPoint start = arm.start_fresh ? fresh_start(seed) : pretrained_start(seed);
  StartPoint& result_point = starts_[{arm.name, seed}];
  result_point = start;
  if (arm.tasks.empty()) return true;

  TrainingPhase phase;
  phase.label = concatenate(arm.name, ", seed ", seed);
  phase.start = start;
  phase.settings = arm.settings;
  phase.settings.seed = seed;
  std::string config =
      common_config(start) + concatenate("seed = ", seed, "\nsampler = ", toml_text(arm.sampler),
                                         "\ntemperature = ", toml_number(arm.temperature),
                                         "\ntrain_examples_cap = ", arm.train_examples_cap,
                                         "\nmlm_probability = ", toml_number(arm.mlm_probability), "\nweights = [");
  for (const double weight : arm.weights) config += toml_number(weight) + ", ";
  config += "]\n" + settings_toml(phase.settings);
  for (const std::string& name : arm.tasks) phase.tasks.push_back(arm_task(arm, name, config));
  PhaseFolder folder(options_.output / "intermediate" / arm.name / concatenate("seed-", seed), config, options_.redo);
  if (!folder.done()) {
    for (PhaseTask& entry : phase.tasks) {
      const Task& task = find_task(entry.name);
      const bool mlm = task.head() == HeadKind::kMaskedLm;
      const FeatureOptions features = features_for(arm.features, task, arm.name);
      const auto languages = resolve_languages(task, mlm ? arm.mlm_languages : arm.languages, experiment_.data, "train");
      entry.train = &training_set(task, languages, features);
      entry.dev = dev_set(task, features, arm.settings);
      if (!mlm) entry.head.classes = entry.train->classes;
    }
    set_weights(arm, phase.tasks);
    phase.directory = folder.path();
    options_.message(concatenate("intermediate training on ", phase.label));
    const TrainingResult result = run_training_phase(phase, tokenizer_, options_);
    if (result.interrupted) return false;
    folder.finish({{"program", options_.program}, {"training", to_json(result)}});
    remove_checkpoints(folder.path());
  }
  add_cost(folder);
  result_point.directory = folder.path() / "model";
  result_point.fingerprint = folder.fingerprint();
  return true;
}

bool Runner::train_target(const IntermediateSpec& arm, const TargetSpec& target, std::uint32_t seed, const StartPoint& start,
                          PhaseFolder& folder, json& training) {
  const fs::path mark = folder.path() / "trained.json";
  if (fs::exists(mark)) {
    training = read_json(mark);
    return true;
  }
  const Task& task = find_task(target.train_task);
  const FeatureOptions features = features_for(target.features, find_task(target.task), target.task);
  TrainingPhase phase;
  phase.label = concatenate(target.task, arm_label(arm), ", seed ", seed);
  phase.directory = folder.path();
  phase.start = start;
  phase.settings = target.settings;
  phase.settings.seed = seed;
  phase.labels = task.labels();
  PhaseTask entry;
  entry.name = target.train_task;
  entry.train = &training_set(task, {experiment_.source_language}, features);
  entry.dev = dev_set(task, features, target.settings);
  entry.head = {"", task.head(), entry.train->classes};
  phase.tasks.push_back(entry);
  const TrainingResult result = run_training_phase(phase, tokenizer_, options_);
  if (result.interrupted) return false;
  training = to_json(result);
  write_file_atomically(mark, training.dump(2) + "\n");
  remove_checkpoints(folder.path());
  return true;
}

bool Runner::evaluate_target(const TargetSpec& target, const StartPoint& model_at, const EvaluationPlan& plan,
                             PhaseFolder& folder, json& evaluations) {
  ModelOptions model_options;
  model_options.execution = options_.execution;
  model_options.seed = model_at.seed;
  if (!target.train_task.empty()) {
    const Task& task = find_task(target.train_task);
    const Dataset& train = training_set(task, {experiment_.source_language},
                                        features_for(target.features, find_task(target.task), target.task));
    model_options.heads = {{"", task.head(), train.classes}};
  }
  const std::unique_ptr<Model> model = make_model(model_at, model_options, false);
  return evaluate_languages(*model, plan, experiment_.data, tokenizer_, folder.path(), options_, evaluations);
}

bool Runner::run_target(const IntermediateSpec& arm, const TargetSpec& target, std::uint32_t seed) {
  const Task& task = find_task(target.task);
  const StartPoint start = starts_.at({arm.name, seed});
  EvaluationPlan plan;
  plan.task = &task;
  plan.split = target.split;
  plan.languages = resolve_languages(task, target.languages, experiment_.data, target.split);
  plan.features =
      features_for(target.features, task, concatenate(experiment_.file.string(), ": ", target.task, ".max_seq_length"));
  plan.features.max_examples = target.max_eval_examples;
  plan.options.max_tokens_per_batch = target.settings.max_tokens_per_batch;
  plan.options.layer = target.layer;
  plan.options.pooling = target.pooling;

  std::string config =
      common_config(start) +
      concatenate(
          "task = ", toml_text(target.task), "\ntrain_task = ", toml_text(target.train_task),
          "\nlanguages = ", toml_list(plan.languages), "\nsplit = ", toml_text(target.split),
          "\nsource_language = ", toml_text(experiment_.source_language), "\nmax_eval_examples = ", target.max_eval_examples,
          "\nmax_train_examples = ", target.features.max_examples, "\nmax_seq_length = ", plan.features.max_seq_length,
          "\ndoc_stride = ", plan.features.doc_stride, "\nmax_query_length = ", plan.features.max_query_length,
          "\nlayer = ", target.layer.value_or(-1), "\npooling = \"", name_of(target.pooling), "\"\n");
  if (!target.train_task.empty()) config += concatenate("seed = ", seed, "\n", settings_toml(target.settings));
  PhaseFolder folder(options_.output / "target" / arm.name / target.task / concatenate("seed-", seed), config,
                     options_.redo);
  if (!folder.done()) {
    options_.message(concatenate(target.task, arm_label(arm), ", seed ", seed));
    json training = json::object();
    StartPoint model_at = start;
    if (!target.train_task.empty()) {
      if (!train_target(arm, target, seed, start, folder, training)) return false;
      model_at.directory = folder.path() / "model";
    }
    json languages = json::object();
    if (!evaluate_target(target, model_at, plan, folder, languages)) return false;
    folder.finish(
        {{"program", options_.program}, {"training", training}, {"languages", languages}, {"order", plan.languages}});
    if (!experiment_.save_models) fs::remove_all(folder.path() / "model");
  }
  add_rows(arm, target, seed, folder.result());
  add_cost(folder);
  return true;
}

void Runner::add_rows(const IntermediateSpec& arm, const TargetSpec& target, std::uint32_t seed, const json& result) {
  for (const std::string& language : result.at("order").get<std::vector<std::string>>()) {
    const json& record = result.at("languages").at(language);
    for (const auto& [metric, value] : record.at("metrics").items()) {
      ResultRow row;
      row.model = experiment_.model.name;
      row.intermediate = arm.name;
      row.target = target.task;
      row.language = language;
      row.metric = metric;
      row.value = value.get<double>();
      row.seed = seed;
      row.examples = record.at("examples");
      row.tokens = record.at("tokens");
      row.seconds = record.at("seconds");
      if (record.contains("flops")) row.flops = record.at("flops").get<double>();
      outcome_.rows.push_back(row);
    }
  }
}

void Runner::add_cost(const PhaseFolder& folder) {
  const json& training = folder.result().value("training", json::object());
  if (!training.contains("tokens")) return;
  PhaseCost cost;
  cost.phase = fs::relative(folder.path(), options_.output).string();
  cost.steps = training.at("steps");
  cost.tokens = training.at("tokens");
  cost.seconds = training.at("seconds");
  cost.flops = training.at("flops");
  outcome_.costs.push_back(cost);
}

bool Runner::seed_matters(const IntermediateSpec& arm, const TargetSpec& target) const {
  if (!target.train_task.empty() || !arm.tasks.empty() || arm.start_fresh) return true;
  return experiment_.model.directory.empty() && !experiment_.pretraining.has_value();
}

RunOutcome Runner::run() {
  outcome_.interrupted = true;  // until the end is reached
  if (experiment_.pretraining.has_value() && !run_pretraining()) return outcome_;
  for (const IntermediateSpec& arm : experiment_.intermediate) {
    for (const std::uint32_t seed : experiment_.seeds) {
      if (!run_arm(arm, seed)) return outcome_;
      for (const TargetSpec& target : experiment_.targets) {
        if (seed != experiment_.seeds.front() && !seed_matters(arm, target)) continue;
        if (!run_target(arm, target, seed)) return outcome_;
      }
    }
  }
  outcome_.interrupted = false;
  return outcome_;
}

}  // namespace

std::vector<double> sampler_weights(const IntermediateSpec& arm, const std::vector<std::int64_t>& examples) {
  if (!arm.weights.empty()) return arm.weights;
  std::vector<double> weights;
  for (const std::int64_t count : examples) {
    const auto counted = static_cast<double>(arm.train_examples_cap > 0 ? std::min(count, arm.train_examples_cap) : count);
    weights.push_back(arm.sampler == "uniform"       ? 1.0
                      : arm.sampler == "temperature" ? std::pow(counted, 1.0 / arm.temperature)
                                                     : counted);
  }
  return weights;
}

Tokenizer experiment_tokenizer(const Experiment& experiment, const fs::path& folder, bool redo) {
  if (!experiment.model.directory.empty()) return Tokenizer(experiment.model.directory);
  const TokenizerSpec& spec = experiment.tokenizer;
  if (!spec.path.empty()) return Tokenizer(spec.path);
  std::vector<std::string> inputs = spec.inputs;
  if (inputs.empty()) inputs = text_files(experiment.data);
  TokenizerTraining training;
  for (const std::string& input : inputs) {
    training.inputs.push_back(experiment.data / input);
    require(fs::is_regular_file(training.inputs.back()), experiment.file.string(), ": tokenizer.inputs: there is no file ",
            training.inputs.back().string());
  }
  require(!inputs.empty(), experiment.file.string(),
          ": a fresh model needs a tokenizer: [tokenizer] with path or inputs, or text of task mlm below ",
          experiment.data.string());
  std::string hashes;
  for (const fs::path& input : training.inputs) hashes += toml_text(xxh3_file(input)) + ", ";
  training.pieces = spec.pieces;
  training.character_coverage = spec.character_coverage;
  const std::string config =
      concatenate("inputs = ", toml_list(inputs), "\ninput_hashes = [", hashes, "]\npieces = ", spec.pieces,
                  "\ncharacter_coverage = ", toml_number(spec.character_coverage), "\n");
  PhaseFolder phase(folder / "tokenizer", config, redo);
  const fs::path model = phase.path() / "sentencepiece.bpe.model";
  if (!phase.done()) {
    Tokenizer::train(training, model);
    phase.finish(json::object());
  }
  return Tokenizer(model);
}

std::vector<std::string> resolve_languages(const Task& task, const std::vector<std::string>& wanted, const fs::path& data,
                                           const std::string& split) {
  const std::vector<std::string> there = task.available_languages(data, split);
  require(!there.empty(), "no ", split, " files of task ", task.name(), " below ", data.string(),
          "; `koine data check` shows what is there");
  if (wanted.empty()) return there;
  for (const std::string& language : wanted) {
    require(std::find(there.begin(), there.end(), language) != there.end(), "task ", task.name(), " has no ", split,
            " file for language \"", language, "\" below ", data.string(), "; there are ", joined(there));
  }
  return wanted;
}

std::int64_t resolve_length(std::int64_t wanted, const Task& task, std::int64_t model_maximum, const std::string& where) {
  require(wanted <= model_maximum, where, " is ", wanted, ", but this model reads sequences of at most ", model_maximum,
          " tokens");
  if (wanted > 0) return wanted;
  return std::min(task.max_seq_length(), model_maximum);
}

bool evaluate_languages(Model& model, const EvaluationPlan& plan, const fs::path& data, const Tokenizer& tokenizer,
                        const fs::path& folder, const RunOptions& options, json& evaluations) {
  const fs::path file = folder / "evaluations.json";
  json records = fs::exists(file) ? read_json(file) : json::object();
  for (const std::string& language : plan.languages) {
    if (!records.contains(language)) {
      EvaluationOptions evaluation_options = plan.options;
      evaluation_options.stop = options.stop;
      const std::unique_ptr<TaskData> examples = plan.task->load(data, plan.split, language, tokenizer, plan.features);
      Evaluation evaluation;
      try {
        evaluation = examples->evaluate(model, evaluation_options);
      } catch (const Interrupted&) {
        return false;
      }
      if (!evaluation.prediction_file.empty()) {
        const fs::path predictions = folder / "predictions" / evaluation.prediction_file;
        make_directory(predictions.parent_path());
        write_file_atomically(predictions, evaluation.prediction_content);
      }
      records[language] = to_json(evaluation);
      if (const auto flops = forward_flops(model, examples->dataset())) records[language]["flops"] = *flops;
      write_file_atomically(file, records.dump(2) + "\n");
      options.message(concatenate("  ", plan.task->name(), " ", language, " ", evaluation.metric, " ", evaluation.value));
    }
    evaluations[language] = records[language];
  }
  return true;
}

ReportDetails report_details(const Experiment& experiment, const RunOptions& options, const RunOutcome& outcome) {
  ReportDetails details;
  details.source_language = experiment.source_language;
  for (const IntermediateSpec& arm : experiment.intermediate) {
    if (details.baseline.empty() && arm.tasks.empty() && !arm.start_fresh) details.baseline = arm.name;
  }
  for (const TargetSpec& target : experiment.targets) {
    if (const double chance = find_task(target.task).chance(); chance > 0) details.chance[target.task] = chance;
  }
  if (experiment.generated.has_value()) {
    for (const DemoLanguage& language : demo_languages()) details.language_names[language.code] = language.name;
    details.introduction =
        "The languages are artificial, made by the program; \"" + experiment.source_language +
        "\" is the one all training sets are in. Scores say what the method does, not how well it works on real languages.";
  }
  PhaseCost all;
  for (const PhaseCost& cost : outcome.costs) {
    all.tokens += cost.tokens;
    all.seconds += cost.seconds;
    all.flops += cost.flops;
  }
  details.provenance = {{"experiment", experiment.name},
                        {"program", options.program},
                        {"precision", name_of(options.execution.precision)},
                        {"trainings", std::to_string(outcome.costs.size())},
                        {"training tokens", std::to_string(all.tokens)},
                        {"training seconds", std::to_string(static_cast<std::int64_t>(all.seconds))},
                        {"training TFLOPs", std::to_string(static_cast<std::int64_t>(all.flops * 1e-12))}};
  return details;
}

void write_outcome(const Experiment& experiment, const RunOptions& options, const RunOutcome& outcome) {
  write_results(options.output / "results.json", outcome.rows);
  json costs = json::array();
  for (const PhaseCost& cost : outcome.costs) {
    costs.push_back({{"phase", cost.phase},
                     {"steps", cost.steps},
                     {"tokens", cost.tokens},
                     {"seconds", cost.seconds},
                     {"flops", cost.flops}});
  }
  write_file_atomically(options.output / "costs.json", costs.dump(1) + "\n");
  if (outcome.rows.empty()) return;
  write_report(options.output / "report.html", experiment.name, outcome.rows, report_details(experiment, options, outcome));
}

void generate_data(Experiment& experiment, const fs::path& folder, const RunOptions& options) {
  if (!experiment.generated.has_value()) return;
  const GeneratedDataSpec& generated = *experiment.generated;
  PhaseFolder phase(folder, generated_data_toml(generated), options.redo);
  if (!phase.done()) {
    options.message("generating languages and data sets in " + folder.string());
    write_demo_data(folder, generated.seed, generated.sizes);
    phase.finish(json::object());
  }
  experiment.data = fs::absolute(folder);
}

RunOutcome run_experiment(Experiment experiment, const RunOptions& options) {
  require(!experiment.data.empty() || experiment.generated.has_value(), experiment.file.string(),
          ": no data folder; give --data or the key data");
  require(experiment.data.empty() || fs::is_directory(experiment.data), "the data folder ", experiment.data.string(),
          " does not exist");
  make_directory(options.output);
  generate_data(experiment, options.output / "data", options);
  Runner runner(experiment, options);
  write_file_atomically(options.output / "config.toml", experiment_toml(experiment));
  return runner.run();
}

}  // namespace koine
