#include "tasks/scaling/collectives.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "engine/ranks/ordered_sum.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

using Algorithm = CollectiveAlgorithm;

constexpr std::array<std::pair<Algorithm, const char*>, 6> kNames = {{{Algorithm::kFastest, "fastest"},
                                                                      {Algorithm::kRing, "ring"},
                                                                      {Algorithm::kTree, "tree"},
                                                                      {Algorithm::kHierarchical, "hierarchical"},
                                                                      {Algorithm::kMulticast, "multicast"},
                                                                      {Algorithm::kAllToAll, "all-to-all"}}};

/// The devices of one operation.
struct Shape {
  double all = 1;
  double in_node = 1;
  double nodes = 1;
};

Shape shape_of(const Machine& machine, std::int64_t devices) {
  require(devices >= 1, "a simulation needs a device, not ", devices);
  const std::int64_t in_node = std::min(devices, machine.devices_per_node);
  require(devices % in_node == 0, devices, " devices are not whole nodes of ", machine.devices_per_node);
  require(devices == in_node || machine.network.rate > 0, devices, " devices are more than a node of ",
          machine.devices_per_node, ", and no network between nodes is known (key network.gigabytes_per_second)");
  return {static_cast<double>(devices), static_cast<double>(in_node), static_cast<double>(devices / in_node)};
}

/// 2 for an all-reduce, which goes around twice.
double passes_of(Collective collective) { return collective == Collective::kAllReduce ? 2 : 1; }

/// Of a chain through all devices that every rail is a part of.
double chain_rate(const Machine& machine, const Shape& shape) {
  const double rails = shape.in_node * machine.network.rate;
  if (shape.nodes == 1) return machine.node.rate;
  return shape.in_node == 1 ? rails : std::min(machine.node.rate, rails);
}

CollectiveCost ring(const Machine& machine, double passes, double bytes, const Shape& shape) {
  const double network_steps = shape.nodes - 1;
  const double node_steps = shape.all - 1 - network_steps;
  const double sent = passes * (shape.all - 1) / shape.all * bytes;
  const double latency = passes * (node_steps * machine.node.ring_step + network_steps * machine.network.ring_step);
  return {machine.base + latency + sent / chain_rate(machine, shape), sent, shape.nodes > 1 ? sent / shape.in_node : 0,
          Algorithm::kRing};
}

CollectiveCost tree(const Machine& machine, double bytes, const Shape& shape) {
  const double levels = std::ceil(std::log2(shape.nodes));
  const double latency = 2 * ((shape.in_node - 1) * machine.node.tree_step + levels * machine.network.tree_step);
  const double sent = 2 * (shape.all - 1) / shape.all * bytes;  // the root and the leaves send half of what others do
  return {machine.base + latency + 2 * bytes / (machine.tree_share * chain_rate(machine, shape)), sent,
          shape.nodes > 1 ? 2 * (shape.nodes - 1) / shape.nodes * bytes / shape.in_node : 0, Algorithm::kTree};
}

/// Over each device's own rail, between the nodes; without the base.
struct RailCost {
  double latency = 0;
  double transfer = 0;
  double sent = 0;
};

/// The ways there are, a ring first.
std::vector<RailCost> over_rails(const Machine& machine, Collective collective, double bytes, double nodes) {
  if (nodes == 1) return {RailCost{}};
  const double passes = passes_of(collective);
  const double sent = passes * (nodes - 1) / nodes * bytes;
  std::vector<RailCost> ways = {{passes * (nodes - 1) * machine.network.ring_step, sent / machine.network.rate, sent}};
  const double levels = std::ceil(std::log2(nodes));
  if (collective == Collective::kAllReduce) {
    ways.push_back({2 * levels * machine.network.tree_step, 2 * bytes / (machine.tree_share * machine.network.rate), sent});
  } else {
    ways.push_back({levels * machine.network.tree_step, sent / (machine.pat_share * machine.network.rate), sent});
  }
  return ways;
}

CollectiveCost cheapest(const std::vector<CollectiveCost>& choices) {
  return *std::min_element(choices.begin(), choices.end(),
                           [](const CollectiveCost& a, const CollectiveCost& b) { return a.seconds < b.seconds; });
}

CollectiveCost hierarchical(const Machine& machine, Collective collective, double bytes, const Shape& shape) {
  const double passes = passes_of(collective);
  const double in_node = passes * (shape.in_node - 1) / shape.in_node * bytes;
  const double node_seconds =
      shape.in_node == 1 ? 0 : passes * (shape.in_node - 1) * machine.node.ring_step + in_node / machine.node.rate;
  std::vector<CollectiveCost> choices;
  for (const RailCost& rail : over_rails(machine, collective, bytes / shape.in_node, shape.nodes)) {
    choices.push_back({machine.base + node_seconds + rail.latency + rail.transfer, in_node + rail.sent, rail.sent,
                       Algorithm::kHierarchical});
  }
  return cheapest(choices);
}

CollectiveCost multicast(const Machine& machine, double bytes, const Shape& shape) {
  std::vector<CollectiveCost> choices;
  for (const RailCost& rail : over_rails(machine, Collective::kAllReduce, bytes / shape.in_node, shape.nodes)) {
    const double transfer = std::max(bytes / machine.multicast_rate, rail.transfer);
    choices.push_back(
        {machine.multicast_latency + rail.latency + transfer, bytes + rail.sent, rail.sent, Algorithm::kMulticast});
  }
  return cheapest(choices);
}

/// Of a reduce-scatter or all-gather those that there are for it.
CollectiveCost fastest(const Machine& machine, Collective collective, double bytes, const Shape& shape) {
  std::vector<CollectiveCost> choices = {ring(machine, passes_of(collective), bytes, shape),
                                         hierarchical(machine, collective, bytes, shape)};
  if (collective == Collective::kAllReduce) {
    choices.push_back(tree(machine, bytes, shape));
    if (machine.multicast_rate > 0 && shape.in_node > 1) choices.push_back(multicast(machine, bytes, shape));
  }
  return cheapest(choices);
}

/// One piece of a sum in a fixed order.
CollectiveCost exchange(const Machine& machine, double bytes, const Shape& shape) {
  const double share = bytes / shape.all;
  const double to_node = (shape.in_node - 1) * share;
  const double to_others = (shape.all - shape.in_node) * share;
  double seconds =
      machine.base + (shape.in_node - 1) * machine.node.ring_step + (shape.all - shape.in_node) * machine.network.ring_step;
  seconds += std::max(to_node > 0 ? to_node / machine.node.rate : 0, to_others > 0 ? to_others / machine.network.rate : 0);
  seconds += 3 * (shape.all - 1) * share / machine.memory_rate;
  const CollectiveCost gather = fastest(machine, Collective::kAllGather, bytes, shape);
  return {seconds + gather.seconds, to_node + to_others + gather.bytes, to_others + gather.network_bytes,
          Algorithm::kAllToAll};
}

CollectiveCost all_to_all(const Machine& machine, double bytes, const Shape& shape) {
  constexpr double kPiece = static_cast<double>(kExchangeElements) * sizeof(float);
  const double whole = std::floor(bytes / kPiece);
  const CollectiveCost cost = exchange(machine, kPiece, shape);
  const double rest = bytes - whole * kPiece;
  const CollectiveCost last = rest > 0 ? exchange(machine, rest, shape) : CollectiveCost{};
  return {whole * cost.seconds + last.seconds, whole * cost.bytes + last.bytes,
          whole * cost.network_bytes + last.network_bytes, Algorithm::kAllToAll};
}

}  // namespace

std::string name_of(CollectiveAlgorithm algorithm) {
  return std::find_if(kNames.begin(), kNames.end(), [&](const auto& one) { return one.first == algorithm; })->second;
}

CollectiveAlgorithm collective_algorithm(const std::string& name, const std::string& option) {
  std::string all;
  for (const auto& [algorithm, known] : kNames) {
    if (name == known) return algorithm;
    all += (all.empty() ? "" : ", ") + std::string(known);
  }
  fail_user(option, " ", name, ": there are ", all);
}

CollectiveCost collective_cost(const Machine& machine, Collective collective, CollectiveAlgorithm algorithm, double bytes,
                               std::int64_t devices) {
  check(bytes >= 0 && std::isfinite(bytes), "a collective of ", bytes, " bytes");
  const Shape shape = shape_of(machine, devices);
  if (devices == 1) return {};
  const bool reduces_to_all = collective == Collective::kAllReduce;
  require(reduces_to_all || algorithm == Algorithm::kFastest || algorithm == Algorithm::kRing ||
              algorithm == Algorithm::kHierarchical,
          "the algorithm ", name_of(algorithm),
          " is for all-reduce; others are gathered and scattered by ring or hierarchical");
  switch (algorithm) {
    case Algorithm::kRing:
      return ring(machine, passes_of(collective), bytes, shape);
    case Algorithm::kTree:
      return tree(machine, bytes, shape);
    case Algorithm::kHierarchical:
      return hierarchical(machine, collective, bytes, shape);
    case Algorithm::kMulticast:
      require(machine.multicast_rate > 0 && shape.in_node > 1, "the algorithm multicast needs a switch that adds, which ",
              machine.name, " has not (key multicast.gigabytes_per_second)");
      return multicast(machine, bytes, shape);
    case Algorithm::kAllToAll:
      return all_to_all(machine, bytes, shape);
    case Algorithm::kFastest:
      break;
  }
  return fastest(machine, collective, bytes, shape);
}

}  // namespace koine
