#pragma once

// A step's examples cut into parts that cost about the same, for ranks, or for sums in a fixed order.

#include <cstdint>
#include <span>
#include <vector>

#include "engine/batch/batcher.h"

namespace koine {

/// What a sequence of n tokens costs a transformer of that width, in units of its own: products are linear in n, attention's
/// scores are not. A layer's forward has 24 width^2 n + 4 width n^2 FLOPs (feed-forward width 4 * width), that is 4 width
/// times 6 width n + n^2.
std::int64_t sequence_cost(std::int64_t tokens, std::int64_t width);

/// The groups of a step, each in one of `parts` parts: the dearest first, each to the part that has the least so far (Graham's
/// LPT rule). A part may be empty, and is cut into micro-batches as plan_step cuts a step.
std::vector<StepPlan> plan_parts(const Dataset& dataset, std::span<const std::int64_t> groups, std::int64_t parts,
                                 std::int64_t maximum_tokens, std::int64_t width);

/// The same where the examples of a batch compete: whole micro-batches, as plan_whole_batches makes them, are dealt out.
std::vector<StepPlan> plan_whole_batch_parts(const Dataset& dataset, std::span<const std::int64_t> groups,
                                             std::int64_t groups_per_batch, std::int64_t parts, std::int64_t maximum_tokens,
                                             std::int64_t width);

}  // namespace koine
