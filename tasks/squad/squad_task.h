#pragma once

// SQuAD 1.1 (English training) and XQuAD (11 languages): start and end of the answer in the context; exact match and F1.

#include "tasks/common/task.h"

namespace koine {

const Task& squad_task();
const Task& xquad_task();

}  // namespace koine
