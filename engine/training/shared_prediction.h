#pragma once

// Ranks that predict together. Rank 0 evaluates as one process does, and lets the others compute part of the batches of each pass: it
// tells them examples and what to compute, every rank computes its batches with its own copy of the same weights, and tells what
// came of them. Batches are those of one process, so each has the same bits; the others need no data set, and decide nothing.

#include <cstdint>
#include <span>
#include <vector>

#include "engine/batch/packed_batch.h"
#include "engine/ranks/communicator.h"
#include "engine/training/model.h"

namespace koine {

/// What is computed of each batch of a pass.
struct PredictionPass {
  bool encodes = false;              ///< encode_layers() of `layers`, or predict()
  std::vector<std::int64_t> layers;  ///< not read by predict()
  Pooling pooling = Pooling::kMean;
  std::int32_t head = 0;            ///< of the model
  std::int64_t maximum_tokens = 0;  ///< of a batch
};

/// Numbers of a batch of groups of the data set. `model` has room for it.
std::vector<float> compute_batch(Model& model, const PredictionPass& pass, const Dataset& dataset,
                                 std::span<const std::int64_t> groups);

/// Batches that a rank computes between two times that it is told some.
inline constexpr std::int64_t kBatchesOfARank = 4;

/// The rank that computes batch `index` of those told at a time. Neighbours are of like length, so that dealt out to and fro, the
/// longer ones of each turn to other ranks, they cost about the same.
int rank_of_batch(std::int64_t index, int ranks);

/// Rank 0's: the numbers of each of some batches, at most kBatchesOfARank for each rank, in order. The others are in
/// help_predicting(). Error where a rank is gone.
std::vector<std::vector<float>> predict_together(Model& model, Communicator& ranks, const PredictionPass& pass,
                                                 const Dataset& dataset, std::span<const std::vector<std::int64_t>> batches);

/// The others': they compute what they are told to, until rank 0 says that it was all. Returns how many batches.
std::int64_t help_predicting(Model& model, Communicator& ranks);
void end_help(Communicator& ranks);

}  // namespace koine
