#pragma once

// MNLI (English training) and XNLI (15 languages): <s> premise </s></s> hypothesis </s>, three classes, accuracy.

#include "tasks/common/task.h"

namespace koine {

const Task& mnli_task();
const Task& xnli_task();

}  // namespace koine
