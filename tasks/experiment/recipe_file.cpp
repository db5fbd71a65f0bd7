#include "tasks/experiment/recipe_file.h"

#include <algorithm>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/experiment/built_in_recipes.h"
#include "tasks/experiment/toml_settings.h"
#include "tasks/formats/labels.h"

namespace koine {

namespace {

bool has_mlm(const std::vector<std::string>& tasks) { return std::find(tasks.begin(), tasks.end(), "mlm") != tasks.end(); }

std::vector<std::string> number_keys() {
  std::vector<std::string> keys = {"max_seq_length", "max_target_length", "doc_stride", "max_query_length"};
  for (const SettingKey& key : setting_keys()) keys.emplace_back(key.name);
  return keys;
}

/// Tries a section's keys on numbers nobody uses, and refuses those it does not know.
void check_section(TomlSection section) {
  TrainingSettings settings;
  FeatureOptions features;
  Origins origins;
  read_numbers(section, {settings, features, origins});
  section.finish();
}

/// The tables of [kind]: one for each task it names.
void check_tasks(TomlSection kind) {
  for (const Task* task : all_tasks()) {
    if (kind.has(task->name())) check_section(kind.table(task->name()));
  }
  kind.finish();
}

}  // namespace

void read_numbers(TomlSection& section, TrainingNumbers numbers) {
  FeatureOptions& features = numbers.features;
  features.max_seq_length = section.integer("max_seq_length", features.max_seq_length, 0, 1 << 20);
  features.max_target_length = section.integer("max_target_length", features.max_target_length, 0, 1 << 20);
  features.doc_stride = section.integer("doc_stride", features.doc_stride, 1, 1 << 20);
  features.max_query_length = section.integer("max_query_length", features.max_query_length, 1, 1 << 20);
  read_settings(section, numbers.settings);
  for (const std::string& key : number_keys()) {
    if (section.has(key)) numbers.origins[key] = section.place(key);
  }
}

bool names_recipe_file(const std::string& name) { return name.find('/') != std::string::npos || name.ends_with(".toml"); }

RecipeFile RecipeFile::read(const std::string& name, const std::filesystem::path& base, const std::string& where) {
  if (names_recipe_file(name)) {
    const std::filesystem::path path = base / name;
    require(std::filesystem::is_regular_file(path), where, " is \"", name, "\", but there is no file ", path.string());
    return parse(read_file(path), path.string());
  }
  for (const BuiltInRecipe& recipe : built_in_recipes()) {
    if (recipe.name == name) return parse(std::string(recipe.text), concatenate("recipes/", name, ".toml"));
  }
  std::string known;
  for (const std::string& one : recipe_names()) known += (known.empty() ? "\"" : ", \"") + one + "\"";
  const std::string near = nearest_name(name, recipe_names());
  fail_user(where, " is \"", name, "\"; recipes are ", known, ", or a path to a .toml file",
            near.empty() ? "" : "; did you mean \"" + near + "\"?");
}

RecipeFile RecipeFile::parse(const std::string& text, const std::string& file) {
  RecipeFile recipe(TomlSection::parse(text, file));
  recipe.check();
  return recipe;
}

void RecipeFile::check() const {
  TomlSection root = root_;
  for (const char* section : {"all", "several_tasks", "with_mlm"}) check_section(root.table(section));
  for (const char* kind : {"target", "intermediate"}) check_tasks(root.table(kind));
  root.finish();
}

void RecipeFile::apply_target(const std::string& task, TrainingNumbers numbers) const {
  TomlSection root = root_;
  TomlSection all = root.table("all");
  TomlSection own = root.table("target").table(task);
  for (TomlSection* section : {&all, &own}) read_numbers(*section, numbers);
}

void RecipeFile::apply_intermediate(const std::vector<std::string>& tasks, TrainingNumbers numbers) const {
  if (tasks.empty()) return;
  std::vector<std::string> others = tasks;
  std::erase(others, "mlm");
  TomlSection root = root_;
  TomlSection all = root.table("all");
  TomlSection own = others.size() > 1 ? root.table("several_tasks")
                                      : root.table("intermediate").table(others.empty() ? "mlm" : others.front());
  for (TomlSection* section : {&all, &own}) read_numbers(*section, numbers);
  if (!has_mlm(tasks)) return;
  TomlSection with_mlm = root.table("with_mlm");
  read_numbers(with_mlm, numbers);
}

/// Tasks of [kind].
std::vector<std::string> RecipeFile::known(const std::string& kind) const {
  TomlSection root = root_;
  TomlSection section = root.table(kind);
  std::vector<std::string> names;
  for (const Task* task : all_tasks()) {
    if (section.has(task->name())) names.push_back(task->name());
  }
  return names;
}

void RecipeFile::apply_training(const std::vector<std::string>& tasks, TrainingNumbers numbers,
                                const std::string& where) const {
  const auto has = [](const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  const std::vector<std::string> targets = known("target");
  const std::vector<std::string> intermediate = known("intermediate");
  if (tasks.size() == 1 && has(targets, tasks.front())) return apply_target(tasks.front(), numbers);
  std::vector<std::string> others = tasks;
  if (tasks.size() > 1) std::erase(others, "mlm");
  TomlSection root = root_;
  const bool several = root.has("several_tasks");
  require(others.size() > 1 ? several : has(intermediate, others.front()), where, " knows no training on ",
          join_names(others), others.size() > 1 ? " together" : "", "; it knows ",
          targets.empty() ? "no target" : "the targets " + join_names(targets), ", ",
          intermediate.empty() ? "no intermediate task" : "the intermediate tasks " + join_names(intermediate),
          several ? ", several tasks together" : "");
  apply_intermediate(tasks, numbers);
}

std::vector<std::string> recipe_names() {
  std::vector<std::string> names;
  for (const BuiltInRecipe& recipe : built_in_recipes()) names.emplace_back(recipe.name);
  return names;
}

}  // namespace koine
