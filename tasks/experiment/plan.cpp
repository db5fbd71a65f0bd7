#include "tasks/experiment/plan.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <utility>

#include "kernels/common/check.h"
#include "tasks/formats/labels.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

std::vector<std::string> choose_languages(const Task& task, const std::vector<std::string>& wanted,
                                          const std::vector<std::string>& there, const fs::path& data,
                                          const std::string& split) {
  require(!there.empty(), task.without_files(data, split));
  if (wanted.empty()) return there;
  for (const std::string& language : wanted) {
    require(std::find(there.begin(), there.end(), language) != there.end(), "task ", task.name(), " has no ", split,
            " file for language \"", language, "\" below ", data.string(), "; there are ", join_names(there));
  }
  return wanted;
}

class Planner {
 public:
  Planner(Experiment experiment, const ModelConfig& config) {
    plan_.experiment = std::move(experiment);
    plan_.config = config;
  }

  Plan make() {
    if (experiment().pretraining.has_value()) add_pretraining();
    for (std::size_t arm = 0; arm < experiment().intermediate.size(); ++arm) {
      for (const std::uint32_t seed : experiment().seeds) add_arm(arm, seed);
    }
    return std::move(plan_);
  }

 private:
  const Experiment& experiment() const { return plan_.experiment; }
  bool model_is_fresh() const { return experiment().model.directory.empty(); }

  const std::vector<std::string>& there(const Task& task, const std::string& split) {
    auto [entry, absent] = there_.try_emplace({task.name(), split});
    if (absent) entry->second = task.available_languages(experiment().data, split);
    return entry->second;
  }
  std::vector<std::string> languages(const Task& task, const std::vector<std::string>& wanted, const std::string& split) {
    return choose_languages(task, wanted, there(task, split), experiment().data, split);
  }
  std::int64_t length(std::int64_t wanted, const Task& task, const std::string& key) const {
    return resolve_length(wanted, task, plan_.config.maximum_length(),
                          concatenate(experiment().file.string(), ": ", key, ".max_seq_length"));
  }
  bool has_dev(const Task& task) {
    if (task.head() == HeadKind::kMaskedLm) return false;
    if (!fs::is_directory(experiment().data)) return true;
    const std::vector<std::string>& dev = there(task, "dev");
    return std::find(dev.begin(), dev.end(), experiment().source_language) != dev.end();
  }
  TrainedTask trained(const Task& task, const std::string& head_name) {
    TrainedTask result;
    result.task = &task;
    result.head = {head_name, task.head(), task.classes(plan_.config.vocab_size)};
    result.has_dev = has_dev(task);
    return result;
  }

  /// Adds a phase; what `fill` finds missing becomes a part of it.
  std::size_t add(PlannedPhase phase, const std::function<void(PlannedPhase&)>& fill) {
    try {
      fill(phase);
    } catch (const UserError& error) {
      phase.missing = error.what();
    }
    plan_.phases.push_back(std::move(phase));
    return plan_.phases.size() - 1;
  }

  void add_pretraining() {
    const PretrainingSpec& spec = *experiment().pretraining;
    PlannedPhase phase;
    phase.kind = PhaseKind::kPretraining;
    phase.label = "pretraining";
    phase.folder = "pretraining";
    phase.seed = spec.seed;
    phase.starts_fresh = model_is_fresh();
    phase.settings = spec.settings;
    phase.settings.seed = spec.seed;
    pretraining_ = add(std::move(phase), [&](PlannedPhase& filled) {
      filled.tasks.push_back(trained(find_task("mlm"), ""));
      TrainedTask& text = filled.tasks.back();
      text.files = spec.files;
      text.mlm_probability = spec.mlm_probability;
      text.features.max_seq_length = length(spec.max_seq_length, *text.task, "pretraining");
      if (!spec.languages.empty() || spec.files.empty()) text.languages = languages(*text.task, spec.languages, "train");
      filled.title = "text in " + join_names(text.languages.empty() ? spec.files : text.languages);
    });
  }

  /// The arm's training, where it has one, and its targets, with one seed.
  void add_arm(std::size_t number, std::uint32_t seed) {
    const IntermediateSpec& arm = experiment().intermediate[number];
    PlannedPhase phase;
    phase.arm = number;
    phase.seed = seed;
    if (!arm.start_fresh) phase.start = pretraining_;
    phase.starts_fresh = !phase.start && (arm.start_fresh || model_is_fresh());
    if (!arm.tasks.empty()) {
      PlannedPhase after = phase;
      after.start = add_intermediate(std::move(phase));
      after.starts_fresh = false;
      phase = std::move(after);
    }
    for (std::size_t target = 0; target < experiment().targets.size(); ++target) {
      const bool same_for_every_seed =
          experiment().targets[target].train_task.empty() && arm.tasks.empty() && !phase.starts_fresh;
      if (same_for_every_seed && seed != experiment().seeds.front()) continue;
      phase.target = target;
      add_target(phase);
    }
  }

  std::size_t add_intermediate(PlannedPhase phase) {
    const IntermediateSpec& arm = experiment().intermediate[phase.arm];
    phase.kind = PhaseKind::kIntermediate;
    phase.label = "intermediate " + arm.name;
    phase.title = concatenate(arm.name, ", seed ", phase.seed);
    phase.folder = fs::path("intermediate") / arm.name / concatenate("seed-", phase.seed);
    phase.settings = arm.settings;
    phase.settings.seed = phase.seed;
    return add(std::move(phase), [&](PlannedPhase& filled) {
      for (const std::string& name : arm.tasks) {
        const Task& task = find_task(name);
        TrainedTask entry = trained(task, name);
        entry.features = arm.features;
        entry.features.max_seq_length = length(arm.features.max_seq_length, task, arm.name);
        if (task.head() == HeadKind::kMaskedLm) entry.mlm_probability = arm.mlm_probability;
        filled.tasks.push_back(entry);
      }
      for (TrainedTask& entry : filled.tasks) {
        const bool mlm = entry.head.kind == HeadKind::kMaskedLm;
        entry.languages = languages(*entry.task, mlm ? arm.mlm_languages : arm.languages, "train");
      }
    });
  }

  void add_target(PlannedPhase phase) {
    const TargetSpec& target = experiment().targets[phase.target];
    const IntermediateSpec& arm = experiment().intermediate[phase.arm];
    const Task& task = find_task(target.task);
    phase.kind = PhaseKind::kTarget;
    phase.label = "target " + target.task;
    phase.title = concatenate(target.task, arm.tasks.empty() ? "" : " after " + arm.name, ", seed ", phase.seed);
    phase.folder = fs::path("target") / arm.name / target.task / concatenate("seed-", phase.seed);
    phase.settings = target.settings;
    phase.settings.seed = phase.seed;
    add(std::move(phase), [&](PlannedPhase& filled) {
      FeatureOptions features = target.features;
      features.max_seq_length = length(target.features.max_seq_length, task, target.task);
      if (!target.train_task.empty()) {
        TrainedTask entry = trained(find_task(target.train_task), "");
        entry.languages = {experiment().source_language};
        entry.features = features;
        filled.tasks.push_back(entry);
      }
      PlannedEvaluation& evaluation = filled.evaluation.emplace();
      evaluation.task = &task;
      evaluation.split = target.split;
      evaluation.features = features;
      evaluation.features.max_examples = target.max_eval_examples;
      evaluation.options.max_tokens_per_batch = target.settings.max_tokens_per_batch;
      evaluation.options.layer = target.layer;
      evaluation.options.pooling = target.pooling;
      evaluation.languages = languages(task, target.languages, target.split);
    });
  }

  Plan plan_;
  std::optional<std::size_t> pretraining_;
  std::map<std::pair<std::string, std::string>, std::vector<std::string>> there_;  ///< by task and split
};

}  // namespace

Plan make_plan(Experiment experiment, const ModelConfig& config) { return Planner(std::move(experiment), config).make(); }

std::vector<std::string> resolve_languages(const Task& task, const std::vector<std::string>& wanted, const fs::path& data,
                                           const std::string& split) {
  return choose_languages(task, wanted, task.available_languages(data, split), data, split);
}

std::int64_t resolve_length(std::int64_t wanted, const Task& task, std::int64_t model_maximum, const std::string& where) {
  require(wanted <= model_maximum, where, " is ", wanted, ", but this model reads sequences of at most ", model_maximum,
          " tokens");
  if (wanted > 0) return wanted;
  return std::min(task.max_seq_length(), model_maximum);
}

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

}  // namespace koine
