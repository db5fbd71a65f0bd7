#include "tasks/families/span.h"

#include <unordered_map>

#include "tasks/families/family.h"
#include "tasks/families/span_answers.h"
#include "tasks/families/span_features.h"
#include "tasks/formats/squad.h"
#include "tasks/scorers/answer_score.h"

namespace koine {
namespace {

/// Scores one answer against its question's gold.
using SpanScorer =
    Scorer<AnswerScore (*)(std::string_view prediction, const std::vector<std::string>& gold, const std::string& language)>;

const SpanScorer kScorers[] = {
    {"squad", "f1",
     [](std::string_view prediction, const std::vector<std::string>& gold, const std::string&) {
       return score_answer(prediction, gold, normalise_squad_answer);
     }},
};

const SpanScorer& scorer(const TaskRow& row) { return scorer_of<decltype(SpanScorer::score)>(kScorers, row); }

Evaluation answer_evaluation(const AnswerScores& scores, const std::string& metric) {
  const AnswerScore percent = scores.percent();
  Evaluation result;
  result.metric = metric;
  result.metrics = {
      {"exact_match", percent.exact_match}, {"f1", percent.f1}, {"average", (percent.exact_match + percent.f1) / 2}};
  result.value = result.metrics.at(metric);
  result.examples = scores.questions();
  return result;
}

/// {"id": "answer", ...} in the order of the questions.
std::string answers_as_json(const std::vector<SquadQuestion>& questions, const std::vector<std::string>& answers) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (std::size_t i = 0; i < questions.size(); ++i) json[questions[i].id] = answers[i];
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
    search_.words_have_blanks = language_ != "zh";
  }

  Evaluation evaluate(Model& model, const EvaluationOptions& options) const override {
    require_gold();
    const Predictions predictions = predict_all(model, dataset(), options);
    const std::vector<std::string> answers = answer_all(predictions);
    AnswerScores scores;
    for (std::size_t i = 0; i < answers.size(); ++i) {
      std::vector<std::string> gold;
      for (const SquadAnswer& answer : file_.questions[i].answers) gold.push_back(answer.text);
      scores.add(scorer(row_).score(answers[i], gold, language_));
    }
    return finish(answer_evaluation(scores, std::string(scorer(row_).metric)), predictions.counts, options,
                  [&] { return answers_as_json(file_.questions, answers); });
  }

 private:
  /// The answer to each question. Windows of one question stand one behind the other.
  std::vector<std::string> answer_all(const Predictions& predictions) const {
    std::vector<std::string> answers;
    std::size_t next = 0;
    for (std::size_t question = 0; question < file_.questions.size(); ++question) {
      std::vector<SpanWindow> windows;
      std::vector<const std::vector<float>*> logits;
      for (; next < features_.windows.size() && features_.windows[next].question == question; ++next) {
        windows.push_back(features_.windows[next]);
        logits.push_back(&predictions.logits[next]);
      }
      const std::size_t paragraph = file_.questions[question].paragraph;
      answers.push_back(
          find_answers(windows, logits, file_.contexts[paragraph], features_.contexts[paragraph], tokenizer_, search_)
              .front()
              .text);
    }
    return answers;
  }

  const TaskRow& row_;
  SquadFile file_;
  SpanFeatures features_;
  const Tokenizer& tokenizer_;
  std::string language_;
  AnswerSearch search_;
};

class SpanTask : public FamilyTask<SquadFile> {
 public:
  using FamilyTask::FamilyTask;

  HeadKind head() const override { return HeadKind::kSpan; }
  std::string metric() const override { return std::string(scorer(row()).metric); }

  std::unique_ptr<TaskData> load(const std::filesystem::path& data, const std::string& split, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    SquadFile file = read(require_files(data, split, language), language, options.max_examples);
    keep_first(file.questions, options.max_examples);
    file.contexts.resize(file.questions.back().paragraph + 1);
    FeatureOptions resolved = options;
    resolved.max_seq_length = length_of(options);
    const bool training = split == "train";
    require(!training || file.labelled, file.path.string(), ": every answer is blank, so nothing can be learnt from it");
    SpanFeatures features = make_span_features(file, tokenizer, resolved, training);
    require(!features.examples.empty(), file.path.string(), ": no question whose answer is in its context's words");
    Dataset dataset = empty_dataset(split, language);
    dataset.examples = std::move(features.examples);
    FamilyData::Facts facts{std::move(dataset), submission_name(name(), split, language, "json"),
                            file.labelled ? "" : without_gold(file.path, language)};
    return std::make_unique<SpanData>(std::move(facts), row(), std::move(file), std::move(features), tokenizer, language);
  }

  Evaluation score(const std::filesystem::path& predictions, const std::filesystem::path& gold,
                   const std::string& language) const override {
    const std::unordered_map<std::string, std::string> answers =
        read_answers(require_submission_file(predictions, name(), language, "json"));
    AnswerScores scores;
    for (const std::filesystem::path& file : gold_files(gold, language)) {
      for (const SquadGold& question : read_squad_gold(file)) {
        const auto answer = answers.find(question.id);
        scores.add(answer == answers.end() ? AnswerScore{} : scorer(row()).score(answer->second, question.texts, language));
      }
    }
    return answer_evaluation(scores, std::string(scorer(row()).metric));
  }

 protected:
  std::int64_t count_examples(const std::vector<FoundFile>& files, const std::string& language) const override {
    const SquadFile file = read(files, language);
    require_gold(file, language);
    return static_cast<std::int64_t>(file.questions.size());
  }

 private:
  std::vector<std::filesystem::path> gold_files(const std::filesystem::path& gold, const std::string& language) const {
    if (const auto file = find_submission_file(gold, name(), language, "json")) return {*file};
    std::vector<std::filesystem::path> paths;
    for (const FoundFile& file : require_files(gold, splits().back(), language)) paths.push_back(file.path);
    return paths;
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

}  // namespace

std::unique_ptr<Task> make_span_task(TaskRow row) { return std::make_unique<SpanTask>(std::move(row)); }

}  // namespace koine
