#pragma once

// Loss and gradient norm of training steps, which a device knows later than the host has asked for them.

#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/common/registry.h"
#include "kernels/cuda/runtime.h"

namespace koine {

struct StepResult {
  double loss_sum = 0;
  float norm = 0;  ///< of the gradient, before clipping
};

/// A queue of results on their way to the host. On the CPU they are there at once; on a device they are copied behind the
/// step's work, and taking one waits until its step is done, not for what was put into the stream after it.
class StepResults {
 public:
  /// `most`: results on their way at a time.
  StepResults(Device device, int most);

  /// Puts the reading of both numbers, and the setting of *loss_sum to zero, behind what `context.stream` holds.
  void enqueue(const Context& context, double* loss_sum, const float* norm);
  int waiting() const { return waiting_; }
  /// The oldest one.
  StepResult take();

 private:
  struct Slot {
    cuda::PinnedMemory memory;
    std::optional<cuda::Event> arrived;
    StepResult result;  ///< on the CPU
  };
  Device device_;
  std::vector<Slot> slots_;
  int first_ = 0;
  int waiting_ = 0;
};

}  // namespace koine
