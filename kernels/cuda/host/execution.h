#pragma once

// The host implementation of kernels/cuda: runs a kernel's threads on the CPU, one fibre each, so that the very source that
// nvcc compiles is tested on any machine, under the address sanitizer if wanted.
//
// One block runs after the other, in an order drawn from the schedule's seed; inside a block the next thread to run is drawn
// too, whenever one stops at a barrier or a warp operation. A kernel that forgets a barrier therefore reads, under most
// seeds, what was not yet written. Shared memory is NaN at the start of each block and guarded behind; asynchronous copies
// arrive as late as they may, and their destination is NaN until then. Threads that wait for each other in vain, meet
// different barriers, or leave while others wait, end the launch with an Error that says who waits where.
//
// The blocks of a cluster run together, their threads drawn in one order. What a cluster and the instructions of 9.0 add is
// told in docs/hopper.md.
//
// Builds with KOINE_CUDA_RACES also find every missing barrier, whatever the order (race_hooks.h).
//
// What it does not show: timing, and sums whose order inside a tensor core the hardware leaves open.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace koine::cuda::host {

/// Where in the source a thread stands. Made as a default argument it is the place of the call, as the builtins are by
/// themselves the arguments of a function: inside of braces they would be the place of the declaration.
struct Site {
  // NOLINTNEXTLINE(google-explicit-constructor): nobody converts from text.
  constexpr Site(const char* in_file = __builtin_FILE(), int at_line = __builtin_LINE()) : file(in_file), line(at_line) {}
  const char* file;
  int line;
};
#define KOINE_SITE ::koine::cuda::host::Site site = ::koine::cuda::host::Site()

/// Whether this program was built to watch for races.
bool watches_races();

/// What the running thread can ask about itself.
struct Execution {
  int thread = 0;
  int threads = 0;
  unsigned block[3] = {0, 0, 0};
  unsigned grid[3] = {1, 1, 1};
  unsigned cluster[3] = {1, 1, 1};
  unsigned cluster_rank = 0;
};
inline thread_local constinit Execution* running = nullptr;
inline const Execution& execution() { return *running; }

// --- what kernels call through the headers of kernels/cuda ---

void* shared_memory(std::size_t bytes, std::size_t alignment);
void sync_block(Site site);
/// All lanes of the warp arrive with a pointer each; the last one's call runs `act` on the 32 pointers, in order of the
/// lanes.
void warp_collective(Site site, void* deposit, void (*act)(void* const* lanes));
void sync_warp(Site site);
void async_copy(void* shared, const void* global, int bytes);  ///< global null: zeros
void async_commit();
void async_wait(int pending);
/// Ends the launch with an Error. Nothing on the stack of the running thread is destroyed.
[[noreturn]] void fail(std::string message);
[[noreturn]] void fail_misaligned(const void* address, std::size_t alignment);

/// Ends the launch with an Error where `address` is not a multiple of `alignment`.
inline void check_aligned(const void* address, std::size_t alignment) {
  if (reinterpret_cast<std::uintptr_t>(address) % alignment != 0) fail_misaligned(address, alignment);
}

// --- what launch() calls ---

struct Shape {
  unsigned grid[3];
  unsigned cluster[3];
  int threads;
  std::size_t shared_bytes;
  bool overlap = false;    ///< begins while the kernel before it runs
  int blocks_at_once = 1;  ///< that share a multiprocessor's registers
};
/// Runs `body` once as every thread of the grid. Throws Error, beginning with `description`, for whatever the rules above
/// forbid.
void run_grid(const char* kernel, const std::string& description, const Shape& shape,
              void (*body)(const void* kernel_and_arguments), const void* kernel_and_arguments);

// --- for tests ---

/// Draws other orders from now on. Order 0 is the plain one: blocks and threads ascending.
void set_schedule_seed(std::uint64_t seed);

/// Which device the host implementation says it is: a compute capability times ten (80, 90, 100). 80 until set.
void set_architecture(int architecture);
int architecture();

/// Whether mma and wgmma cut their sums as tensor cores do, instead of rounding each: one more order of sums to hold kernels
/// to.
void set_truncating_sums(bool on);

/// What has run since the program began, by kernel.
struct KernelCount {
  std::string kernel;
  std::int64_t launches = 0;
  std::int64_t blocks = 0;
  std::int64_t threads = 0;
  int largest_block = 0;
  std::size_t largest_shared_bytes = 0;
};
std::vector<KernelCount> kernel_counts();

}  // namespace koine::cuda::host
