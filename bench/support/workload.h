#pragma once

// Batches for whole steps.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/batch/packed_batch.h"
#include "engine/training/model.h"

namespace koine::bench {

/// "16x128", or the name of a file with one length a line.
std::vector<std::int64_t> read_lengths(const std::string& text);
/// Sequences of these lengths with random ids, and labels 0, 1, 2, 0 ...
Dataset random_dataset(const std::vector<std::int64_t>& lengths, std::int64_t vocabulary);

/// Batches a step each, in order.
struct Work {
  std::vector<PackedBatch> batches;
  double tokens = 0;
  double flops = 0;  ///< of a pass over all: forward, or forward and backward

  std::int64_t largest_batch() const;
};
/// Training: `batch` sequences a step in order. Encoding: packed up to `tokens` as the batcher likes.
Work pack_work(const Dataset& dataset, const Model& model, bool training, std::int64_t batch, std::int64_t tokens);
/// Batches from a file: a line a sequence, "label id id ...", an empty line behind each batch.
Work read_work(const std::string& path, const Model& model);
/// FLOPs of the same batches, for the other direction.
double flops_of(const Work& work, const Model& model, bool training);

}  // namespace koine::bench
