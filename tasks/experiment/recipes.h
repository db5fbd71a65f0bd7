#pragma once

// The numbers of published recipes, each with its source: the defaults of every training phase, and the only place they
// stand.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/training/settings.h"

namespace koine {

/// Settings of one training phase, and the longest sequence (in tokens, special ones included) its examples are cut to.
struct Recipe {
  TrainingSettings settings;
  std::int64_t max_seq_length = 0;  ///< 0: the task's own
};

/// Fine-tuning for a target (the paper's third phase), by the target's name ("xnli", "xquad" ...).
Recipe target_recipe(const std::string& target);
/// English intermediate training (the second phase) on one task, on several at once, or with "mlm" mixed in.
Recipe intermediate_recipe(const std::vector<std::string>& tasks);
/// Training on one task by itself: its target recipe where it is a target, else its intermediate one.
Recipe training_recipe(const std::string& task);
/// Masked-language pretraining from fresh parameters.
Recipe pretraining_recipe();

}  // namespace koine
