#pragma once

// Retrieval from one pool: for each query, in whatever language, the candidates by cosine; mean average precision at 20
// (scorers/ranking.h). XTREME-R's LAReQA and Mewsli-X. Scorers:
//
//   "lareqa"   over all questions, and for each language of the question; predictions {"<question id>_<lg>": [ids of the 20
//              nearest sentences]}, an answer to every question
//   "mewslix"  over the mentions in one language; predictions {"<example id>": [ids of the 20 nearest entities]} as in XTREME's
//              submissions; a mention without one scores 0. Gold: the data, or XTREME's label files {"<example id>": ["Q46930"]}
//
// Texts are encoded as single sequences, a query's at most 96 tokens. Vectors are those of a dual encoder trained on
// the row's train_task (pairs.h); of a model without one, or where layers are asked for, hidden states as for retrieval
// (retrieval.h). All candidates are encoded anew for each language that has files of its own.

#include <memory>

#include "tasks/common/task.h"

namespace koine {

std::unique_ptr<Task> make_ranking_task(TaskRow row);

}  // namespace koine
