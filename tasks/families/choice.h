#pragma once

// Multiple choice: each choice is a sequence of its own, <s> prompt </s></s> choice </s>, the head gives each a score, and
// the scores of an example's sequences are one softmax (RoBERTa's multiple-choice head, Liu et al., arXiv 1907.11692,
// section 5.3; transformers' XLMRobertaForMultipleChoice).
//
// Predictions: the number of the choice, from 0, a line (XTREME-R's XCOPA). Scorers: "accuracy".

#include <memory>

#include "tasks/common/task.h"

namespace koine {

/// All examples of the row's files must have row.choices choices; UserError naming file and example otherwise.
std::unique_ptr<Task> make_choice_task(TaskRow row);

}  // namespace koine
