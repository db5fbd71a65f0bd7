#include "kernels/cuda/host/memory_guard.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "kernels/common/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace koine::cuda::host {
namespace {
constexpr std::size_t kGuardBytes = 256;
constexpr unsigned char kGuard = 0xa5;
}  // namespace

GuardedMemory::GuardedMemory(std::size_t bytes, std::size_t alignment)
    : bytes_(bytes), total_((bytes + kGuardBytes + alignment - 1) / alignment * alignment) {
  memory_ = static_cast<unsigned char*>(std::aligned_alloc(alignment, total_));
  check(memory_ != nullptr, "cannot allocate ", bytes, " bytes");
  std::memset(memory_ + bytes_, kGuard, total_ - bytes_);
  make_unreadable(memory_ + bytes_, total_ - bytes_);
  poison();
}

GuardedMemory::~GuardedMemory() {
  make_readable(memory_ + bytes_, total_ - bytes_);
  std::free(memory_);
}

void GuardedMemory::poison() { std::memset(memory_, 0xff, bytes_); }

bool GuardedMemory::guard_intact() const {
#if defined(__SANITIZE_ADDRESS__)
  return true;  // the sanitizer saw to it
#else
  return std::all_of(memory_ + bytes_, memory_ + total_, [](unsigned char byte) { return byte == kGuard; });
#endif
}

void make_unreadable([[maybe_unused]] const void* begin, [[maybe_unused]] std::size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  ASAN_POISON_MEMORY_REGION(begin, bytes);
#endif
}
void make_readable([[maybe_unused]] const void* begin, [[maybe_unused]] std::size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  ASAN_UNPOISON_MEMORY_REGION(begin, bytes);
#endif
}

}  // namespace koine::cuda::host
