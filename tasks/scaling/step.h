#pragma once

// How long a step of data-parallel training takes on many devices: forward, backward with the gradients on their way to the others, update.
//
// Buckets leave one after the other, each when its gradients are final and the one before has arrived, while backward goes on:
//
//     begin[i] = max(ready[i], end[i - 1]),  end[i] = begin[i] + time of the collective
//
// and backward is slower by machine.slowdown while something is on its way. What ends behind backward is exposed. Without overlap (as where
// every processor computes already) backward waits for each, and all of it is exposed. With sharded state (ZeRO-1, Rajbhandari et al., arXiv
// 1910.02054) gradients are scattered, a device updates its share, and the weights are gathered under the next forward: what takes longer than that is
// exposed. Devices are not equally fast: all wait for the slowest of n, whose compute takes 1 + jitter * sqrt(2 ln n) of the mean (the expected
// largest of n normal numbers, from above).

#include <cstdint>
#include <string>
#include <vector>

#include "engine/ranks/gradient_buckets.h"
#include "models/models.h"
#include "tasks/scaling/collectives.h"

namespace koine {

struct ReadyBucket {
  double bytes = 0;
  double ready = 1;  ///< share of the backward pass's work behind which its gradients are final
};

/// What one device does in a step, alone.
struct DeviceStep {
  double forward = 0;   ///< seconds of one micro-batch
  double backward = 0;  ///< the same
  std::int64_t micro_batches = 1;
  double update = 0;  ///< seconds of the optimizer, of all parameters
  std::vector<ReadyBucket> buckets;
  double weight_bytes = 0;  ///< that sharded state gathers
};

struct ExchangeOptions {
  CollectiveAlgorithm algorithm = CollectiveAlgorithm::kFastest;
  bool overlap = true;
  bool sharded = false;  ///< ZeRO-1; gathers and scatters by ring or hierarchical, whatever the algorithm
};

struct StepTime {
  double seconds = 0;        ///< compute + slowed + exposed + waiting
  double compute = 0;        ///< of a device alone, with its share of the update
  double slowed = 0;         ///< by how much communication beside it makes compute longer
  double communication = 0;  ///< of all collectives
  double exposed = 0;        ///< of these what no compute hides
  double waiting = 0;        ///< for the slowest
  double bytes = 0;          ///< that a device sends
  double network_bytes = 0;  ///< of these, between nodes
};
/// Errors as collective_cost's.
StepTime simulate_step(const Machine& machine, const DeviceStep& plan, const ExchangeOptions& options, std::int64_t devices);

/// Which model learns from what.
struct ModelWork {
  ModelConfig config;
  HeadSpec head;
  std::int64_t length = 128;          ///< tokens of a sequence
  std::int64_t micro_tokens = 16384;  ///< of a device at a time, at most
  double rate = 0;                    ///< FLOP/s of whole steps
  double gradient_bytes = 4;          ///< an element: engine/ranks/gradient_buckets.h sends fp32
  double weight_bytes = 2;            ///< an element of the working copy that sharded state gathers
  double update_bytes = 38;           ///< an element, read and written by AdamW: engine/optimizer/optimizer.h
  std::int64_t bucket_elements = kBucketElements;
};

/// The buckets of plan_buckets with the shares of backward's products behind which each is final: those of head first, then block by block, as the
/// models tell it (Model::add_batch), embeddings with the end. Attention's products are shared out as the weights'.
std::vector<ReadyBucket> ready_buckets(const ParameterTable& table, std::int64_t bucket_elements, double gradient_bytes);

/// A device's step over `tokens` tokens: as few micro-batches of equal size as hold them. Forward is two FLOPs for each product and sum
/// (model_forward_flops), backward twice as many. UserError for tokens that are not whole sequences, and for encoder-decoders.
DeviceStep device_step(const ModelWork& work, const Machine& machine, std::int64_t tokens);

struct ScalingRow {
  std::int64_t devices = 1;
  std::int64_t tokens = 0;  ///< of each device in a step
  StepTime time;
  double efficiency =
      1;  ///< tokens a second and device, against one device on the same tokens (weak) or on all of them (strong)
};

/// Every number of devices with `tokens` each. UserError as device_step's and collective_cost's.
std::vector<ScalingRow> weak_scaling(const ModelWork& work, const Machine& machine, const ExchangeOptions& options,
                                     const std::vector<std::int64_t>& devices, std::int64_t tokens);
/// The same with `tokens` of all devices together. UserError, besides, where they do not divide.
std::vector<ScalingRow> strong_scaling(const ModelWork& work, const Machine& machine, const ExchangeOptions& options,
                                       const std::vector<std::int64_t>& devices, std::int64_t tokens);

}  // namespace koine
