// The table of tasks. A new task is a row here, and a reader in tasks/formats/ where none reads its files yet
// (docs/adding-a-task.md). What a row may say: common/task_row.h.
//
// Recipes, {batch, accumulation, epochs}. Targets, and lengths: the authors' scripts (nyu-mll/jiant,
// scripts/benchmarks/xtreme), as written there; the runner's own 4 x 8 and 3 epochs stand for a target they do not name.
// Intermediate: the appendix of Phang et al. (arXiv 2005.13013) as remembered, for no script holds it.

#include <algorithm>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/common/task.h"
#include "tasks/families/choice.h"
#include "tasks/families/classification.h"
#include "tasks/families/retrieval.h"
#include "tasks/families/span.h"
#include "tasks/families/tagging.h"
#include "tasks/families/text.h"
#include "tasks/formats/choices.h"
#include "tasks/formats/labelled_texts.h"
#include "tasks/formats/parallel_text.h"
#include "tasks/formats/plain_text.h"
#include "tasks/formats/squad.h"
#include "tasks/formats/tagged.h"

namespace koine {
namespace {

using Names = std::vector<std::string>;

constexpr FileLayout kJson = FileLayout::kJsonLines;
constexpr FileLayout kTable = FileLayout::kHeaderTsv;
constexpr FileLayout kXtreme = FileLayout::kXtreme;

const FileReader kLabelledTexts(read_labelled_texts, languages_of_labelled_texts);

const Names kNliLabels = {"contradiction", "entailment", "neutral"};  // jiant's order
const Names kXtremeLanguages = {"en", "af", "ar", "bg", "bn", "de", "el", "es", "et", "eu", "fa", "fi", "fr", "he",
                                "hi", "hu", "id", "it", "ja", "jv", "ka", "kk", "ko", "ml", "mr", "ms", "my", "nl",
                                "pt", "ru", "sw", "ta", "te", "th", "tl", "tr", "ur", "vi", "yo", "zh"};

std::vector<TaskRow> task_rows() {
  return {
      {
          .name = "mlm",
          .reader = read_plain_lines,
          .languages = kXtremeLanguages,
          .intermediate = Recipe{8, 1, 3},
          .files = {{"train dev", "mlm/{language}.{split}.txt"},
                    {"train dev", "mlm/{split}-{language}.txt"},
                    {"train", "mlm/{language}.txt"}},
      },
      {
          .name = "mnli",
          .reader = kLabelledTexts,
          .labels = kNliLabels,
          .intermediate = Recipe{24, 1, 2},
          .files = {{"train", "mnli/multinli_1.0/multinli_1.0_train.jsonl", kJson},
                    {"train", "mnli/multinli_1.0/multinli_1.0_train.txt", kTable},
                    {"train", "multinli_1.0/multinli_1.0_train.jsonl", kJson},
                    {"train", "multinli_1.0/multinli_1.0_train.txt", kTable},
                    {"train", "mnli/glue/MNLI/train.tsv", kTable},
                    {"train", "glue/MNLI/train.tsv", kTable},
                    {"train", "MNLI/train.tsv", kTable},
                    {"train", "xnli/train-en.tsv", kXtreme},
                    {"dev", "mnli/multinli_1.0/multinli_1.0_dev_matched.jsonl", kJson},
                    {"dev", "mnli/multinli_1.0/multinli_1.0_dev_matched.txt", kTable},
                    {"dev", "multinli_1.0/multinli_1.0_dev_matched.jsonl", kJson},
                    {"dev", "multinli_1.0/multinli_1.0_dev_matched.txt", kTable},
                    {"dev", "mnli/glue/MNLI/dev_matched.tsv", kTable},
                    {"dev", "glue/MNLI/dev_matched.tsv", kTable},
                    {"dev", "MNLI/dev_matched.tsv", kTable}},
          .label_aliases = {{"contradictory", "contradiction"}},  // XNLI's translations of MultiNLI
          .skipped_label = "-",                                   // the annotators did not agree
      },
      {
          .name = "squad",
          .reader = read_squad,
          .max_seq_length = 384,
          .intermediate = Recipe{8, 1, 3},
          .files = {{"train dev", "squad/{split}-v1.1.json"}, {"train dev", "{split}-v1.1.json"}},
      },
      {
          .name = "xnli",
          .reader = kLabelledTexts,
          .labels = kNliLabels,
          .train_task = "mnli",
          .languages = {"en", "ar", "bg", "de", "el", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh"},
          .target = Recipe{4, 8, 2},
          .files = {{"dev test", "xnli/XNLI-1.0/xnli.{split}.tsv", kTable},
                    {"dev test", "xnli/XNLI-1.0/xnli.{split}.jsonl", kJson},
                    {"dev test", "XNLI-1.0/xnli.{split}.tsv", kTable},
                    {"dev test", "XNLI-1.0/xnli.{split}.jsonl", kJson},
                    {"dev test", "xnli/{split}-{language}.tsv", kXtreme}},
          .label_aliases = {{"contradictory", "contradiction"}},
          .skipped_label = "-",
      },
      {
          .name = "pawsx",
          .reader = kLabelledTexts,
          .labels = {"0", "1"},  // another meaning, the same
          .languages = {"en", "de", "es", "fr", "ja", "ko", "zh"},
          .target = Recipe{4, 8, 5},
          .files = {{"train", "pawsx/x-final/{language}/train.tsv", kTable},
                    {"train", "pawsx/x-final/{language}/translated_train.tsv", kTable},
                    {"train", "x-final/{language}/train.tsv", kTable},
                    {"train", "x-final/{language}/translated_train.tsv", kTable},
                    {"dev test", "pawsx/x-final/{language}/{split}_2k.tsv", kTable},
                    {"dev test", "x-final/{language}/{split}_2k.tsv", kTable},
                    {"train dev test", "pawsx/{split}-{language}.tsv", kXtreme}},
      },
      {
          .name = "udpos",
          .reader = read_tagged,
          .labels = universal_parts_of_speech(),
          .languages = {"en", "af", "ar", "bg", "de", "el", "es", "et", "eu", "fa", "fi", "fr", "he", "hi", "hu", "id", "it",
                        "ja", "kk", "ko", "mr", "nl", "pt", "ru", "ta", "te", "th", "tl", "tr", "ur", "vi", "yo", "zh"},
          .target = Recipe{4, 8, 10},
          // All treebanks of a language, in the order XTREME merges them.
          .files = {{"train dev test", "udpos/ud-treebanks-v2.5/UD_*/{language}_*-ud-{split}.conllu"},
                    {"train dev test", "ud-treebanks-v2.5/UD_*/{language}_*-ud-{split}.conllu"},
                    {"train dev test", "udpos/UD_*/{language}_*-ud-{split}.conllu"},
                    {"train dev test", "udpos/{split}-{language}.tsv", kXtreme}},
      },
      {
          .name = "xquad",
          .reader = read_squad,
          .train_task = "squad",
          .languages = {"en", "es", "de", "el", "ru", "tr", "ar", "vi", "th", "zh", "hi"},
          .max_seq_length = 384,
          .target = Recipe{4, 4, 2},
          .files = {{"test", "xquad/xquad.{language}.json"},
                    {"test", "xquad.{language}.json"},
                    {"test", "xquad/test-{language}.json"}},
      },
      {
          .name = "tatoeba",
          .reader = read_parallel_text,
          .languages = {"ar", "he", "vi", "id", "jv", "tl", "eu", "ml", "ta", "te", "af", "nl",
                        "de", "el", "bn", "hi", "mr", "ur", "fa", "fr", "it", "pt", "es", "bg",
                        "ru", "ja", "ka", "ko", "th", "sw", "zh", "kk", "tr", "et", "fi", "hu"},
          .max_seq_length = 512,
          .files = {{"test", "tatoeba/v1/tatoeba.{language3}-eng.{language3}"},
                    {"test", "tatoeba/tatoeba.{language3}-eng.{language3}"},
                    {"test", "tatoeba.{language3}-eng.{language3}"},
                    {"test", "tatoeba/{language}-en.{language}", kXtreme}},
      },
  };
}

std::vector<std::string> names_of_tasks() {
  std::vector<std::string> names;
  for (const Task* task : all_tasks()) names.push_back(task->name());
  return names;
}

struct MakeTask {
  TaskRow row;
  std::unique_ptr<Task> operator()(const FileReader<TextFile>&) { return make_text_task(std::move(row)); }
  std::unique_ptr<Task> operator()(const FileReader<LabelledTexts>&) { return make_classification_task(std::move(row)); }
  std::unique_ptr<Task> operator()(const FileReader<ChoiceFile>&) { return make_choice_task(std::move(row)); }
  std::unique_ptr<Task> operator()(const FileReader<SquadFile>&) { return make_span_task(std::move(row)); }
  std::unique_ptr<Task> operator()(const FileReader<TaggedFile>&) { return make_tagging_task(std::move(row)); }
  std::unique_ptr<Task> operator()(const FileReader<ParallelText>&) { return make_retrieval_task(std::move(row)); }
};

}  // namespace

std::unique_ptr<Task> make_task(TaskRow row) {
  const TaskReader reader = row.reader;
  return std::visit(MakeTask{std::move(row)}, reader);
}

const std::vector<const Task*>& all_tasks() {
  static const std::vector<std::unique_ptr<Task>> made = [] {
    std::vector<std::unique_ptr<Task>> all;
    for (TaskRow& row : task_rows()) all.push_back(make_task(std::move(row)));
    return all;
  }();
  static const std::vector<const Task*> tasks = [] {
    std::vector<const Task*> all;
    for (const std::unique_ptr<Task>& task : made) all.push_back(task.get());
    return all;
  }();
  return tasks;
}

const Task& find_task(const std::string& name, const std::string& where) {
  for (const Task* task : all_tasks()) {
    if (task->name() == name) return *task;
  }
  const std::vector<std::string> names = names_of_tasks();
  const std::string nearest = nearest_name(name, names);
  std::string known;
  for (const std::string& one : names) known += (known.empty() ? "" : ", ") + one;
  fail_user(where, where.empty() ? "" : ": ", "unknown task \"", name, "\"",
            nearest.empty() ? "" : concatenate("; did you mean \"", nearest, "\"?"), " (tasks: ", known, ")");
}

}  // namespace koine
