#pragma once

// What the families of sentence vectors (retrieval, mining, ranking) share: one pass of the encoder for all hidden states
// asked for, each scored by itself.

#include <functional>
#include <string>
#include <vector>

#include "tasks/common/prediction.h"
#include "tasks/common/task.h"

namespace koine {

/// The hidden state used where none is asked for: 14 / 24 of the model's layers, rounded (the task authors' choice for XLM-R
/// Large, scaled to the model's depth).
std::int64_t default_retrieval_layer(std::int64_t layers);

struct VectorScore {
  Evaluation evaluation;
  std::string predictions;  ///< the prediction file's text
};

struct ScoredLayers {
  VectorScore headline;
  PassCounts counts;
};

/// Encodes the data set once and calls score(vectors [examples * width], width) for each of options.layers (none: the
/// default one). The headline is the default layer's where it is among those asked for, else the first one's; its evaluation
/// says which layer it is of, and where several were asked for it has the metrics of each.
ScoredLayers score_layers(Model& model, const Dataset& dataset, EvaluationOptions options,
                          const std::function<VectorScore(std::vector<float>& vectors, std::int64_t width)>& score);

}  // namespace koine
