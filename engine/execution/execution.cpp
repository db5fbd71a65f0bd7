#include "engine/execution/execution.h"

#include "kernels/cuda/runtime.h"

namespace koine {

int architecture_of(const Execution& execution) {
  if (execution.device == Device::kCpu) return 0;
  if (execution.device_index >= cuda::device_count()) return kPlannedArchitecture;
  return cuda::device_properties(execution.device_index).architecture;
}

Context context_of(const Execution& execution) {
  Context context;
  context.device = execution.device;
  context.forced = &execution.forced_variants;
  context.architecture = architecture_of(execution);
  return context;
}

void use_device(const Execution& execution) {
  if (execution.device == Device::kCuda) cuda::set_device(execution.device_index);
}

}  // namespace koine
