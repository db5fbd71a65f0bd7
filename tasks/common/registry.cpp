// The list of tasks: a new one is a folder with a function that returns it, and a line here.

#include <algorithm>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/common/task.h"
#include "tasks/mlm/mlm_task.h"
#include "tasks/nli/nli_task.h"
#include "tasks/retrieval/tatoeba_task.h"
#include "tasks/squad/squad_task.h"
#include "tasks/tagging/udpos_task.h"

namespace koine {

const std::vector<const Task*>& all_tasks() {
  static const std::vector<const Task*> tasks = {&mlm_task(),   &mnli_task(),  &squad_task(),  &xnli_task(),
                                                 &udpos_task(), &xquad_task(), &tatoeba_task()};
  return tasks;
}

const Task& find_task(const std::string& name) {
  std::vector<std::string> names;
  for (const Task* task : all_tasks()) {
    if (task->name() == name) return *task;
    names.push_back(task->name());
  }
  const std::string nearest = nearest_name(name, names);
  std::string known;
  for (const std::string& one : names) known += (known.empty() ? "" : ", ") + one;
  fail_user("unknown task \"", name, "\"", nearest.empty() ? "" : concatenate("; did you mean \"", nearest, "\"?"),
            " (tasks: ", known, ")");
}

}  // namespace koine
