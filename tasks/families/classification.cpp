#include "tasks/families/classification.h"

#include <algorithm>

#include "tasks/families/answers.h"
#include "tasks/families/family.h"
#include "tasks/formats/inputs.h"
#include "tasks/formats/labelled_texts.h"
#include "tasks/scorers/accuracy.h"
#include "tasks/text/text_answers.h"
#include "tasks/text/text_form.h"

namespace koine {
namespace {

using Labels = std::vector<std::int32_t>;
using ClassificationScorer = Scorer<std::map<std::string, double> (*)(const Labels& gold, const Labels& predictions)>;

const ClassificationScorer kClassificationScorers[] = {
    {"accuracy", "accuracy",
     [](const Labels& gold, const Labels& predictions) -> std::map<std::string, double> {
       return {{"accuracy", accuracy_percent(gold, predictions)}};
     }},
    {"accuracy_and_f1", "average",
     [](const Labels& gold, const Labels& predictions) -> std::map<std::string, double> {
       const double accuracy = accuracy_percent(gold, predictions);
       const double f1 = binary_f1_percent(gold, predictions);
       return {{"accuracy", accuracy}, {"f1", f1}, {"average", (accuracy + f1) / 2}};
     }},
    {"macro_f1", "macro_f1",
     [](const Labels& gold, const Labels& predictions) -> std::map<std::string, double> {
       return {{"macro_f1", macro_f1_percent(gold, predictions)}, {"accuracy", accuracy_percent(gold, predictions)}};
     }},
};

const ClassificationScorer& classification_scorer(const TaskRow& row) {
  return scorer_of<decltype(ClassificationScorer::score)>(kClassificationScorers, row);
}

/// -1: an answer that could not be read.
std::string label_name(const TaskRow& row, std::int32_t label) {
  return label < 0 ? kUnreadable : row.labels[static_cast<std::size_t>(label)];
}

std::string label_lines(const TaskRow& row, const Labels& answers) {
  std::string lines;
  for (const std::int32_t answer : answers) lines += label_name(row, answer) + "\n";
  return lines;
}

ClassCounts counts_of(const TaskRow& row, const Labels& labels) {
  ClassCounts counts;
  for (const std::int32_t label : labels) ++counts[label_name(row, label)];
  return counts;
}

Evaluation score_labels(const TaskRow& row, const Labels& gold, const Labels& predictions) {
  Evaluation result;
  result.metric = classification_scorer(row).metric;
  result.metrics = classification_scorer(row).score(gold, predictions);
  result.value = result.metrics.at(result.metric);
  result.examples = static_cast<std::int64_t>(gold.size());
  result.collapse = find_collapse(counts_of(row, gold), counts_of(row, predictions));
  return result;
}

/// Of the figures of labels only accuracy is a mean over examples.
bool has_outcomes(const Evaluation& result, const EvaluationOptions& options) {
  return options.want_predictions && result.metric == "accuracy";
}

Labels labels_of(const LabelledTexts& texts) {
  Labels labels;
  for (const LabelledText& example : texts.examples) labels.push_back(example.label);
  return labels;
}

class ClassificationData : public FamilyData {
 public:
  ClassificationData(Facts facts, const TaskRow& row, Labels gold)
      : FamilyData(std::move(facts)), row_(row), gold_(std::move(gold)) {}

  Evaluation evaluate(Model& model, const EvaluationOptions& options) const override {
    require_gold();
    const Predictions predictions = predict_all(model, dataset(), options);
    const Labels answers = best_labels(predictions);
    Evaluation result = score_labels(row_, gold_, answers);
    if (has_outcomes(result, options)) result.outcomes = outcomes_of_scores(result.metric, gold_, predictions.logits);
    return finish(std::move(result), predictions.counts, options, [&] { return label_lines(row_, answers); });
  }

  Answers answer(Model& model, const EvaluationOptions& options) const override {
    const Predictions predictions = predict_all(model, dataset(), options);
    Answers answers{{}, label_lines(row_, best_labels(predictions))};
    for (const std::vector<float>& logits : predictions.logits)
      answers.records.push_back(label_record(row_.labels, logits.data()));
    return answers;
  }

 private:
  Labels best_labels(const Predictions& predictions) const {
    Labels answers;
    for (const std::vector<float>& logits : predictions.logits)
      answers.push_back(index_of_largest(logits.data(), dataset().classes));
    return answers;
  }

  const TaskRow& row_;
  Labels gold_;
};

/// Labels as words that a model writes.
class ClassificationTextData : public FamilyData {
 public:
  ClassificationTextData(Facts facts, const TaskRow& row, Labels gold, const TextForm& form, const Tokenizer& tokenizer)
      : FamilyData(std::move(facts)), row_(row), gold_(std::move(gold)), words_(form.words), tokenizer_(tokenizer) {}

  Evaluation evaluate(Model& model, const EvaluationOptions& options) const override {
    require_gold();
    const ChosenAnswers answers = answer_all(model, options);
    Evaluation result = finish(score_labels(row_, gold_, answers.chosen), answers.counts, options,
                               [&] { return label_lines(row_, answers.chosen); });
    if (has_outcomes(result, options))
      result.outcomes = answers.scores.empty() ? outcomes_of_choices(result.metric, gold_, answers.chosen)
                                               : outcomes_of_scores(result.metric, gold_, answers.scores);
    result.unreadable = std::count(answers.chosen.begin(), answers.chosen.end(), -1);
    return result;
  }

  Answers answer(Model& model, const EvaluationOptions& options) const override {
    const ChosenAnswers answers = answer_all(model, options);
    Answers result{{}, label_lines(row_, answers.chosen)};
    for (std::size_t i = 0; i < answers.chosen.size(); ++i) {
      result.records.push_back(
          answers.scores.empty()
              ? written_label_record(answers.chosen[i] < 0 ? "" : label_name(row_, answers.chosen[i]), answers.texts[i])
              : label_record(row_.labels, answers.scores[i].data()));
    }
    return result;
  }

 private:
  ChosenAnswers answer_all(Model& model, const EvaluationOptions& options) const {
    return choose_answers(model, dataset(), tokenizer_, {words_}, options);
  }

  const TaskRow& row_;
  Labels gold_;
  std::vector<std::string> words_;
  const Tokenizer& tokenizer_;
};

class ClassificationTask : public FamilyTask<LabelledTexts> {
 public:
  using FamilyTask::FamilyTask;

  HeadKind head() const override { return HeadKind::kSequence; }
  std::string metric() const override { return std::string(classification_scorer(row()).metric); }

  std::unique_ptr<TaskData> load(const std::filesystem::path& data, const std::string& split, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    LabelledTexts texts = read_split(data, split, language, options.max_examples);
    keep_examples(texts.examples, options.max_examples);
    require_learnable(texts, split);
    return prepare(texts, split, language, tokenizer, options);
  }

  std::unique_ptr<TaskData> load_inputs(const InputFile& input, const std::string& language, const Tokenizer& tokenizer,
                                        const FeatureOptions& options) const override {
    return prepare(read_inputs(input, language, read_text_inputs), kInputs, language, tokenizer, options);
  }

  Evaluation score(const std::filesystem::path& predictions, const std::filesystem::path& gold,
                   const std::string& language) const override {
    const std::filesystem::path file = require_submission_file(predictions, name(), language, "tsv");
    const Labels answers = read_label_lines(file, request("", language));
    const Labels labels = gold_labels(gold, split_of(file), language);
    require(answers.size() == labels.size(), file.string(), ": ", answers.size(), " predictions, the gold data have ",
            labels.size(), " examples");
    return score_labels(row(), labels, answers);
  }

 protected:
  std::int64_t count_examples(const std::filesystem::path& data, const std::string& split,
                              const std::string& language) const override {
    const LabelledTexts texts = read_split(data, split, language);
    require_gold(texts, language);
    return static_cast<std::int64_t>(texts.examples.size());
  }

  virtual std::unique_ptr<TaskData> prepare(const LabelledTexts& texts, const std::string& split,
                                            const std::string& language, const Tokenizer& tokenizer,
                                            const FeatureOptions& options) const {
    Dataset dataset = empty_dataset(split, language);
    const bool pairs = !row().fields.second.empty();
    CountingFramer framer(tokenizer, length_of(options));
    for (const LabelledText& text : texts.examples) {
      Example example;
      example.ids = pairs ? framer.pair(tokenizer.encode(text.first), tokenizer.encode(text.second))
                          : framer.single(tokenizer.encode(text.first));
      if (text.label >= 0) example.labels = {text.label};
      example.number = static_cast<std::uint32_t>(dataset.examples.size());
      dataset.examples.push_back(std::move(example));
    }
    return std::make_unique<ClassificationData>(
        facts_of_set(texts, std::move(dataset), split, language, framer.truncation()), row(), labels_of(texts));
  }

  FamilyData::Facts facts_of_set(const LabelledTexts& texts, Dataset dataset, const std::string& split,
                                 const std::string& language, const Truncation& truncation) const {
    return {std::move(dataset),
            submission_name(name(), split, language, "tsv"),
            texts.labelled ? "" : without_gold(texts.path, language),
            {texts.skipped, texts.skipped + static_cast<std::int64_t>(texts.examples.size()),
             row().fields.short_rows
                 ? "rows left out: they have fewer columns than the header"
                 : concatenate("pairs left out: their label is \"", row().skipped_label, "\" (no agreement)")},
            truncation};
  }

 private:
  FoundFile data_file(const std::filesystem::path& path, const std::string& split) const {
    if (of_task_file()) return gold_file(path, split);
    return {path, layout_of_labelled_texts(path, row().fields)};
  }

  /// From a file of labels (XTREME's layout, where it has one column), or from the task's own data.
  Labels gold_labels(const std::filesystem::path& gold, const std::string& split, const std::string& language) const {
    if (const auto file = find_submission_file(gold, name(), language, "tsv")) {
      const std::vector<std::string> lines = read_lines(*file);
      if (!lines.empty() && lines.front().find_first_of("\t{") == std::string::npos)
        return read_label_lines(*file, request("", language));
    }
    const LabelledTexts texts = std::filesystem::is_regular_file(gold) ? read({data_file(gold, split)}, split, language)
                                                                       : read_split(gold, split, language);
    require_gold(texts, language);
    return labels_of(texts);
  }
};

class ClassificationAsText : public ClassificationTask {
 public:
  using ClassificationTask::ClassificationTask;

  HeadKind head() const override { return HeadKind::kTextToText; }

 protected:
  std::unique_ptr<TaskData> prepare(const LabelledTexts& texts, const std::string& split, const std::string& language,
                                    const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    const TextForm form = text_form_of(row());
    Dataset dataset = empty_dataset(split, language);
    TextExamples examples(dataset, tokenizer, length_of(options),
                          options.max_target_length > 0 ? options.max_target_length : kAnswerLength);
    for (const LabelledText& text : texts.examples) {
      const std::string source = form.labelled_text(text.first, text.second);
      if (text.label < 0) {
        examples.add(source);
      } else {
        examples.add(source, form.words[static_cast<std::size_t>(text.label)]);
      }
    }
    const Truncation truncation = examples.truncation();
    return std::make_unique<ClassificationTextData>(facts_of_set(texts, std::move(dataset), split, language, truncation),
                                                    row(), labels_of(texts), form, tokenizer);
  }
};

}  // namespace

std::unique_ptr<Task> make_classification_task(TaskRow row) {
  auto task = std::make_unique<ClassificationTask>(row);
  task->set_text_form(std::make_unique<ClassificationAsText>(std::move(row)));
  return task;
}

}  // namespace koine
