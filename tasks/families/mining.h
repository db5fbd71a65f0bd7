#pragma once

// Bitext mining without training: among the sentences of two languages, which are translations of each other
// (scorers/bitext_mining.h). Scorers name the margin: "ratio", "distance", "absolute"; "f1" of the pairs found, as XTREME
// counts it. Beside it MTEB's score of the same data, "mteb_f1" and "mteb_accuracy" (scorers/mteb_bitext.h): each source
// sentence of a gold pair answered with its nearest target, equal sentences counting as one.
//
// The score from which on a pair counts is the best one on the split dev, so that both splits are encoded to evaluate test.
// Predictions: "source id<TAB>target id" a line (XTREME's submission layout). Vectors as for
// retrieval (retrieval.h).

#include <memory>

#include "tasks/common/task.h"

namespace koine {

std::unique_ptr<Task> make_mining_task(TaskRow row);

}  // namespace koine
