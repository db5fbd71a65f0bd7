#pragma once

// How work is carried out: what decides where and in which numbers it runs, and none of what it computes.

#include <map>
#include <string>

#include "engine/ranks/communicator.h"
#include "kernels/common/registry.h"
#include "kernels/common/types.h"

namespace koine {

/// Operation -> variant, where somebody wants another than the first that fits (registry.h).
using ForcedVariants = std::map<std::string, std::string, std::less<>>;

struct Execution {
  Device device = Device::kCpu;
  int device_index = 0;               ///< of CUDA's devices
  DType precision = DType::kFloat32;  ///< kFloat32, or kBFloat16 for mixed mode
  ForcedVariants forced_variants = {};
  Communicator* communicator = nullptr;  ///< of the ranks this process is one of; null: it is alone. Not owned
};

/// Architecture that plans of memory for a device that is not there assume (Hopper).
inline constexpr int kPlannedArchitecture = 90;

/// Compute capability times ten of the device; kPlannedArchitecture where it is not there; 0 on the CPU.
int architecture_of(const Execution& execution);

/// What operations are called with; without scratch and stream. Refers to `execution`, which has to stay.
Context context_of(const Execution& execution);

/// The calling thread works with the execution's device from now on: before it makes memory, streams and models there.
void use_device(const Execution& execution);

}  // namespace koine
