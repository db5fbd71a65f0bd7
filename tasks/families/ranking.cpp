#include "tasks/families/ranking.h"

#include <nlohmann/json.hpp>

#include "tasks/families/family.h"
#include "tasks/families/vectors.h"
#include "tasks/formats/candidate_pool.h"
#include "tasks/scorers/bitext_mining.h"
#include "tasks/scorers/ranking.h"

namespace koine {
namespace {

struct RankingRule {
  bool languages = false;  ///< one set of queries in several languages: keys and figures name them
  bool may_lack = false;   ///< predictions need not have every query
};
const Scorer<RankingRule> kRankingScorers[] = {
    {"lareqa", "map@20", {.languages = true, .may_lack = false}},
    {"mewslix", "map@20", {.languages = false, .may_lack = true}},
};

std::string key_of(const RankingRule& rule, const PoolQuery& query) {
  return rule.languages ? query.id + "_" + query.language : query.id;
}

using Ids = std::vector<std::string>;
using Targets = std::map<std::string, std::set<std::string>>;

/// `ranked`: of each query in turn, ids of candidates.
Evaluation ranking_evaluation(const RankingRule& rule, const std::vector<PoolQuery>& queries, const Targets& targets,
                              const std::vector<Ids>& ranked) {
  std::map<std::string, std::pair<double, double>> sums;  // by figure: sum, number
  ExampleOutcomes outcomes;
  outcomes.metric = "map@20";
  for (std::size_t i = 0; i < ranked.size(); ++i) {
    const double precision = average_precision(targets.at(queries[i].id), ranked[i], kRanked);
    outcomes.ids.push_back(key_of(rule, queries[i]));
    outcomes.points.push_back(static_cast<float>(precision));
    std::vector<std::string> figures = {"map@20"};
    if (rule.languages) figures.push_back("map@20_" + queries[i].language);
    for (const std::string& figure : figures) {
      sums[figure].first += precision;
      sums[figure].second += 1;
    }
  }
  Evaluation result;
  result.metric = "map@20";
  for (const auto& [figure, sum] : sums) result.metrics[figure] = sum.first / sum.second * 100;
  result.value = result.metrics.at(result.metric);
  result.examples = std::ssize(queries);
  result.outcomes = std::move(outcomes);
  return result;
}

class RankingData : public VectorData {
 public:
  /// The data set: the queries, behind them the candidates.
  RankingData(Facts facts, RankingRule rule, CandidatePool pool)
      : VectorData(std::move(facts)), rule_(rule), pool_(std::move(pool)) {}

 private:
  VectorScore score(std::vector<float>& vectors, std::int64_t width) const override {
    normalise_rows(vectors, width);
    const std::span<const float> all(vectors);
    const std::size_t queries = pool_.queries.size() * static_cast<std::size_t>(width);
    const Neighbours nearest = nearest_neighbours(all.first(queries), all.subspan(queries), width, kRanked);
    std::vector<Ids> ranked(pool_.queries.size());
    nlohmann::ordered_json json = nlohmann::ordered_json::object();
    for (std::size_t i = 0; i < ranked.size(); ++i) {
      for (std::int64_t k = 0; k < nearest.k; ++k) {
        const auto at = i * static_cast<std::size_t>(nearest.k) + static_cast<std::size_t>(k);
        ranked[i].push_back(pool_.candidates[static_cast<std::size_t>(nearest.indices[at])].id);
      }
      json[key_of(rule_, pool_.queries[i])] = ranked[i];
    }
    return {ranking_evaluation(rule_, pool_.queries, pool_.targets, ranked), json.dump(1) + "\n"};
  }

  RankingRule rule_;
  CandidatePool pool_;
};

/// One JSON object of lists of ids.
nlohmann::json read_id_lists(const std::filesystem::path& path) {
  nlohmann::json json = read_json(path);
  require(json.is_object(), path.string(), ": must be one JSON object: {\"query\": [\"candidate\", ...]}");
  for (const auto& [key, ids] : json.items()) {
    require(ids.is_array() && std::all_of(ids.begin(), ids.end(), [](const auto& id) { return id.is_string(); }),
            path.string(), ": what \"", key, "\" has must be an array of candidates' ids");
  }
  return json;
}

class RankingTask : public FamilyTask<CandidatePool> {
 public:
  using FamilyTask::FamilyTask;

  HeadKind head() const override { return HeadKind::kDualEncoder; }
  std::string metric() const override { return std::string(scorer().metric); }

  std::unique_ptr<TaskData> load(const std::filesystem::path& data, const std::string& split, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    CandidatePool pool = read_split(data, split, language);
    keep_first(pool.queries, options.max_examples);
    Dataset dataset = empty_dataset(split, language);
    const auto add = [&](std::vector<std::int32_t> ids) {
      dataset.examples.push_back({std::move(ids), {}, static_cast<std::uint32_t>(dataset.examples.size())});
    };
    PairFramer framer(tokenizer, length_of(options));
    for (const PoolQuery& query : pool.queries) add(framer.query(query.text));
    for (const PoolCandidate& candidate : pool.candidates) add(framer.candidate(candidate.text));
    FamilyData::Facts facts{std::move(dataset),
                            submission_name(name(), split, language, "json"),
                            pool.labelled ? "" : without_gold(pool.path, language),
                            {pool.left_out, pool.left_out + std::ssize(pool.queries),
                             "questions left out: their answer begins in no sentence of the context"},
                            framer.truncation()};
    return std::make_unique<RankingData>(std::move(facts), rule(), std::move(pool));
  }

  Evaluation score(const std::filesystem::path& predictions, const std::filesystem::path& gold,
                   const std::string& language) const override {
    const std::filesystem::path path = require_submission_file(predictions, name(), language, "json");
    const nlohmann::json json = read_id_lists(path);
    const auto [queries, targets] = gold_of(gold, split_of(path), language);
    std::vector<Ids> ranked;
    std::int64_t unpredicted = 0;
    for (const PoolQuery& query : queries) {
      const std::string key = key_of(rule(), query);
      const auto found = json.find(key);
      require(rule().may_lack || found != json.end(), path.string(), ": no answer to question ", key);
      unpredicted += found == json.end() ? 1 : 0;
      ranked.push_back(found == json.end() ? Ids() : found->get<Ids>());
    }
    Evaluation result = ranking_evaluation(rule(), queries, targets, ranked);
    result.unpredicted = unpredicted;
    return result;
  }

 protected:
  std::int64_t count_examples(const std::filesystem::path& data, const std::string& split,
                              const std::string& language) const override {
    const CandidatePool pool = read_split(data, split, language);
    require_gold(pool, language);
    return std::ssize(pool.queries);
  }

 private:
  const Scorer<RankingRule>& scorer() const { return scorer_of<RankingRule>(kRankingScorers, row()); }
  const RankingRule& rule() const { return scorer().score; }

  struct Gold {
    std::vector<PoolQuery> queries;
    Targets targets;
  };
  /// From a file of labels (XTREME's layout), or from the task's own data.
  Gold gold_of(const std::filesystem::path& gold, const std::string& split, const std::string& language) const {
    const auto file = rule().languages ? std::nullopt : find_submission_file(gold, name(), language, "json");
    if (!file) {
      CandidatePool pool = read_split(gold, split, language);
      require_gold(pool, language);
      return {std::move(pool.queries), std::move(pool.targets)};
    }
    Gold labels;
    const nlohmann::json lists = read_id_lists(*file);
    for (const auto& [id, ids] : lists.items()) {
      require(ids.size() == 1, file->string(), ": \"", id, "\" has ", ids.size(), " entities; every mention has one");
      if (ids.front() == "") throw MissingGold(without_gold(*file, language));
      labels.queries.push_back({id, language, ""});
      labels.targets[id] = ids.get<std::set<std::string>>();
    }
    require(!labels.queries.empty(), file->string(), ": no labels; is the file complete?");
    return labels;
  }
};

}  // namespace

std::unique_ptr<Task> make_ranking_task(TaskRow row) { return std::make_unique<RankingTask>(std::move(row)); }

}  // namespace koine
