#pragma once

// Memory given out and taken back in stack order, from one block whose size is known before anything runs.
//
// The size comes from a dry run: a planning stack hands out addresses that nothing may touch, counts, and remembers every
// allocation with its name and lifetime. The real stack is then made with the plan's peak, and the same sequence of calls
// gets the same layout. Activations and scratch are both such stacks; nothing else allocates while a step runs.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/common/buffer.h"
#include "kernels/common/types.h"

namespace koine {

/// One allocation of a planning stack: where it lies and between which two events of the stack (allocations and releases,
/// counted together) it lives.
struct PlannedAllocation {
  std::string name;
  std::size_t offset = 0;
  std::size_t bytes = 0;
  std::int64_t born = 0;
  std::int64_t died = -1;  ///< -1 while it lives
};

class StackMemory {
 public:
  /// Every allocation starts on a multiple of this many bytes: a cache line, and what vector loads and TMA want.
  static constexpr std::size_t kAlignment = 256;

  /// A planning stack: unlimited, addresses not to be touched, every allocation recorded.
  StackMemory();
  /// A real stack of `bytes`.
  StackMemory(std::string name, std::size_t bytes, Device device = Device::kCpu);
  /// A real stack over memory somebody else owns.
  StackMemory(std::string name, void* block, std::size_t bytes);
  StackMemory(const StackMemory&) = delete;
  StackMemory& operator=(const StackMemory&) = delete;

  /// The next `bytes`. Throws Error naming the stack, the allocation and what lives, when they do not fit.
  /// In debug builds memory of the CPU that is the stack's own is filled with NaN patterns and followed by guard words.
  void* allocate(std::string_view name, std::size_t bytes);

  template <class T>
  T* allocate_array(std::string_view name, std::int64_t count) {
    return static_cast<T*>(allocate(name, static_cast<std::size_t>(count) * sizeof(T)));
  }
  void* allocate_elements(std::string_view name, DType type, std::int64_t count) {
    return allocate(name, static_cast<std::size_t>(count) * size_of(type));
  }

  /// The current height, to be given to release().
  std::size_t mark() const { return used_; }
  /// Takes back everything allocated since `mark`. In debug builds checks the guards and poisons what was released.
  void release(std::size_t mark);

  std::size_t used() const { return used_; }
  std::size_t peak() const { return peak_; }
  std::size_t capacity() const { return capacity_; }
  bool planning() const { return planning_; }
  const std::vector<PlannedAllocation>& plan() const { return plan_; }

 private:
  struct Live {
    std::string name;
    std::size_t offset;
    std::size_t bytes;
    std::size_t plan_index;
  };

  std::string name_;
  Buffer memory_;  ///< of a stack that owns its block
  std::byte* block_ = nullptr;
  bool poisons_ = false;
  bool planning_ = false;
  std::size_t capacity_ = 0;
  std::size_t used_ = 0;
  std::size_t peak_ = 0;
  std::int64_t events_ = 0;
  std::vector<Live> live_;
  std::vector<PlannedAllocation> plan_;
};

/// Releases a stack to where it was when this was made.
class StackScope {
 public:
  explicit StackScope(StackMemory& stack) : stack_(stack), mark_(stack.mark()) {}
  ~StackScope() { stack_.release(mark_); }
  StackScope(const StackScope&) = delete;
  StackScope& operator=(const StackScope&) = delete;

 private:
  StackMemory& stack_;
  std::size_t mark_;
};

}  // namespace koine
