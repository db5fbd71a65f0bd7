#include "engine/batch/step_parts.h"

#include <algorithm>
#include <numeric>

#include "kernels/common/check.h"

namespace koine {

namespace {

std::int64_t group_cost(const Dataset& dataset, std::int64_t group, std::int64_t width) {
  std::int64_t cost = 0;
  for (std::int64_t i = group * dataset.group; i < (group + 1) * dataset.group; ++i) {
    const Example& example = dataset.examples[static_cast<std::size_t>(i)];
    cost += sequence_cost(std::ssize(example.ids), width) + sequence_cost(std::ssize(example.target_ids), width);
  }
  return cost;
}

/// For each thing, by its cost, the part it goes to.
std::vector<std::size_t> deal_out(const std::vector<std::int64_t>& costs, std::int64_t parts) {
  check(parts > 0, "a step of ", parts, " parts");
  std::vector<std::size_t> order(costs.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return costs[a] > costs[b]; });
  std::vector<std::int64_t> loads(static_cast<std::size_t>(parts));
  std::vector<std::size_t> part_of(costs.size());
  for (const std::size_t thing : order) {
    const auto least = static_cast<std::size_t>(std::min_element(loads.begin(), loads.end()) - loads.begin());
    loads[least] += costs[thing];
    part_of[thing] = least;
  }
  return part_of;
}

}  // namespace

std::int64_t sequence_cost(std::int64_t tokens, std::int64_t width) { return tokens * (6 * width + tokens); }

std::vector<StepPlan> plan_parts(const Dataset& dataset, std::span<const std::int64_t> groups, std::int64_t parts,
                                 std::int64_t maximum_tokens, std::int64_t width) {
  std::vector<std::int64_t> costs;
  for (const std::int64_t group : groups) {
    check(group >= 0 && group < dataset.groups(), "no example ", group, " in ", dataset.name);
    costs.push_back(group_cost(dataset, group, width));
  }
  const std::vector<std::size_t> part_of = deal_out(costs, parts);
  std::vector<std::vector<std::int64_t>> members(static_cast<std::size_t>(parts));
  for (std::size_t i = 0; i < groups.size(); ++i) members[part_of[i]].push_back(groups[i]);
  std::vector<StepPlan> plans;
  for (const std::vector<std::int64_t>& part : members) plans.push_back(plan_step(dataset, part, maximum_tokens));
  return plans;
}

std::vector<StepPlan> plan_whole_batch_parts(const Dataset& dataset, std::span<const std::int64_t> groups,
                                             std::int64_t groups_per_batch, std::int64_t parts, std::int64_t maximum_tokens,
                                             std::int64_t width) {
  const StepPlan whole = plan_whole_batches(dataset, groups, groups_per_batch, maximum_tokens);
  std::vector<std::int64_t> costs;
  for (const std::vector<std::int64_t>& batch : whole.micro_batches) {
    std::int64_t cost = 0;
    for (const std::int64_t group : batch) cost += group_cost(dataset, group, width);
    costs.push_back(cost);
  }
  const std::vector<std::size_t> part_of = deal_out(costs, parts);
  std::vector<StepPlan> plans(static_cast<std::size_t>(parts));
  for (std::size_t i = 0; i < costs.size(); ++i) plans[part_of[i]].micro_batches.push_back(whole.micro_batches[i]);
  return plans;
}

}  // namespace koine
