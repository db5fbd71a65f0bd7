#include "tasks/experiment/task_file.h"

#include <algorithm>
#include <set>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/formats/choice_records.h"
#include "tasks/formats/labelled_texts.h"
#include "tasks/formats/labels.h"
#include "tasks/formats/parallel_text.h"
#include "tasks/formats/squad.h"
#include "tasks/formats/tagged.h"
#include "tasks/formats/wikiann.h"
#include "tasks/formats/word_columns.h"

namespace koine {
namespace {

using Names = std::vector<std::string>;

struct Format {
  const char* name;
  FileLayout layout;
  const char* ending;  ///< of files that need not say it; empty: the key does
};
constexpr Format kFormats[] = {
    {"tsv", FileLayout::kTsv, ".tsv"},
    {"csv", FileLayout::kCsv, ".csv"},
    {"tsv-quoted", FileLayout::kQuotedTsv, ""},
    {"jsonl", FileLayout::kJsonLines, ".jsonl"},
    {"xtreme", FileLayout::kXtreme, ""},
    {"conll", FileLayout::kBlanks, ""},
    {"conllu", FileLayout::kOfficial, ".conllu"},
    {"wikiann", FileLayout::kOfficial, ""},
    {"squad", FileLayout::kOfficial, ".json"},
    {"lines", FileLayout::kOfficial, ""},
};

const Format& format_called(const std::string& name) {
  return *std::find_if(std::begin(kFormats), std::end(kFormats), [&](const Format& format) { return format.name == name; });
}

void require_distinct_members(TomlSection& section, const std::string& key, const Names& values) {
  std::set<std::string> seen;
  for (const std::string& value : values)
    require(seen.insert(value).second, section.where(key), ": \"", value, "\" stands twice");
}

Names required_texts(TomlSection& section, const std::string& key, std::size_t least, const char* what) {
  Names values = section.texts(key, {});
  require(values.size() >= least, section.where(key), " must name ", what);
  require_distinct_members(section, key, values);
  return values;
}

std::string required_text(TomlSection& section, const std::string& key, const char* what) {
  const std::string value = section.text(key, "");
  require(!value.empty(), section.where(key), " is missing: ", what);
  return value;
}

/// A part of an example must be among the columns where the task file names them.
void require_column(TomlSection& section, const std::string& key, const Names& names, const Names& columns) {
  const bool there = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
    return std::find(columns.begin(), columns.end(), name) != columns.end();
  });
  require(columns.empty() || names.empty() || there, section.where(key), " is none of columns: ", join_names(columns));
}

/// Keys of files that are records: classification and choice.
void read_columns(TomlSection& section, TaskRow& row) {
  row.columns = section.texts("columns", {});
  require_distinct_members(section, "columns", row.columns);
  row.fields.language = section.one_or_more("language_field", {});
  require_column(section, "language_field", row.fields.language, row.columns);
  require(row.fields.language.empty() || row.languages.size() > 1, section.where("language_field"),
          " says that files hold several languages, but languages names one");
}

void read_label_aliases(TomlSection& section, TaskRow& row) {
  row.label_aliases = section.pairs("label_aliases");
  for (const auto& [alias, label] : row.label_aliases) label_number(label, row.labels, section.where("label_aliases"));
}

void read_classification(TomlSection& section, TaskRow& row) {
  row.reader = FileReader(read_labelled_texts, languages_of_labelled_texts);
  row.labels = required_texts(section, "labels", 2, "two labels or more");
  read_columns(section, row);
  row.fields.first = section.one_or_more("first", {"text"});
  row.fields.second = section.one_or_more("second", {});
  row.fields.label = section.one_or_more("label", {"label"});
  require_column(section, "first", row.fields.first, row.columns);
  require_column(section, "second", row.fields.second, row.columns);
  require_column(section, "label", row.fields.label, row.columns);
  read_label_aliases(section, row);
  row.skipped_label = section.text("skipped_label", "");
}

void read_tagging(TomlSection& section, TaskRow& row) {
  for (const FileCandidate& file : row.files) {
    require(file.layout == row.files.front().layout, file.where, ": all files of a tagging task must be written alike");
  }
  const bool treebanks = row.files.front().layout == FileLayout::kOfficial && section.text("format", "conllu") == "conllu";
  if (treebanks) {
    row.reader = read_tagged;
    row.labels = universal_parts_of_speech();
    return;
  }
  row.labels = required_texts(section, "labels", 2, "two labels or more");
  read_label_aliases(section, row);
  if (section.text("format", "") == "wikiann") {
    row.reader = read_wikiann;
    return;
  }
  row.reader = read_word_columns;
  row.tag_columns.word = section.integer("word_column", row.tag_columns.word, 1, 1000);
  row.tag_columns.tag = section.integer("tag_column", row.tag_columns.tag, 1, 1000);
}

void read_choice(TomlSection& section, TaskRow& row) {
  row.reader = FileReader(read_choice_records, languages_of_choice_records);
  read_columns(section, row);
  ChoiceFields& fields = row.choice_fields;
  fields.prompt = section.one_or_more("prompt", {});
  require(!fields.prompt.empty(), section.where("prompt"), " is missing: the column or member of the prompt, or several");
  fields.choices = required_texts(section, "choices", 2, "two columns or members or more, one for each choice");
  fields.label = section.text("label", "label");
  for (const std::string& name : fields.prompt) require_column(section, "prompt", {name}, row.columns);
  for (const std::string& name : fields.choices) require_column(section, "choices", {name}, row.columns);
  require_column(section, "label", {fields.label}, row.columns);
  Names numbers;
  for (std::size_t i = 0; i < fields.choices.size(); ++i) numbers.push_back(std::to_string(i));
  fields.answers = section.texts("answers", numbers);
  require(fields.answers.size() == numbers.size(), section.where("answers"), " has ", fields.answers.size(), " members for ",
          numbers.size(), " choices");
  require_distinct_members(section, "answers", fields.answers);
  row.choices = static_cast<std::int32_t>(fields.choices.size());
}

void read_span(TomlSection& section, TaskRow& row) {
  row.reader = section.text("metric", "") == "squad2" ? read_squad2 : read_squad;
}

void read_retrieval(TomlSection& section, TaskRow& row) {
  row.reader = read_parallel_text;
  row.english_file = required_text(section, "english", "the file with the English sentences, in the same folder");
}

struct Family {
  const char* name;
  Names formats;
  std::int64_t length;                               ///< tokens, where the file says nothing
  void (*read)(TomlSection& section, TaskRow& row);  ///< the keys only it has
};

const Family kFamilies[] = {
    {"classification", {"tsv", "tsv-quoted", "csv", "jsonl", "xtreme"}, 256, read_classification},
    {"tagging", {"conll", "tsv", "conllu", "wikiann", "xtreme"}, 256, read_tagging},
    {"choice", {"tsv", "tsv-quoted", "csv", "jsonl"}, 256, read_choice},
    {"span", {"squad"}, 384, read_span},
    {"retrieval", {"lines"}, 512, read_retrieval},
};

const Family& read_family(TomlSection& section) {
  Names names;
  for (const Family& family : kFamilies) names.emplace_back(family.name);
  required_text(section, "family", ("one of " + join_names(names)).c_str());
  const std::string name = section.choice("family", "", names);
  return *std::find_if(std::begin(kFamilies), std::end(kFamilies), [&](const Family& one) { return one.name == name; });
}

/// What the task says of all its files, or the ending of this one.
FileLayout layout_of(TomlSection& section, const Family& family, const std::string& key, const std::string& pattern) {
  if (section.has("format")) return format_called(section.choice("format", "", family.formats)).layout;
  if (family.formats.size() == 1) return format_called(family.formats.front()).layout;
  const std::string ending = std::filesystem::path(pattern).extension().string();
  for (const std::string& format : family.formats) {
    if (!ending.empty() && ending == format_called(format).ending) return format_called(format).layout;
  }
  fail_user(section.where(key), ": the ending of \"", pattern,
            "\" does not say how the file is written; give format, one of ", join_names(family.formats));
}

void read_files(TomlSection& section, const Family& family, TaskRow& row) {
  const std::vector<std::pair<std::string, std::string>> codes = section.pairs("language_codes");
  for (const auto& [language, code] : codes) {
    require(std::find(row.languages.begin(), row.languages.end(), language) != row.languages.end(),
            section.where("language_codes"), ": \"", language, "\" is none of languages");
  }
  for (const char* split : {"train", "dev", "test"}) {
    for (const std::string& pattern : section.one_or_more(split, {})) {
      require(!pattern.empty() && pattern.front() != '/', section.where(split), " is \"", pattern,
              "\"; it must be a path below the data folder");
      row.files.push_back({split, pattern, layout_of(section, family, split, pattern), codes, section.where(split)});
    }
  }
  require(!row.files.empty(), section.where("test"), " is missing: give the files of at least one of train, dev and test");
}

void read_recipe(TomlSection& section, TaskRow& row) {
  Recipe recipe{4, 8, 3};  // as for what no recipe names: experiment/recipes.cpp
  recipe.batch = section.integer("per_device_train_batch_size", recipe.batch, 1, 1 << 20);
  recipe.accumulation = section.integer("gradient_accumulation_steps", recipe.accumulation, 1, 1 << 20);
  recipe.epochs = section.number("num_train_epochs", recipe.epochs, 0, 1e6);
  if (section.has("learning_rate")) {
    recipe.learning_rate = section.number("learning_rate", 0, 0, 10);
    require(*recipe.learning_rate > 0, section.where("learning_rate"), " is 0, at which nothing is learnt");
  }
  for (const char* key :
       {"learning_rate", "per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs"}) {
    if (section.has(key)) row.recipe_origins[key] = section.place(key);
  }
  if (!row.recipe_origins.empty()) row.target = row.intermediate = recipe;
}

TaskRow read_task(TomlSection& section) {
  const Family& family = read_family(section);
  TaskRow row{.name = required_text(section, "name", "what the task is called"), .reader = read_labelled_texts};
  section.require_folder_name("name", row.name);
  row.definition = section.as_element_of("task");
  row.languages = section.texts("languages", row.languages);
  require(!row.languages.empty(), section.where("languages"), " is empty; give at least one");
  require_distinct_members(section, "languages", row.languages);
  row.parallel = section.flag("parallel", false);
  row.train_task = section.text("train_task", "");
  row.max_seq_length = section.integer("max_seq_length", family.length, 8, 1 << 20);
  read_files(section, family, row);
  read_recipe(section, row);
  family.read(section, row);
  if (row.english_file.empty()) row.scorer = section.text("metric", "");
  section.finish();
  try {
    make_task(row)->metric();
  } catch (const UserError& error) {
    fail_user(section.where("metric"), ": ", error.what());
  }
  return row;
}

/// A head that learns one task and answers another: both must mean the same by its classes.
void require_same_head(const Task& task, const std::string& where) {
  const Task& trained = find_task(task.train_task(), where);
  require(trained.head() == task.head(), where, ": ", trained.name(), " is of another family");
  require(!trained.train_task().empty(), where, ": ", trained.name(), " has no training set");
  require(trained.labels() == task.labels(), where, ": the labels of ", task.name(), " are ", join_names(task.labels()),
          ", those of ", trained.name(), " ", join_names(trained.labels()),
          "; they must be the same, in the same order (label_aliases says what files call them)");
}

}  // namespace

void add_tasks(TomlSection& root) {
  std::vector<TomlSection> sections = root.tables("task");
  Names names;
  for (TomlSection& section : sections) {
    TaskRow row = read_task(section);
    require(std::find(names.begin(), names.end(), row.name) == names.end(), section.where("name"),
            ": two [[task]] are called \"", row.name, "\"; give each its own name");
    names.push_back(row.name);
    add_task(std::move(row), section.where("name"));
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    const Task& task = find_task(names[i]);
    if (!task.row().train_task.empty()) require_same_head(task, sections[i].where("train_task"));
  }
}

void add_task_file(const std::filesystem::path& file) {
  TomlSection root = TomlSection::parse(read_file(file), file.string());
  require(root.has("task"), file.string(), ": no [[task]]; a task file describes at least one");
  add_tasks(root);
  root.finish();
}

}  // namespace koine
