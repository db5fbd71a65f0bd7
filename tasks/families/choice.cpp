#include "tasks/families/choice.h"

#include <algorithm>

#include "tasks/families/answers.h"
#include "tasks/families/family.h"
#include "tasks/formats/choices.h"
#include "tasks/formats/inputs.h"
#include "tasks/formats/parallel_text.h"
#include "tasks/scorers/accuracy.h"
#include "tasks/text/script.h"
#include "tasks/text/text_answers.h"
#include "tasks/text/text_form.h"

namespace koine {
namespace {

using Numbers = std::vector<std::int32_t>;
using ChoiceScorer = Scorer<std::map<std::string, double> (*)(const Numbers& gold, const Numbers& predictions)>;

const ChoiceScorer kChoiceScorers[] = {
    {"accuracy", "accuracy",
     [](const Numbers& gold, const Numbers& predictions) -> std::map<std::string, double> {
       return {{"accuracy", accuracy_percent(gold, predictions)}};
     }},
};

const ChoiceScorer& choice_scorer(const TaskRow& row) {
  return scorer_of<decltype(ChoiceScorer::score)>(kChoiceScorers, row);
}

ClassCounts counts_of(const Numbers& choices) {
  ClassCounts counts;
  for (const std::int32_t choice : choices) ++counts[choice < 0 ? kUnreadable : concatenate("choice ", choice)];
  return counts;
}

/// -1 for an answer that could not be read.
std::string choice_lines(const Numbers& answers) {
  std::string lines;
  for (const std::int32_t answer : answers) lines += (answer < 0 ? kUnreadable : std::to_string(answer)) + "\n";
  return lines;
}

Evaluation score_choices(const TaskRow& row, const Numbers& gold, const Numbers& predictions) {
  Evaluation result;
  result.metric = choice_scorer(row).metric;
  result.metrics = choice_scorer(row).score(gold, predictions);
  result.value = result.metrics.at(result.metric);
  result.examples = static_cast<std::int64_t>(gold.size());
  result.collapse = find_collapse(counts_of(gold), counts_of(predictions));
  return result;
}

/// A pair of prompt and choice. What is too long loses tokens at its start, for the end of a prompt is where the choice
/// goes on: the longer of the two one token at a time (in a tie the prompt), as jiant does.
std::vector<std::int32_t> frame_choice(const SpecialTokens& special, std::vector<std::int32_t> prompt,
                                       std::vector<std::int32_t> choice, std::int64_t maximum_length) {
  const std::int64_t room = std::max<std::int64_t>(0, maximum_length - special.around_pair());
  auto from_prompt = prompt.begin();
  auto from_choice = choice.begin();
  while ((prompt.end() - from_prompt) + (choice.end() - from_choice) > room)
    ++(prompt.end() - from_prompt >= choice.end() - from_choice ? from_prompt : from_choice);
  return special.frame_pair({from_prompt, prompt.end()}, {from_choice, choice.end()}, maximum_length);
}

Numbers right_choices(const ChoiceFile& file) {
  Numbers numbers;
  for (const ChoiceExample& example : file.examples) numbers.push_back(example.label);
  return numbers;
}

class ChoiceData : public FamilyData {
 public:
  ChoiceData(Facts facts, const TaskRow& row, Numbers gold)
      : FamilyData(std::move(facts)), row_(row), gold_(std::move(gold)) {}

  Evaluation evaluate(Model& model, const EvaluationOptions& options) const override {
    require_gold();
    const Predictions predictions = predict_all(model, dataset(), options);
    const std::vector<std::vector<float>> all = scores_of(predictions);
    Numbers answers;
    for (const std::vector<float>& scores : all) answers.push_back(index_of_largest(scores.data(), dataset().group));
    Evaluation result = score_choices(row_, gold_, answers);
    if (options.want_predictions) result.outcomes = outcomes_of_scores(result.metric, gold_, all);
    return finish(std::move(result), predictions.counts, options, [&] { return choice_lines(answers); });
  }

  Answers answer(Model& model, const EvaluationOptions& options) const override {
    Answers answers;
    for (const std::vector<float>& scores : scores_of(predict_all(model, dataset(), options))) {
      answers.records.push_back(choice_record(scores));
      answers.submission += concatenate(index_of_largest(scores.data(), dataset().group), "\n");
    }
    return answers;
  }

 private:
  /// [examples] the logits of the choices.
  std::vector<std::vector<float>> scores_of(const Predictions& predictions) const {
    const auto choices = static_cast<std::size_t>(dataset().group);
    std::vector<std::vector<float>> all;
    for (std::size_t first = 0; first < predictions.logits.size(); first += choices) {
      std::vector<float> scores;
      for (std::size_t i = 0; i < choices; ++i) scores.push_back(predictions.logits[first + i].front());
      all.push_back(std::move(scores));
    }
    return all;
  }

  const TaskRow& row_;
  Numbers gold_;
};

/// Choices as texts that a model writes, or compares.
class ChoiceTextData : public FamilyData {
 public:
  ChoiceTextData(Facts facts, const TaskRow& row, ChoiceFile file, const Tokenizer& tokenizer)
      : FamilyData(std::move(facts)), row_(row), file_(std::move(file)), tokenizer_(tokenizer) {}

  Evaluation evaluate(Model& model, const EvaluationOptions& options) const override {
    require_gold();
    const ChosenAnswers answers = answer_all(model, options);
    Evaluation result = finish(score_choices(row_, right_choices(file_), answers.chosen), answers.counts, options,
                               [&] { return choice_lines(answers.chosen); });
    if (options.want_predictions)
      result.outcomes = answers.scores.empty() ? outcomes_of_choices(result.metric, right_choices(file_), answers.chosen)
                                               : outcomes_of_scores(result.metric, right_choices(file_), answers.scores);
    result.unreadable = std::count(answers.chosen.begin(), answers.chosen.end(), -1);
    result.other_script = 0;
    for (std::size_t i = 0; i < answers.texts.size(); ++i) {
      const bool other = answers.chosen[i] < 0 && in_other_script(answers.texts[i], whole_text(file_.examples[i]));
      *result.other_script += other ? 1 : 0;
    }
    return result;
  }

  Answers answer(Model& model, const EvaluationOptions& options) const override {
    const ChosenAnswers answers = answer_all(model, options);
    Answers result{{}, choice_lines(answers.chosen)};
    for (std::size_t i = 0; i < answers.chosen.size(); ++i)
      result.records.push_back(answers.scores.empty() ? written_choice_record(answers.chosen[i], answers.texts[i])
                                                      : choice_record(answers.scores[i]));
    return result;
  }

 private:
  static std::string whole_text(const ChoiceExample& example) {
    std::string text = example.prompt;
    for (const std::string& choice : example.choices) text += " " + choice;
    return text;
  }

  ChosenAnswers answer_all(Model& model, const EvaluationOptions& options) const {
    std::vector<std::vector<std::string>> candidates;
    for (const ChoiceExample& example : file_.examples) candidates.push_back(example.choices);
    return choose_answers(model, dataset(), tokenizer_, candidates, options);
  }

  const TaskRow& row_;
  ChoiceFile file_;
  const Tokenizer& tokenizer_;
};

class ChoiceTask : public FamilyTask<ChoiceFile> {
 public:
  using FamilyTask::FamilyTask;

  HeadKind head() const override { return HeadKind::kChoice; }
  std::string metric() const override { return std::string(choice_scorer(row()).metric); }

  std::unique_ptr<TaskData> load(const std::filesystem::path& data, const std::string& split, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    ChoiceFile file = checked(read_split(data, split, language, options.max_examples), language);
    keep_examples(file.examples, options.max_examples);
    require_learnable(file, split);
    return prepare(file, split, language, tokenizer, options);
  }

  std::unique_ptr<TaskData> load_inputs(const InputFile& input, const std::string& language, const Tokenizer& tokenizer,
                                        const FeatureOptions& options) const override {
    const auto read_form = [this](const FoundFile& file, const ReadRequest&) {
      return read_choice_inputs(file, row().choices);
    };
    return prepare(checked(read_inputs(input, language, read_form), language), kInputs, language, tokenizer, options);
  }

  Evaluation score(const std::filesystem::path& predictions, const std::filesystem::path& gold,
                   const std::string& language) const override {
    const std::filesystem::path file = require_submission_file(predictions, name(), language, "tsv");
    const Numbers answers = read_choices(file);
    const Numbers labels = gold_choices(gold, split_of(file), language);
    require(answers.size() == labels.size(), file.string(), ": ", answers.size(), " predictions, the gold data have ",
            labels.size(), " examples");
    return score_choices(row(), labels, answers);
  }

 protected:
  std::int64_t count_examples(const std::filesystem::path& data, const std::string& split,
                              const std::string& language) const override {
    const ChoiceFile file = checked(read_split(data, split, language), language);
    require_gold(file, language);
    return static_cast<std::int64_t>(file.examples.size());
  }

  virtual std::unique_ptr<TaskData> prepare(const ChoiceFile& file, const std::string& split, const std::string& language,
                                            const Tokenizer& tokenizer, const FeatureOptions& options) const {
    Dataset dataset = empty_dataset(split, language);
    dataset.group = row().choices;
    Truncation truncation{.maximum_length = length_of(options)};
    for (const ChoiceExample& example : file.examples) {
      const std::vector<std::int32_t> prompt = tokenizer.encode(example.prompt);
      std::int64_t lost = 0;
      for (std::size_t choice = 0; choice < example.choices.size(); ++choice) {
        Example sequence;
        std::vector<std::int32_t> text = tokenizer.encode(example.choices[choice]);
        const std::int64_t whole = std::ssize(prompt) + std::ssize(text) + tokenizer.special().around_pair();
        sequence.ids = frame_choice(tokenizer.special(), prompt, std::move(text), truncation.maximum_length);
        lost += pieces_lost(whole, sequence.ids);
        if (choice == 0 && example.label >= 0) sequence.labels = {example.label};
        sequence.number = static_cast<std::uint32_t>(dataset.examples.size());
        dataset.examples.push_back(std::move(sequence));
      }
      truncation.add(lost);
    }
    return std::make_unique<ChoiceData>(
        FamilyData::Facts{std::move(dataset), submission_name(name(), split, language, "tsv"),
                          file.labelled ? "" : without_gold(file.path, language), LeftOut{}, truncation},
        row(), right_choices(file));
  }

 private:
  ChoiceFile checked(ChoiceFile file, const std::string& language) const {
    require(!file.examples.empty(), file.path.string(), ": no examples in language ", language);
    for (std::size_t i = 0; i < file.examples.size(); ++i) {
      const ChoiceExample& example = file.examples[i];
      require(example.choices.size() == static_cast<std::size_t>(row().choices), file.path.string(), ": example ", i + 1,
              " has ", example.choices.size(), " choices; ", name(), " has ", row().choices);
      require(example.label < row().choices, file.path.string(), ": example ", i + 1, ": the right choice is number ",
              example.label, ", but there are ", row().choices, " (from 0)");
    }
    return file;
  }

  Numbers read_choices(const std::filesystem::path& path) const {
    Numbers numbers = read_indices(path, kUnreadable);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      require(numbers[i] < row().choices, path.string(), ":", i + 1, ": choice ", numbers[i], ", but there are ",
              row().choices, " (from 0)");
    }
    return numbers;
  }

  /// From a file of choice numbers (XTREME's label layout) or from the task's own data.
  Numbers gold_choices(const std::filesystem::path& gold, const std::string& split, const std::string& language) const {
    const bool data_file = std::filesystem::is_regular_file(gold) && gold.extension() != ".tsv";
    if (!data_file) {
      if (const auto file = find_submission_file(gold, name(), language, "tsv")) return read_choices(*file);
    }
    const std::vector<FoundFile> files =
        data_file ? std::vector<FoundFile>{gold_file(gold, split)} : require_files(gold, split, language);
    const ChoiceFile file = checked(read(files, split, language), language);
    require_gold(file, language);
    return right_choices(file);
  }
};

class ChoiceAsText : public ChoiceTask {
 public:
  using ChoiceTask::ChoiceTask;

  HeadKind head() const override { return HeadKind::kTextToText; }

 protected:
  std::unique_ptr<TaskData> prepare(const ChoiceFile& file, const std::string& split, const std::string& language,
                                    const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    const TextForm form = text_form_of(row());
    Dataset dataset = empty_dataset(split, language);
    TextExamples examples(dataset, tokenizer, length_of(options),
                          options.max_target_length > 0 ? options.max_target_length : kChoiceLength);
    for (const ChoiceExample& example : file.examples) {
      const std::string source = form.choice(example.prompt, example.choices);
      if (example.label < 0) {
        examples.add(source);
      } else {
        examples.add(source, example.choices[static_cast<std::size_t>(example.label)]);
      }
    }
    const Truncation truncation = examples.truncation();
    return std::make_unique<ChoiceTextData>(
        FamilyData::Facts{std::move(dataset), submission_name(name(), split, language, "tsv"),
                          file.labelled ? "" : without_gold(file.path, language), LeftOut{}, truncation},
        row(), file, tokenizer);
  }
};

}  // namespace

std::unique_ptr<Task> make_choice_task(TaskRow row) {
  check(row.choices >= 2, "task ", row.name, " has ", row.choices, " choices; its row must say how many, at least 2");
  auto task = std::make_unique<ChoiceTask>(row);
  task->set_text_form(std::make_unique<ChoiceAsText>(std::move(row)));
  return task;
}

}  // namespace koine
