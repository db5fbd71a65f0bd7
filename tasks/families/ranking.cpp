#include "tasks/families/ranking.h"

#include <nlohmann/json.hpp>

#include "tasks/families/family.h"
#include "tasks/families/vectors.h"
#include "tasks/formats/lareqa.h"
#include "tasks/scorers/bitext_mining.h"
#include "tasks/scorers/ranking.h"

namespace koine {
namespace {

constexpr std::int64_t kNearest = 20;
constexpr std::int64_t kQuestionLength = 96;

std::string key_of(const PoolQuestion& question) { return question.id + "_" + question.language; }

/// `ranked`: of each question in turn, ids of sentences.
Evaluation ranking_evaluation(const AnswerPool& pool, const std::vector<std::vector<std::string>>& ranked) {
  std::map<std::string, std::pair<double, double>> sums;  // by figure: sum, number
  for (std::size_t i = 0; i < ranked.size(); ++i) {
    const PoolQuestion& question = pool.questions[i];
    const double precision = average_precision(pool.targets.at(question.id), ranked[i], kNearest);
    for (const std::string& figure : {std::string("map@20"), "map@20_" + question.language}) {
      sums[figure].first += precision;
      sums[figure].second += 1;
    }
  }
  Evaluation result;
  result.metric = "map@20";
  for (const auto& [figure, sum] : sums) result.metrics[figure] = sum.first / sum.second * 100;
  result.value = result.metrics.at(result.metric);
  result.examples = static_cast<std::int64_t>(pool.questions.size());
  return result;
}

class RankingData : public FamilyData {
 public:
  /// The data set: the questions, behind them the candidates.
  RankingData(Facts facts, AnswerPool pool) : FamilyData(std::move(facts)), pool_(std::move(pool)) {}

  Evaluation evaluate(Model& model, const EvaluationOptions& options) const override {
    ScoredLayers scored = score_layers(
        model, dataset(), options, [&](std::vector<float>& vectors, std::int64_t width) { return score(vectors, width); });
    return finish(std::move(scored.headline.evaluation), scored.counts, options,
                  [&] { return scored.headline.predictions; });
  }

 private:
  VectorScore score(std::vector<float>& vectors, std::int64_t width) const {
    normalise_rows(vectors, width);
    const std::span<const float> all(vectors);
    const std::size_t questions = pool_.questions.size() * static_cast<std::size_t>(width);
    const Neighbours nearest = nearest_neighbours(all.first(questions), all.subspan(questions), width, kNearest);
    std::vector<std::vector<std::string>> ranked(pool_.questions.size());
    nlohmann::ordered_json json = nlohmann::ordered_json::object();
    for (std::size_t i = 0; i < ranked.size(); ++i) {
      for (std::int64_t k = 0; k < nearest.k; ++k) {
        const auto at = i * static_cast<std::size_t>(nearest.k) + static_cast<std::size_t>(k);
        ranked[i].push_back(pool_.sentences[static_cast<std::size_t>(nearest.indices[at])].id);
      }
      json[key_of(pool_.questions[i])] = ranked[i];
    }
    return {ranking_evaluation(pool_, ranked), json.dump(1) + "\n"};
  }

  AnswerPool pool_;
};

class RankingTask : public FamilyTask<AnswerPool> {
 public:
  using FamilyTask::FamilyTask;

  HeadKind head() const override { return HeadKind::kSequence; }
  std::string metric() const override { return "map@20"; }

  std::unique_ptr<TaskData> load(const std::filesystem::path& data, const std::string& split, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    AnswerPool pool = read_split(data, split, language);
    keep_first(pool.questions, options.max_examples);
    Dataset dataset = empty_dataset(split, language);
    const auto add = [&](std::vector<std::int32_t> ids) {
      dataset.examples.push_back({std::move(ids), {}, static_cast<std::uint32_t>(dataset.examples.size())});
    };
    const std::int64_t length = length_of(options);
    CountingFramer questions(tokenizer, std::min(kQuestionLength, length));
    CountingFramer answers(tokenizer, length);
    for (const PoolQuestion& question : pool.questions) add(questions.single(tokenizer.encode(question.text)));
    for (const AnswerSentence& sentence : pool.sentences) {
      std::string context = pool.contexts[sentence.context];
      std::erase(context, '\n');
      add(answers.pair(tokenizer.encode(sentence.text), tokenizer.encode(context)));
    }
    Truncation truncation = answers.truncation();
    truncation.append(questions.truncation());
    FamilyData::Facts facts{std::move(dataset),
                            submission_name(name(), split, language, "json"),
                            "",
                            {pool.left_out, pool.left_out + static_cast<std::int64_t>(pool.questions.size()),
                             "questions left out: their answer begins in no sentence of the context"},
                            truncation};
    return std::make_unique<RankingData>(std::move(facts), std::move(pool));
  }

  Evaluation score(const std::filesystem::path& predictions, const std::filesystem::path& gold,
                   const std::string& language) const override {
    const std::filesystem::path path = require_submission_file(predictions, name(), language, "json");
    const nlohmann::json json = read_json(path);
    require(json.is_object(), path.string(), ": predictions must be one JSON object: {\"question\": [\"sentence\", ...]}");
    const AnswerPool pool = read_split(gold, split_of(path), language);
    std::vector<std::vector<std::string>> ranked;
    for (const PoolQuestion& question : pool.questions) {
      const auto found = json.find(key_of(question));
      require(found != json.end(), path.string(), ": no answer to question ", key_of(question));
      require(found->is_array() && std::all_of(found->begin(), found->end(), [](const auto& id) { return id.is_string(); }),
              path.string(), ": the answer to question ", key_of(question), " must be an array of sentence ids");
      ranked.push_back(found->get<std::vector<std::string>>());
    }
    return ranking_evaluation(pool, ranked);
  }

 protected:
  std::int64_t count_examples(const std::filesystem::path& data, const std::string& split,
                              const std::string& language) const override {
    return static_cast<std::int64_t>(read_split(data, split, language).questions.size());
  }
};

}  // namespace

std::unique_ptr<Task> make_ranking_task(TaskRow row) { return std::make_unique<RankingTask>(std::move(row)); }

}  // namespace koine
