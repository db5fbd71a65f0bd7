#include "kernels/cuda/host/fibre.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

#include "kernels/common/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
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

#if defined(__SANITIZE_ADDRESS__)
thread_local Fibre* left = nullptr;  // the fibre the last switch came from
#endif

}  // namespace

Fibre::Fibre(std::size_t bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  size_ = (bytes + page - 1) / page * page;
  mapped_ = size_ + page;
  mapping_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  check(mapping_ != MAP_FAILED, "cannot allocate a stack of ", bytes, " bytes");
  check(mprotect(mapping_, page, PROT_NONE) == 0, "cannot protect the end of a stack");
  stack_ = static_cast<char*>(mapping_) + page;
}

Fibre::~Fibre() {
  if (mapping_ != nullptr) munmap(mapping_, mapped_);
}

void Fibre::prepare(void (*entry)()) {
#if defined(__SANITIZE_ADDRESS__)
  ASAN_UNPOISON_MEMORY_REGION(stack_, size_);  // whoever stood here before may have left without returning
#endif
#if defined(__x86_64__)
  // At the entry of a function the stack pointer is 8 past a multiple of 16, as if a return address had been pushed.
  auto* top = reinterpret_cast<std::uintptr_t*>(static_cast<char*>(stack_) + size_) - 2;
  *top = 0;
  *--top = reinterpret_cast<std::uintptr_t>(entry);
  for (int saved = 0; saved < 6; ++saved) *--top = 0;
  pointer_ = top;
#else
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_;
  context_.uc_stack.ss_size = size_;
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
#endif
}

void Fibre::switch_to(Fibre& from, Fibre& to, [[maybe_unused]] bool finished) {
#if defined(__SANITIZE_ADDRESS__)
  left = &from;
  __sanitizer_start_switch_fiber(finished ? nullptr : &from.fake_stack_, to.stack_, to.size_);
#endif
#if defined(__x86_64__)
  koine_switch_stack(&from.pointer_, to.pointer_);
#else
  swapcontext(&from.context_, &to.context_);
#endif
#if defined(__SANITIZE_ADDRESS__)
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
#if defined(__SANITIZE_ADDRESS__)
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
