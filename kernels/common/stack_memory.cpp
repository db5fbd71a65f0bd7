#include "kernels/common/stack_memory.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels/common/check.h"

namespace koine {
namespace {

#if defined(NDEBUG)
constexpr bool kGuarded = false;
#else
constexpr bool kGuarded = true;
#endif

// Read as fp32 or as bf16, this pattern is a NaN.
constexpr unsigned char kPoison = 0xff;
constexpr unsigned char kGuard = 0xa5;
constexpr std::size_t kGuardBytes = kGuarded ? StackMemory::kAlignment : 0;

// A planning stack's addresses start here, so that "first allocation" and "no memory" differ.
std::byte* planning_base() { return reinterpret_cast<std::byte*>(StackMemory::kAlignment); }

std::size_t round_up(std::size_t bytes) {
  return (bytes + StackMemory::kAlignment - 1) / StackMemory::kAlignment * StackMemory::kAlignment;
}

}  // namespace

StackMemory::StackMemory() : name_("plan"), block_(planning_base()), planning_(true), capacity_(SIZE_MAX / 2) {}

StackMemory::StackMemory(std::string name, std::size_t bytes, Device device)
    : name_(std::move(name)),
      memory_(device, name_, round_up(bytes)),
      block_(memory_.as<std::byte>()),
      poisons_(kGuarded && device == Device::kCpu),
      capacity_(memory_.bytes()) {}

StackMemory::StackMemory(std::string name, void* block, std::size_t bytes)
    : name_(std::move(name)), block_(static_cast<std::byte*>(block)), capacity_(bytes) {}

void* StackMemory::allocate(std::string_view name, std::size_t bytes) {
  const std::size_t occupied = round_up(bytes) + kGuardBytes;
  if (occupied > capacity_ - used_) {
    std::string living;
    for (const Live& live : live_) living += concatenate("\n  ", live.name, ": ", live.bytes, " bytes");
    check(false, "memory is used up: ", name_, " has ", capacity_ - used_, " of ", capacity_, " bytes left, ",
          std::string(name), " needs ", occupied, "; alive:", living);
  }
  std::byte* start = block_ + used_;
  live_.push_back({std::string(name), used_, bytes, plan_.size()});
  if (planning_) plan_.push_back({std::string(name), used_, bytes, events_, -1});
  ++events_;
  used_ += occupied;
  peak_ = std::max(peak_, used_);
  if (poisons_) {
    std::memset(start, kPoison, bytes);
    std::memset(start + bytes, kGuard, occupied - bytes);
  }
  return start;
}

void StackMemory::release(std::size_t mark) {
  check(mark <= used_, "a stack is released from the top: ", name_, " stands at ", used_, ", asked for ", mark);
  while (!live_.empty() && live_.back().offset >= mark) {
    const Live& live = live_.back();
    if (poisons_) {
      const std::byte* guard = block_ + live.offset + live.bytes;
      const std::byte* end = block_ + live.offset + round_up(live.bytes) + kGuardBytes;
      const bool intact = std::all_of(guard, end, [](std::byte value) { return value == std::byte{kGuard}; });
      if (!intact) {  // The program's memory is broken, and this may run in a destructor: say so and stop here.
        std::fprintf(stderr, "koine: something wrote behind the end of %s in %s\n", live.name.c_str(), name_.c_str());
        std::abort();
      }
      std::memset(block_ + live.offset, kPoison, live.bytes);
    }
    if (planning_) plan_[live.plan_index].died = events_;
    live_.pop_back();
  }
  ++events_;
  used_ = mark;
}

}  // namespace koine
