#include "tasks/experiment/checks.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "kernels/common/check.h"
#include "kernels/cuda/runtime.h"
#include "models/models.h"
#include "tasks/experiment/device_kinds.h"
#include "tasks/experiment/estimate.h"
#include "tasks/experiment/training_phase.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

void add(Problems& problems, const std::string& problem) {
  if (!problem.empty() && std::find(problems.begin(), problems.end(), problem) == problems.end())
    problems.push_back(problem);
}

/// Reads the files of trainings, each once.
class FileCheck {
 public:
  FileCheck(const Experiment& experiment, Problems& problems) : experiment_(experiment), problems_(problems) {}

  void check(const TrainedTask& trained) {
    for (const std::string& language : trained.languages) check(*trained.task, "train", language);
    if (!trained.equal_tokens_to.empty()) check(*trained.task, "train", trained.equal_tokens_to);
    if (trained.has_dev) check(*trained.task, "dev", experiment_.source_language);
    for (const std::string& file : trained.files) {
      if (!fs::is_regular_file(experiment_.data / file))
        add(problems_, concatenate(experiment_.file.string(), ": pretraining.files: there is no file ",
                                   (experiment_.data / file).string()));
    }
  }

 private:
  void check(const Task& task, const std::string& split, const std::string& language) {
    if (!seen_.emplace(task.name(), split, language).second) return;
    try {
      add(problems_, task.missing_gold(experiment_.data, split, language));
    } catch (const UserError& error) {
      add(problems_, error.what());
    }
  }

  const Experiment& experiment_;
  Problems& problems_;
  std::set<std::tuple<std::string, std::string, std::string>> seen_;
};

std::vector<HeadSpec> heads_of(const PlannedPhase& phase) {
  std::vector<HeadSpec> heads;
  for (const TrainedTask& task : phase.tasks) add_head(heads, task.head);
  return heads;
}

/// Of all files below a folder.
double bytes_below(const fs::path& folder) {
  double bytes = 0;
  std::error_code none;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder, none)) {
    if (entry.is_regular_file(none)) bytes += static_cast<double>(entry.file_size(none));
  }
  return bytes;
}

}  // namespace

Problems data_problems(const Plan& plan, const std::vector<std::size_t>& phases) {
  Problems problems;
  FileCheck files(plan.experiment, problems);
  for (const std::size_t number : phases) {
    const PlannedPhase& phase = plan.phases[number];
    add(problems, phase.missing);
    for (const TrainedTask& task : phase.tasks) files.check(task);
  }
  return problems;
}

double disk_bytes(const Plan& plan, const std::vector<std::size_t>& phases) {
  double kept = 0;
  double passing = 0;
  for (const std::size_t number : phases) {
    const PlannedPhase& phase = plan.phases[number];
    if (phase.tasks.empty()) continue;
    const TrainingSettings& settings = phase.settings;
    const auto model = static_cast<double>(model_parameter_table(plan.config, heads_of(phase)).elements()) * sizeof(float);
    const bool dev =
        std::any_of(phase.tasks.begin(), phase.tasks.end(), [](const TrainedTask& task) { return task.has_dev; });
    const bool best = dev && settings.load_best_model_at_end && settings.eval_steps > 0;
    const bool saves = settings.save_minutes > 0 || settings.save_steps > 0;
    const double checkpoints = saves ? static_cast<double>(settings.save_total_limit + 1) * (best ? 4 : 3) * model : 0;
    const bool stays = phase.kind != PhaseKind::kTarget || plan.experiment.save_models;
    kept += stays ? model : 0;
    passing = std::max(passing, checkpoints + (stays ? 0 : model));
  }
  return kept + passing;
}

Problems disk_problems(const Plan& plan, const std::vector<std::size_t>& phases, const fs::path& output) {
  const double needed = disk_bytes(plan, phases);
  fs::path place = fs::absolute(output);
  while (!fs::exists(place) && place.has_relative_path()) place = place.parent_path();
  std::error_code unknown;
  auto room = static_cast<double>(fs::space(place, unknown).available);
  if (unknown) return {};
  for (const std::size_t number : phases) room += bytes_below(output / plan.phases[number].folder);
  if (needed <= room) return {};
  return {concatenate(output.string(), ": models and checkpoints take up to ", format_bytes(needed), ", but ",
                      format_bytes(room),
                      " are free there; free some space, choose another --output, or keep fewer of them (save_models, "
                      "save_total_limit)")};
}

std::optional<double> device_room(const Execution& execution) {
  if (execution.device == Device::kCpu) return physical_memory();
  if (cuda::on_host() || execution.device_index >= cuda::device_count()) return std::nullopt;
  return static_cast<double>(cuda::device_properties(execution.device_index).memory_bytes) - kDeviceReserve;
}

Problems memory_problems(const Plan& plan, const std::vector<std::size_t>& phases, const Execution& execution, double room) {
  Plan part{plan.experiment, plan.config, {}};
  for (const std::size_t number : phases) part.phases.push_back(plan.phases[number]);
  Problems problems;
  if (part.phases.empty()) return problems;
  for (MemoryQuestion& question : memory_questions(part, execution)) {
    // What a training certainly needs: short ones keep no best weights, and pages of a mapped file can be given back.
    question.keeps_best = false;
    question.from_file = false;
    question.resident_bytes = resident_memory();
    const double needed = estimate_memory(question).back().bytes;
    if (needed <= room) continue;
    const std::int64_t most = largest_token_budget(question, room);
    add(problems, concatenate(question.name, " needs ", format_bytes(needed), " of memory with ", question.tokens,
                              " tokens at a time, but there are ", format_bytes(room),
                              most == 0 ? std::string("; weights and optimizer alone are too large")
                                        : concatenate("; max_tokens_per_batch = ", most, " would fit")));
  }
  return problems;
}

void refuse(const Problems& problems) {
  if (problems.empty()) return;
  require(problems.size() > 1, problems.front());
  std::string text = concatenate(problems.size(), " problems");
  for (std::size_t i = 0; i < problems.size(); ++i) text += concatenate(i == 0 ? ": (" : "; (", i + 1, ") ", problems[i]);
  fail_user(text);
}

}  // namespace koine
