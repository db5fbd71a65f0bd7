#include "tasks/families/vectors.h"

#include <algorithm>
#include <cmath>

namespace koine {

std::int64_t default_retrieval_layer(std::int64_t layers) {
  return static_cast<std::int64_t>(std::llround(14.0 / 24.0 * static_cast<double>(layers)));
}

namespace {

bool has_vectors_of_its_own(const Model& model, const Dataset& dataset, const EvaluationOptions& options) {
  return options.layers.empty() && dataset.head == HeadKind::kDualEncoder && options.head < std::ssize(model.heads()) &&
         model.heads()[static_cast<std::size_t>(options.head)].kind == HeadKind::kDualEncoder;
}

}  // namespace

ScoredLayers score_layers(Model& model, const Dataset& dataset, EvaluationOptions options,
                          const std::function<VectorScore(std::vector<float>& vectors, std::int64_t width)>& score) {
  if (has_vectors_of_its_own(model, dataset, options)) {
    Encodings encodings = collect_vectors(model, dataset, options, {});
    return {score(encodings.vectors.front(), encodings.width), encodings.counts};
  }
  const std::int64_t own = default_retrieval_layer(model.layers());
  if (options.layers.empty()) options.layers = {own};
  const auto found = std::find(options.layers.begin(), options.layers.end(), own);
  const std::int64_t headline = found == options.layers.end() ? options.layers.front() : own;
  Encodings encodings = encode_all(model, dataset, options);
  ScoredLayers result{{}, encodings.counts};
  std::map<std::int64_t, std::map<std::string, double>> metrics;
  for (std::size_t i = 0; i < options.layers.size(); ++i) {
    VectorScore scored = score(encodings.vectors[i], encodings.width);
    std::vector<float>().swap(encodings.vectors[i]);
    metrics[options.layers[i]] = scored.evaluation.metrics;
    if (options.layers[i] == headline) result.headline = std::move(scored);
  }
  result.headline.evaluation.layer = headline;
  if (metrics.size() > 1) result.headline.evaluation.layers = std::move(metrics);
  return result;
}

Evaluation VectorData::evaluate(Model& model, const EvaluationOptions& options) const {
  require_gold();
  ScoredLayers scored = score_layers(model, dataset(), options,
                                     [&](std::vector<float>& vectors, std::int64_t width) { return score(vectors, width); });
  return finish(std::move(scored.headline.evaluation), scored.counts, options, [&] { return scored.headline.predictions; });
}

PairFramer::PairFramer(const Tokenizer& tokenizer, std::int64_t max_seq_length)
    : tokenizer_(tokenizer),
      queries_(tokenizer, std::min<std::int64_t>(96, max_seq_length)),
      candidates_(tokenizer, max_seq_length) {}

Truncation PairFramer::truncation() const {
  Truncation both = candidates_.truncation();
  both.append(queries_.truncation());
  return both;
}

}  // namespace koine
