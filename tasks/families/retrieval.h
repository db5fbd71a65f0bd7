#pragma once

// Sentence retrieval without training. Scorers, by the rows' names for them:
//
//   "accuracy"  XTREME's: for each English sentence the nearest sentence of the other language by cosine. Metrics: accuracy;
//               beside it MTEB's score of the other direction, mteb_f1 and mteb_accuracy (scorers/mteb_bitext.h).
//               Predictions: the number of the sentence, from 0, a line (XTREME's submission layout). Vectors: hidden state
//               14 of 24 (vectors.h), mean over all tokens, <s> and </s> included.
//   "mexa"      MEXA (scorers/mexa.h): of each hidden state "mexa", over them "mexa_mean" and "mexa_max", of the first 100
//               pairs. Vectors: all hidden states, mean over all tokens weighted by position. No predictions.
//
// Hidden states, pooling and number of pairs can be changed in EvaluationOptions and FeatureOptions.

#include <cstdint>
#include <memory>
#include <vector>

#include "tasks/common/task.h"

namespace koine {

std::unique_ptr<Task> make_retrieval_task(TaskRow row);

/// For each of `queries` [n, width] the number of the nearest of `candidates` [m, width] by cosine. Both are normalised to
/// length 1 in place.
std::vector<std::int32_t> nearest_by_cosine(std::vector<float>& queries, std::vector<float>& candidates, std::int64_t width);

}  // namespace koine
