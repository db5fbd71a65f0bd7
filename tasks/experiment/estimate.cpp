#include "tasks/experiment/estimate.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>

#include "engine/batch/device_batch.h"
#include "kernels/common/check.h"
#include "tasks/experiment/run_experiment.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

/// A folder that is gone when this is.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "koine-estimate-XXXXXX").string();
    check(mkdtemp(pattern.data()) != nullptr, "cannot make a temporary folder");
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// Tokens and forward FLOPs of one pass over a data set.
struct Pass {
  double groups = 0;
  double tokens = 0;
  double flops = 0;

  Pass& operator+=(const Pass& other) {
    groups += other.groups;
    tokens += other.tokens;
    flops += other.flops;
    return *this;
  }
};

class Estimator {
 public:
  explicit Estimator(const Experiment& experiment)
      : experiment_(with_data(experiment)),
        tokenizer_(experiment_tokenizer(experiment_, folder_.path(), false)),
        config_(model_config()) {}

  ExperimentEstimate estimate();

 private:
  Experiment with_data(Experiment experiment) const {
    generate_data(experiment, folder_.path() / "data", {});
    return experiment;
  }

  ModelConfig model_config() const {
    if (!experiment_.model.directory.empty()) return read_model_config(experiment_.model.directory);
    ModelConfig config = experiment_.model.config;
    config.vocab_size = tokenizer_.vocabulary_size();
    return config;
  }

  Pass pass_of(const Dataset& dataset, double mlm_probability) const {
    std::vector<std::int64_t> lengths;
    Pass pass;
    for (const Example& example : dataset.examples) {
      lengths.push_back(static_cast<std::int64_t>(example.ids.size()));
      pass.tokens += static_cast<double>(example.ids.size());
    }
    pass.groups = static_cast<double>(dataset.groups());
    HeadSpec head{"", dataset.head,
                  dataset.head == HeadKind::kMaskedLm ? static_cast<std::int32_t>(config_.vocab_size) : dataset.classes};
    double counted = pass.groups;
    if (dataset.head == HeadKind::kToken) counted = pass.tokens;
    if (dataset.head == HeadKind::kMaskedLm) counted = pass.tokens * mlm_probability;
    pass.flops = model_forward_flops(config_, &head, lengths, static_cast<std::int64_t>(counted));
    return pass;
  }

  Pass pass_over(const Task& task, const std::string& split, const std::vector<std::string>& wanted, std::int64_t max_length,
                 const Task& length_of, std::int64_t max_examples, double mlm_probability) {
    FeatureOptions features;
    features.max_seq_length = resolve_length(max_length, length_of, config_.maximum_length(), experiment_.file.string());
    features.max_examples = max_examples;
    Pass total;
    for (const std::string& language : resolve_languages(task, wanted, experiment_.data, split)) {
      const std::string key = concatenate(task.name(), " ", language, " ", features.max_seq_length, " ", max_examples);
      const auto kept = training_data_.find(key);
      if (split == "train" && kept != training_data_.end()) {
        total += pass_of(kept->second->dataset(), mlm_probability);
        continue;
      }
      std::unique_ptr<TaskData> data = task.load(experiment_.data, split, language, tokenizer_, features);
      total += pass_of(data->dataset(), mlm_probability);
      if (split == "train") training_data_[key] = std::move(data);
    }
    return total;
  }

  /// Steps, tokens and FLOPs of a training with these settings over `passes` (one per task).
  static void add_training(PhaseEstimate& phase, const std::vector<Pass>& passes, const TrainingSettings& settings) {
    const auto batch = static_cast<double>(settings.per_device_train_batch_size * settings.gradient_accumulation_steps);
    double steps_per_epoch = 0;
    Pass all;
    for (const Pass& pass : passes) {
      steps_per_epoch += std::ceil(pass.groups / batch);
      all += pass;
    }
    const double steps = settings.max_steps > 0 ? static_cast<double>(settings.max_steps)
                                                : std::ceil(settings.num_train_epochs * steps_per_epoch);
    phase.steps = static_cast<std::int64_t>(steps);
    const double epochs = all.groups > 0 ? steps * batch / all.groups : 0;
    phase.tokens = epochs * all.tokens;
    phase.flops = 3 * epochs * all.flops;
  }

  template <class Fill>
  void add(const std::string& label, std::int64_t runs, bool training, const Fill& fill) {
    PhaseEstimate phase;
    phase.label = label;
    phase.training = training;
    phase.runs = runs;
    try {
      fill(phase);
    } catch (const UserError& error) {
      phase.missing = error.what();
    }
    phases_.push_back(phase);
  }

  void add_pretraining();
  void add_arm(const IntermediateSpec& arm);
  void add_target(const TargetSpec& target);

  TemporaryFolder folder_;
  Experiment experiment_;
  Tokenizer tokenizer_;
  ModelConfig config_;
  std::vector<PhaseEstimate> phases_;
  std::map<std::string, std::unique_ptr<TaskData>> training_data_;  ///< kept, as a run keeps it
};

void Estimator::add_pretraining() {
  const PretrainingSpec& spec = *experiment_.pretraining;
  add("pretraining", 1, true, [&](PhaseEstimate& phase) {
    const Task& mlm = find_task("mlm");
    Pass pass;
    if (!spec.languages.empty() || spec.files.empty()) {
      pass = pass_over(mlm, "train", spec.languages, spec.max_seq_length, mlm, 0, spec.mlm_probability);
    }
    if (!spec.files.empty()) {
      std::vector<fs::path> files;
      for (const std::string& file : spec.files) files.push_back(experiment_.data / file);
      pass += pass_of(
          read_plain_text(files, tokenizer_,
                          resolve_length(spec.max_seq_length, mlm, config_.maximum_length(), experiment_.file.string())),
          spec.mlm_probability);
    }
    add_training(phase, {pass}, spec.settings);
  });
}

void Estimator::add_arm(const IntermediateSpec& arm) {
  if (arm.tasks.empty()) return;
  add("intermediate " + arm.name, static_cast<std::int64_t>(experiment_.seeds.size()), true, [&](PhaseEstimate& phase) {
    std::vector<Pass> passes;
    for (const std::string& name : arm.tasks) {
      const Task& task = find_task(name);
      const bool mlm = task.head() == HeadKind::kMaskedLm;
      passes.push_back(pass_over(task, "train", mlm ? arm.mlm_languages : arm.languages, arm.features.max_seq_length, task,
                                 arm.features.max_examples, arm.mlm_probability));
    }
    add_training(phase, passes, arm.settings);
  });
}

void Estimator::add_target(const TargetSpec& target) {
  const Task& task = find_task(target.task);
  const auto runs = static_cast<std::int64_t>(experiment_.seeds.size() * experiment_.intermediate.size());
  if (!target.train_task.empty()) {
    add("target " + target.task, runs, true, [&](PhaseEstimate& phase) {
      add_training(phase,
                   {pass_over(find_task(target.train_task), "train", {experiment_.source_language},
                              target.features.max_seq_length, task, target.features.max_examples, 0)},
                   target.settings);
    });
  }
  add("evaluate " + target.task, runs, false, [&](PhaseEstimate& phase) {
    const Pass pass =
        pass_over(task, target.split, target.languages, target.features.max_seq_length, task, target.max_eval_examples, 0);
    phase.tokens = pass.tokens;
    phase.flops = pass.flops;
  });
}

ExperimentEstimate Estimator::estimate() {
  if (experiment_.pretraining.has_value()) add_pretraining();
  for (const IntermediateSpec& arm : experiment_.intermediate) add_arm(arm);
  for (const TargetSpec& target : experiment_.targets) add_target(target);
  return {phases_, resident_memory()};
}

}  // namespace

ExperimentEstimate estimate_experiment(const Experiment& experiment) {
  require(!experiment.data.empty() || experiment.generated.has_value(), experiment.file.string(),
          ": no data folder; give --data or the key data");
  return Estimator(experiment).estimate();
}

ModelConfig experiment_model_config(const Experiment& experiment) {
  if (!experiment.model.directory.empty()) return read_model_config(experiment.model.directory);
  ModelConfig config = experiment.model.config;
  config.vocab_size = experiment.tokenizer.path.empty() ? experiment.tokenizer.pieces + 2
                                                        : Tokenizer(experiment.tokenizer.path).vocabulary_size();
  return config;
}

std::vector<MemoryQuestion> memory_questions(const Experiment& experiment, const ModelConfig& config,
                                             const Execution& execution, const std::vector<PhaseEstimate>& phases) {
  std::vector<MemoryQuestion> questions;
  std::vector<PhaseEstimate> trainings;  // in the order of the questions
  std::copy_if(phases.begin(), phases.end(), std::back_inserter(trainings),
               [](const PhaseEstimate& phase) { return phase.training; });
  const auto add = [&](const std::vector<std::string>& tasks, const TrainingSettings& settings, bool fresh, bool dev) {
    MemoryQuestion question{config, {}, execution};
    for (const std::string& name : tasks) {
      const Task& task = find_task(name);
      question.heads.push_back({tasks.size() > 1 ? name : "", task.head(), task.classes(config.vocab_size)});
    }
    question.tokens = settings.max_tokens_per_batch;
    const bool known = questions.size() < trainings.size() && trainings[questions.size()].missing.empty();
    const bool evaluated = !known || trainings[questions.size()].steps > settings.eval_steps;
    question.keeps_best = dev && settings.load_best_model_at_end && settings.eval_steps > 0 && evaluated;
    question.from_file = !fresh;
    questions.push_back(question);
  };
  const bool fresh = experiment.model.directory.empty();
  if (experiment.pretraining.has_value()) add({"mlm"}, experiment.pretraining->settings, fresh, false);
  const bool pretrained = !fresh || experiment.pretraining.has_value();
  for (const IntermediateSpec& arm : experiment.intermediate) {
    if (!arm.tasks.empty()) add(arm.tasks, arm.settings, arm.start_fresh || !pretrained, true);
  }
  for (const TargetSpec& target : experiment.targets) {
    if (!target.train_task.empty()) add({target.train_task}, target.settings, !pretrained, true);
  }
  if (questions.empty()) {  // nothing is trained
    MemoryQuestion question{config, {}, execution, false};
    question.from_file = !fresh;
    for (const TargetSpec& target : experiment.targets) question.tokens = target.settings.max_tokens_per_batch;
    questions.push_back(question);
  }
  return questions;
}

namespace {

/// "block.3.output" -> "blocks: output".
std::string without_layer(const std::string& name) {
  const std::string prefix = "block.";
  const std::size_t dot = name.find('.', prefix.size());
  return name.rfind(prefix, 0) == 0 && dot != std::string::npos ? "blocks: " + name.substr(dot + 1) : name;
}

/// What lives at the highest point of the stack, by name.
std::map<std::string, double> living_at_peak(const std::vector<PlannedAllocation>& allocations) {
  std::int64_t peak_event = 0;
  std::size_t peak = 0;
  for (const PlannedAllocation& allocation : allocations) {
    if (allocation.offset + allocation.bytes <= peak) continue;
    peak = allocation.offset + allocation.bytes;
    peak_event = allocation.born;
  }
  std::map<std::string, double> by_name;
  for (const PlannedAllocation& allocation : allocations) {
    if (allocation.born > peak_event || (allocation.died >= 0 && allocation.died < peak_event)) continue;
    by_name[without_layer(allocation.name)] += static_cast<double>(allocation.bytes);
  }
  return by_name;
}

}  // namespace

std::vector<MemoryLine> estimate_memory(const MemoryQuestion& question) {
  std::vector<MemoryLine> lines;
  double total = 0;
  const auto add = [&](const std::string& name, double bytes) {
    if (bytes <= 0) return;
    lines.push_back({name, bytes});
    total += bytes;
  };
  const bool on_cpu = question.execution.device == Device::kCpu;
  if (on_cpu) add("program, libraries, tokenizer, data", question.resident_bytes);
  const ParameterTable table = model_parameter_table(question.config, question.heads);
  for (const auto& [name, bytes] : ParameterStore::footprint(table, question.execution.precision, question.training)) {
    add(name, static_cast<double>(bytes));
  }
  const double before = total;
  ModelOptions options;
  options.execution = question.execution;
  options.training = question.training;
  options.heads = question.heads;
  const MemoryPlan plan = plan_model_memory(question.config, options, question.tokens);
  double named = 0;
  for (const auto& [name, bytes] : living_at_peak(plan.activations)) {
    add("activations: " + name, bytes);
    named += bytes;
  }
  add("activations: alignment", static_cast<double>(plan.activation_bytes) - named);
  add("scratch", static_cast<double>(plan.scratch_bytes));
  if (!on_cpu) add("batches", static_cast<double>(batch_upload_bytes(question.tokens)));
  const auto weights = static_cast<double>(table.elements()) * sizeof(float);
  if (question.keeps_best && on_cpu) add("best weights so far", weights);
  // The file is mapped only until the parameters are read, before there are activations.
  if (question.from_file && on_cpu) add("model file while it is read", weights - (total - before));
  lines.push_back({"total", total});
  return lines;
}

double resident_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0) return 1024 * std::stod(line.substr(6));
  }
  return 0;
}

}  // namespace koine
