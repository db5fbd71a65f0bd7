#pragma once

// Extractive question answering: the start and end of the answer in the context (span_features.h: windows and labels;
// span_answers.h: from logits to text).
//
// Predictions: {"question id": "answer"} (SQuAD's and XTREME's). Scorers: "squad", exact match and F1
// (scorers/answer_score.h), F1 the headline; XTREME's own figure is their mean, "average".

#include <memory>

#include "tasks/common/task.h"

namespace koine {

std::unique_ptr<Task> make_span_task(TaskRow row);

}  // namespace koine
