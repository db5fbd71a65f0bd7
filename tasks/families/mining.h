#pragma once

// Bitext mining without training: among the sentences of two languages, which are translations of each other
// (scorers/bitext_mining.h). Scorers name the margin: "ratio", "distance", "absolute"; F1 of the pairs found.
//
// The score from which on a pair counts is the best one on the split dev, so that both splits are encoded to evaluate test.
// Predictions: "source id<TAB>target id" a line (XTREME's submission layout). Vectors as for retrieval (retrieval.h).

#include <memory>

#include "tasks/common/task.h"

namespace koine {

std::unique_ptr<Task> make_mining_task(TaskRow row);

}  // namespace koine
