#include "tasks/families/mining.h"

#include <optional>
#include <unordered_map>

#include "tasks/families/family.h"
#include "tasks/families/vectors.h"
#include "tasks/formats/bucc.h"
#include "tasks/scorers/mteb_bitext.h"

namespace koine {
namespace {

const Scorer<Margin> kMiningScorers[] = {
    {"ratio", "f1", Margin::kRatio},
    {"distance", "f1", Margin::kDistance},
    {"absolute", "f1", Margin::kAbsolute},
};

Evaluation mining_evaluation(const IdPairs& gold, const IdPairs& predictions) {
  const PairScore score = score_pairs(gold, predictions);
  Evaluation result;
  result.metric = "f1";
  result.metrics = {{"f1", score.f1}, {"precision", score.precision}, {"recall", score.recall}};
  result.value = score.f1;
  result.examples = static_cast<std::int64_t>(gold.size());
  return result;
}

/// Corpora of one split with where their sentences' vectors stand: source, then target.
struct Corpora {
  BuccFile file;
  BuccSentences source;
  BuccSentences target;

  explicit Corpora(BuccFile corpora)
      : file(std::move(corpora)), source(unique_sentences(file.source)), target(unique_sentences(file.target)) {}

  std::int64_t sentences() const { return static_cast<std::int64_t>(source.lines.size() + target.lines.size()); }
};

class MiningData : public VectorData {
 public:
  /// The data set: the unique sentences of `scored`, behind them those of `tuned`, on which the threshold is found; without
  /// it, it is found on `scored` itself.
  MiningData(Facts facts, Margin margin, Corpora scored, std::optional<Corpora> tuned)
      : VectorData(std::move(facts)), margin_(margin), scored_(std::move(scored)), tuned_(std::move(tuned)) {}

 private:
  VectorScore score(std::vector<float>& vectors, std::int64_t width) const override {
    normalise_rows(vectors, width);
    const MutualNeighbours neighbours = neighbours_of(scored_, vectors, width, 0);
    const std::vector<ScoredPair> pairs = mine(scored_, neighbours);
    const double threshold =
        tuned_
            ? best_threshold(mine(*tuned_, neighbours_of(*tuned_, vectors, width, scored_.sentences())), tuned_->file.gold)
            : best_threshold(pairs, scored_.file.gold);
    IdPairs found;
    for (const ScoredPair& pair : pairs) {
      if (static_cast<double>(pair.score) >= threshold) found.emplace(pair.source, pair.target);
    }
    Evaluation result = mining_evaluation(scored_.file.gold, found);
    result.metrics["threshold"] = threshold;
    const MtebBitextScore mteb = mteb_score(neighbours.forward);
    result.metrics["mteb_f1"] = mteb.f1;
    result.metrics["mteb_accuracy"] = mteb.accuracy;
    std::string lines;
    for (const auto& [source, target] : found) lines += concatenate(source, "\t", target, "\n");
    return {std::move(result), std::move(lines)};
  }

  /// `first`: row of the corpora's first vector.
  static MutualNeighbours neighbours_of(const Corpora& corpora, std::span<const float> vectors, std::int64_t width,
                                        std::int64_t first) {
    const auto rows = [&](std::int64_t from, std::size_t count) {
      return vectors.subspan(static_cast<std::size_t>(from * width), count * static_cast<std::size_t>(width));
    };
    const std::size_t sources = corpora.source.lines.size();
    return mutual_neighbours(rows(first, sources),
                             rows(first + static_cast<std::int64_t>(sources), corpora.target.lines.size()), width,
                             MiningOptions{}.neighbours);
  }

  /// The gold pairs' sources, answered with their nearest targets.
  MtebBitextScore mteb_score(const Neighbours& forward) const {
    const auto sources = numbers_of(scored_.file.source, scored_.source);
    const auto targets = numbers_of(scored_.file.target, scored_.target);
    std::vector<std::int32_t> gold, answers;
    for (const auto& [source, target] : scored_.file.gold) {
      gold.push_back(targets.at(target));
      answers.push_back(forward.indices[static_cast<std::size_t>(sources.at(source) * forward.k)]);
    }
    return mteb_bitext_score(gold, answers);
  }

  /// Of each id the number of its sentence among the unique ones.
  static std::unordered_map<std::string, std::int32_t> numbers_of(const BuccSide& side, const BuccSentences& unique) {
    std::unordered_map<std::string_view, std::int32_t> by_text;
    for (std::size_t i = 0; i < unique.lines.size(); ++i)
      by_text.emplace(side.sentences[unique.lines[i]], static_cast<std::int32_t>(i));
    std::unordered_map<std::string, std::int32_t> by_id;
    for (std::size_t line = 0; line < side.ids.size(); ++line)
      by_id.emplace(side.ids[line], by_text.at(side.sentences[line]));
    return by_id;
  }

  /// Pairs of sentences that stand once in their side, by their ids.
  std::vector<ScoredPair> mine(const Corpora& corpora, const MutualNeighbours& neighbours) const {
    MiningOptions options;
    options.margin = margin_;
    std::vector<ScoredPair> pairs;
    for (const MinedPair& pair : mine_bitext(neighbours, options)) {
      const auto source = static_cast<std::size_t>(pair.source);
      const auto target = static_cast<std::size_t>(pair.target);
      if (corpora.source.repeated[source] || corpora.target.repeated[target]) continue;
      pairs.push_back({corpora.file.source.ids[corpora.source.lines[source]],
                       corpora.file.target.ids[corpora.target.lines[target]], pair.score});
    }
    return pairs;
  }

  Margin margin_;
  Corpora scored_;
  std::optional<Corpora> tuned_;
};

class MiningTask : public FamilyTask<BuccFile> {
 public:
  using FamilyTask::FamilyTask;

  HeadKind head() const override { return HeadKind::kSequence; }
  std::string metric() const override { return "f1"; }

  std::unique_ptr<TaskData> load(const std::filesystem::path& data, const std::string& split, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    Corpora scored = corpora(data, split, language, options);
    std::optional<Corpora> tuned;
    if (split == "test") {
      tuned.emplace(corpora(data, "dev", language, options));
      FamilyTask::require_gold(tuned->file, language);
    }
    Dataset dataset = empty_dataset(split, language);
    CountingFramer framer(tokenizer, length_of(options));
    add_sentences(scored, tokenizer, framer, dataset);
    if (tuned) add_sentences(*tuned, tokenizer, framer, dataset);
    FamilyData::Facts facts{std::move(dataset), submission_name(name(), split, language, "tsv"),
                            scored.file.labelled ? "" : without_gold(scored.file.path, language), LeftOut{},
                            framer.truncation()};
    return std::make_unique<MiningData>(std::move(facts), scorer_of<Margin>(kMiningScorers, row()).score, std::move(scored),
                                        std::move(tuned));
  }

  Evaluation score(const std::filesystem::path& predictions, const std::filesystem::path& gold,
                   const std::string& language) const override {
    const std::filesystem::path path = require_submission_file(predictions, name(), language, "tsv");
    const IdPairs answers = read_id_pairs(path);
    if (const auto file = find_submission_file(gold, name(), language, "tsv"))
      return mining_evaluation(read_id_pairs(*file), answers);
    const BuccFile file = read_split(gold, split_of(path), language);
    FamilyTask::require_gold(file, language);
    return mining_evaluation(file.gold, answers);
  }

 protected:
  std::int64_t count_examples(const std::filesystem::path& data, const std::string& split,
                              const std::string& language) const override {
    const BuccFile file = read_split(data, split, language);
    FamilyTask::require_gold(file, language);
    return static_cast<std::int64_t>(file.gold.size());
  }

 private:
  Corpora corpora(const std::filesystem::path& data, const std::string& split, const std::string& language,
                  const FeatureOptions& options) const {
    return Corpora(read_split(data, split, language, options.max_examples));
  }

  static void add_sentences(const Corpora& corpora, const Tokenizer& tokenizer, CountingFramer& framer, Dataset& dataset) {
    for (const auto& [side, unique] :
         {std::pair(&corpora.file.source, &corpora.source), std::pair(&corpora.file.target, &corpora.target)}) {
      for (const std::size_t line : unique->lines) {
        dataset.examples.push_back({framer.single(tokenizer.encode(side->sentences[line])),
                                    {},
                                    static_cast<std::uint32_t>(dataset.examples.size())});
      }
    }
  }
};

}  // namespace

std::unique_ptr<Task> make_mining_task(TaskRow row) { return std::make_unique<MiningTask>(std::move(row)); }

}  // namespace koine
