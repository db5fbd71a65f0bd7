#pragma once

// What dual encoders learn from: pairs of a query and its candidate. Every query is to choose its own candidate among those
// of its batch (models/heads/: kDualEncoder). A trained model is evaluated on other tasks (ranking.h); on the pairs of a dev
// file, for the choice of weights while it trains, by the mean average precision at 20 with which their queries find their
// candidates among all of them (of equal candidates there is one). XTREME-R chooses by the loss of dev.

#include <memory>

#include "tasks/common/task.h"

namespace koine {

std::unique_ptr<Task> make_pairs_task(TaskRow row);

}  // namespace koine
