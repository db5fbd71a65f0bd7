#pragma once

// Sentence retrieval without training: for each English sentence the nearest sentence of the other language by cosine;
// accuracy. Predictions: the number of the sentence, from 0, a line (XTREME's submission layout).
//
// Vectors: hidden state 14 of 24 (task authors' choice for XLM-R Large; scaled to the model's depth), mean over all tokens,
// <s> and </s> included; both can be changed in EvaluationOptions.

#include <cstdint>
#include <memory>
#include <vector>

#include "tasks/common/task.h"

namespace koine {

std::unique_ptr<Task> make_retrieval_task(TaskRow row);

/// The hidden state used where none is asked for: 14 / 24 of the model's layers, rounded.
std::int64_t default_retrieval_layer(std::int64_t layers);

/// For each of `queries` [n, width] the number of the nearest of `candidates` [m, width] by cosine. Both are normalised to
/// length 1 in place.
std::vector<std::int32_t> nearest_by_cosine(std::vector<float>& queries, std::vector<float>& candidates, std::int64_t width);

}  // namespace koine
