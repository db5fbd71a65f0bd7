#include "tasks/experiment/estimate.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <set>

#include "engine/batch/device_batch.h"
#include "engine/optimizer/update_rule.h"
#include "engine/ranks/ordered_sum.h"
#include "engine/ranks/sharded_sum.h"
#include "kernels/common/check.h"
#include "models/models.h"
#include "tasks/experiment/checks.h"
#include "tasks/experiment/phase_data.h"
#include "tasks/experiment/prepare.h"
#include "tasks/experiment/sampler.h"
#include "tasks/experiment/selection.h"
#include "tasks/experiment/training_phase.h"

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

/// Walks a plan. Phases that differ in arm or seed alone are counted together.
class Estimator {
 public:
  Estimator(const Plan& plan, const Tokenizer& tokenizer, const fs::path& cache)
      : plan_(plan),
        tokenizer_(tokenizer),
        cache_(cache, hashes_, [](const std::string&) {}),
        data_(plan.experiment.data, tokenizer, &cache_) {}

  std::vector<PhaseEstimate> estimate() {
    for (const PlannedPhase& phase : plan_.phases) {
      if (phase.kind != PhaseKind::kTarget) add_phase(phase);
    }
    for (const PlannedPhase& phase : plan_.phases) {
      if (phase.kind == PhaseKind::kTarget) add_phase(phase);
    }
    return std::move(phases_);
  }

 private:
  TrainingPass pass_of(const Dataset& dataset, double mlm_probability) const {
    std::vector<std::int64_t> lengths;
    TrainingPass pass;
    std::int64_t targets = 0;
    for (const Example& example : dataset.examples) {
      lengths.push_back(static_cast<std::int64_t>(example.ids.size()));
      pass.tokens += static_cast<double>(example.tokens());
      targets += std::ssize(example.target_ids);
    }
    pass.groups = static_cast<double>(dataset.groups());
    HeadSpec head{"", dataset.head, dataset.classes};
    if (facts_of(dataset.head).classes_from == ClassesFrom::kVocabulary)
      head.classes = static_cast<std::int32_t>(plan_.config.vocab_size);
    double counted = pass.groups;
    if (dataset.head == HeadKind::kToken) counted = pass.tokens;
    if (dataset.head == HeadKind::kMaskedLm) counted = pass.tokens * mlm_probability;
    if (facts_of(dataset.head).of_target) counted = static_cast<double>(targets);
    if (facts_of(dataset.head).in_batch) counted = 0;  // scores within a batch: nothing beside the encoder
    pass.flops = model_forward_flops(plan_.config, &head, lengths, static_cast<std::int64_t>(counted));
    return pass;
  }

  template <class Fill>
  void add(const std::string& label, bool training, const Fill& fill) {
    const auto same =
        std::find_if(phases_.begin(), phases_.end(), [&](const PhaseEstimate& phase) { return phase.label == label; });
    if (same != phases_.end()) {
      ++same->runs;
      return;
    }
    PhaseEstimate phase;
    phase.label = label;
    phase.training = training;
    try {
      fill(phase);
    } catch (const UserError& error) {
      phase.missing = error.what();
    }
    phases_.push_back(phase);
  }

  void add_phase(const PlannedPhase& phase) {
    // What is missing of a target is what it evaluates; its training is known nevertheless.
    const bool training_known = phase.missing.empty() || phase.evaluation.has_value();
    if (!phase.tasks.empty() || !phase.evaluation.has_value()) {
      add(phase.label, true, [&](PhaseEstimate& estimate) {
        require(training_known, phase.missing);
        std::vector<TrainingPass> passes;
        std::vector<std::string> names;
        std::vector<std::int64_t> examples;
        for (const TrainedTask& task : phase.tasks) {
          const Dataset& set = data_.training_set(task);
          passes.push_back(pass_of(set, task.mlm_probability));
          names.push_back(task.task->name());
          examples.push_back(set.groups());
        }
        const bool draws = phase.kind == PhaseKind::kIntermediate;
        const SamplerSpec sampler = draws ? plan_.experiment.intermediate[phase.arm].sampler : SamplerSpec();
        add_training(estimate, passes, sampled_tasks(sampler, names, examples), phase.settings);
      });
    }
    if (!phase.evaluation.has_value()) return;
    const PlannedEvaluation& evaluation = *phase.evaluation;
    add("evaluate " + plan_.experiment.targets[phase.target].name, false, [&](PhaseEstimate& estimate) {
      require(phase.missing.empty(), phase.missing);
      for (const std::string& language : evaluation.languages) {
        const TrainingPass pass =
            pass_of(evaluation.task->load(plan_.experiment.data, evaluation.split, language, tokenizer_, evaluation.features)
                        ->dataset(),
                    0);
        estimate.tokens += pass.tokens;
        estimate.flops += pass.flops;
      }
    });
  }

  const Plan& plan_;
  const Tokenizer& tokenizer_;
  HashCache hashes_;
  ExampleCache cache_;
  PhaseData data_;  ///< kept, as a run keeps it
  std::vector<PhaseEstimate> phases_;
};

}  // namespace

void add_training(PhaseEstimate& phase, const std::vector<TrainingPass>& passes, const std::vector<TrainingTask>& tasks,
                  const TrainingSettings& settings) {
  const auto examples_of_step = [&](const TrainingTask& task) {
    const std::int64_t batch = task.batch_size > 0 ? task.batch_size : settings.per_device_train_batch_size;
    return static_cast<double>(batch * settings.gradient_accumulation_steps);
  };
  double steps_per_epoch = 0;
  for (std::size_t i = 0; i < passes.size(); ++i) {
    const auto cap = static_cast<double>(tasks[i].examples_cap);
    steps_per_epoch +=
        std::ceil((cap > 0 ? std::min(passes[i].groups, cap) : passes[i].groups) / examples_of_step(tasks[i]));
  }
  phase.steps = settings.max_steps > 0 ? settings.max_steps
                                       : static_cast<std::int64_t>(std::ceil(settings.num_train_epochs * steps_per_epoch));
  if (passes.size() > 1) phase.tasks = probabilities_text(tasks, phase.steps);
  const std::vector<double> steps = expected_steps(tasks, phase.steps);
  for (std::size_t i = 0; i < passes.size(); ++i) {
    const double epochs = passes[i].groups > 0 ? steps[i] * examples_of_step(tasks[i]) / passes[i].groups : 0;
    phase.tokens += epochs * passes[i].tokens;
    phase.flops += 3 * epochs * passes[i].flops;
  }
}

ExperimentEstimate estimate_experiment(Experiment experiment, const fs::path& cache) {
  const TemporaryFolder folder;
  const RunOptions quiet;
  prepare_data(experiment, folder.path() / "data", quiet);
  const Tokenizer tokenizer = experiment_tokenizer(experiment, folder.path(), false);
  const ModelConfig config = experiment_model_config(experiment, tokenizer);
  ExperimentEstimate estimate;
  estimate.plan = make_plan(std::move(experiment), config);
  estimate.problems = data_problems(estimate.plan, select_phases(estimate.plan, ""));
  Estimator estimator(estimate.plan, tokenizer, cache);
  estimate.phases = estimator.estimate();
  estimate.resident_bytes = resident_memory();
  return estimate;
}

std::vector<MemoryQuestion> memory_questions(const Plan& plan, const Execution& execution,
                                             const std::vector<PhaseEstimate>& estimates) {
  std::vector<MemoryQuestion> questions;
  std::set<std::string> asked;
  for (const PlannedPhase& phase : plan.phases) {
    if (phase.tasks.empty() || !asked.insert(phase.label).second) continue;
    MemoryQuestion question{plan.config, {}, execution};
    question.name = phase.label;
    bool dev = false;
    for (const TrainedTask& task : phase.tasks) {
      add_head(question.heads, task.head);
      dev = dev || task.has_dev;
    }
    question.tokens = phase.settings.max_tokens_per_batch;
    question.optimizer = phase.settings.optimizer;
    question.master = phase.settings.master;
    question.ranks = execution.communicator == nullptr ? 1 : execution.communicator->size();
    question.zero = phase.settings.zero;
    question.recompute = phase.settings.recompute;
    question.gradient_parts = gradient_parts_of(phase.settings, question.ranks);
    const auto known = std::find_if(estimates.begin(), estimates.end(), [&](const PhaseEstimate& estimate) {
      return estimate.label == phase.label && estimate.missing.empty();
    });
    const bool evaluated = known == estimates.end() || known->steps > phase.settings.eval_steps;
    question.keeps_best = dev && phase.settings.load_best_model_at_end && phase.settings.eval_steps > 0 && evaluated;
    question.from_file = !phase.starts_fresh;
    questions.push_back(question);
  }
  if (questions.empty()) {  // nothing is trained
    MemoryQuestion question{plan.config, {}, execution, false};
    question.name = "evaluation";
    question.from_file = !plan.experiment.model.directory.empty();
    for (const TargetSpec& target : plan.experiment.targets) question.tokens = target.settings.max_tokens_per_batch;
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
  const auto add_all = [&](const std::vector<ParameterStore::Footprint>& parts) {
    for (const auto& [name, bytes] : parts) add(name, static_cast<double>(bytes));
  };
  const int sharing = question.training && question.zero > 0 ? question.ranks : 1;
  const bool shares_gradients = question.zero == 2 && sharing > 1;
  const MasterKind master = question.training ? question.master : MasterKind::kFloat32;
  add_all(
      ParameterStore::footprint(table, question.execution.precision, question.training, master, sharing, shares_gradients));
  if (question.training) add_all(optimizer_footprint(question.optimizer, table, sharing));
  if (question.training && question.gradient_parts > 0)
    add_all(shares_gradients ? ShardedSum::footprint(table, question.ranks, question.gradient_parts)
                             : OrderedSum::footprint(table, question.ranks, question.gradient_parts));
  const double before = total;
  ModelOptions options;
  options.execution = question.execution;
  options.training = question.training;
  options.heads = question.heads;
  options.recompute = question.recompute;
  const MemoryPlan plan = plan_model_memory(question.config, options, question.tokens);
  double named = 0;
  for (const auto& [name, bytes] : living_at_peak(plan.activations)) {
    add("activations: " + name, bytes);
    named += bytes;
  }
  add("activations: alignment", static_cast<double>(plan.activation_bytes) - named);
  add("scratch", static_cast<double>(plan.scratch_bytes));
  const auto decodes = [](const HeadSpec& head) { return facts_of(head.kind).of_target; };
  const bool targets = std::any_of(question.heads.begin(), question.heads.end(), decodes);
  if (!on_cpu) add("batches", static_cast<double>(batch_upload_bytes(question.tokens, targets ? 2 : 1)));
  const auto weights = static_cast<double>(table.elements()) * sizeof(float);
  if (question.keeps_best && on_cpu) add("best weights so far", weights);
  // The file is mapped only until the parameters are read, before there are activations.
  if (question.from_file && on_cpu) add("model file while it is read", weights - (total - before));
  lines.push_back({"total", total});
  return lines;
}

double physical_memory() {
  const double all = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  double limit = all;
  std::ifstream("/sys/fs/cgroup/memory.max") >> limit;  // "max", no number: no limit
  return limit > 0 ? std::min(all, limit) : all;
}

double resident_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0) return 1024 * std::stod(line.substr(6));
  }
  return 0;
}

}  // namespace koine
