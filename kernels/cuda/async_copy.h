#pragma once

// Copies from global to shared memory that run beside the thread (PTX ISA, cp.async; compute capability 8.0).
//
//   async_copy<16>(shared_address, global_address, inside);   // zeros where not `inside`: nothing is read then
//   async_commit();                                           // what this thread issued since the last commit: one group
//   async_wait<1>();                                          // all but the newest group of this thread have arrived
//   sync_block();                                             // ... and now those of the other threads too

#include "kernels/cuda/platform.h"

namespace koine::cuda {

#if KOINE_ON_DEVICE

template <int kBytes>
KOINE_DEVICE void async_copy(void* shared, const void* global, bool inside = true) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  const int bytes = inside ? kBytes : 0;
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(bytes) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(global), "n"(kBytes), "r"(bytes)
                 : "memory");
  }
}
KOINE_DEVICE void async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kPending>
KOINE_DEVICE void async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

#else

template <int kBytes>
void async_copy(void* shared, const void* global, bool inside = true) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  host::check_aligned(shared, kBytes);
  if (inside) host::check_aligned(global, kBytes);
  host::async_copy(shared, inside ? global : nullptr, kBytes);
}
inline void async_commit() { host::async_commit(); }
template <int kPending>
void async_wait() {
  host::async_wait(kPending);
}

#endif

}  // namespace koine::cuda
