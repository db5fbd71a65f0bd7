#pragma once

// Tagging: one of the row's labels for each word of a sentence (tagging_features.h says how words become model inputs).
//
// Predictions: one tag a line, an empty line between sentences (XTREME's submission layout). Scorers: "f1", micro F1 over
// chunks as XTREME scores tags (scorers/tagging_f1.h), with precision, recall and the accuracy of single tags beside it.

#include <memory>

#include "tasks/common/task.h"

namespace koine {

std::unique_ptr<Task> make_tagging_task(TaskRow row);

}  // namespace koine
