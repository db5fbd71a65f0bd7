#pragma once

// A detector of data races of kernels: what compute-sanitizer's racecheck finds on a device, on any machine, and between
// blocks too. Builds with KOINE_CUDA_RACES have it; elsewhere these functions do nothing.
//
// The kernels are compiled with the thread sanitizer's instrumentation and linked with our own functions behind it
// (race_hooks.cpp): each access to shared or device memory is noted with who made it and when. Two accesses to a byte, one
// of them a write, race when
//   * they come from two blocks of one launch that are not of one cluster, or
//   * nothing orders them: of two threads of a block a sync_block() between them does, of a warp a sync_warp(), and so does
//     any chain of arrivals and waits at mbarriers, named barriers and the cluster's barrier. (Vector clocks, by thread,
//     from the first such operation of a cluster on.)
// wgmma and bulk copies are agents of their own: what they read and write comes after what their issuer had seen, and before
// what is done by those who have waited for them, by mbarrier, group or warpgroup_wait(). What threads wrote by ordinary
// stores they may read only after the writer's fence_async_proxy().
// Shuffles, votes, ldmatrix, stmatrix and mma order no memory, as the CUDA programming guide says of the first two. A race
// ends the launch with an Error that names both accesses; so does reading shared memory that nobody has written.
//
// Exact for accesses of 2 bytes and more; of 1-byte accesses that share a 2-byte word it may miss races, and invents none.
// It sees the accesses of one execution: what a condition keeps a thread from doing is not seen. Work of different launches
// is ordered here; an event missing between streams shows in results instead.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace koine::cuda::host::races {

#if defined(KOINE_CUDA_RACES)

inline constexpr bool kDetects = true;

/// Device memory comes and goes; the host's own is not watched.
void add_memory(const std::string& name, const void* begin, std::size_t bytes);
void remove_memory(const void* begin);

/// What a thread, or all that arrived somewhere, has seen of each agent: threads of the cluster by their number, and behind
/// them whatever accesses memory for itself.
struct Clock {
  std::vector<std::uint16_t> seen;
};
/// An access by wgmma or a bulk copy, between its issue and whoever waits for it.
struct Async {
  int agent = 0;
  std::uint16_t tick = 0;
  std::shared_ptr<const Clock> issuer;  ///< what its issuer had seen
};

void begin_launch();
void begin_cluster(unsigned blocks, int threads);  ///< threads of a block
void begin_block(unsigned rank, const unsigned (&block)[3]);
void shared_memory(unsigned rank, const void* begin, std::size_t bytes);

void barrier(unsigned rank);  ///< all threads of the block have met one
void warp_barrier(int warp);  ///< all lanes of this warp, counted through the cluster, have met a sync_warp()

/// The running thread arrives: what it did before comes before whatever is done by those who acquire.
void release(Clock& into);
void acquire(const Clock& from);
void acquire(const Clock& from, int thread);
void assign(Clock& to, const Clock& from);
void clear(Clock& clock);

/// What the running thread has written to shared memory may be read by wgmma and bulk copies.
void fence_async_proxy();
/// The running thread issues a load that ends at the mbarrier at `offset` of block `rank`, the reading or writing half of a
/// store, or a product of a warpgroup of its block.
Async begin_async_at(unsigned rank, std::uint32_t offset);
Async begin_async_store(bool writes);
Async begin_async_product(unsigned rank, int warpgroup);
void async_read(const Async& async, const void* address, std::size_t bytes, const void* place);
/// Also whether what was written there was fenced.
void async_read_shared(const Async& async, const void* address, std::size_t bytes, const void* place);
void async_write(const Async& async, const void* address, std::size_t bytes, const void* place);
/// Whoever acquires `into`, or the running thread, comes after the access.
void complete(const Async& async, Clock& into);
void acquire_async(const Async& async);

/// The running thread reaches into the shared memory of block `rank`, or arrives there.
void remote(unsigned rank);
/// Whether block `rank`, whose threads are done, has waited for all who reached into it.
bool waited_for_remote(unsigned rank);

/// The running thread touches memory. `place`: the return address to name it by.
void read(const void* address, std::size_t bytes, const void* place);
void write(const void* address, std::size_t bytes, const void* place);

/// After a race ended a launch: where in the source the accesses stand. Empty if there was none.
std::string places();

#else

inline constexpr bool kDetects = false;
inline void add_memory(const std::string&, const void*, std::size_t) {}
inline void remove_memory(const void*) {}
struct Clock {};
struct Async {};
inline void begin_launch() {}
inline void begin_cluster(unsigned, int) {}
inline void begin_block(unsigned, const unsigned (&)[3]) {}
inline void shared_memory(unsigned, const void*, std::size_t) {}
inline void barrier(unsigned) {}
inline void warp_barrier(int) {}
inline void release(Clock&) {}
inline void acquire(const Clock&) {}
inline void acquire(const Clock&, int) {}
inline void assign(Clock&, const Clock&) {}
inline void clear(Clock&) {}
inline void fence_async_proxy() {}
inline Async begin_async_at(unsigned, std::uint32_t) { return {}; }
inline Async begin_async_store(bool) { return {}; }
inline Async begin_async_product(unsigned, int) { return {}; }
inline void async_read(const Async&, const void*, std::size_t, const void*) {}
inline void async_read_shared(const Async&, const void*, std::size_t, const void*) {}
inline void async_write(const Async&, const void*, std::size_t, const void*) {}
inline void complete(const Async&, Clock&) {}
inline void acquire_async(const Async&) {}
inline void remote(unsigned) {}
inline bool waited_for_remote(unsigned) { return true; }
inline void read(const void*, std::size_t, const void*) {}
inline void write(const void*, std::size_t, const void*) {}
inline std::string places() { return {}; }

#endif

}  // namespace koine::cuda::host::races
