#pragma once

// A task as data: what it is called, where its files lie and how they are written, what it is trained on and how. Rows stand
// in one table, tasks/tasks.cpp; a user's own are read from task files (experiment/task_file.h). The family, which turns examples into model inputs and scores predictions
// (tasks/families/), follows from what the row's reader reads.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "tasks/files/task_files.h"
#include "tasks/formats/request.h"

namespace koine {

struct TextFile;
struct LabelledTexts;
struct ChoiceFile;
struct SquadFile;
struct TaggedFile;
struct ParallelText;
struct BuccFile;
struct CandidatePool;
struct TextPairs;

/// One of: text (masked-language modelling), classification (of one text or a pair), choice, span, tagging, retrieval,
/// mining, ranking, pairs.
using TaskReader = std::variant<FileReader<TextFile>, FileReader<LabelledTexts>, FileReader<ChoiceFile>,
                                FileReader<SquadFile>, FileReader<TaggedFile>, FileReader<ParallelText>,
                                FileReader<BuccFile>, FileReader<CandidatePool>, FileReader<TextPairs>>;

/// The numbers of a published training: examples in memory at a time, how many of those make an optimizer step, passes.
struct Recipe {
  std::int64_t batch = 1;
  std::int64_t accumulation = 1;
  double epochs = 3;
  std::optional<double> learning_rate = {};  ///< nothing: TrainingSettings' own
};

struct TaskRow {
  std::string name;
  TaskReader reader;
  std::vector<std::string> labels = {};  ///< in the order of the head's classes: classification, tagging
  std::int32_t choices = 0;              ///< of every example: choice
  std::string scorer = {};               ///< of the family's; empty: the family's first
  std::string train_task = {};  ///< whose training set the head is trained on; empty: the task's own, if it has one, else
                                ///< nothing is trained
  std::vector<std::string> languages = {"en"};  ///< official, the training language first
  bool parallel = false;              ///< example i of its sets, or the question of an id, is the same in every language
  std::int64_t max_seq_length = 256;  ///< tokens, special ones included
  std::optional<Recipe> target = {};  ///< published for fine-tuning on this target (on its train_task's examples)
  std::optional<Recipe> intermediate = {};  ///< published for intermediate training on this task
  std::vector<FileCandidate> files = {};    ///< the data set's own names first, then XTREME's
  std::vector<std::string> parts = {};      ///< in place of files: tasks whose sets are taken together (classification)
  TextFields fields = {};
  std::vector<std::string> columns = {};  ///< the names of a table's columns; empty: its first line says them
  ChoiceFields choice_fields = {};
  TagColumns tag_columns = {};
  std::string english_file = {};  ///< retrieval: pattern of the file beside with the English sentences
  std::vector<std::pair<std::string, std::string>> label_aliases = {};
  std::string skipped_label = {};
  std::map<std::string, std::string> recipe_origins =
      {};                       ///< of a task file: "file:line" of the recipe's numbers it gives, by key
  std::string definition = {};  ///< the TOML of a task file that says all this; empty: a row of the table
};

}  // namespace koine
