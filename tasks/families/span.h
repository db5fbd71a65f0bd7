#pragma once

// Extractive question answering: the start and end of the answer in the context (span_features.h: windows and labels;
// span_answers.h: from logits to text).
//
// Predictions: {"question id": "answer"} (SQuAD's and XTREME's). Scorers, of each exact match and F1, F1 the headline, and
// their mean "average", which is XTREME's own figure: "squad" (scorers/answer_score.h), "mlqa" (normalised by language),
// "squad2" (scorers/squad2_score.h).

#include <memory>

#include "tasks/common/task.h"

namespace koine {

std::unique_ptr<Task> make_span_task(TaskRow row);

}  // namespace koine
