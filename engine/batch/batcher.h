#pragma once

// Which examples go together. Never any padding: a batch is limited by tokens, those of sources and targets together, not by
// sequences times the longest.

#include <cstdint>
#include <span>
#include <vector>

#include "engine/batch/packed_batch.h"

namespace koine {

/// The groups (Dataset::group consecutive sequences) of one optimizer step, cut into micro-batches of at most
/// `maximum_tokens` tokens each (a single group may not exceed it: Error naming it). Within the step groups are ordered by
/// length, so that micro-batches hold sequences of like length.
struct StepPlan {
  std::vector<std::vector<std::int64_t>> micro_batches;  ///< indices of groups
};

/// Endless shuffled passes over a data set, `groups_per_step` groups at a time; a pass may end within a step (the step then
/// continues with the next pass). The order is a pure function of (seed, epoch): Philox, not the library's shuffle.
class EpochSampler {
 public:
  EpochSampler(std::int64_t groups, std::int64_t groups_per_step, std::uint32_t seed);
  /// The groups of step `step` (from 0); any step can be asked for at any time, which is what makes resuming exact.
  std::vector<std::int64_t> step_groups(std::int64_t step);
  std::int64_t steps_per_epoch() const;

 private:
  const std::vector<std::int64_t>& epoch_order(std::int64_t epoch);
  std::int64_t groups_;
  std::int64_t groups_per_step_;
  std::uint32_t seed_;
  std::int64_t cached_epoch_ = -1;
  std::vector<std::int64_t> order_;
};

StepPlan plan_step(const Dataset& dataset, std::span<const std::int64_t> groups, std::int64_t maximum_tokens);

/// The same where the examples of a batch compete (HeadFacts::in_batch): micro-batches of `groups_per_batch` groups, the last
/// one of what is left, in the order given. Error where one has more than `maximum_tokens` tokens.
StepPlan plan_whole_batches(const Dataset& dataset, std::span<const std::int64_t> groups, std::int64_t groups_per_batch,
                            std::int64_t maximum_tokens);
/// The most tokens that such a micro-batch of a data set can have: those of its longest groups.
std::int64_t longest_batch_tokens(const Dataset& dataset, std::int64_t groups_per_batch);

/// Batches over a whole data set for prediction: all groups once, sorted by length, each batch at most `maximum_tokens`.
StepPlan plan_prediction(const Dataset& dataset, std::int64_t maximum_tokens);

/// Packs the groups of one micro-batch.
PackedBatch pack_groups(const Dataset& dataset, std::span<const std::int64_t> groups);

/// RoBERTa's masking (Liu et al., arXiv 1907.11692), drawn by Philox from (seed, epoch, example number,
/// position): each token that is not special is chosen with `probability`; of the chosen 80 % become `mask_id`, 10 % a
/// uniform id below `vocabulary`, 10 % stay. Fills batch.labels and replaces the source's ids (and rebuilds its orders). At
/// least one token of the batch is chosen where it has any that is not special.
struct MaskingSettings {
  double probability = 0.15;
  std::int32_t mask_id = 0;
  std::int32_t vocabulary = 0;
  std::vector<std::int32_t> special_ids;
  std::uint32_t seed = 0;
};
void mask_tokens(PackedBatch& batch, const MaskingSettings& settings, std::uint32_t epoch);

}  // namespace koine
