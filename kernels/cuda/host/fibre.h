#pragma once

// Fibres: stacks that a thread switches between by itself. By a few instructions on x86-64, by ucontext elsewhere; the
// address and the thread sanitizer are told.

#include <cstddef>

#include "kernels/cuda/host/sanitizers.h"

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace koine::cuda::host {

class Fibre {
 public:
  /// The calling thread itself, to switch back to.
  Fibre() = default;
  /// A stack of `bytes`, with an unmapped page on both sides. Stacks with different `number` begin at different places in
  /// their pages: with hundreds of them in turn, frames at equal places would all want the same few lines of the cache.
  Fibre(std::size_t bytes, int number);
  ~Fibre();
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;

  /// The next switch here begins `entry`, which must never return.
  void prepare(void (*entry)());
  /// Leaves the running fibre `from` and goes on where `to` was left. `finished`: `from` will not be switched to again
  /// before it is prepared anew.
  static void switch_to(Fibre& from, Fibre& to, bool finished = false);
  /// To be called first in `entry`.
  static void entered();

 private:
  void* mapping_ = nullptr;
  std::size_t mapped_ = 0;
  void* stack_ = nullptr;  ///< lowest usable address; of the calling thread: found out when it is left
  std::size_t size_ = 0;
#if defined(KOINE_ADDRESS_SANITIZER)
  void* fake_stack_ = nullptr;  ///< the address sanitizer's
#endif
#if defined(KOINE_THREAD_SANITIZER)
  void* record_ = nullptr;  ///< the thread sanitizer's
#endif
#if defined(__x86_64__)
  void* pointer_ = nullptr;  ///< saved stack pointer
#else
  ucontext_t context_;
#endif
};

}  // namespace koine::cuda::host
