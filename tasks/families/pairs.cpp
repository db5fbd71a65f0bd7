#include "tasks/families/pairs.h"

#include <map>

#include "tasks/families/family.h"
#include "tasks/families/vectors.h"
#include "tasks/formats/text_pairs.h"
#include "tasks/scorers/bitext_mining.h"
#include "tasks/scorers/ranking.h"

namespace koine {
namespace {

class PairsData : public VectorData {
 public:
  using VectorData::VectorData;

 private:
  /// `vectors`: query, candidate, query, candidate ...
  VectorScore score(std::vector<float>& vectors, std::int64_t width) const override {
    normalise_rows(vectors, width);
    std::vector<float> queries, candidates;
    std::map<std::vector<std::int32_t>, std::int32_t> numbers;  // of different candidates, by their ids
    std::vector<std::int32_t> right;
    const auto append = [&](std::vector<float>& rows, std::size_t example) {
      const auto row = vectors.begin() + static_cast<std::ptrdiff_t>(example) * width;
      rows.insert(rows.end(), row, row + width);
    };
    for (std::size_t query = 0; query < dataset().examples.size(); query += kPair) {
      const auto [entry, fresh] =
          numbers.try_emplace(dataset().examples[query + 1].ids, static_cast<std::int32_t>(numbers.size()));
      right.push_back(entry->second);
      append(queries, query);
      if (fresh) append(candidates, query + 1);
    }
    const Neighbours nearest = nearest_neighbours(queries, candidates, width, kRanked);
    double sum = 0;
    for (std::size_t i = 0; i < right.size(); ++i) {
      const auto first = nearest.indices.begin() + static_cast<std::ptrdiff_t>(i) * nearest.k;
      sum += average_precision<std::int32_t>({right[i]}, {first, first + nearest.k}, kRanked);
    }
    VectorScore result;
    result.evaluation.metric = "map@20";
    result.evaluation.value = sum / static_cast<double>(right.size()) * 100;
    result.evaluation.metrics["map@20"] = result.evaluation.value;
    result.evaluation.examples = std::ssize(right);
    return result;
  }
};

class PairsTask : public FamilyTask<TextPairs> {
 public:
  using FamilyTask::FamilyTask;

  HeadKind head() const override { return HeadKind::kDualEncoder; }
  std::string metric() const override { return "map@20"; }

  std::unique_ptr<TaskData> load(const std::filesystem::path& data, const std::string& split, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    TextPairs texts = read_split(data, split, language, options.max_examples);
    keep_first(texts.pairs, options.max_examples);
    require_learnable(texts, split);
    Dataset dataset = empty_dataset(split, language);
    dataset.group = kPair;
    PairFramer framer(tokenizer, length_of(options));
    const auto add = [&](std::vector<std::int32_t> ids, std::vector<std::int32_t> labels) {
      dataset.examples.push_back({std::move(ids), std::move(labels), static_cast<std::uint32_t>(dataset.examples.size())});
    };
    for (const TextPair& pair : texts.pairs) {
      add(framer.query(pair.query), {0});
      add(framer.candidate(pair.candidate), {});
    }
    return std::make_unique<PairsData>(
        FamilyData::Facts{std::move(dataset),
                          "",
                          texts.labelled ? "" : without_gold(texts.path, language),
                          {texts.left_out, texts.left_out + std::ssize(texts.pairs),
                           "questions left out: their answer begins in no sentence of the context"},
                          framer.truncation()});
  }

  Evaluation score(const std::filesystem::path&, const std::filesystem::path&, const std::string&) const override {
    fail_user("task ", name(), " has no predictions to score: it is there to be learnt from");
  }

 protected:
  std::int64_t count_examples(const std::filesystem::path& data, const std::string& split,
                              const std::string& language) const override {
    const TextPairs texts = read_split(data, split, language);
    require_gold(texts, language);
    return std::ssize(texts.pairs);
  }
  LeftOut count_left_out(const std::filesystem::path& data, const std::string& split,
                         const std::string& language) const override {
    const TextPairs texts = read_split(data, split, language);
    return {texts.left_out, texts.left_out + std::ssize(texts.pairs), "questions left out"};
  }
};

}  // namespace

std::unique_ptr<Task> make_pairs_task(TaskRow row) { return std::make_unique<PairsTask>(std::move(row)); }

}  // namespace koine
