// The table of tasks. A new task is a row here, and a reader in tasks/formats/ where none reads its files yet
// (docs/adding-a-task.md). What a row may say: common/task_row.h.
//
// Recipes, {batch, accumulation, epochs}. Targets, and lengths: the authors' scripts (nyu-mll/jiant,
// scripts/benchmarks/xtreme), as written there; what they do not name: experiment/recipes.cpp. Intermediate: the appendix of
// Phang et al. (arXiv 2005.13013) as remembered, for no script holds it. SIQA, COPA, XCOPA: batch, epochs and length of
// google-research/xtreme, scripts/train_xcopa.sh; not its rate, 3e-5.

#include <algorithm>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/common/task.h"
#include "tasks/families/choice.h"
#include "tasks/families/classification.h"
#include "tasks/families/mining.h"
#include "tasks/families/pairs.h"
#include "tasks/families/ranking.h"
#include "tasks/families/retrieval.h"
#include "tasks/families/span.h"
#include "tasks/families/tagging.h"
#include "tasks/families/text.h"
#include "tasks/formats/bucc.h"
#include "tasks/formats/ccg.h"
#include "tasks/formats/commonsense_qa.h"
#include "tasks/formats/copa.h"
#include "tasks/formats/cosmos_qa.h"
#include "tasks/formats/hellaswag.h"
#include "tasks/formats/labelled_texts.h"
#include "tasks/formats/lareqa.h"
#include "tasks/formats/mewslix.h"
#include "tasks/formats/parallel_text.h"
#include "tasks/formats/plain_text.h"
#include "tasks/formats/social_iqa.h"
#include "tasks/formats/squad.h"
#include "tasks/formats/squad_sentences.h"
#include "tasks/formats/tagged.h"
#include "tasks/formats/tydiqa.h"
#include "tasks/formats/wikiann.h"

namespace koine {
namespace {

using Names = std::vector<std::string>;

constexpr FileLayout kJson = FileLayout::kJsonLines;
constexpr FileLayout kTable = FileLayout::kTsv;
constexpr FileLayout kXtreme = FileLayout::kXtreme;

const FileReader kLabelledTexts(read_labelled_texts, languages_of_labelled_texts);
const FileReader kMewslix(read_mewslix, languages_of_mewslix);
const FileReader kTydiqa(read_tydiqa, languages_of_tydiqa);

const Names kNliLabels = {"contradiction", "entailment", "neutral"};  // jiant's order
const Names kMlqaLanguages = {"en", "es", "de", "ar", "hi", "vi", "zh"};
const Names kXtremeLanguages = {"en", "af", "ar", "bg", "bn", "de", "el", "es", "et", "eu", "fa", "fi", "fr", "he",
                                "hi", "hu", "id", "it", "ja", "jv", "ka", "kk", "ko", "ml", "mr", "ms", "my", "nl",
                                "pt", "ru", "sw", "ta", "te", "th", "tl", "tr", "ur", "vi", "yo", "zh"};

const Names kTatoebaLanguages = {"ar", "he", "vi", "id", "jv", "tl", "eu", "ml", "ta", "te", "af", "nl",
                                 "de", "el", "bn", "hi", "mr", "ur", "fa", "fr", "it", "pt", "es", "bg",
                                 "ru", "ja", "ka", "ko", "th", "sw", "zh", "kk", "tr", "et", "fi", "hu"};
const std::vector<FileCandidate> kTatoebaFiles = {{"test", "tatoeba/v1/tatoeba.{language3}-eng.{language3}"},
                                                  {"test", "tatoeba/tatoeba.{language3}-eng.{language3}"},
                                                  {"test", "tatoeba.{language3}-eng.{language3}"},
                                                  {"test", "tatoeba/{language}-en.{language}", kXtreme}};

/// "0", "1" ... of so many.
Names numbers_to(int count) {
  Names names;
  for (int i = 0; i < count; ++i) names.push_back(std::to_string(i));
  return names;
}

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
                    {"train", "xnli/train-{language}.tsv", kXtreme},
                    // Translations: XNLI's own, XTREME's.
                    {"train", "xnli/XNLI-MT-1.0/multinli/multinli.train.{language}.tsv", kTable},
                    {"train", "XNLI-MT-1.0/multinli/multinli.train.{language}.tsv", kTable},
                    {"train", "xnli/translate-train/en-{language}-translated.tsv", kXtreme},
                    {"train", "XNLI/translate-train/en-{language}-translated.tsv", kXtreme},
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
          .name = "snli",
          .reader = kLabelledTexts,
          .labels = kNliLabels,
          .files = {{"train dev test", "snli/snli_1.0/snli_1.0_{split}.jsonl", kJson},
                    {"train dev test", "snli/snli_1.0/snli_1.0_{split}.txt", kTable},
                    {"train dev test", "snli_1.0/snli_1.0_{split}.jsonl", kJson},
                    {"train dev test", "snli_1.0/snli_1.0_{split}.txt", kTable},
                    {"train dev", "snli/glue/SNLI/{split}.tsv", kTable},
                    {"train dev", "glue/SNLI/{split}.tsv", kTable},
                    {"train dev", "SNLI/{split}.tsv", kTable}},
          .skipped_label = "-",
      },
      {
          // All three rounds, in their order.
          .name = "anli",
          .reader = kLabelledTexts,
          .labels = kNliLabels,
          .files = {{"train dev test", "anli/anli_v1.0/R*/{split}.jsonl", kJson},
                    {"train dev test", "anli_v1.0/R*/{split}.jsonl", kJson}},
          .fields = {.first = {"context"}, .second = {"hypothesis"}, .label = {"label"}},
          .label_aliases = {{"c", "contradiction"}, {"e", "entailment"}, {"n", "neutral"}},
      },
      {
          // SNLI, MultiNLI and the three rounds of ANLI under one head.
          .name = "anli+",
          .reader = kLabelledTexts,
          .labels = kNliLabels,
          .intermediate = Recipe{24, 1, 2},
          .parts = {"snli", "mnli", "anli"},
          .skipped_label = "-",  // as the parts skip it
      },
      {
          .name = "qqp",
          .reader = kLabelledTexts,
          .labels = {"0", "1"},
          .scorer = "accuracy_and_f1",
          .intermediate = Recipe{24, 1, 3},
          .files = {{"train dev", "qqp/QQP/{split}.tsv", kTable},
                    {"train dev", "glue/QQP/{split}.tsv", kTable},
                    {"train dev", "QQP/{split}.tsv", kTable}},
          .fields = {.first = {"question1"}, .second = {"question2"}, .label = {"is_duplicate"}, .short_rows = true},
      },
      {
          .name = "hellaswag",
          .reader = read_hellaswag,
          .choices = 4,
          .intermediate = Recipe{24, 1, 7},
          .files = {{"train", "hellaswag/hellaswag_train.jsonl"},
                    {"train", "hellaswag/data/hellaswag_train.jsonl"},
                    {"dev", "hellaswag/hellaswag_val.jsonl"},
                    {"dev", "hellaswag/data/hellaswag_val.jsonl"}},
      },
      {
          .name = "cosmosqa",
          .reader = read_cosmos_qa,
          .choices = 4,
          .intermediate = Recipe{4, 1, 15},
          .files = {{"train", "cosmosqa/train.csv"},
                    {"train", "cosmosqa/data/train.csv"},
                    {"dev", "cosmosqa/valid.csv"},
                    {"dev", "cosmosqa/data/valid.csv"}},
      },
      {
          .name = "commonsenseqa",
          .reader = read_commonsense_qa,
          .choices = 5,
          .intermediate = Recipe{4, 1, 10},
          .files = {{"train dev", "commonsenseqa/{split}_rand_split.jsonl"}, {"train dev", "{split}_rand_split.jsonl"}},
      },
      {
          // Trained before COPA for XCOPA (XTREME-R).
          .name = "siqa",
          .reader = read_social_iqa,
          .choices = 3,
          .max_seq_length = 128,
          .intermediate = Recipe{32, 1, 5},
          .files = {{"train", "siqa/socialIQa_v1.4_trn.jsonl"},
                    {"train", "siqa/socialiqa-train-dev/train.jsonl"},
                    {"dev", "siqa/socialIQa_v1.4_dev.jsonl"},
                    {"dev", "siqa/socialiqa-train-dev/dev.jsonl"}},
      },
      {
          .name = "copa",
          .reader = read_copa,
          .choices = 2,
          .max_seq_length = 128,
          .intermediate = Recipe{32, 1, 5},
          .files = {{"train", "xcopa/COPA/train.jsonl"},
                    {"train", "COPA/train.jsonl"},
                    {"train", "xcopa/train.en.jsonl"},
                    {"dev", "xcopa/COPA/val.jsonl"},
                    {"dev", "COPA/val.jsonl"},
                    {"dev", "xcopa/val.en.jsonl"}},
      },
      {
          .name = "ccg",
          .reader = read_ccg,
          .labels = numbers_to(1363),  // of CCGbank's categories, as many as jiant's head has
          .scorer = "accuracy",
          .intermediate = Recipe{24, 1, 15},
          .files = {{"train dev test", "ccg/ccgbank_1_1/data/AUTO/*/wsj_*.auto"},
                    {"train dev test", "ccg/data/AUTO/*/wsj_*.auto"},
                    {"train dev test", "ccgbank_1_1/data/AUTO/*/wsj_*.auto"},
                    {"train dev test", "ccg/ccg.{split}", kXtreme}},
      },
      {
          .name = "squad",
          .reader = read_squad,
          .max_seq_length = 384,
          .intermediate = Recipe{8, 1, 3},
          .files = {{"train dev", "squad/{split}-v1.1.json"},
                    {"train dev", "{split}-v1.1.json"},
                    {"train", "squad/translate-train/squad.translate.train.en-{language}.json"},  // XTREME's translations
                    {"train", "SQuAD/translate-train/squad.translate.train.en-{language}.json"}},
      },
      {
          .name = "squad2",
          .reader = read_squad2,
          .scorer = "squad2",
          .max_seq_length = 384,
          .intermediate = Recipe{8, 1, 3},
          .files = {{"train dev", "squad/{split}-v2.0.json"}, {"train dev", "{split}-v2.0.json"}},
      },
      {
          // What LAReQA's dual encoder learns from.
          .name = "squad_sentences",
          .reader = read_squad_sentences,
          .intermediate = Recipe{4, 4, 3},
          .files = {{"train dev", "squad/{split}-v1.1.json"}, {"train dev", "{split}-v1.1.json"}},
      },
      {
          // What Mewsli-X's learns from.
          .name = "wikipedia_pairs",
          .reader = read_mewslix_pairs,
          .max_seq_length = 64,
          .intermediate = Recipe{8, 4, 2},
          .files = {{"train dev", "mewslix/wikipedia_pairs-{split}.jsonl"},
                    {"train dev", "mewsli_x/output/dataset/wikipedia_pairs-{split}.jsonl"}},
      },
      {
          .name = "xnli",
          .reader = kLabelledTexts,
          .labels = kNliLabels,
          .train_task = "mnli",
          .languages = {"en", "ar", "bg", "de", "el", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh"},
          .parallel = true,
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
          .parallel = true,
          .target = Recipe{4, 8, 5},
          .files = {{"train", "pawsx/x-final/{language}/train.tsv", kTable},
                    {"train", "pawsx/x-final/{language}/translated_train.tsv", kTable},
                    {"train", "x-final/{language}/train.tsv", kTable},
                    {"train", "x-final/{language}/translated_train.tsv", kTable},
                    {"dev test", "pawsx/x-final/{language}/{split}_2k.tsv", kTable},
                    {"dev test", "x-final/{language}/{split}_2k.tsv", kTable},
                    {"train dev test", "pawsx/{split}-{language}.tsv", kXtreme},
                    {"train", "pawsx/translate-train/en-{language}-translated.tsv", kXtreme},
                    {"train", "PAWSX/translate-train/en-{language}-translated.tsv", kXtreme}},
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
          .name = "panx",
          .reader = read_wikiann,
          .labels = {"B-LOC", "B-ORG", "B-PER", "I-LOC", "I-ORG", "I-PER", "O"},  // jiant's order
          .languages = kXtremeLanguages,
          .target = Recipe{4, 8, 10},
          .files = {{"train dev test", "panx_dataset/{language}-{split}"},
                    {"train dev test", "wikiann/{language}-{split}"},
                    {"train dev test", "wikiann/{language}/{split}"},
                    {"train dev test", "panx/{split}-{language}.tsv", kXtreme}},
      },
      {
          .name = "xquad",
          .reader = read_squad,
          .train_task = "squad",
          .languages = {"en", "es", "de", "el", "ru", "tr", "ar", "vi", "th", "zh", "hi"},
          .parallel = true,
          .max_seq_length = 384,
          .target = Recipe{4, 4, 2},
          .files = {{"test", "xquad/xquad.{language}.json"},
                    {"test", "xquad.{language}.json"},
                    {"test", "xquad/test-{language}.json"}},
      },
      {
          .name = "mlqa",
          .reader = read_squad,
          .scorer = "mlqa",
          .train_task = "squad",
          .languages = kMlqaLanguages,
          .parallel = true,
          .max_seq_length = 384,
          .target = Recipe{4, 4, 2},
          .files = {{"dev test", "mlqa/MLQA_V1/{split}/{split}-context-{language}-question-{language}.json"},
                    {"dev test", "MLQA_V1/{split}/{split}-context-{language}-question-{language}.json"}},
      },
      {
          // Contexts and questions in all pairs of languages, "en-de": an English context, a German question.
          .name = "mlqa_pairs",
          .reader = read_squad,
          .scorer = "mlqa",
          .train_task = "squad",
          .languages = kMlqaLanguages,
          .max_seq_length = 384,
          .target = Recipe{4, 4, 2},
          .files = {{"dev test", "mlqa/MLQA_V1/{split}/{split}-context-{context}-question-{question}.json"},
                    {"dev test", "MLQA_V1/{split}/{split}-context-{context}-question-{question}.json"}},
      },
      {
          .name = "tydiqa",
          .reader = kTydiqa,
          .languages = {"en", "ar", "bn", "fi", "id", "ko", "ru", "sw", "te"},
          .max_seq_length = 384,
          .target = Recipe{4, 4, 2},
          .files = {{"train", "tydiqa/tydiqa-goldp-v1.1-train.json"},
                    {"train", "tydiqa/tydiqa-goldp-v1.1-train/tydiqa-goldp-v1.1-train.json"},
                    {"train", "tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.{language}.train.json", kXtreme},
                    {"test", "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-*.json"},
                    {"test", "tydiqa/tydiqa-goldp-v1.1-dev.json"},
                    {"test", "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.{language}.dev.json", kXtreme}},
      },
      {
          .name = "xcopa",
          .reader = read_copa,
          .choices = 2,
          .train_task = "copa",
          .languages = {"et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh"},
          .parallel = true,
          .max_seq_length = 128,
          .target = Recipe{4, 8, 5},
          .files = {{"dev", "xcopa/data/{language}/val.{language}.jsonl"},
                    {"dev", "xcopa/val.{language}.jsonl"},
                    {"test", "xcopa/data/{language}/test.{language}.jsonl"},
                    {"test", "xcopa/test.{language}.jsonl"}},
      },
      {
          .name = "bucc2018",
          .reader = read_bucc,
          .languages = {"de", "fr", "ru", "zh"},
          .max_seq_length = 512,
          // XTREME's names for BUCC's own: dev is its sample, test its training set.
          .files = {{"dev", "bucc2018/{language}-en/{language}-en.sample.{language}"},
                    {"test", "bucc2018/{language}-en/{language}-en.training.{language}"},
                    {"dev test", "bucc2018/{language}-en.{split}.{language}", kXtreme}},
      },
      {
          // One pool of all languages' sentences: all its files are one set, of ISO 639's "mul".
          .name = "lareqa",
          .reader = read_lareqa,
          .train_task = "squad_sentences",
          .languages = {"mul"},
          .target = Recipe{4, 4, 3},
          .files = {{"test", "lareqa/xquad-r/*.json"}, {"test", "xquad-r/*.json"}},
      },
      {
          .name = "mewslix",
          .reader = kMewslix,
          .scorer = "mewslix",
          .train_task = "wikipedia_pairs",
          .languages = {"en", "ar", "de", "es", "fa", "ja", "pl", "ro", "ta", "tr", "uk"},
          .max_seq_length = 64,
          .target = Recipe{8, 4, 2},
          .files = {{"dev test", "mewslix/wikinews_mentions-{split}.jsonl"},
                    {"dev test", "mewsli_x/output/dataset/wikinews_mentions-{split}.jsonl"},
                    {"dev test", "mewslix/wikinews_mentions/{split}-{language}.jsonl", kXtreme}},
      },
      {
          .name = "tatoeba",
          .reader = read_parallel_text,
          .languages = kTatoebaLanguages,
          .max_seq_length = 512,
          .files = kTatoebaFiles,
      },
      {
          // No training and no task: how far each hidden state aligns translations. Its authors take FLORES or the Bible.
          .name = "mexa",
          .reader = read_parallel_text,
          .scorer = "mexa",
          .languages = kTatoebaLanguages,
          .max_seq_length = 512,
          .files = kTatoebaFiles,
      },
  };
}

/// The tasks there are. It grows, and nothing leaves it: who found a task may keep the pointer.
class TaskTable {
 public:
  TaskTable() {
    for (TaskRow& row : task_rows()) add(make_task(std::move(row)));
  }
  void add(std::unique_ptr<Task> task) {
    all_.push_back(task.get());
    owned_.push_back(std::move(task));
  }
  const std::vector<const Task*>& all() const { return all_; }

 private:
  std::vector<std::unique_ptr<Task>> owned_;
  std::vector<const Task*> all_;
};

TaskTable& tasks() {
  static TaskTable table;
  return table;
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
  std::unique_ptr<Task> operator()(const FileReader<BuccFile>&) { return make_mining_task(std::move(row)); }
  std::unique_ptr<Task> operator()(const FileReader<CandidatePool>&) { return make_ranking_task(std::move(row)); }
  std::unique_ptr<Task> operator()(const FileReader<TextPairs>&) { return make_pairs_task(std::move(row)); }
};

}  // namespace

std::unique_ptr<Task> make_task(TaskRow row) {
  const TaskReader reader = row.reader;
  return std::visit(MakeTask{std::move(row)}, reader);
}

const std::vector<const Task*>& all_tasks() { return tasks().all(); }

void add_task(TaskRow row, const std::string& where) {
  for (const Task* task : all_tasks()) {
    if (task->name() != row.name) continue;
    const std::string& definition = task->row().definition;
    require(!definition.empty(), where, ": \"", row.name, "\" is the name of a built-in task; choose another");
    require(definition == row.definition, where, ": another task is called \"", row.name, "\"; choose another name");
    return;
  }
  tasks().add(make_task(std::move(row)));
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
