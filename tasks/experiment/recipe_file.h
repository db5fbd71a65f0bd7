#pragma once

// A published recipe as a TOML file: numbers that take the place of the built-in defaults (recipes.h), each with its source in a
// comment. Those that come with the program lie in recipes/.
//
//   [all]                 every training but pretraining
//   [target.xnli]         fine-tuning for a task
//   [intermediate.mnli]   intermediate training on a task, alone or with MLM
//   [several_tasks]       intermediate training on several tasks (MLM not counted)
//   [with_mlm]            intermediate training with MLM among the tasks, above what its tasks have
//
// In each: training settings (engine/settings/setting_keys.h), max_seq_length, doc_stride, max_query_length.

#include <filesystem>
#include <string>
#include <vector>

#include "engine/settings/settings.h"
#include "tasks/common/task.h"
#include "tasks/experiment/recipes.h"
#include "tasks/experiment/toml_section.h"

namespace koine {

/// The numbers of a training that a recipe or an experiment may give.
struct TrainingNumbers {
  TrainingSettings& settings;
  FeatureOptions& features;
  Origins& origins;
};

/// Takes the keys that are there from a section.
void read_numbers(TomlSection& section, TrainingNumbers numbers);

/// Whether a recipe's name is that of a file: it has a slash, or ends in ".toml".
bool names_recipe_file(const std::string& name);

class RecipeFile {
 public:
  /// One that comes with the program ("stilts-2020"), or a file, relative to `base`. UserError
  /// beginning with `where` for one that is not there; naming file and line for unknown keys and tasks, wrong types and
  /// values.
  static RecipeFile read(const std::string& name, const std::filesystem::path& base, const std::string& where);
  static RecipeFile parse(const std::string& text, const std::string& file);

  void apply_target(const std::string& task, TrainingNumbers numbers) const;
  void apply_intermediate(const std::vector<std::string>& tasks, TrainingNumbers numbers) const;
  /// Training on tasks by themselves: on one as a target, or else as an intermediate task, on several as intermediate ones.
  /// UserError beginning with `where` that lists what the recipe knows, for a task or several that it does not.
  void apply_training(const std::vector<std::string>& tasks, TrainingNumbers numbers, const std::string& where) const;

 private:
  explicit RecipeFile(TomlSection root) : root_(std::move(root)) {}
  void check() const;
  std::vector<std::string> known(const std::string& kind) const;

  TomlSection root_;
};

/// Names of the recipes that come with the program.
std::vector<std::string> recipe_names();

}  // namespace koine
