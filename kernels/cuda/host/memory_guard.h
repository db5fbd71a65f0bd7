#pragma once

// Memory that begins and ends where it says: NaN until written, guards on both sides, and unreadable there under the address
// sanitizer.

#include <cstddef>

namespace koine::cuda::host {

class GuardedMemory {
 public:
  /// Begins on a multiple of `alignment`, a power of two, and of no more: who needs more finds out.
  GuardedMemory(std::size_t bytes, std::size_t alignment);
  ~GuardedMemory();
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  void* data() { return memory_ + before_; }
  void poison();  ///< NaN again
  bool guards_intact() const;

 private:
  std::size_t before_;
  std::size_t bytes_;
  std::size_t total_;
  unsigned char* memory_;
};

/// Bytes that show whether somebody wrote them.
void fill_guard(void* begin, std::size_t bytes);
bool guard_intact(const void* begin, std::size_t bytes);

/// Under the address sanitizer, any access to these bytes from now on is reported; elsewhere nothing.
void make_unreadable(const void* begin, std::size_t bytes);
void make_readable(const void* begin, std::size_t bytes);

}  // namespace koine::cuda::host
