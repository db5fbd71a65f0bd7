#pragma once

// What the simulation of many devices knows of a machine: its links, its memory, what communication costs its compute.
//
// Defaults of the kinds of devices, and where each is from (docs/scaling.md has the same as a table):
//
//   node.rate          h100, h200: 18 links of 20.6 GB/s, a100: 12 of 20.0: NCCL's src/graph/topo.h (SM90_NVLINK_BW, SM80_NVLINK_BW;
//                      NVIDIA/nccl at 5067397c)
//   base, *_step       NCCL's src/graph/tuning.cc of the same commit, protocol Simple: base of ring and tree 8.4 us; a ring's step 3.4 us on
//                      NVLink and 14 us on the network, a tree's level 4 us and 14 us; NVLS 25 us
//   tree_share         the same: a tree reaches .92 of a ring's bus bandwidth; pat_share .75 (PAT)
//   multicast          480.70 GB/s of bus bandwidth at 16 GiB on 8 H200 (nccl-tests; stas00/ml-engineering network/benchmarks/README.md at
//                      0cc3de50), so 480.70 / 1.75 of an all-reduce's bytes a second. a100: its switch cannot add
//   network.rate       a rail for each device, 400 Gb/s (DGX H100) or 200 Gb/s (DGX A100), .9 of it: calculon-ai/calculon
//                      systems/a100_80g.json ("efficiency" of its network)
//   memory_rate        h200: 4.3 TB/s, a large copy; others .9 of the data sheet (3.35, 2.039, 1.555 TB/s): the same file's "MB_efficiency"
//   slowdown           .15: the same file's "processor_usage" of NVLink
//   jitter             .002: relative standard deviation of llmq's steps 1 to 5 on one H100, .1 to .3 % (IST-DASLab/llmq
//                      benchmarks/H100x1.md at 7f895bdb). Of one device in time, taken for that between devices
//   product_rate       device_kinds.h; kAssumedShare of it in whole steps

#include <cstdint>
#include <filesystem>
#include <string>

namespace koine {

/// Links of one kind: each device has one (of NVLink all its lanes together, of a network a rail).
struct LinkLevel {
  double rate = 0;       ///< bytes a second that a device sends while it receives as many
  double ring_step = 0;  ///< seconds of latency for each step of a ring
  double tree_step = 0;  ///< seconds of latency for each level of a tree
};

struct Machine {
  std::string name;
  std::int64_t devices_per_node = 8;
  LinkLevel node;             ///< between devices of a node
  LinkLevel network;          ///< between nodes; rate 0: there is no other node
  double base = 0;            ///< seconds of a ring's or tree's start
  double tree_share = 1;      ///< of a link's rate that a tree reaches
  double pat_share = 1;       ///< the same of scattering and gathering in a logarithm of steps
  double multicast_rate = 0;  ///< bytes of an all-reduce a second where the switch adds (NVLS); 0: it cannot
  double multicast_latency = 0;
  double product_rate = 0;  ///< FLOP/s of a device's large products; 0: not known
  double memory_rate = 0;   ///< bytes a second, read and written together
  double slowdown = 0;      ///< by how much longer compute takes while communication runs beside it: .15 is 15 %
  double jitter = 0;        ///< relative standard deviation of a device's compute
};

/// Share of the product rate that whole steps are assumed to reach where nothing is measured: `koine estimate`'s.
inline constexpr double kAssumedStepShare = 0.7;

/// Nodes of 8 of a kind of device_kinds.h. UserError, naming those that there are, for an unknown kind and for one whose links are not
/// known here.
Machine machine_of(const std::string& kind);

/// `machine` with what a TOML file says: its keys are those of docs/scaling.md. UserError naming file, line and key.
Machine read_machine(const std::filesystem::path& file, Machine machine);

/// UserError, beginning with `where`, for a machine that has no links or no memory, or rates that are none.
void require_usable(const Machine& machine, const std::string& where);

}  // namespace koine
