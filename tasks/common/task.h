#pragma once

// A task: its row (task_row.h), and what its family (tasks/families/) makes of it: how an example becomes a model input, how
// its predictions are scored. Thin on purpose: everything else is the engine's.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/batch/packed_batch.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/training/model.h"
#include "kernels/common/check.h"
#include "tasks/common/example_outcomes.h"
#include "tasks/common/guards.h"
#include "tasks/common/task_row.h"

namespace koine {

struct FeatureOptions {
  std::int64_t max_seq_length = 0;  ///< 0: the task's own
  std::int64_t doc_stride = 128;    ///< window advance of question answering: transformers' run_squad.py, as the next
  std::int64_t max_query_length = 64;
  std::int64_t max_examples = 0;  ///< first so many examples of the split; of a task made of parts as many at even distances
                                  ///< in all of them, one behind the other; 0: all
  bool pack_lines = false;        ///< plain text: sequences as long as they may be of the lines in their order, instead of
                                  ///< one for each line
  double noise_density = 0.15;    ///< plain text as texts: the share of tokens that span corruption takes out
  std::int64_t max_target_length = 0;  ///< of an answer as text, its end included; 0: the form's own (text/text_form.h)
};

/// What a task's evaluation gives.
struct Evaluation {
  std::string metric;                     ///< the headline figure's name: "accuracy", "f1" ...
  double value = 0;                       ///< in percent, as XTREME reports; more is better (mlm: minus the loss)
  std::map<std::string, double> metrics;  ///< all of them ("exact_match", "f1", ...), in percent
  /// What the best weights are chosen by while a model trains; nothing: `value`. The authors' "major" metric (jiant,
  /// jiant/tasks/evaluate/core.py): of question answering (exact match + F1) / 2, of SQuAD 2.0 both at their best thresholds.
  std::optional<double> selection;
  /// Tasks of sentence vectors: the hidden state these figures are of, and where several were asked for the figures of each.
  std::optional<std::int64_t> layer = {};
  std::map<std::int64_t, std::map<std::string, double>> layers = {};
  std::int64_t examples = 0;
  std::int64_t unpredicted = 0;  ///< of them, those that a predictions file lacks: they score 0
  /// Answers as text. How many could not be read, which count as wrong; how many, where answers are parts of the example's
  /// text, are in another script than it and no part of it (text/script.h): what mT5's authors call accidental translation.
  std::optional<std::int64_t> unreadable = {};
  std::optional<std::int64_t> other_script = {};
  std::optional<Collapse> collapse = {};  ///< classification, choice, tagging: where the answers are all one class
  ExampleOutcomes outcomes = {};          ///< of each example, where predictions are wanted and `value` is formed of them
  std::int64_t tokens = 0;
  double seconds = 0;
  std::string prediction_file;     ///< path below a predictions folder in XTREME's layout: "xnli/test-sw.tsv"
  std::string prediction_content;  ///< its text
};

/// How a model that answers with a text chooses where the answers are known beforehand, labels or choices: it writes what it
/// will, and what is none of them is unreadable; it writes one of them; the one that is likeliest is taken, by the sum of its
/// tokens' log-probabilities (T5's rank_classification).
enum class ChoiceSearch { kGenerate, kConstrained, kLikelihood };

struct EvaluationOptions {
  std::int64_t max_tokens_per_batch = 4096;
  /// Tasks of sentence vectors: which hidden states, all scored from one pass; empty: the task's own (layers.h).
  std::vector<std::int64_t> layers = {};
  Pooling pooling = Pooling::kMean;
  ChoiceSearch choices = ChoiceSearch::kGenerate;
  int head = 0;
  bool want_predictions = true;
  /// Those that compute part of what needs a model (engine/training/shared_prediction.h), told by this one, rank 0; null: none.
  Communicator* ranks = nullptr;
  const std::atomic<bool>* stop = nullptr;
  /// Told at the beginning and after every batch how many of how many tokens are done; may be empty.
  std::function<void(std::int64_t done, std::int64_t total)> progress = {};
};

/// Examples of a split's files that are not in its data set, as the official readers leave them out.
struct LeftOut {
  std::int64_t count = 0;
  std::int64_t total = 0;  ///< of the files
  std::string what;        ///< "questions left out: <why>"
};

/// Thrown for files that have no gold labels and are to be scored.
class MissingGold : public UserError {
 public:
  using UserError::UserError;
};

/// A file of inputs to be answered.
struct InputFile {
  std::filesystem::path path;
  /// How it is written, of the forms that a family has (formats/inputs.h): JSON lines or a table. Nothing: as the task's own
  /// files are, of which its name tells the one.
  std::optional<FileLayout> layout = {};
};

/// What a model answers, in the order of the inputs.
struct Answers {
  std::vector<std::string> records;  ///< a JSON object for each (families/answers.h)
  std::string submission;            ///< in the layout of prediction files
};

/// One split of one task in one language, ready for a model.
class TaskData {
 public:
  virtual ~TaskData() = default;
  virtual const Dataset& dataset() const = 0;
  virtual LeftOut left_out() const { return {}; }
  /// What framing cut off its examples.
  virtual Truncation truncation() const { return {}; }
  /// Runs the model over it and scores. UserError when the split has no gold labels (XTREME's blanked test files), naming
  /// the file; Interrupted (prediction.h) when options.stop was set.
  virtual Evaluation evaluate(Model& model, const EvaluationOptions& options) const = 0;
  /// Runs the model over it, gold or not. Interrupted as evaluate(); UserError where the task has no answers to give.
  virtual Answers answer(Model& model, const EvaluationOptions& options) const;
};

class Task {
 public:
  explicit Task(TaskRow row) : row_(std::move(row)) {}
  virtual ~Task() = default;
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  const TaskRow& row() const { return row_; }
  const std::string& name() const { return row_.name; }
  const std::vector<std::string>& labels() const { return row_.labels; }
  const std::vector<std::string>& languages() const { return row_.languages; }
  /// Whether a language is the benchmark's, so that a mean under the task's name is over it: one of languages(), "en-de"
  /// where both are, and every generated language. Files may be there of others: those are evaluated and shown beside.
  bool is_official(const std::string& language) const;
  std::int64_t max_seq_length() const { return row_.max_seq_length; }
  /// Splits this task has files for: "train", "dev", "test".
  std::vector<std::string> splits() const;
  /// Where its files may lie; of a task made of parts, the first one's.
  const std::vector<FileCandidate>& files() const;
  /// Those that may hold examples in a language: of a task of one language, others stand only in files whose names say so
  /// (translations).
  std::vector<FileCandidate> files_in(const std::string& language) const;
  /// The task whose training set a head for this one is trained on ("mnli" for "xnli"); its own name where it has one; empty
  /// when nothing is trained (retrieval).
  std::string train_task() const;
  /// Classes of its head (HeadSpec::classes) in a model of so many vocabulary rows.
  std::int32_t classes(std::int64_t vocabulary) const;
  /// What guessing reaches, in percent; 0 where that is not known.
  double chance() const;

  /// Languages whose `split` files are there below the data folder, in the order of languages() (others, alphabetical,
  /// behind).
  std::vector<std::string> available_languages(const std::filesystem::path& data, const std::string& split) const;

  /// The files that load() reads for a split and a language, those beside them (the other side of a pair, labels, gold)
  /// included; empty where there are none.
  std::vector<std::filesystem::path> data_files(const std::filesystem::path& data, const std::string& split,
                                                const std::string& language) const;

  /// Why a split's files of a language cannot be scored: they have no gold. Empty where they have. UserErrors for files that
  /// are wrong.
  std::string missing_gold(const std::filesystem::path& data, const std::string& split, const std::string& language) const;
  /// What is told of a split none of whose files is there: the line of the task file that gives their pattern, where one does.
  std::string without_files(const std::filesystem::path& data, const std::string& split) const;

  virtual HeadKind head() const = 0;
  /// The same task for models that answer with texts: another task of the same row, or this one where no text answers it
  /// (sentence vectors).
  const Task& as_text() const { return text_form_ == nullptr ? *this : *text_form_; }
  bool is_text_form() const;
  /// Whether it is plain text that is learnt, by masking or span corruption.
  bool is_language_modelling() const;
  /// Gives a task that is being made its text form.
  void set_text_form(std::unique_ptr<Task> form) { text_form_ = std::move(form); }
  /// The headline figure: what Evaluation::metric says.
  virtual std::string metric() const = 0;
  /// Tasks of sentence vectors: how they are made where nothing else is asked for.
  virtual Pooling pooling() const { return Pooling::kMean; }
  /// Reads and converts. UserErrors name file and line. The tokenizer must outlive what is returned.
  virtual std::unique_ptr<TaskData> load(const std::filesystem::path& data, const std::string& split,
                                         const std::string& language, const Tokenizer& tokenizer,
                                         const FeatureOptions& options) const = 0;
  /// The same of inputs without gold, for answer(). UserError where the task has no answers to give.
  virtual std::unique_ptr<TaskData> load_inputs(const InputFile& input, const std::string& language,
                                                const Tokenizer& tokenizer, const FeatureOptions& options) const;
  /// Scores a predictions file of this task against gold data (`koine score`): metrics in percent.
  virtual Evaluation score(const std::filesystem::path& predictions, const std::filesystem::path& gold,
                           const std::string& language) const = 0;

  /// Whether the task's files are complete: one line per split and language that is official or there: path, examples, and
  /// what is wrong.
  struct FileStatus {
    std::string path;
    std::string split;
    std::string language;
    std::int64_t examples = 0;
    LeftOut left_out = {};  ///< of a training set, as load() leaves them out
    bool present = false;
    std::string problem;  ///< empty: fine
  };
  virtual std::vector<FileStatus> check_files(const std::filesystem::path& data) const;

 protected:
  /// Languages inside a file that may hold several; empty where it does not say.
  virtual std::set<std::string> languages_in(const FoundFile& file) const = 0;
  /// Reads files for check_files: number of examples; UserError with what is wrong, missing gold included.
  virtual std::int64_t count_examples(const std::filesystem::path& data, const std::string& split,
                                      const std::string& language) const = 0;
  virtual LeftOut count_left_out(const std::filesystem::path& data, const std::string& split,
                                 const std::string& language) const;

 private:
  FileStatus check_language(const std::filesystem::path& data, const std::string& split, const std::string& language) const;

  TaskRow row_;
  std::unique_ptr<Task> text_form_;
};

/// The task of a row: its family is the one whose files the row's reader reads.
std::unique_ptr<Task> make_task(TaskRow row);

/// All tasks, in the order reports show them: those of the table, behind them those added.
const std::vector<const Task*>& all_tasks();
/// Adds a task of a task file (experiment/task_file.h) for as long as the program runs. UserError, beginning with `where`,
/// where its name is taken; the same definition again changes nothing.
void add_task(TaskRow row, const std::string& where);
/// By name; UserError, beginning with `where`, with the nearest known name.
const Task& find_task(const std::string& name, const std::string& where = "");

}  // namespace koine
