#pragma once

// Memory that ends where it says: NaN until written, a guard behind it, and unreadable there under the address sanitizer.

#include <cstddef>

namespace koine::cuda::host {

class GuardedMemory {
 public:
  GuardedMemory(std::size_t bytes, std::size_t alignment);
  ~GuardedMemory();
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  void* data() { return memory_; }
  void poison();  ///< NaN again
  bool guard_intact() const;

 private:
  unsigned char* memory_ = nullptr;
  std::size_t bytes_;
  std::size_t total_;
};

/// Under the address sanitizer, any access to these bytes from now on is reported; elsewhere nothing.
void make_unreadable(const void* begin, std::size_t bytes);
void make_readable(const void* begin, std::size_t bytes);

}  // namespace koine::cuda::host
