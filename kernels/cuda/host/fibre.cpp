#include "kernels/cuda/host/fibre.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

#include "kernels/common/check.h"

#if defined(KOINE_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(KOINE_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>
#endif

#if defined(__x86_64__)
// void koine_switch_stack(void** save, void* load): pushes what the System V ABI lets a callee not change, swaps stacks.
extern "C" void koine_switch_stack(void** save, void* load);
asm(R"(
.text
.p2align 4
.globl koine_switch_stack
.hidden koine_switch_stack
.type koine_switch_stack, @function
koine_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size koine_switch_stack, .-koine_switch_stack
)");
#endif

namespace koine::cuda::host {
namespace {

// Distance between the beginnings of stacks with neighbouring numbers, and after how many it starts again: a page in all.
// An odd number of cache lines, so that all lines of a page are used.
constexpr int kSkewBytes = 5 * 64;
constexpr int kSkews = 12;

#if defined(KOINE_ADDRESS_SANITIZER)
thread_local Fibre* left = nullptr;  // the fibre the last switch came from
#endif

}  // namespace

Fibre::Fibre(std::size_t bytes, int number) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t whole = (bytes + page - 1) / page * page + page;  // a page for the skew
  mapped_ = whole + 2 * page;
  mapping_ = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  check(mapping_ != MAP_FAILED, "cannot allocate a stack of ", bytes, " bytes");
  stack_ = static_cast<char*>(mapping_) + page;
  if (mprotect(stack_, whole, PROT_READ | PROT_WRITE) != 0) {
    munmap(mapping_, mapped_);
    throw Error("cannot make a stack writable");
  }
  size_ = whole - static_cast<std::size_t>(number % kSkews * kSkewBytes);
#if defined(KOINE_ADDRESS_SANITIZER)
  ASAN_UNPOISON_MEMORY_REGION(stack_, size_);  // whatever lay at these addresses before
#endif
#if defined(KOINE_THREAD_SANITIZER)
  record_ = __tsan_create_fiber(0);
#endif
}

Fibre::~Fibre() {
  if (mapping_ == nullptr) return;
#if defined(KOINE_THREAD_SANITIZER)
  __tsan_destroy_fiber(record_);
#endif
#if defined(KOINE_ADDRESS_SANITIZER)
  ASAN_UNPOISON_MEMORY_REGION(stack_, size_);
#endif
  munmap(mapping_, mapped_);
}

void Fibre::prepare(void (*entry)()) {
#if defined(__x86_64__)
  auto* const end = static_cast<char*>(stack_) + size_;
#if defined(KOINE_ADDRESS_SANITIZER)
  // Whoever stood here before left without returning from its functions; they lie above where it stood.
  if (pointer_ != nullptr)
    ASAN_UNPOISON_MEMORY_REGION(pointer_, static_cast<std::size_t>(end - static_cast<char*>(pointer_)));
#endif
  // A function begins with the stack pointer 8 below a multiple of 16, as a call leaves it. There: no return address, so
  // that whoever walks the stack stops; below, what koine_switch_stack pops.
  auto* top = reinterpret_cast<std::uintptr_t*>(end);
  *--top = 0;
  *--top = reinterpret_cast<std::uintptr_t>(entry);
  for (int saved = 0; saved < 6; ++saved) *--top = 0;
  pointer_ = top;
#else
#if defined(KOINE_ADDRESS_SANITIZER)
  ASAN_UNPOISON_MEMORY_REGION(stack_, size_);
#endif
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_;
  context_.uc_stack.ss_size = size_;
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
#endif
}

void Fibre::switch_to(Fibre& from, Fibre& to, [[maybe_unused]] bool finished) {
#if defined(KOINE_ADDRESS_SANITIZER)
  left = &from;
  __sanitizer_start_switch_fiber(finished ? nullptr : &from.fake_stack_, to.stack_, to.size_);
#endif
#if defined(KOINE_THREAD_SANITIZER)
  if (from.mapping_ == nullptr) from.record_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(to.record_, 0);
#endif
#if defined(__x86_64__)
  koine_switch_stack(&from.pointer_, to.pointer_);
#else
  swapcontext(&from.context_, &to.context_);
#endif
#if defined(KOINE_ADDRESS_SANITIZER)
  const void* bottom = nullptr;
  std::size_t size = 0;
  __sanitizer_finish_switch_fiber(from.fake_stack_, &bottom, &size);
  if (left->mapping_ == nullptr) {
    left->stack_ = const_cast<void*>(bottom);
    left->size_ = size;
  }
#endif
}

void Fibre::entered() {
#if defined(KOINE_ADDRESS_SANITIZER)
  const void* bottom = nullptr;
  std::size_t size = 0;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
  if (left->mapping_ == nullptr) {
    left->stack_ = const_cast<void*>(bottom);
    left->size_ = size;
  }
#endif
}

}  // namespace koine::cuda::host
