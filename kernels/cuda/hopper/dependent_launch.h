#pragma once

// A kernel that begins while the one before it in the stream still runs (PTX ISA, griddepcontrol; compute capability 9.0),
// where its launch says so (Launch::overlap). Before dependency_wait() it touches nothing that an earlier kernel wrote or
// reads: barriers are made, maps are prefetched. Either every kernel of a stream waits or none is launched so: one that does
// not wait would let its successor run beside its predecessor.

#include "kernels/cuda/platform.h"

namespace koine::cuda {

#if KOINE_ON_DEVICE

/// All earlier kernels have ended and what they wrote is seen.
KOINE_DEVICE void dependency_wait() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
/// The next kernel may begin when all blocks have said so or left.
KOINE_DEVICE void dependency_trigger() { asm volatile("griddepcontrol.launch_dependents;" ::: "memory"); }

#else

namespace host {
void dependency_wait();
}
inline void dependency_wait() { host::dependency_wait(); }
inline void dependency_trigger() {}

#endif

}  // namespace koine::cuda
