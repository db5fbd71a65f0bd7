#include "kernels/common/check.h"
#include "kernels/cuda/launch.h"

namespace koine::cuda {

std::string describe(const Launch& launch) {
  std::string shape;
  for (const std::int64_t extent : launch.shape) {
    if (extent > 0) shape += concatenate(shape.empty() ? "" : ", ", extent);
  }
  const std::string clusters = has_clusters(launch) ? concatenate(" in clusters of ", launch.cluster.x, " x ",
                                                                  launch.cluster.y, " x ", launch.cluster.z)
                                                    : "";
  return concatenate(launch.kernel, " [", shape, "] (grid ", launch.grid.x, " x ", launch.grid.y, " x ", launch.grid.z,
                     clusters, ", ", launch.threads, " threads, ", launch.shared_bytes, " bytes of shared memory; ",
                     launch.file, ":", launch.line, ")");
}

}  // namespace koine::cuda
