#pragma once

// A user's own tasks, described in TOML: [[task]] in a file of their own or in an experiment. Each becomes a row like those
// of the table of tasks (common/task_row.h), so that everything knows it by name. The keys: docs/task-files.md.

#include <filesystem>

#include "tasks/common/task.h"
#include "tasks/experiment/toml_section.h"

namespace koine {

/// Adds every [[task]] of a file to the tasks there are. UserErrors name file, line and key: an unknown key, family, format
/// or metric, a key that is missing, a name that is taken, a training task of another family or with other labels.
void add_tasks(TomlSection& root);
/// The same of a file that holds nothing else; UserError where it holds none.
void add_task_file(const std::filesystem::path& file);

}  // namespace koine
