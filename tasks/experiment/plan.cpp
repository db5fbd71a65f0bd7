#include "tasks/experiment/plan.h"

#include <algorithm>
#include <functional>
#include <map>
#include <tuple>
#include <utility>

#include "kernels/common/check.h"
#include "tasks/formats/labels.h"
#include "tasks/languages/language_facts.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

std::vector<std::string> choose_languages(const Task& task, const std::vector<std::string>& wanted,
                                          const std::vector<std::string>& there, const fs::path& data,
                                          const std::string& split, const std::string& where) {
  require(!there.empty(), where, ": ", task.without_files(data, split));
  if (wanted.empty()) return there;
  std::vector<std::string> chosen = expand_languages(wanted, there, concatenate(where, ": task ", task.name()));
  for (const std::string& language : chosen) {
    require(std::find(there.begin(), there.end(), language) != there.end(), where, ": task ", task.name(), " has no ", split,
            " file for language \"", language, "\" below ", data.string(), "; there are ", join_names(there),
            "; looked for ", looked_for(task.files_in(language), split, language), language_hint(language));
  }
  return chosen;
}

/// Takes languages without gold out of an evaluation. `missing_gold`: Task::missing_gold of a language.
void leave_out_unlabelled(PlannedEvaluation& evaluation, const std::vector<std::string>& wanted, const std::string& where,
                          const std::function<std::string(const std::string& language)>& missing_gold) {
  std::string reason;
  std::erase_if(evaluation.languages, [&](const std::string& language) {
    const std::string missing = missing_gold(language);
    if (missing.empty()) return false;
    const bool asked_for = std::find(wanted.begin(), wanted.end(), language) != wanted.end();
    require(!asked_for, where, ": \"", language, "\": ", missing);
    reason = missing;
    evaluation.unlabelled.push_back(language);
    return true;
  });
  require(!evaluation.languages.empty(), where, ": ", reason);
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
  std::vector<std::string> languages(const Task& task, const std::vector<std::string>& wanted, const std::string& split,
                                     const std::string& key) {
    return choose_languages(task, wanted, there(task, split), experiment().data, split, where(key));
  }
  /// "file: key" for messages.
  std::string where(const std::string& key) const { return concatenate(experiment().file.string(), ": ", key); }
  const std::string& missing_gold(const Task& task, const std::string& split, const std::string& language) {
    auto [entry, absent] = missing_gold_.try_emplace({task.name(), split, language});
    if (absent) entry->second = task.missing_gold(experiment().data, split, language);
    return entry->second;
  }
  std::int64_t length(std::int64_t wanted, const Task& task, const std::string& key) const {
    return resolve_length(wanted, task, plan_.config.maximum_length(), where(key + ".max_seq_length"));
  }
  bool has_dev(const Task& task) {
    if (task.is_language_modelling()) return false;
    if (!fs::is_directory(experiment().data)) return true;
    const std::vector<std::string>& dev = there(task, "dev");
    return std::find(dev.begin(), dev.end(), experiment().source_language) != dev.end();
  }
  const Task& named(const std::string& name) const { return task_for(plan_.config, find_task(name)); }
  TrainedTask trained(const Task& task, const std::string& head_name) {
    TrainedTask result;
    result.task = &task;
    // Texts are all written by one head.
    result.head = {task.is_text_form() ? "" : head_name, task.head(), task.classes(plan_.config.vocab_size)};
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
      filled.tasks.push_back(trained(named("mlm"), ""));
      TrainedTask& text = filled.tasks.back();
      text.files = spec.files;
      text.mlm_probability = spec.mlm_probability;
      text.features.noise_density = spec.mlm_probability;
      text.features.pack_lines = spec.mlm_packed;
      text.features.max_seq_length = length(spec.max_seq_length, *text.task, "pretraining");
      if (!spec.languages.empty() || spec.files.empty())
        text.languages = languages(*text.task, spec.languages, "train", "pretraining.languages");
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
        const Task& task = named(name);
        const auto shared = arm.heads.find(name);
        TrainedTask entry = trained(task, shared == arm.heads.end() ? name : shared->second);
        entry.features = arm.features;
        entry.features.max_seq_length = length(arm.features.max_seq_length, task, arm.name);
        if (task.is_language_modelling()) {
          entry.mlm_probability = arm.mlm_probability;
          entry.features.noise_density = arm.mlm_probability;
        }
        filled.tasks.push_back(entry);
      }
      for (TrainedTask& entry : filled.tasks) {
        const bool mlm = entry.task->is_language_modelling();
        const auto own = arm.task_languages.find(entry.task->name());
        const bool has_own = own != arm.task_languages.end();
        const std::vector<std::string>& wanted = has_own ? own->second : mlm ? arm.mlm_languages : arm.languages;
        const char* const key = has_own ? ".task_languages" : mlm ? ".mlm_languages" : ".languages";
        entry.languages = languages(*entry.task, wanted, "train", arm.name + key);
        const std::vector<std::string> source = {experiment().source_language};
        if (mlm || !arm.equal_tokens || entry.languages == source) continue;
        entry.equal_tokens_to = source.front();
        languages(*entry.task, source, "train", arm.name + ".equal_tokens");  // it is counted, so it must be there
      }
    });
  }

  void add_target(PlannedPhase phase) {
    const TargetSpec& target = experiment().targets[phase.target];
    const IntermediateSpec& arm = experiment().intermediate[phase.arm];
    const Task& task = named(target.task);
    phase.kind = PhaseKind::kTarget;
    phase.label = "target " + target.name;
    phase.title = concatenate(target.name, arm.tasks.empty() ? "" : " after " + arm.name, ", seed ", phase.seed);
    phase.folder = fs::path("target") / arm.name / target.name / concatenate("seed-", phase.seed);
    phase.settings = target.settings;
    phase.settings.seed = phase.seed;
    add(std::move(phase), [&](PlannedPhase& filled) {
      FeatureOptions features = target.features;
      features.max_seq_length = length(target.features.max_seq_length, task, target.name);
      if (!target.train_task.empty()) {
        TrainedTask entry = trained(named(target.train_task), "");
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
      evaluation.options.layers =
          resolve_layers(target.layers, plan_.config.num_hidden_layers, where(concatenate(target.name, ".layer")));
      evaluation.options.pooling = target.pooling;
      evaluation.options.choices = target.choices;
      const std::string key = target.name + ".languages";
      evaluation.languages = languages(task, target.languages, target.split, key);
      leave_out_unlabelled(evaluation, target.languages, where(key),
                           [&](const std::string& language) { return missing_gold(task, target.split, language); });
    });
  }

  Plan plan_;
  std::optional<std::size_t> pretraining_;
  std::map<std::pair<std::string, std::string>, std::vector<std::string>> there_;          ///< by task and split
  std::map<std::tuple<std::string, std::string, std::string>, std::string> missing_gold_;  ///< by task, split and language
};

}  // namespace

const Task& task_for(const ModelConfig& config, const Task& task) {
  const EncoderDecoderConfig& numbers = config.encoder_decoder;
  if (numbers.decoder_layers == 0) return task;
  require(numbers.decoder_start_token_id == config.pad_token_id, "this model's decoder begins with token ",
          numbers.decoder_start_token_id, " (decoder_start_token_id), its pad_token_id is ", config.pad_token_id,
          ": tasks as texts are read behind the padding token, as T5 and mT5 have it");
  return task.as_text();
}

Plan make_plan(Experiment experiment, const ModelConfig& config) { return Planner(std::move(experiment), config).make(); }

std::vector<std::string> resolve_languages(const Task& task, const std::vector<std::string>& wanted, const fs::path& data,
                                           const std::string& split, const std::string& where) {
  return choose_languages(task, wanted, task.available_languages(data, split), data, split, where);
}

void resolve_languages(PlannedEvaluation& evaluation, const std::vector<std::string>& wanted, const fs::path& data,
                       const std::string& where) {
  const Task& task = *evaluation.task;
  evaluation.languages = resolve_languages(task, wanted, data, evaluation.split, where);
  leave_out_unlabelled(evaluation, wanted, where,
                       [&](const std::string& language) { return task.missing_gold(data, evaluation.split, language); });
}

std::string unlabelled_line(const PlannedEvaluation& evaluation) {
  if (evaluation.unlabelled.empty()) return "";
  return concatenate(evaluation.task->name(), " ", evaluation.split,
                     ": not evaluated, for they have no gold labels: ", join_names(evaluation.unlabelled));
}

std::int64_t resolve_length(std::int64_t wanted, const Task& task, std::int64_t model_maximum, const std::string& where) {
  require(wanted <= model_maximum, where, " is ", wanted, ", but this model reads sequences of at most ", model_maximum,
          " tokens");
  if (wanted > 0) return wanted;
  return std::min(task.max_seq_length(), model_maximum);
}

}  // namespace koine
