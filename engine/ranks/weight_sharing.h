#pragma once

// Weights that ranks share out (ZeRO) on their way to the others under the next forward: what forward reads first leaves first,
// stage by stage of the table from its end to its front (ParameterTable::end_stage), and forward waits for what it is about to
// read. On CPUs the thread tells them on which gradients leave, so that all ranks do so in one order; on a device that stream.

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "engine/parameters/parameter_store.h"
#include "engine/ranks/gradient_buckets.h"
#include "kernels/cuda/runtime.h"

namespace koine {

class WeightSharing {
 public:
  /// Both outlive it.
  WeightSharing(ParameterStore& store, GradientExchange& exchange);

  /// The weights of this rank's range are those that it gives the others, behind what is in `stream`. Returns before they have them.
  void begin(void* stream);
  /// Those of parameters from `first` on are here, or what comes into `stream` runs when they are. Error of what could not be
  /// told.
  void wait_for(int first, void* stream);
  /// Seconds on the CPU that was waited, since the last call.
  double take_waited() { return std::exchange(waited_, 0.0); }

 private:
  struct Piece {
    int first = 0;  ///< parameter
    ElementRange range;
    std::int64_t number = 0;            ///< of the thread's works
    std::unique_ptr<cuda::Event> told;  ///< on a device
  };

  ParameterStore& store_;
  GradientExchange& exchange_;
  std::vector<Piece> pieces_;  ///< in the order in which they leave
  std::size_t there_ = 0;      ///< pieces that were waited for since begin()
  std::unique_ptr<cuda::Event> updated_;
  double waited_ = 0;
};

}  // namespace koine
