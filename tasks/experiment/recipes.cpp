#include "tasks/experiment/recipes.h"

#include <algorithm>

#include "tasks/common/task.h"

namespace koine {

namespace {

/// jiant's one-command runner, for what no recipe names: batch 32, 3 epochs.
constexpr Recipe kOtherwise{4, 8, 3};
/// Several tasks at once: 3 epochs (the paper's appendix, as remembered).
constexpr Recipe kSeveralTasks{24, 1, 3};

// Learning rate, betas, epsilon, decay, warm-up, clipping, patience and the 500 dev examples are TrainingSettings' own
// defaults, which are jiant's; every 1000 steps an evaluation (jiant, scripts/benchmarks/xtreme).
TrainingSettings settings_of(const Recipe& recipe) {
  TrainingSettings settings;
  settings.per_device_train_batch_size = recipe.batch;
  settings.gradient_accumulation_steps = recipe.accumulation;
  settings.num_train_epochs = recipe.epochs;
  if (recipe.learning_rate) settings.learning_rate = *recipe.learning_rate;
  settings.eval_steps = 1000;
  return settings;
}

}  // namespace

TrainingSettings target_recipe(const std::string& target) {
  return settings_of(find_task(target).row().target.value_or(kOtherwise));
}

TrainingSettings intermediate_recipe(const std::vector<std::string>& tasks) {
  const bool mlm = std::find(tasks.begin(), tasks.end(), "mlm") != tasks.end();
  Recipe recipe = kOtherwise;
  if (!tasks.empty()) {  // that of MLM only where it is alone
    const auto other = std::find_if(tasks.begin(), tasks.end(), [](const std::string& task) { return task != "mlm"; });
    recipe = find_task(other == tasks.end() ? tasks.front() : *other).row().intermediate.value_or(kOtherwise);
  }
  if (tasks.size() - (mlm ? 1 : 0) > 1) recipe = kSeveralTasks;
  TrainingSettings settings = settings_of(recipe);
  if (mlm) settings.learning_rate = 5e-6;  // where MLM is mixed in (the paper's appendix, as remembered)
  return settings;
}

Origins intermediate_origins(const std::vector<std::string>& tasks) {
  std::vector<std::string> others = tasks;
  const bool mlm = std::erase(others, "mlm") > 0;
  if (others.size() != 1) return {};
  Origins origins = find_task(others.front()).row().recipe_origins;
  if (mlm) origins.erase("learning_rate");
  return origins;
}

TrainingSettings training_recipe(const std::string& task) {
  return find_task(task).row().target.has_value() ? target_recipe(task) : intermediate_recipe({task});
}

TrainingSettings pretraining_recipe() {
  // RoBERTa (Liu et al., arXiv 1907.11692, table 9, base): peak rate 6e-4, betas 0.9 and 0.98, epsilon 1e-6, decay 0.01, no
  // clipping, linear decay. Warm-up is 24,000 of 500,000 steps there.
  TrainingSettings settings;
  settings.learning_rate = 6e-4;
  settings.adam_beta2 = 0.98;
  settings.adam_epsilon = 1e-6;
  settings.max_grad_norm = 0;
  settings.warmup_ratio = 0.048;
  settings.per_device_train_batch_size = 256;
  settings.num_train_epochs = 1;
  settings.early_stopping_patience = 0;
  settings.load_best_model_at_end = false;
  return settings;
}

}  // namespace koine
