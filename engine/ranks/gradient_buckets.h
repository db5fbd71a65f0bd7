#pragma once

// The gradients of a step on their way to the other ranks, bucket by bucket, while backward still runs.
//
// Parameters, and so their gradients, lie in memory in reverse order of execution (parameter_table.h): backward completes
// them from the front. What it has completed is one number, and a bucket is a run of neighbouring parameters that leaves
// when that number has passed it. A table that several parts of a model read (word embeddings under a tied head) lies where
// its last gradient comes from, at the end, and leaves last.
//
// Where ranks share out gradients (sharded_sum.h) every part of the step leaves so, and a bucket is a run of parameters that
// backward completes together. Backward waits where the memory of the next stage has not been told yet.
//
// Recorded steps. A training batch's work may be one CUDA graph. Its places of completion are events that are recorded
// within the graph: each launch marks them anew, and streams outside wait for them. So a step stays one launch, whatever the
// number of blocks, and what follows a mark (which communicator, which buckets, or none at all in all but the last batch of
// a step) is decided at each step by the host and is no part of the recording. A graph for each block would cost a launch
// each; recording the communication itself would need a recording for each way of using it, and a communicator that can be
// recorded.

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "engine/parameters/parameter_store.h"
#include "engine/parameters/parameter_table.h"
#include "engine/ranks/beside_thread.h"
#include "engine/ranks/communicator.h"
#include "kernels/cuda/runtime.h"

namespace koine {

/// Told by a model, in order, how far its gradients are: those of the first `parameters` of its table are final. On the CPU
/// they are so now, and `passed` is null; on a device when `passed` is. The last call says all of them.
using GradientReady = std::function<void(int parameters, const cuda::Event* passed)>;

/// Parameters first .. last - 1 of a table, elements begin .. end - 1 of its flat buffers.
struct GradientBucket {
  int first = 0;
  int last = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;

  std::int64_t count() const { return end - begin; }
};

/// Elements a bucket should have: 25 MiB of fp32, as PyTorch's DistributedDataParallel (bucket_cap_mb).
inline constexpr std::int64_t kBucketElements = (std::int64_t{25} << 20) / 4;

/// Cuts a table into buckets, in order, every element of the flat buffers in one of them. A parameter is never split: a
/// bucket ends with the first parameter by which it has the wished number of elements or more; the last one may have fewer.
std::vector<GradientBucket> plan_buckets(const ParameterTable& table, std::int64_t wished_elements);

/// Seconds of a step that ranks on CPUs told one another something, and those of them that a rank did nothing else meanwhile.
struct CommunicationSeconds {
  double all = 0;
  double waited = 0;
};

class OrderedSum;
class ShardedSum;
class TouchedRows;

/// Sums the gradients of a store over the ranks: by the communicator's all_reduce, or, where a step has parts, in the fixed
/// order of ordered_sum.h. Of several ranks on CPUs a thread does it beside backward, one bucket after the other.
class GradientExchange {
 public:
  /// Both outlive it. `parts` of a step, of all ranks; 0: none.
  GradientExchange(ParameterStore& store, Communicator& communicator, std::int64_t bucket_elements = kBucketElements,
                   std::int64_t parts = 0);
  ~GradientExchange();
  GradientExchange(const GradientExchange&) = delete;
  GradientExchange& operator=(const GradientExchange&) = delete;

  const std::vector<GradientBucket>& buckets() const { return buckets_; }

  /// To be called before the batches of a step: the rows of the table that a step touches few of (ParameterSpec::lazy_rows), of
  /// all ranks' batches, ascending. Null: it may have any. Not called: the same.
  void begin_step(const std::vector<std::int32_t>* rows);

  /// Behind each part of this rank but its last: what the gradients are is kept, and they are zero for the next part.
  void end_part(const Context& context);
  /// Whether gradients are shared out: then start() and finish() are called for each part of this rank, which has one batch, and
  /// finish() alone in a last round in which it has none.
  bool shares() const { return sharded_ != nullptr; }
  /// To be called once a step, for its last batch: what it returns is for the model, whose work is in `stream`, and valid until
  /// finish().
  GradientReady start(void* stream = nullptr);
  /// Behind that batch: what has not left yet leaves (all of it where a step had no batch), and what is put into
  /// context.stream after this sees the sums. Does not wait for a device. Error of what could not be told.
  void finish(const Context& context);
  /// Where ranks talk beside what they compute: on CPUs the thread, null where there is none; on a device the stream.
  BesideThread* beside() { return beside_.get(); }
  void* stream() { return on_device_ == nullptr ? nullptr : on_device_->stream.handle(); }
  /// Of what was told there since the last call, and of waiting in finish() and for memory; on a device nothing is measured.
  CommunicationSeconds take_seconds();

 private:
  void send(const GradientBucket& bucket);
  void sum(const GradientBucket& bucket, void* stream);
  int stage_of(const GradientBucket& bucket) const;
  void make_room(void* stream);

  ParameterStore& store_;
  Communicator& communicator_;
  std::vector<GradientBucket> buckets_;
  std::unique_ptr<OrderedSum> ordered_;  ///< null: all_reduce, or
  std::unique_ptr<ShardedSum> sharded_;
  std::unique_ptr<TouchedRows> touched_;  ///< made when it is needed first
  bool knows_rows_ = false;               ///< of this step
  std::size_t next_ = 0;                  ///< the bucket that leaves next
  struct OnDevice {
    cuda::Stream stream;  ///< of the communication
    cuda::Event computed;
    cuda::Event summed;
    cuda::Event left[2];  ///< the last bucket of an even stage, of an odd one
  };
  std::unique_ptr<OnDevice> on_device_;   ///< null on the CPU
  std::unique_ptr<BesideThread> beside_;  ///< null on a device, and of one rank
  std::vector<std::int64_t> given_;       ///< numbers of the buckets that were given to it since finish()
  double waited_ = 0;
};

}  // namespace koine
