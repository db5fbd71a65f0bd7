#pragma once

// What threads of different roles wait for each other with (PTX ISA, "mbarrier", "barrier" and "Asynchronous proxy";
// compute capability 9.0).
//
// An MBarrier lies in shared memory and counts. It goes from phase to phase: a phase ends when as many arrivals as it was
// made with have come and as many bytes have landed as were expected in it. A wait names the parity of the phase, 0 for the
// first, and returns when that phase has ended: of a barrier nobody arrived at yet, wait(0) waits and wait(1) does not. So
// whoever waits must arrive, or be waited for, in time for the phase after: nobody can tell a phase from the second one
// behind it.
//
//   if (thread_index() == 0) {
//     mbarrier_init(s.full, 1);
//     fence_mbarrier_init();
//   }
//   sync_block();                                       // sync_cluster() where other blocks arrive
//   ...
//   mbarrier_arrive_expect(s.full, bytes);              // one thread, then its copies
//   tensor_load_2d(s.tile, map, column, row, s.full);   // bulk_copy.h
//   ...
//   mbarrier_wait(s.full, phase);                       // all who read
//
// Named barriers: `threads` threads of the block, whole warps, meet at number 1..15; those who arrive do not wait. Number 0
// is sync_block()'s.
//
// What threads wrote to shared memory by ordinary stores, wgmma and bulk copies see after each writer has called
// fence_async_proxy() and then all have met.

#include "kernels/cuda/platform.h"

namespace koine::cuda {

struct alignas(8) MBarrier {
  std::uint64_t state;
};

#if KOINE_ON_DEVICE

/// The address in the block's window of shared memory, as these instructions take it.
KOINE_DEVICE std::uint32_t shared_address(const void* shared) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
}

/// A phase ends with this many arrivals, 1 to 2^20 - 1.
KOINE_DEVICE void mbarrier_init(MBarrier& barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&barrier)), "r"(arrivals) : "memory");
}
/// The memory is free for other use.
KOINE_DEVICE void mbarrier_invalidate(MBarrier& barrier) {
  asm volatile("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(shared_address(&barrier)) : "memory");
}
/// By the thread that made barriers, before others (copies too) meet them.
KOINE_DEVICE void fence_mbarrier_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

KOINE_DEVICE void mbarrier_arrive(MBarrier& barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&barrier)) : "memory");
}
/// Arrives, and lets the phase wait for `bytes` more.
KOINE_DEVICE void mbarrier_arrive_expect(MBarrier& barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&barrier)), "r"(bytes)
               : "memory");
}
/// The same barrier of block `rank` of the cluster.
KOINE_DEVICE void mbarrier_arrive_at(MBarrier& barrier, unsigned rank) {
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];\n"
      "}" ::"r"(shared_address(&barrier)),
      "r"(rank)
      : "memory");
}
KOINE_DEVICE void mbarrier_wait(MBarrier& barrier, std::uint32_t parity) {
  constexpr std::uint32_t kHintNanoseconds = 10'000'000;
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1, %2;\n"
      "@!done bra again;\n"
      "}" ::"r"(shared_address(&barrier)),
      "r"(parity), "r"(kHintNanoseconds)
      : "memory");
}

KOINE_DEVICE void named_barrier_sync(int number, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(threads) : "memory");
}
KOINE_DEVICE void named_barrier_arrive(int number, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(number), "r"(threads) : "memory");
}

KOINE_DEVICE void fence_async_proxy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

#else

namespace host {
std::uint32_t shared_address(const void* shared);
void mbarrier_init(void* barrier, int arrivals, Site site);
void mbarrier_invalidate(void* barrier, Site site);
void fence_mbarrier_init();
void mbarrier_arrive(void* barrier, std::int64_t expected_bytes, Site site);
void mbarrier_arrive_at(void* barrier, unsigned rank, Site site);
void mbarrier_wait(void* barrier, std::uint32_t parity, Site site);
void named_barrier(int number, int threads, bool waits, Site site);
void fence_async_proxy();
}  // namespace host

inline std::uint32_t shared_address(const void* shared) { return host::shared_address(shared); }
inline void mbarrier_init(MBarrier& barrier, int arrivals, KOINE_SITE) { host::mbarrier_init(&barrier, arrivals, site); }
inline void mbarrier_invalidate(MBarrier& barrier, KOINE_SITE) { host::mbarrier_invalidate(&barrier, site); }
inline void fence_mbarrier_init() { host::fence_mbarrier_init(); }
inline void mbarrier_arrive(MBarrier& barrier, KOINE_SITE) { host::mbarrier_arrive(&barrier, 0, site); }
inline void mbarrier_arrive_expect(MBarrier& barrier, int bytes, KOINE_SITE) {
  host::mbarrier_arrive(&barrier, bytes, site);
}
inline void mbarrier_arrive_at(MBarrier& barrier, unsigned rank, KOINE_SITE) {
  host::mbarrier_arrive_at(&barrier, rank, site);
}
inline void mbarrier_wait(MBarrier& barrier, std::uint32_t parity, KOINE_SITE) {
  host::mbarrier_wait(&barrier, parity, site);
}
inline void named_barrier_sync(int number, int threads, KOINE_SITE) { host::named_barrier(number, threads, true, site); }
inline void named_barrier_arrive(int number, int threads, KOINE_SITE) { host::named_barrier(number, threads, false, site); }
inline void fence_async_proxy() { host::fence_async_proxy(); }

#endif

}  // namespace koine::cuda
