#pragma once

// What the families of sentence vectors (retrieval, mining, ranking, pairs) share: one pass of the encoder for all hidden
// states asked for, each scored by itself; or the vectors of a dual encoder's head.

#include <functional>
#include <string>
#include <vector>

#include "tasks/common/prediction.h"
#include "tasks/common/task.h"
#include "tasks/families/family.h"

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

/// Encodes the data set once and calls score(vectors [examples * width], width) for each of options.layers. Where none is
/// asked for, and both the data set and the model's head are a dual encoder's, the vectors are the head's, and the evaluation
/// is of no layer; otherwise the layer is the default one. The headline is the default layer's where it is among those asked
/// for, else the first one's; its evaluation says which layer it is of, and where several were asked for it has the metrics of
/// each.
ScoredLayers score_layers(Model& model, const Dataset& dataset, EvaluationOptions options,
                          const std::function<VectorScore(std::vector<float>& vectors, std::int64_t width)>& score);

/// A data set whose evaluation is that of its sequences' vectors.
class VectorData : public FamilyData {
 public:
  using FamilyData::FamilyData;
  Evaluation evaluate(Model& model, const EvaluationOptions& options) const override;

 protected:
  virtual VectorScore score(std::vector<float>& vectors, std::int64_t width) const = 0;
};

/// Candidates that count of a ranking: mAP@20.
inline constexpr std::int64_t kRanked = 20;

/// Queries and candidates as single sequences, of a query at most 96 tokens (XTREME-R's max_query_length).
class PairFramer {
 public:
  PairFramer(const Tokenizer& tokenizer, std::int64_t max_seq_length);

  std::vector<std::int32_t> query(const std::string& text) { return queries_.single(tokenizer_.encode(text)); }
  std::vector<std::int32_t> candidate(const std::string& text) { return candidates_.single(tokenizer_.encode(text)); }
  /// Of both; its maximum length is the candidates'.
  Truncation truncation() const;

 private:
  const Tokenizer& tokenizer_;
  CountingFramer queries_;
  CountingFramer candidates_;
};

}  // namespace koine
