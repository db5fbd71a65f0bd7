#include "tests/kernels/cluster_probe.h"

namespace koine::cuda {
namespace {

KOINE_KERNEL cluster_probe_kernel(std::int32_t* to) {
#if KOINE_ON_DEVICE
  asm volatile("wgmma.fence.sync.aligned;");  // of 9.0a and no other
#endif
  const Index3 at = block_index();
  const Index3 grid = grid_size();
  const Index3 cluster = cluster_size();
  const unsigned block = at.x + grid.x * (at.y + grid.y * at.z);
  if (thread_index() != 0) return;
  to[2 * block] =
      static_cast<std::int32_t>(at.x % cluster.x + cluster.x * (at.y % cluster.y + cluster.y * (at.z % cluster.z)));
  to[2 * block + 1] = static_cast<std::int32_t>(cluster.x * cluster.y * cluster.z);
}

}  // namespace

void launch_cluster_probe(Index3 grid, Index3 cluster, std::int32_t* to, void* stream) {
  launch({.kernel = "cluster_probe",
          .shape = {grid.x, grid.y, grid.z},
          .grid = grid,
          .cluster = cluster,
          .threads = 128,
          .stream = stream},
         cluster_probe_kernel, to);
}

}  // namespace koine::cuda
