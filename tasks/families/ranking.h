#pragma once

// Answer retrieval without training: for each question, in whatever language, the candidate sentences of all languages by
// cosine; mean average precision at 20 (scorers/ranking.h), over all questions and for each language of the question.
//
// A question is encoded by itself (at most 96 tokens), a candidate as the pair of the sentence and its context without line
// breaks: the texts and lengths of XTREME-R, whose own figures are those of a dual encoder trained on SQuAD, not of this
// one. Vectors as for retrieval (retrieval.h).
//
// Predictions: {"<question id>_<lg>": [ids of the 20 nearest sentences]}.

#include <memory>

#include "tasks/common/task.h"

namespace koine {

std::unique_ptr<Task> make_ranking_task(TaskRow row);

}  // namespace koine
