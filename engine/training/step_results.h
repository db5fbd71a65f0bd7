#pragma once

// Loss and gradient norm of training steps, which a device knows later than the host has asked for them.

#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/common/registry.h"
#include "kernels/cuda/runtime.h"

namespace koine {

struct StepResult {
  double loss_sum = 0;  ///< of the parts' sums, added in order
  float norm = 0;       ///< of the gradient, before clipping
};

/// A queue of results on their way to the host. On the CPU they are there at once; on a device they are copied behind the
/// step's work, and taking one waits until its step is done, not for what was put into the stream after it.
class StepResults {
 public:
  /// `most`: results on their way at a time; `parts`: sums of losses that a step has.
  StepResults(Device device, int most, std::int64_t parts = 1);

  /// Puts the reading of the numbers, and the setting of the parts' sums to zero, behind what `context.stream` holds.
  void enqueue(const Context& context, double* loss_sums, const float* norm);
  int waiting() const { return waiting_; }
  /// The oldest one.
  StepResult take();

 private:
  std::size_t sums_bytes() const { return static_cast<std::size_t>(parts_) * sizeof(double); }

  struct Slot {
    cuda::PinnedMemory memory;
    std::optional<cuda::Event> arrived;
    std::vector<double> loss_sums;  ///< on the CPU; on a device they lie in `memory`, and the norm behind them
    float norm = 0;
  };
  Device device_;
  std::int64_t parts_;
  std::vector<Slot> slots_;
  int first_ = 0;
  int waiting_ = 0;
};

}  // namespace koine
