#include "tasks/families/span.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "tasks/families/answers.h"
#include "tasks/families/family.h"
#include "tasks/families/span_answers.h"
#include "tasks/families/span_features.h"
#include "tasks/formats/inputs.h"
#include "tasks/formats/squad.h"
#include "tasks/scorers/answer_score.h"
#include "tasks/scorers/squad2_score.h"
#include "tasks/text/script.h"
#include "tasks/text/text_answers.h"
#include "tasks/text/text_form.h"

namespace koine {
namespace {

/// Scores one answer against its question's gold.
using SpanScorer =
    Scorer<AnswerScore (*)(std::string_view prediction, const std::vector<std::string>& gold, const std::string& language)>;

AnswerScore score_squad(std::string_view prediction, const std::vector<std::string>& gold, const std::string&) {
  return score_answer(prediction, gold, normalise_squad_answer);
}

/// Languages of context and question: "de", or "en-de" where they differ.
std::string context_language(const std::string& language) { return language.substr(0, language.find('-')); }

constexpr std::string_view kSquad2 = "squad2";
constexpr const char* kLeftOut = "questions left out: their answer is not in the words of their context";

const SpanScorer kSpanScorers[] = {
    {"squad", "f1", score_squad},
    {kSquad2, "f1", score_squad},  // of what has an answer; Squad2Score scores the rest
    {"mlqa", "f1",
     [](std::string_view prediction, const std::vector<std::string>& gold, const std::string& language) {
       return score_answer(prediction, gold, mlqa_normaliser(context_language(language)));
     }},
};

const SpanScorer& span_scorer(const TaskRow& row) { return scorer_of<decltype(SpanScorer::score)>(kSpanScorers, row); }

Evaluation answer_evaluation(const AnswerScores& scores, const std::string& metric) {
  const AnswerScore percent = scores.percent();
  Evaluation result;
  result.metric = metric;
  result.metrics = {
      {"exact_match", percent.exact_match}, {"f1", percent.f1}, {"average", (percent.exact_match + percent.f1) / 2}};
  result.value = result.metrics.at(metric);
  result.selection = result.metrics.at("average");
  result.examples = scores.questions();
  return result;
}

/// `best`: the figures that need to know how sure the model is that there is no answer.
Evaluation squad2_evaluation(const std::vector<Squad2Answer>& answers, bool best) {
  const Squad2Score score = score_squad2(answers);
  Evaluation result;
  result.metric = "f1";
  result.metrics = {{"exact_match", score.exact_match},
                    {"f1", score.f1},
                    {"average", (score.exact_match + score.f1) / 2},
                    {"answerable_exact_match", score.answerable_exact_match},
                    {"answerable_f1", score.answerable_f1},
                    {"unanswerable_accuracy", score.unanswerable_accuracy}};
  if (best) {
    result.metrics["best_exact_match"] = score.best_exact_match;
    result.metrics["best_exact_match_threshold"] = score.best_exact_match_threshold;
    result.metrics["best_f1"] = score.best_f1;
    result.metrics["best_f1_threshold"] = score.best_f1_threshold;
    result.selection = (score.best_exact_match + score.best_f1) / 2;
  }
  result.value = score.f1;
  result.examples = score.questions;
  return result;
}

/// Each question's F1 and whether it is answered exactly.
ExampleOutcomes question_outcomes(const TaskRow& row, const std::vector<SquadQuestion>& questions,
                                  const std::vector<Squad2Answer>& answers, const std::string& language) {
  ExampleOutcomes outcomes;
  outcomes.metric = "f1";
  for (std::size_t i = 0; i < questions.size(); ++i) {
    AnswerScore score;
    if (row.scorer == kSquad2) {
      const Squad2Score one = score_squad2({answers[i]});
      score = {one.exact_match / 100, one.f1 / 100};
    } else {
      score = span_scorer(row).score(answers[i].prediction, answers[i].gold, language);
    }
    outcomes.ids.push_back(questions[i].id);
    outcomes.points.push_back(static_cast<float>(score.f1));
    outcomes.exact.push_back(score.exact_match > 0 ? 1 : 0);
  }
  return outcomes;
}

/// {"id": "answer", ...} in the order of the questions.
std::string answers_as_json(const std::vector<SquadQuestion>& questions, const std::vector<Squad2Answer>& answers) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (std::size_t i = 0; i < questions.size(); ++i) json[questions[i].id] = answers[i].prediction;
  return json.dump(1, ' ', /*ensure_ascii=*/false) + "\n";
}

class SpanData : public FamilyData {
 public:
  SpanData(Facts facts, const TaskRow& row, SquadFile file, SpanFeatures features, const Tokenizer& tokenizer,
           std::string language)
      : FamilyData(std::move(facts)),
        row_(row),
        file_(std::move(file)),
        features_(std::move(features)),
        tokenizer_(tokenizer),
        language_(std::move(language)) {
    search_.words_have_blanks = context_language(language_) != "zh";
  }

  Evaluation evaluate(Model& model, const EvaluationOptions& options) const override {
    require_gold();
    const Predictions predictions = predict_all(model, dataset(), options);
    std::vector<Squad2Answer> answers = answer_all(predictions);
    const bool may_refuse = row_.scorer == kSquad2;
    AnswerScores scores;
    for (Squad2Answer& answer : answers) {
      if (may_refuse) {
        if (answer.no_answer > 0) answer.prediction.clear();
      } else {
        scores.add(span_scorer(row_).score(answer.prediction, answer.gold, language_));
      }
    }
    Evaluation result = may_refuse ? squad2_evaluation(answers, /*best=*/true)
                                   : answer_evaluation(scores, std::string(span_scorer(row_).metric));
    if (options.want_predictions) result.outcomes = question_outcomes(row_, file_.questions, answers, language_);
    return finish(std::move(result), predictions.counts, options, [&] { return answers_as_json(file_.questions, answers); });
  }

  Answers answer(Model& model, const EvaluationOptions& options) const override {
    constexpr std::size_t kCandidates = 20;  // run_squad.py's n_best_size
    const Predictions predictions = predict_all(model, dataset(), options);
    Answers answers;
    std::vector<Squad2Answer> texts;
    for_each_question(predictions, kCandidates,
                      [&](std::size_t number, std::vector<AnswerCandidate> candidates, float none) {
                        const SquadQuestion& question = file_.questions[number];
                        const bool refused = row_.scorer == kSquad2 && none > candidates.front().logit;
                        answers.records.push_back(span_record(question.id, candidates, file_.contexts[question.paragraph],
                                                              features_.contexts[question.paragraph], refused));
                        texts.push_back({{}, refused ? "" : candidates.front().text, 0});
                      });
    answers.submission = answers_as_json(file_.questions, texts);
    return answers;
  }

 private:
  /// The answer to each question, its gold, and by how much "no answer" (start and end at position 0, in the window where
  /// that is least likely) scores above it. Windows of one question stand one behind the other.
  std::vector<Squad2Answer> answer_all(const Predictions& predictions) const {
    std::vector<Squad2Answer> answers;
    for_each_question(predictions, 1, [&](std::size_t question, std::vector<AnswerCandidate> candidates, float none) {
      AnswerCandidate& best = candidates.front();
      answers.push_back({{}, std::move(best.text), static_cast<double>(none) - static_cast<double>(best.logit)});
      for (const SquadAnswer& answer : file_.questions[question].answers) answers.back().gold.push_back(answer.text);
    });
    return answers;
  }

  /// Calls use(question, its best answers, the logit of "no answer").
  template <class Use>
  void for_each_question(const Predictions& predictions, std::size_t candidates, const Use& use) const {
    AnswerSearch search = search_;
    search.answers = candidates;
    std::size_t next = 0;
    for (std::size_t question = 0; question < file_.questions.size(); ++question) {
      std::vector<SpanWindow> windows;
      std::vector<const std::vector<float>*> logits;
      float none = std::numeric_limits<float>::max();
      for (; next < features_.windows.size() && features_.windows[next].question == question; ++next) {
        windows.push_back(features_.windows[next]);
        logits.push_back(&predictions.logits[next]);
        none = std::min(none, predictions.logits[next][0] + predictions.logits[next][1]);
      }
      const std::size_t paragraph = file_.questions[question].paragraph;
      use(question,
          find_answers(windows, logits, file_.contexts[paragraph], features_.contexts[paragraph], tokenizer_, search), none);
    }
  }

  const TaskRow& row_;
  SquadFile file_;
  SpanFeatures features_;
  const Tokenizer& tokenizer_;
  std::string language_;
  AnswerSearch search_;
};

// Answers that a model writes, one for each window of a question (examples one behind the other).
//
// Of a question's windows the answer of the highest score is taken, the mean log-probability of its tokens by which beams are
// compared; the first of equals. What is no answer, an empty text or a refusal, is taken only where all windows gave such: most
// windows do not hold the answer, and say so.
class SpanTextData : public FamilyData {
 public:
  /// `windows`: of each question.
  SpanTextData(Facts facts, const TaskRow& row, SquadFile file, std::vector<std::int64_t> windows,
               const Tokenizer& tokenizer, std::string language, std::int64_t longest)
      : FamilyData(std::move(facts)),
        row_(row),
        file_(std::move(file)),
        windows_(std::move(windows)),
        tokenizer_(tokenizer),
        language_(std::move(language)),
        longest_(longest) {}

  Evaluation evaluate(Model& model, const EvaluationOptions& options) const override {
    require_gold();
    const WrittenAnswers written = write(model, options);
    std::vector<Squad2Answer> answers = read_all(written);
    AnswerScores scores;
    std::int64_t unreadable = 0;
    std::int64_t other_script = 0;
    for (std::size_t i = 0; i < answers.size(); ++i) {
      const SquadQuestion& question = file_.questions[i];
      for (const SquadAnswer& gold : question.answers) answers[i].gold.push_back(gold.text);
      unreadable += written.texts[i].empty() ? 1 : 0;
      const bool refused = may_refuse() && answers[i].prediction.empty();
      other_script += !refused && in_other_script(written.texts[i], file_.contexts[question.paragraph]) ? 1 : 0;
      if (!may_refuse()) scores.add(span_scorer(row_).score(answers[i].prediction, answers[i].gold, language_));
    }
    Evaluation result = finish(may_refuse() ? squad2_evaluation(answers, /*best=*/false)
                                            : answer_evaluation(scores, std::string(span_scorer(row_).metric)),
                               written.counts, options, [&] { return answers_as_json(file_.questions, answers); });
    if (options.want_predictions) result.outcomes = question_outcomes(row_, file_.questions, answers, language_);
    result.unreadable = unreadable;
    result.other_script = other_script;
    return result;
  }

  Answers answer(Model& model, const EvaluationOptions& options) const override {
    const WrittenAnswers written = write(model, options);
    const std::vector<Squad2Answer> answers = read_all(written);
    Answers result{{}, answers_as_json(file_.questions, answers)};
    for (std::size_t i = 0; i < answers.size(); ++i)
      result.records.push_back(written_span_record(file_.questions[i].id, answers[i].prediction, written.texts[i]));
    return result;
  }

 private:
  bool may_refuse() const { return row_.scorer == kSquad2; }
  WrittenAnswers write(Model& model, const EvaluationOptions& options) const {
    require(options.choices == ChoiceSearch::kGenerate, dataset().name,
            ": its answers are parts of texts, of which none can be chosen beforehand; leave out --choices");
    GenerationSettings settings;
    settings.maximum_length = longest_;
    return best_of_windows(write_answers(model, dataset(), tokenizer_, settings, options));
  }
  /// One answer for each question.
  WrittenAnswers best_of_windows(WrittenAnswers written) const {
    WrittenAnswers best;
    best.counts = written.counts;
    const auto is_answer = [&](std::size_t window) {
      return !written.texts[window].empty() && !(may_refuse() && written.texts[window] == kUnanswerable);
    };
    std::size_t first = 0;
    for (const std::int64_t windows : windows_) {
      std::size_t chosen = first;
      for (std::size_t window = first + 1; window < first + static_cast<std::size_t>(windows); ++window) {
        const bool better =
            is_answer(window) == is_answer(chosen) ? written.scores[window] > written.scores[chosen] : is_answer(window);
        if (better) chosen = window;
      }
      best.texts.push_back(std::move(written.texts[chosen]));
      best.scores.push_back(written.scores[chosen]);
      first += static_cast<std::size_t>(windows);
    }
    return best;
  }
  /// Without gold.
  std::vector<Squad2Answer> read_all(const WrittenAnswers& written) const {
    std::vector<Squad2Answer> answers;
    for (std::size_t i = 0; i < written.texts.size(); ++i) {
      const std::string& text = written.texts[i];
      Squad2Answer answer;
      answer.prediction = text.empty() ? kUnreadable : unpadded(text, file_.contexts[file_.questions[i].paragraph]);
      if (may_refuse() && text == kUnanswerable) answer.prediction.clear();
      answers.push_back(std::move(answer));
    }
    return answers;
  }

  const TaskRow& row_;
  SquadFile file_;
  std::vector<std::int64_t> windows_;
  const Tokenizer& tokenizer_;
  std::string language_;
  std::int64_t longest_;
};

class SpanTask : public FamilyTask<SquadFile> {
 public:
  using FamilyTask::FamilyTask;

  HeadKind head() const override { return HeadKind::kSpan; }
  std::string metric() const override { return std::string(span_scorer(row()).metric); }

  std::unique_ptr<TaskData> load(const std::filesystem::path& data, const std::string& split, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    SquadFile file = read_split(data, split, language, options.max_examples);
    keep_examples(file.questions, options.max_examples);
    return prepare(std::move(file), split, language, tokenizer, options);
  }

  std::unique_ptr<TaskData> load_inputs(const InputFile& input, const std::string& language, const Tokenizer& tokenizer,
                                        const FeatureOptions& options) const override {
    const auto read_form = [](const FoundFile& file, const ReadRequest&) { return read_question_inputs(file); };
    return prepare(read_inputs(input, language, read_form), kInputs, language, tokenizer, options);
  }

  Evaluation score(const std::filesystem::path& predictions, const std::filesystem::path& gold,
                   const std::string& language) const override {
    const std::filesystem::path path = require_submission_file(predictions, name(), language, "json");
    const std::unordered_map<std::string, std::string> answers = read_answers(path);
    const bool may_refuse = row().scorer == kSquad2;
    AnswerScores scores;
    std::vector<Squad2Answer> squad2;
    std::int64_t unpredicted = 0;
    for (const SquadGold& question : gold_answers(gold, split_of(path), language)) {
      const auto answer = answers.find(question.id);
      unpredicted += answer == answers.end() ? 1 : 0;
      if (may_refuse) {
        require(answer != answers.end(), path.string(), ": no answer to question ", question.id,
                "; an empty text says that there is none");
        squad2.push_back({question.texts, answer->second, 0});
      } else {
        scores.add(answer == answers.end() ? AnswerScore{}
                                           : span_scorer(row()).score(answer->second, question.texts, language));
      }
    }
    Evaluation result = may_refuse ? squad2_evaluation(squad2, /*best=*/false)
                                   : answer_evaluation(scores, std::string(span_scorer(row()).metric));
    result.unpredicted = unpredicted;
    return result;
  }

 protected:
  std::int64_t count_examples(const std::filesystem::path& data, const std::string& split,
                              const std::string& language) const override {
    const SquadFile file = read_split(data, split, language);
    require_gold(file, language);
    require(!file.questions.empty(), file.path.string(), ": no questions in language ", language);
    return static_cast<std::int64_t>(file.questions.size());
  }

  LeftOut count_left_out(const std::filesystem::path& data, const std::string& split,
                         const std::string& language) const override {
    if (split != "train") return {};
    const SquadFile file = read_split(data, split, language);
    return {count_unlearnable(file), static_cast<std::int64_t>(file.questions.size()), kLeftOut};
  }

  virtual std::unique_ptr<TaskData> prepare(SquadFile file, const std::string& split, const std::string& language,
                                            const Tokenizer& tokenizer, const FeatureOptions& options) const {
    keep_used(file, split, language);
    FeatureOptions resolved = options;
    resolved.max_seq_length = length_of(options);
    const bool training = split == "train";
    SpanFeatures features = make_span_features(file, tokenizer, resolved, training);
    require(!features.examples.empty(), file.path.string(), ": no question whose answer is in its context's words");
    Dataset dataset = empty_dataset(split, language);
    dataset.examples = std::move(features.examples);
    FamilyData::Facts facts{std::move(dataset),
                            submission_name(name(), split, language, "json"),
                            file.labelled ? "" : without_gold(file.path, language),
                            {features.left_out, static_cast<std::int64_t>(file.questions.size()), kLeftOut},
                            features.truncation};
    return std::make_unique<SpanData>(std::move(facts), row(), std::move(file), std::move(features), tokenizer, language);
  }

  /// Contexts that no question is left of go. UserErrors for a file of no use.
  static void keep_used(SquadFile& file, const std::string& split, const std::string& language) {
    require(!file.questions.empty(), file.path.string(), ": no questions in language ", language);
    file.contexts.resize(file.questions.back().paragraph + 1);
    require(split != "train" || file.labelled, file.path.string(),
            ": every answer is blank, so nothing can be learnt from it");
  }

 private:
  /// From `gold` itself (of a file of several languages, the language's questions) or XTREME's label file below it, or from
  /// the task's own data.
  std::vector<SquadGold> gold_answers(const std::filesystem::path& gold, const std::string& split,
                                      const std::string& language) const {
    const bool several = std::filesystem::is_regular_file(gold) && !languages_in({gold}).empty();
    if (const auto file = find_submission_file(gold, name(), language, "json"); file && !several)
      return read_squad_gold(*file, row().scorer == kSquad2);
    const SquadFile file = several ? read({{gold}}, split, language) : read_split(gold, split, language);
    require_gold(file, language);
    require(!file.questions.empty(), file.path.string(), ": no questions in language ", language);
    std::vector<SquadGold> answers;
    for (const SquadQuestion& question : file.questions) {
      answers.push_back({question.id, {}});
      for (const SquadAnswer& answer : question.answers) answers.back().texts.push_back(answer.text);
    }
    return answers;
  }

  static std::unordered_map<std::string, std::string> read_answers(const std::filesystem::path& path) {
    const nlohmann::json json = read_json(path);
    require(json.is_object(), path.string(), ": predictions must be one JSON object: {\"question id\": \"answer\"}");
    std::unordered_map<std::string, std::string> answers;
    for (const auto& [id, answer] : json.items()) {
      require(answer.is_string(), path.string(), ": the answer to question ", id, " must be a text");
      answers[id] = answer.get<std::string>();
    }
    return answers;
  }
};

class SpanAsText : public SpanTask {
 public:
  using SpanTask::SpanTask;

  HeadKind head() const override { return HeadKind::kTextToText; }

 protected:
  std::unique_ptr<TaskData> prepare(SquadFile file, const std::string& split, const std::string& language,
                                    const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    keep_used(file, split, language);
    Dataset dataset = empty_dataset(split, language);
    const std::int64_t longest = options.max_target_length > 0 ? options.max_target_length : kAnswerLength;
    TextExamples examples(dataset, tokenizer, length_of(options), longest);
    std::vector<std::int64_t> windows;
    for (const SquadQuestion& question : file.questions) {
      const std::string& context = file.contexts[question.paragraph];
      const std::string target = question.answers.empty() ? kUnanswerable : pad_punctuation(question.answers.front().text);
      if (split == "train") {
        examples.add(question_text(question.question, context), target);
      } else {
        windows.push_back(examples.add_windows(question_beginning(question.question), padded_context(context),
                                               file.labelled ? &target : nullptr));
      }
    }
    if (windows.empty()) windows.assign(file.questions.size(), 1);
    const Truncation truncation = examples.truncation();
    FamilyData::Facts facts{std::move(dataset), submission_name(name(), split, language, "json"),
                            file.labelled ? "" : without_gold(file.path, language), LeftOut{}, truncation};
    return std::make_unique<SpanTextData>(std::move(facts), row(), std::move(file), std::move(windows), tokenizer, language,
                                          longest);
  }

  /// None: an answer need not be whole words of its context.
  LeftOut count_left_out(const std::filesystem::path&, const std::string&, const std::string&) const override { return {}; }
};

}  // namespace

std::unique_ptr<Task> make_span_task(TaskRow row) {
  auto task = std::make_unique<SpanTask>(row);
  row.max_seq_length = kContextLength;
  task->set_text_form(std::make_unique<SpanAsText>(std::move(row)));
  return task;
}

}  // namespace koine
