#include "kernels/common/check.h"
#include "kernels/cuda/launch.h"

namespace koine::cuda {

std::string describe(const Launch& launch) {
  std::string shape;
  for (const std::int64_t extent : launch.shape) {
    if (extent > 0) shape += concatenate(shape.empty() ? "" : ", ", extent);
  }
  return concatenate(launch.kernel, " [", shape, "] (grid ", launch.grid.x, " x ", launch.grid.y, " x ", launch.grid.z, ", ",
                     launch.threads, " threads, ", launch.shared_bytes, " bytes of shared memory; ", launch.file, ":",
                     launch.line, ")");
}

}  // namespace koine::cuda
