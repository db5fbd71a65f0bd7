#pragma once

// The settings of published recipes: the defaults of every training phase. What belongs to one task, its batch, epochs and
// length, stands in the task's row (tasks/tasks.cpp); here is what makes settings of it.

#include <map>
#include <string>
#include <vector>

#include "engine/settings/settings.h"

namespace koine {

/// Where each number of a training comes from, by its key: "file:line". Keys that are not there have the defaults.
using Origins = std::map<std::string, std::string>;

/// Fine-tuning for a target (the paper's third phase), by the target's name ("xnli", "xquad" ...).
TrainingSettings target_recipe(const std::string& target);
/// English intermediate training (the second phase) on one task, on several at once, or with "mlm" mixed in.
TrainingSettings intermediate_recipe(const std::vector<std::string>& tasks);
/// The numbers of it that a task file gives. (Of a target they are the row's recipe_origins.)
Origins intermediate_origins(const std::vector<std::string>& tasks);
/// Training on one task by itself: its target recipe where it is a target, else its intermediate one.
TrainingSettings training_recipe(const std::string& task);
/// Masked-language pretraining from fresh parameters.
TrainingSettings pretraining_recipe();

}  // namespace koine
