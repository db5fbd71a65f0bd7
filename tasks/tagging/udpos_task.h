#pragma once

// Universal parts of speech: English training, 33 languages; micro F1 over chunks as XTREME scores it, and plain token
// accuracy beside it.

#include "tasks/common/task.h"

namespace koine {

const Task& udpos_task();

}  // namespace koine
