#include "tasks/families/vectors.h"

#include <algorithm>
#include <cmath>

namespace koine {

std::int64_t default_retrieval_layer(std::int64_t layers) {
  return static_cast<std::int64_t>(std::llround(14.0 / 24.0 * static_cast<double>(layers)));
}

ScoredLayers score_layers(Model& model, const Dataset& dataset, EvaluationOptions options,
                          const std::function<VectorScore(std::vector<float>& vectors, std::int64_t width)>& score) {
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

}  // namespace koine
