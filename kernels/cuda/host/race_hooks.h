#pragma once

// A detector of data races of kernels: what compute-sanitizer's racecheck finds on a device, on any machine, and between
// blocks too. Builds with KOINE_CUDA_RACES have it; elsewhere these functions do nothing.
//
// The kernels are compiled with the thread sanitizer's instrumentation and linked with our own functions behind it
// (race_hooks.cpp): each access to shared or device memory is noted with the thread, the interval between two barriers of
// the block, and the interval between two sync_warp() of the warp. Two accesses to a byte, one of them a write, race when
//   * they come from two blocks of one launch, or
//   * from two threads of a block with no sync_block() between them, unless they are of one warp with a sync_warp() between.
// Shuffles, votes, ldmatrix and mma order no memory, as the CUDA programming guide says of the first two. A race ends the
// launch with an Error that names both accesses; so does reading shared memory that no thread of the block has written.
//
// Exact for accesses of 2 bytes and more; of 1-byte accesses that share a 2-byte word it may miss races, and invents none.
// It sees the accesses of one execution: what a condition keeps a thread from doing is not seen. Work of different launches
// is ordered here; an event missing between streams shows in results instead.

#include <cstddef>
#include <string>

namespace koine::cuda::host::races {

#if defined(KOINE_CUDA_RACES)

inline constexpr bool kDetects = true;

/// Device memory comes and goes; the host's own is not watched.
void add_memory(const std::string& name, const void* begin, std::size_t bytes);
void remove_memory(const void* begin);

void begin_launch();
void begin_block(const unsigned (&block)[3], const void* shared, std::size_t shared_bytes);
void barrier();               ///< all threads of the block have met one
void warp_barrier(int warp);  ///< all lanes of this warp have met a sync_warp()

/// The running thread touches memory. `place`: the return address to name it by.
void read(const void* address, std::size_t bytes, const void* place);
void write(const void* address, std::size_t bytes, const void* place);

/// After a race ended a launch: where in the source the accesses stand. Empty if there was none.
std::string places();

#else

inline constexpr bool kDetects = false;
inline void add_memory(const std::string&, const void*, std::size_t) {}
inline void remove_memory(const void*) {}
inline void begin_launch() {}
inline void begin_block(const unsigned (&)[3], const void*, std::size_t) {}
inline void barrier() {}
inline void warp_barrier(int) {}
inline void read(const void*, std::size_t, const void*) {}
inline void write(const void*, std::size_t, const void*) {}
inline std::string places() { return {}; }

#endif

}  // namespace koine::cuda::host::races
