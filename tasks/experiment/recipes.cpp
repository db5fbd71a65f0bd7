#include "tasks/experiment/recipes.h"

#include <algorithm>

namespace koine {

namespace {

struct Row {
  const char* name;
  std::int64_t batch;         ///< examples in memory at a time in the recipe
  std::int64_t accumulation;  ///< and how many of those make an optimizer step
  double epochs;
  std::int64_t max_seq_length;
};

// The authors' scripts: nyu-mll/jiant, scripts/benchmarks/xtreme. Batch x accumulation, epochs and length as written there.
constexpr Row kTargets[] = {
    {"xnli", 4, 8, 2, 256},     // trained on MNLI
    {"pawsx", 4, 8, 5, 256},    //
    {"udpos", 4, 8, 10, 256},   //
    {"panx", 4, 8, 10, 256},    //
    {"xquad", 4, 4, 2, 384},    // trained on SQuAD 1.1
    {"mlqa", 4, 4, 2, 384},     // trained on SQuAD 1.1
    {"tydiqa", 4, 4, 2, 384},   //
    {"tatoeba", 0, 0, 0, 512},  // nothing is trained; length of jiant's retrieval runs
    {"bucc", 0, 0, 0, 512},
};

// Batch and epochs by task as the paper's appendix is remembered (no script holds them); lengths as jiant's XTREME scripts
// tokenise.
constexpr Row kIntermediate[] = {
    {"mnli", 24, 1, 2, 256},          {"anli", 24, 1, 2, 256},    {"qqp", 24, 1, 3, 256},       {"ccg", 24, 1, 15, 256},
    {"squad", 8, 1, 3, 384},          {"squad_v2", 8, 1, 3, 384}, {"hellaswag", 24, 1, 7, 256}, {"cosmosqa", 4, 1, 15, 256},
    {"commonsenseqa", 4, 1, 10, 256}, {"mlm", 8, 1, 3, 256},
};

template <std::size_t kRows>
Recipe recipe_of(const Row (&rows)[kRows], const std::string& name, const Row& otherwise) {
  const Row* found = std::find_if(std::begin(rows), std::end(rows), [&](const Row& row) { return name == row.name; });
  const Row& row = found == std::end(rows) ? otherwise : *found;
  // Learning rate, betas, epsilon, decay, warm-up, clipping, patience and the 500 dev examples are TrainingSettings' own
  // defaults, which are jiant's; every 1000 steps an evaluation (jiant, scripts/benchmarks/xtreme).
  Recipe recipe;
  recipe.settings.per_device_train_batch_size = std::max<std::int64_t>(row.batch, 1);
  recipe.settings.gradient_accumulation_steps = std::max<std::int64_t>(row.accumulation, 1);
  recipe.settings.num_train_epochs = row.epochs;
  recipe.settings.eval_steps = 1000;
  recipe.max_seq_length = row.max_seq_length;
  return recipe;
}

}  // namespace

Recipe target_recipe(const std::string& target) {
  // jiant's one-command runner: batch 32, 3 epochs.
  return recipe_of(kTargets, target, {"", 4, 8, 3, 0});
}

Recipe intermediate_recipe(const std::vector<std::string>& tasks) {
  const Row otherwise = {"", 4, 8, 3, 0};
  Recipe recipe = recipe_of(kIntermediate, tasks.empty() ? "" : tasks.front(), otherwise);
  const bool mlm = std::find(tasks.begin(), tasks.end(), "mlm") != tasks.end();
  const std::size_t others = tasks.size() - (mlm ? 1 : 0);
  if (others > 1) {
    recipe =
        recipe_of(kIntermediate, "", {"", 24, 1, 3, 0});  // several tasks: 3 epochs (paper, as remembered), lengths by task
  }
  if (mlm) recipe.settings.learning_rate = 5e-6;  // where MLM is mixed in (paper, as remembered)
  return recipe;
}

Recipe training_recipe(const std::string& task) {
  const bool target =
      std::any_of(std::begin(kTargets), std::end(kTargets), [&](const Row& row) { return task == row.name; });
  return target ? target_recipe(task) : intermediate_recipe({task});
}

Recipe pretraining_recipe() {
  // RoBERTa (Liu et al., arXiv 1907.11692, table 9, base): peak rate 6e-4, betas 0.9 and 0.98, epsilon 1e-6, decay 0.01, no
  // clipping, linear decay. Warm-up is 24,000 of 500,000 steps there.
  Recipe recipe;
  recipe.settings.learning_rate = 6e-4;
  recipe.settings.adam_beta2 = 0.98;
  recipe.settings.adam_epsilon = 1e-6;
  recipe.settings.max_grad_norm = 0;
  recipe.settings.warmup_ratio = 0.048;
  recipe.settings.per_device_train_batch_size = 256;
  recipe.settings.num_train_epochs = 1;
  recipe.settings.early_stopping_patience = 0;
  recipe.settings.load_best_model_at_end = false;
  recipe.max_seq_length = 256;
  return recipe;
}

}  // namespace koine
