#pragma once

// Classification of a text, or of a pair of texts: <s> first </s></s> second </s>, one class of the row's labels each.
//
// Predictions: one label a line (XTREME's submission layout). Scorers: "accuracy"; "accuracy_and_f1",
// with the F1 of class 1, the headline their mean (GLUE on QQP); "macro_f1", the mean of the classes' F1.

#include <memory>

#include "tasks/common/task.h"

namespace koine {

std::unique_ptr<Task> make_classification_task(TaskRow row);

}  // namespace koine
