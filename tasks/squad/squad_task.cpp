#include "tasks/squad/squad_task.h"

#include <array>
#include <unordered_map>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/common/described_task.h"
#include "tasks/common/prediction.h"
#include "tasks/formats/squad.h"
#include "tasks/scorers/answer_score.h"
#include "tasks/squad/squad_answers.h"
#include "tasks/squad/squad_features.h"

namespace koine {
namespace {

constexpr std::array kSquadFiles = {
    FileCandidate{"train", "squad/train-v1.1.json"},
    FileCandidate{"train", "train-v1.1.json"},
    FileCandidate{"dev", "squad/dev-v1.1.json"},
    FileCandidate{"dev", "dev-v1.1.json"},
};

constexpr std::array kXquadFiles = {
    FileCandidate{"test", "xquad/xquad.{lg}.json"},
    FileCandidate{"test", "xquad.{lg}.json"},
    FileCandidate{"test", "xquad/test-{lg}.json"},
};

constexpr const char* kBlanked =
    ": every answer is blank (the benchmark keeps its gold hidden), so it cannot be scored; give the original file";

/// XTREME's metric is the mean of the two; both are reported, F1 is the headline.
Evaluation answer_evaluation(const AnswerScores& scores) {
  const AnswerScore percent = scores.percent();
  Evaluation result;
  result.metric = "f1";
  result.value = percent.f1;
  result.metrics = {
      {"exact_match", percent.exact_match}, {"f1", percent.f1}, {"average", (percent.exact_match + percent.f1) / 2}};
  result.examples = scores.questions();
  return result;
}

/// {"id": "answer", ...} in the order of the questions.
std::string answers_as_json(const std::vector<SquadQuestion>& questions, const std::vector<std::string>& answers) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (std::size_t i = 0; i < questions.size(); ++i) json[questions[i].id] = answers[i];
  return json.dump(1, ' ', /*ensure_ascii=*/false) + "\n";
}

class SquadData : public TaskData {
 public:
  SquadData(SquadFile file, SquadFeatures features, Dataset dataset, const Tokenizer& tokenizer, AnswerSearch search,
            std::string prediction_file)
      : file_(std::move(file)),
        features_(std::move(features)),
        dataset_(std::move(dataset)),
        tokenizer_(tokenizer),
        search_(search),
        prediction_file_(std::move(prediction_file)) {}

  const Dataset& dataset() const override { return dataset_; }

  Evaluation evaluate(Model& model, const EvaluationOptions& options) const override {
    require(file_.labelled, file_.path.string(), kBlanked);
    const Predictions predictions = predict_all(model, dataset_, options);
    const std::vector<std::string> answers = answer_all(predictions);
    AnswerScores scores;
    for (std::size_t i = 0; i < answers.size(); ++i) {
      std::vector<std::string> gold;
      for (const SquadAnswer& answer : file_.questions[i].answers) gold.push_back(answer.text);
      scores.add(score_answer(answers[i], gold, normalise_squad_answer));
    }
    Evaluation result = answer_evaluation(scores);
    result.tokens = predictions.counts.tokens;
    result.seconds = predictions.counts.seconds;
    if (options.want_predictions) {
      result.prediction_file = prediction_file_;
      result.prediction_content = answers_as_json(file_.questions, answers);
    }
    return result;
  }

 private:
  /// The answer to each question. Windows of one question stand one behind the other.
  std::vector<std::string> answer_all(const Predictions& predictions) const {
    std::vector<std::string> answers;
    std::size_t next = 0;
    for (std::size_t question = 0; question < file_.questions.size(); ++question) {
      std::vector<SquadWindow> windows;
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

  SquadFile file_;
  SquadFeatures features_;
  Dataset dataset_;
  const Tokenizer& tokenizer_;
  AnswerSearch search_;
  std::string prediction_file_;
};

class SquadTask : public DescribedTask {
 public:
  using DescribedTask::DescribedTask;

  std::unique_ptr<TaskData> load(const std::filesystem::path& data, const std::string& split, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    SquadFile file = read_squad(require_file(data, split, language).path);
    keep_first(file.questions, options.max_examples);
    file.contexts.resize(file.questions.back().paragraph + 1);
    FeatureOptions resolved = options;
    resolved.max_seq_length = max_seq_length(options);
    const bool training = split == "train";
    require(!training || file.labelled, file.path.string(), ": every answer is blank, so nothing can be learnt from it");
    SquadFeatures features = make_squad_features(file, tokenizer, resolved, training);
    require(!features.examples.empty(), file.path.string(), ": no question whose answer is in its context's words");
    Dataset dataset;
    dataset.name = dataset_name(split, language);
    dataset.head = HeadKind::kSpan;
    dataset.classes = 2;
    dataset.examples = std::move(features.examples);
    AnswerSearch search;
    search.words_have_blanks = language != "zh";
    return std::make_unique<SquadData>(std::move(file), std::move(features), std::move(dataset), tokenizer, search,
                                       submission_name(name(), split, language, "json"));
  }

  Evaluation score(const std::filesystem::path& predictions, const std::filesystem::path& gold,
                   const std::string& language) const override {
    const std::filesystem::path file = require_submission_file(predictions, name(), language, "json");
    const std::unordered_map<std::string, std::string> answers = read_answers(file);
    AnswerScores scores;
    for (const SquadGold& question : read_squad_gold(gold_file(gold, language))) {
      const auto answer = answers.find(question.id);
      scores.add(answer == answers.end() ? AnswerScore{}
                                         : score_answer(answer->second, question.texts, normalise_squad_answer));
    }
    return answer_evaluation(scores);
  }

 protected:
  std::int64_t count_examples(const FoundFile& file, const std::string&) const override {
    const SquadFile content = read_squad(file.path);
    require(content.labelled, file.path.string(), kBlanked);
    return static_cast<std::int64_t>(content.questions.size());
  }

 private:
  std::filesystem::path gold_file(const std::filesystem::path& gold, const std::string& language) const {
    if (const auto file = find_submission_file(gold, name(), language, "json")) return *file;
    return require_file(gold, splits().back(), language).path;
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

const Task& squad_task() {
  static const SquadTask task({"squad", HeadKind::kSpan, {}, 384, "f1", "squad", {"en"}, {"train", "dev"}, kSquadFiles});
  return task;
}

const Task& xquad_task() {
  static const SquadTask task({"xquad",
                               HeadKind::kSpan,
                               {},
                               384,
                               "f1",
                               "squad",
                               {"en", "es", "de", "el", "ru", "tr", "ar", "vi", "th", "zh", "hi"},
                               {"test"},
                               kXquadFiles});
  return task;
}

}  // namespace koine
