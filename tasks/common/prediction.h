#pragma once

// Running a model over a whole data set: batches sorted by length, results in the order of the data set. Shared by every
// task's evaluation.

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "engine/batch/batcher.h"
#include "engine/training/model.h"
#include "engine/training/shared_prediction.h"
#include "kernels/common/check.h"
#include "tasks/common/task.h"

namespace koine {

/// Thrown out of an evaluation whose EvaluationOptions::stop was set. Nothing was written.
class Interrupted : public Error {
 public:
  Interrupted() : Error("interrupted") {}
};

/// UserError where results of a model are infinite or not a number, saying how many of `sequences` of which data set have
/// any and which is the first: such a result is no prediction. `broken`: places of those sequences in the data set.
void require_finite(const Dataset& dataset, const std::vector<std::size_t>& broken);

/// Work done by one pass.
struct PassCounts {
  std::int64_t tokens = 0;
  double seconds = 0;
};

/// Calls use(batch, groups) for every batch of the data set, with batch.head = options.head, after making room in the model.
/// UserError when a sequence is longer than the model reads (naming the setting to change), Interrupted when asked to stop.
PassCounts for_each_batch(Model& model, const Dataset& dataset, const EvaluationOptions& options,
                          const std::function<void(PackedBatch& batch, const std::vector<std::int64_t>& groups)>& use);

/// The same batches, and the numbers that the model gives for each of them: use(groups, numbers), in order. `pass` says what they
/// are, but for the head and the batches' size. Computed by all ranks of options.ranks, where there are any.
PassCounts compute_batches(
    Model& model, const Dataset& dataset, const EvaluationOptions& options, PredictionPass pass,
    const std::function<void(const std::vector<std::int64_t>& groups, const std::vector<float>& numbers)>& use);

/// Logits of every sequence, in data set order: kSequence(Pooled) [classes], kToken and kSpan [length * classes], kChoice
/// [1].
struct Predictions {
  std::vector<std::vector<float>> logits;
  PassCounts counts;
};
/// UserError where a logit is not finite.
Predictions predict_all(Model& model, const Dataset& dataset, const EvaluationOptions& options);

/// Vectors of every sequence, of each layer [examples * hidden], in data set order.
struct Encodings {
  std::vector<std::vector<float>> vectors;
  std::int64_t width = 0;
  PassCounts counts;
};
/// Of the layers that `pass` encodes, or, where it encodes none, those that the head gives. One pass.
Encodings collect_vectors(Model& model, const Dataset& dataset, const EvaluationOptions& options,
                          const PredictionPass& pass);
/// Of options.layers, in their order. Memory: 4 bytes * layers * examples * hidden. UserError for a layer the model does not have,
/// and where a vector is not finite.
Encodings encode_all(Model& model, const Dataset& dataset, const EvaluationOptions& options);

/// Index of the largest value; the first of equal ones.
std::int32_t index_of_largest(const float* values, std::int32_t count);

}  // namespace koine
