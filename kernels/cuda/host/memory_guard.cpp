#include "kernels/cuda/host/memory_guard.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "kernels/common/check.h"
#include "kernels/cuda/host/sanitizers.h"

#if defined(KOINE_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#endif

namespace koine::cuda::host {
namespace {
constexpr std::size_t kGuardBytes = 256;
constexpr unsigned char kGuard = 0xa5;
}  // namespace

GuardedMemory::GuardedMemory(std::size_t bytes, std::size_t alignment)
    : before_((kGuardBytes + alignment - 1) / (2 * alignment) * 2 * alignment + alignment),
      bytes_(bytes),
      total_((before_ + bytes + kGuardBytes + 2 * alignment - 1) / (2 * alignment) * 2 * alignment),
      memory_(static_cast<unsigned char*>(std::aligned_alloc(2 * alignment, total_))) {
  check(memory_ != nullptr, "cannot allocate ", bytes, " bytes");
  fill_guard(memory_, before_);
  fill_guard(memory_ + before_ + bytes_, total_ - before_ - bytes_);
  make_unreadable(memory_, before_);
  make_unreadable(memory_ + before_ + bytes_, total_ - before_ - bytes_);
  poison();
}

GuardedMemory::~GuardedMemory() {
  make_readable(memory_, total_);
  std::free(memory_);
}

void GuardedMemory::poison() { std::memset(data(), 0xff, bytes_); }

bool GuardedMemory::guards_intact() const {
  return guard_intact(memory_, before_) && guard_intact(memory_ + before_ + bytes_, total_ - before_ - bytes_);
}

void fill_guard(void* begin, std::size_t bytes) { std::memset(begin, kGuard, bytes); }

bool guard_intact([[maybe_unused]] const void* begin, [[maybe_unused]] std::size_t bytes) {
#if defined(KOINE_ADDRESS_SANITIZER)
  return true;  // the sanitizer saw to it
#else
  const auto* const first = static_cast<const unsigned char*>(begin);
  return std::all_of(first, first + bytes, [](unsigned char byte) { return byte == kGuard; });
#endif
}

void make_unreadable([[maybe_unused]] const void* begin, [[maybe_unused]] std::size_t bytes) {
#if defined(KOINE_ADDRESS_SANITIZER)
  ASAN_POISON_MEMORY_REGION(begin, bytes);
#endif
}
void make_readable([[maybe_unused]] const void* begin, [[maybe_unused]] std::size_t bytes) {
#if defined(KOINE_ADDRESS_SANITIZER)
  ASAN_UNPOISON_MEMORY_REGION(begin, bytes);
#endif
}

}  // namespace koine::cuda::host
