#include "tasks/families/retrieval.h"

#include <algorithm>
#include <numeric>

#include "tasks/families/family.h"
#include "tasks/families/vectors.h"
#include "tasks/formats/parallel_text.h"
#include "tasks/scorers/accuracy.h"
#include "tasks/scorers/bitext_mining.h"
#include "tasks/scorers/mexa.h"
#include "tasks/scorers/mteb_bitext.h"

namespace koine {
namespace {

struct RetrievalRule {
  bool mexa = false;
  Pooling pooling = Pooling::kMean;
  std::int64_t pairs = 0;  ///< the first so many, where no other number is asked for; 0: all
};
const Scorer<RetrievalRule> kRetrievalScorers[] = {
    {"accuracy", "accuracy", {}},
    {"mexa", "mexa_mean", {true, Pooling::kPositionWeightedMean, 100}},
};

Evaluation retrieval_evaluation(const std::vector<std::int32_t>& gold, const std::vector<std::int32_t>& predictions) {
  Evaluation result;
  result.metric = "accuracy";
  result.value = accuracy_percent(gold, predictions);
  result.metrics["accuracy"] = result.value;
  result.examples = static_cast<std::int64_t>(gold.size());
  result.outcomes.metric = result.metric;
  for (std::size_t i = 0; i < gold.size(); ++i) result.outcomes.points.push_back(gold[i] == predictions[i] ? 1.0F : 0.0F);
  return result;
}

/// The foreign sentences' vectors, and those of the English ones behind them.
struct Sides {
  std::vector<float> foreign;
  std::vector<float> english;
};
Sides sides_of(std::vector<float>& vectors, const ParallelText& text, std::int64_t width) {
  const auto foreign = static_cast<std::ptrdiff_t>(text.foreign.size()) * width;
  Sides sides{{}, {vectors.begin() + foreign, vectors.end()}};
  vectors.resize(static_cast<std::size_t>(foreign));
  sides.foreign = std::move(vectors);
  return sides;
}

VectorScore score_retrieval(const ParallelText& text, std::vector<float>& vectors, std::int64_t width) {
  Sides sides = sides_of(vectors, text, width);
  const std::vector<std::int32_t> answers = nearest_by_cosine(sides.english, sides.foreign, width);
  VectorScore score{retrieval_evaluation(text.translations, answers), ""};
  for (const std::int32_t answer : answers) score.predictions += concatenate(answer, "\n");
  // MTEB asks from the foreign side; both are of length 1 by now.
  std::vector<std::int32_t> gold(text.translations.size());
  for (std::size_t line = 0; line < gold.size(); ++line)
    gold[static_cast<std::size_t>(text.translations[line])] = static_cast<std::int32_t>(line);
  const MtebBitextScore mteb = mteb_bitext_score(gold, nearest_neighbours(sides.foreign, sides.english, width, 1).indices);
  score.evaluation.metrics["mteb_f1"] = mteb.f1;
  score.evaluation.metrics["mteb_accuracy"] = mteb.accuracy;
  return score;
}

VectorScore score_mexa(const ParallelText& text, std::vector<float>& vectors, std::int64_t width) {
  const Sides sides = sides_of(vectors, text, width);
  std::vector<float> foreign;  // in the order of the English
  for (const std::int32_t line : text.translations) {
    const auto row = sides.foreign.begin() + line * width;
    foreign.insert(foreign.end(), row, row + width);
  }
  VectorScore score;
  score.evaluation.metrics["mexa"] = mexa_percent(sides.english, foreign, width);
  score.evaluation.examples = static_cast<std::int64_t>(text.translations.size());
  return score;
}

/// The figures of all layers together.
Evaluation mexa_evaluation(Evaluation one) {
  std::map<std::int64_t, std::map<std::string, double>> layers = std::move(one.layers);
  if (layers.empty()) layers[one.layer.value()] = one.metrics;
  double sum = 0;
  double most = 0;
  for (const auto& [layer, metrics] : layers) {
    sum += metrics.at("mexa");
    most = std::max(most, metrics.at("mexa"));
  }
  Evaluation result;
  result.metric = "mexa_mean";
  result.value = sum / static_cast<double>(layers.size());
  result.metrics = {{"mexa_mean", result.value}, {"mexa_max", most}};
  result.examples = one.examples;
  result.layers = std::move(layers);
  result.tokens = one.tokens;
  result.seconds = one.seconds;
  return result;
}

class RetrievalData : public VectorData {
 public:
  /// The data set: the foreign sentences, behind them the English ones.
  RetrievalData(Facts facts, RetrievalRule rule, ParallelText text)
      : VectorData(std::move(facts)), rule_(rule), text_(std::move(text)) {}

  Evaluation evaluate(Model& model, const EvaluationOptions& options) const override {
    if (!rule_.mexa) return VectorData::evaluate(model, options);
    EvaluationOptions wanted = options;
    wanted.want_predictions = false;
    if (wanted.layers.empty()) {
      wanted.layers.resize(static_cast<std::size_t>(model.layers()) + 1);
      std::iota(wanted.layers.begin(), wanted.layers.end(), 0);
    }
    return mexa_evaluation(VectorData::evaluate(model, wanted));
  }

 private:
  VectorScore score(std::vector<float>& vectors, std::int64_t width) const override {
    return rule_.mexa ? score_mexa(text_, vectors, width) : score_retrieval(text_, vectors, width);
  }

  RetrievalRule rule_;
  ParallelText text_;
};

class RetrievalTask : public FamilyTask<ParallelText> {
 public:
  using FamilyTask::FamilyTask;

  HeadKind head() const override { return HeadKind::kSequence; }
  std::string metric() const override { return std::string(scorer().metric); }
  Pooling pooling() const override { return rule().pooling; }

  std::unique_ptr<TaskData> load(const std::filesystem::path& data, const std::string& split, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    ParallelText text = read_split(data, split, language, options.max_examples > 0 ? options.max_examples : rule().pairs);
    require(!rule().mexa || text.foreign.size() > 1, text.foreign_path.string(),
            ": one sentence; an alignment needs at least two");
    Dataset dataset = empty_dataset(split, language);
    CountingFramer framer(tokenizer, length_of(options));
    for (const std::vector<std::string>* side : {&text.foreign, &text.english}) {
      for (const std::string& sentence : *side) {
        dataset.examples.push_back(
            {framer.single(tokenizer.encode(sentence)), {}, static_cast<std::uint32_t>(dataset.examples.size())});
      }
    }
    FamilyData::Facts facts{std::move(dataset), submission_name(name(), split, language, "tsv"),
                            text.labelled ? "" : without_gold(text.path, language), LeftOut{}, framer.truncation()};
    return std::make_unique<RetrievalData>(std::move(facts), rule(), std::move(text));
  }

  Evaluation score(const std::filesystem::path& predictions, const std::filesystem::path& gold,
                   const std::string& language) const override {
    require(!rule().mexa, "task ", name(), " has no predictions to score: its figures are the model's vectors'");
    const std::filesystem::path file = require_submission_file(predictions, name(), language, "tsv");
    const std::vector<std::int32_t> labels = gold_indices(gold, language);
    const std::vector<std::int32_t> answers = read_indices(file);
    require(!labels.empty() && answers.size() == labels.size(), file.string(), ": ", answers.size(),
            " predictions, the gold data have ", labels.size(), " sentences");
    return retrieval_evaluation(labels, answers);
  }

 protected:
  std::int64_t count_examples(const std::filesystem::path& data, const std::string& split,
                              const std::string& language) const override {
    const ParallelText text = read_split(data, split, language);
    require_gold(text, language);
    return static_cast<std::int64_t>(text.foreign.size());
  }

 private:
  const Scorer<RetrievalRule>& scorer() const { return scorer_of<RetrievalRule>(kRetrievalScorers, row()); }
  const RetrievalRule& rule() const { return scorer().score; }

  /// From a file of line numbers (XTREME's label layout) or from the official pairs below a folder.
  std::vector<std::int32_t> gold_indices(const std::filesystem::path& gold, const std::string& language) const {
    if (const auto file = find_submission_file(gold, name(), language, "tsv")) return read_indices(*file);
    const ParallelText text = read_split(gold, splits().back(), language);
    require_gold(text, language);
    return text.translations;
  }
};

}  // namespace

std::unique_ptr<Task> make_retrieval_task(TaskRow row) { return std::make_unique<RetrievalTask>(std::move(row)); }

std::vector<std::int32_t> nearest_by_cosine(std::vector<float>& queries, std::vector<float>& candidates,
                                            std::int64_t width) {
  normalise_rows(queries, width);
  normalise_rows(candidates, width);
  return nearest_neighbours(queries, candidates, width, 1).indices;
}

}  // namespace koine
