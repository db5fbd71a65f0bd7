#pragma once

// How long a collective operation takes, by arithmetic: steps of latency and bytes over links.
//
// n devices, g of each of m nodes, S bytes; a link of a node or of the network takes `step` and sends `rate` bytes a second.
//
//   ring         all-reduce 2 (n - 1) steps of S / n bytes, reduce-scatter and all-gather half of them (Thakur, Rabenseifner & Gropp, IJHPCA
//                2005; Patarasuk & Yuan, JPDC 2009). Over nodes every device's rail carries a ring of its own through all devices, 2 (m - 1) of the
//                steps are the network's (NCCL's tuning.cc), and the ring is as fast as the slower of a node's link and the node's rails together.
//   tree         2 (g - 1) levels along a node's devices and 2 ceil(log2 m) between nodes; S up and S down at tree_share of the rate (NCCL's two
//                trees, each half of S: Sanders, Speck & Traeff, Parallel Computing 2009; its tuning.cc)
//   hierarchical reduce-scatter in the node, all-reduce of S / g over each rail (the faster of ring and tree), all-gather in the node. Scattering and
//                gathering alone: over each rail by ring, or in ceil(log2 m) steps at pat_share of the rate (NCCL's PAT; recursive halving
//                and doubling in Thakur, Rabenseifner & Gropp)
//   multicast    the switch of a node adds and sends to all (NVLS): latency + S / multicast_rate. Over nodes, pipelined with an all-reduce of
//                S / g over each rail: the slower of the two, and both latencies
//   all-to-all   the sum in a fixed order of ordered_sum.h, piece by piece: every device sends everybody his share (n - 1 exchanges of pairs,
//                over links of node and network at a time), adds up its own (3 passes of memory for each addition), all-gather
//
// What is not in it: other traffic, links that fail, ranks that come late (machine.jitter has these), protocols for small messages (LL, LL128),
// with which NCCL is faster below some 100 KB.

#include <cstdint>
#include <string>

#include "tasks/scaling/machine.h"

namespace koine {

enum class Collective { kAllReduce, kReduceScatter, kAllGather };
/// kFastest: what takes least time of ring, tree, hierarchical and multicast, as NCCL chooses by its own estimates.
enum class CollectiveAlgorithm { kFastest, kRing, kTree, kHierarchical, kMulticast, kAllToAll };

/// "fastest", "ring", "tree", "hierarchical", "multicast", "all-to-all".
std::string name_of(CollectiveAlgorithm algorithm);
/// UserError naming all, beginning with `option`.
CollectiveAlgorithm collective_algorithm(const std::string& name, const std::string& option);

struct CollectiveCost {
  double seconds = 0;
  double bytes = 0;                                            ///< that a device sends
  double network_bytes = 0;                                    ///< of these, between nodes
  CollectiveAlgorithm algorithm = CollectiveAlgorithm::kRing;  ///< the one that kFastest chose
};

/// Of `bytes`: for a reduce-scatter what goes in, for an all-gather what comes out. One device needs nothing. UserError for no device, for more
/// than a node's that are not whole nodes, for several nodes without a network, and where the algorithm is not for that: multicast without
/// a switch that adds; tree, multicast and all-to-all where nothing is reduced to all.
CollectiveCost collective_cost(const Machine& machine, Collective collective, CollectiveAlgorithm algorithm, double bytes,
                               std::int64_t devices);

}  // namespace koine
