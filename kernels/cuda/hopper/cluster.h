#pragma once

// Blocks that run at the same time and reach each other's shared memory (PTX ISA, "Cluster of cooperative thread arrays";
// compute capability 9.0), where Launch::cluster asks for them. A block's rank in its cluster counts x first.
//
// No block leaves while another can still arrive at its barriers or touch its shared memory: sync_cluster() at the end, or
// waits that come to the same.

#include "kernels/cuda/hopper/barrier.h"
#include "kernels/cuda/platform.h"

namespace koine::cuda {

#if KOINE_ON_DEVICE

/// Place of this block in its cluster.
KOINE_DEVICE unsigned cluster_rank() {
  unsigned rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

/// All threads of all blocks arrive and, later, wait: what each wrote before is seen by all after.
KOINE_DEVICE void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
KOINE_DEVICE void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }

/// Address of block `rank`'s counterpart of `shared`.
KOINE_DEVICE std::uint32_t address_in_block(const void* shared, unsigned rank) {
  std::uint32_t remote;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(shared_address(shared)), "r"(rank));
  return remote;
}
KOINE_DEVICE float load_from_block(const float* shared, unsigned rank) {
  float value;
  asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(value) : "r"(address_in_block(shared, rank)) : "memory");
  return value;
}
KOINE_DEVICE void store_to_block(float* shared, unsigned rank, float value) {
  asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(address_in_block(shared, rank)), "f"(value) : "memory");
}

#else

namespace host {
unsigned cluster_rank();
void cluster_arrive(Site site);
void cluster_wait(Site site);
std::uint32_t address_in_block(const void* shared, unsigned rank);
void load_from_block(void* to, const void* shared, unsigned rank, std::size_t bytes);
void store_to_block(void* shared, unsigned rank, const void* from, std::size_t bytes);
}  // namespace host

inline unsigned cluster_rank() { return host::cluster_rank(); }
inline void cluster_arrive(KOINE_SITE) { host::cluster_arrive(site); }
inline void cluster_wait(KOINE_SITE) { host::cluster_wait(site); }
inline std::uint32_t address_in_block(const void* shared, unsigned rank) { return host::address_in_block(shared, rank); }
inline float load_from_block(const float* shared, unsigned rank) {
  float value = 0;
  host::load_from_block(&value, shared, rank, sizeof value);
  return value;
}
inline void store_to_block(float* shared, unsigned rank, float value) {
  host::store_to_block(shared, rank, &value, sizeof value);
}

#endif

#if KOINE_ON_DEVICE
KOINE_DEVICE void sync_cluster() {
  cluster_arrive();
  cluster_wait();
}
#else
inline void sync_cluster(KOINE_SITE) {
  host::cluster_arrive(site);
  host::cluster_wait(site);
}
#endif

}  // namespace koine::cuda
