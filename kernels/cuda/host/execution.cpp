#include "kernels/cuda/host/execution.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

#include "kernels/common/check.h"
#include "kernels/common/types.h"
#include "kernels/cuda/host/fibre.h"
#include "kernels/cuda/host/memory_guard.h"

namespace koine::cuda::host {
namespace {

constexpr std::size_t kStackBytes = 256 << 10;
constexpr int kWarp = 32;
constexpr int kMostThreads = 1024;
constexpr std::size_t kMostShared = 227 << 10;  // of a block, compute capability 9.0; 163 KiB on 8.0
constexpr unsigned char kPoison = 0xff;         // a NaN, as fp32 and as bf16

struct Copy {
  void* to;
  const void* from;  // null: zeros
  int bytes;
};

enum class State { kReady, kAtBarrier, kAtWarp, kFinished };

struct Thread {
  std::unique_ptr<Fibre> fibre;
  State state = State::kReady;
  Site site = {"", 0};
  std::vector<Copy> issued;               // since the last commit
  std::vector<std::vector<Copy>> groups;  // committed, oldest first
};

struct Warp {
  void* deposits[kWarp];
  int arrived = 0;
  int finished = 0;
};

/// xorshift64*: as good as orders of threads need.
class Order {
 public:
  explicit Order(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u + 0x632BE59BD9B4E019u) {}
  std::size_t below(std::size_t bound) {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<std::size_t>((state_ * 0x2545F4914F6CDD1Du >> 33) % bound);
  }

 private:
  std::uint64_t state_;
};

std::uint64_t schedule_seed = 1;

struct Counts {
  std::mutex mutex;
  std::map<std::string, KernelCount, std::less<>> kernels;
};
Counts& counts() {
  static Counts all;
  return all;
}

/// One CPU thread's machine: the block that runs, and stacks that are used again and again.
class Machine {
 public:
  void run(const char* kernel, const std::string& description, const Shape& shape, void (*body)(const void*),
           const void* argument);

  void* shared(std::size_t bytes, std::size_t alignment);
  void at_barrier(Site site);
  void at_warp(Site site, void* deposit, void (*act)(void* const*));
  void issue(const Copy& copy);
  void commit();
  void wait(int pending);
  [[noreturn]] void fail(const std::string& message);

  Execution execution;

 private:
  static void thread_main();
  void run_block();
  void resume_next(bool finished);
  void make_ready(int thread) {
    threads_[static_cast<std::size_t>(thread)].state = State::kReady;
    ready_.push_back(thread);
  }
  Thread& current() { return threads_[static_cast<std::size_t>(execution.thread)]; }
  std::string where_all_wait() const;

  Shape shape_ = {};
  void (*body_)(const void*) = nullptr;
  const void* argument_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<int> ready_;
  std::unique_ptr<Order> order_;  // null: ascending
  Fibre main_;
  int at_barrier_ = 0;
  int finished_ = 0;
  std::string failure_;
  std::unique_ptr<GuardedMemory> shared_;
};

thread_local Machine* machine = nullptr;

void Machine::thread_main() {
  Fibre::entered();
  Machine& m = *machine;
  m.body_(m.argument_);
  Thread& self = m.current();
  if (!self.issued.empty() || !self.groups.empty()) {
    m.fail("a thread leaves while its asynchronous copies are under way");
  }
  self.state = State::kFinished;
  ++m.finished_;
  ++m.warps_[static_cast<std::size_t>(m.execution.thread / kWarp)].finished;
  m.resume_next(true);
  std::abort();  // nobody switches back
}

void Machine::resume_next(bool finished) {
  Thread& self = current();
  if (ready_.empty() || !failure_.empty()) {
    Fibre::switch_to(*self.fibre, main_, finished);
  } else {
    const std::size_t place = order_ == nullptr ? ready_.size() - 1 : order_->below(ready_.size());
    const int next = ready_[place];
    ready_[place] = ready_.back();
    ready_.pop_back();
    const int me = execution.thread;
    if (next == me) return;
    execution.thread = next;
    Fibre::switch_to(*self.fibre, *threads_[static_cast<std::size_t>(next)].fibre, finished);
  }
}

void Machine::fail(const std::string& message) {
  failure_ = concatenate(message, "; thread ", execution.thread, " of block (", execution.block[0], ", ", execution.block[1],
                         ", ", execution.block[2], ")");
  current().state = State::kFinished;
  Fibre::switch_to(*current().fibre, main_, true);
  std::abort();
}

void Machine::at_barrier(Site site) {
  Thread& self = current();
  self.state = State::kAtBarrier;
  self.site = site;
  if (++at_barrier_ == shape_.threads) {
    at_barrier_ = 0;
    for (int t = shape_.threads - 1; t >= 0; --t) {
      const Site other = threads_[static_cast<std::size_t>(t)].site;
      if (other.line != site.line || std::strcmp(other.file, site.file) != 0) {
        fail(concatenate("the threads of a block meet different barriers: thread ", t, " that of ", other.file, ":",
                         other.line, ", this one that of ", site.file, ":", site.line));
      }
      make_ready(t);
    }
  }
  resume_next(false);
}

void Machine::at_warp(Site site, void* deposit, void (*act)(void* const*)) {
  Warp& warp = warps_[static_cast<std::size_t>(execution.thread / kWarp)];
  Thread& self = current();
  self.state = State::kAtWarp;
  self.site = site;
  warp.deposits[execution.thread % kWarp] = deposit;
  if (++warp.arrived < kWarp) {
    resume_next(false);
    return;
  }
  warp.arrived = 0;
  const int first = execution.thread / kWarp * kWarp;
  for (int t = first; t < first + kWarp; ++t) {
    const Site other = threads_[static_cast<std::size_t>(t)].site;
    if (other.line != site.line || std::strcmp(other.file, site.file) != 0) {
      fail(concatenate("the lanes of a warp meet different operations: thread ", t, " that of ", other.file, ":", other.line,
                       ", this one that of ", site.file, ":", site.line));
    }
  }
  if (act != nullptr) act(warp.deposits);
  // This lane goes on first or last as it comes: the others are ready, and it waits its turn among them.
  for (int t = first + kWarp - 1; t >= first; --t) make_ready(t);
  resume_next(false);
}

void* Machine::shared(std::size_t bytes, std::size_t alignment) {
  if (bytes > shape_.shared_bytes) {
    fail(concatenate("the kernel uses ", bytes, " bytes of shared memory, its launch asked for ", shape_.shared_bytes));
  }
  check_aligned(shared_->data(), alignment);
  return shared_->data();
}

void Machine::issue(const Copy& copy) {
  const auto begin = reinterpret_cast<std::uintptr_t>(shared_->data());
  const auto to = reinterpret_cast<std::uintptr_t>(copy.to);
  if (to < begin || to + static_cast<std::uintptr_t>(copy.bytes) > begin + shape_.shared_bytes) {
    fail("an asynchronous copy goes outside of shared memory");
  }
  std::memset(copy.to, kPoison, static_cast<std::size_t>(copy.bytes));
  current().issued.push_back(copy);
}

void Machine::commit() {
  Thread& self = current();
  self.groups.push_back(std::move(self.issued));
  self.issued.clear();
}

void Machine::wait(int pending) {
  Thread& self = current();
  const auto keep = static_cast<std::size_t>(pending);
  while (self.groups.size() > keep) {
    for (const Copy& copy : self.groups.front()) {
      if (copy.from == nullptr) {
        std::memset(copy.to, 0, static_cast<std::size_t>(copy.bytes));
      } else {
        std::memcpy(copy.to, copy.from, static_cast<std::size_t>(copy.bytes));
      }
    }
    self.groups.erase(self.groups.begin());
  }
}

std::string Machine::where_all_wait() const {
  std::string text;
  int told = 0;
  for (int t = 0; t < shape_.threads; ++t) {
    const Thread& thread = threads_[static_cast<std::size_t>(t)];
    const Thread& before = threads_[static_cast<std::size_t>(t > 0 ? t - 1 : 0)];
    if (t > 0 && thread.state == before.state && thread.site.line == before.site.line) continue;
    if (++told > 8) return text + " ...";
    text += concatenate(text.empty() ? "" : ", ", "from thread ", t, " ");
    text += thread.state == State::kFinished
                ? std::string("finished")
                : concatenate(thread.state == State::kAtBarrier ? "at the barrier of " : "at the warp operation of ",
                              thread.site.file, ":", thread.site.line);
  }
  return text;
}

void Machine::run_block() {
  at_barrier_ = 0;
  finished_ = 0;
  ready_.clear();
  shared_->poison();
  for (Warp& warp : warps_) warp = {};
  for (int t = shape_.threads - 1; t >= 0; --t) {
    Thread& thread = threads_[static_cast<std::size_t>(t)];
    if (thread.fibre == nullptr) thread.fibre = std::make_unique<Fibre>(kStackBytes);
    thread.issued.clear();
    thread.groups.clear();
    thread.site = {"", 0};
    thread.fibre->prepare(thread_main);
    make_ready(t);
  }
  const std::size_t place = order_ == nullptr ? ready_.size() - 1 : order_->below(ready_.size());
  execution.thread = ready_[place];
  ready_[place] = ready_.back();
  ready_.pop_back();
  Fibre::switch_to(main_, *current().fibre);
  if (failure_.empty() && finished_ < shape_.threads) {
    failure_ = concatenate("threads of block (", execution.block[0], ", ", execution.block[1], ", ", execution.block[2],
                           ") wait in vain: ", where_all_wait());
  }
  if (failure_.empty() && !shared_->guard_intact()) {
    failure_ = concatenate("block (", execution.block[0], ", ", execution.block[1], ", ", execution.block[2],
                           ") wrote behind its ", shape_.shared_bytes, " bytes of shared memory");
  }
}

void Machine::run(const char* kernel, const std::string& description, const Shape& shape, void (*body)(const void*),
                  const void* argument) {
  const std::string where = description + ": ";
  check(shape.threads > 0 && shape.threads <= kMostThreads && shape.threads % kWarp == 0, where.c_str(),
        "a block has 32 to 1024 threads, a multiple of 32");
  check(shape.grid[0] > 0 && shape.grid[1] > 0 && shape.grid[2] > 0 && shape.grid[0] <= 0x7fffffffu &&
            shape.grid[1] <= 65535 && shape.grid[2] <= 65535,
        where.c_str(), "no such grid");
  check(shape.shared_bytes <= kMostShared, where.c_str(), "a block has at most 227 KiB of shared memory");
  shape_ = shape;
  body_ = body;
  argument_ = argument;
  failure_.clear();
  if (threads_.size() < static_cast<std::size_t>(shape.threads)) threads_.resize(static_cast<std::size_t>(shape.threads));
  warps_.resize(static_cast<std::size_t>(shape.threads / kWarp));
  shared_ = std::make_unique<GuardedMemory>(shape.shared_bytes, 1024);
  execution.threads = shape.threads;
  std::copy(shape.grid, shape.grid + 3, execution.grid);

  const std::uint64_t blocks = std::uint64_t{shape.grid[0]} * shape.grid[1] * shape.grid[2];
  order_ = schedule_seed == 0 ? nullptr : std::make_unique<Order>(schedule_seed);
  // A permutation without memory for it: first + i * stride, the stride without a common divisor.
  std::uint64_t first = 0;
  std::uint64_t stride = 1;
  if (order_ != nullptr && blocks > 1) {
    first = order_->below(blocks);
    const auto divides = [&](std::uint64_t a) {
      std::uint64_t b = blocks;
      while (b != 0) std::swap(a %= b, b);
      return a;
    };
    do stride = 1 + order_->below(blocks - 1);
    while (divides(stride) != 1);
  }
  running = &execution;
  Machine* const before = machine;
  machine = this;
  for (std::uint64_t i = 0; i < blocks && failure_.empty(); ++i) {
    const std::uint64_t block = (first + i * stride) % blocks;
    execution.block[0] = static_cast<unsigned>(block % shape.grid[0]);
    execution.block[1] = static_cast<unsigned>(block / shape.grid[0] % shape.grid[1]);
    execution.block[2] = static_cast<unsigned>(block / shape.grid[0] / shape.grid[1]);
    run_block();
  }
  machine = before;
  running = nullptr;
  shared_.reset();
  if (!failure_.empty()) throw Error(where + failure_);

  Counts& all = counts();
  const std::lock_guard lock(all.mutex);
  KernelCount& count = all.kernels[kernel];
  count.kernel = kernel;
  count.launches += 1;
  count.blocks += static_cast<std::int64_t>(blocks);
  count.threads += static_cast<std::int64_t>(blocks) * shape.threads;
  count.largest_block = std::max(count.largest_block, shape.threads);
  count.largest_shared_bytes = std::max(count.largest_shared_bytes, shape.shared_bytes);
}

}  // namespace

void* shared_memory(std::size_t bytes, std::size_t alignment) { return machine->shared(bytes, alignment); }
void sync_block(Site site) { machine->at_barrier(site); }
void warp_collective(Site site, void* deposit, void (*act)(void* const* lanes)) { machine->at_warp(site, deposit, act); }
void sync_warp(Site site) { machine->at_warp(site, nullptr, nullptr); }
void async_copy(void* shared, const void* global, int bytes) { machine->issue({shared, global, bytes}); }
void async_commit() { machine->commit(); }
void async_wait(int pending) { machine->wait(pending); }
void fail(const std::string& message) { machine->fail(message); }
void fail_misaligned(const void* address, std::size_t alignment) {
  machine->fail(concatenate("address ", address, " is not a multiple of ", alignment));
}

void run_grid(const char* kernel, const std::string& description, const Shape& shape,
              void (*body)(const void* kernel_and_arguments), const void* kernel_and_arguments) {
  thread_local Machine own;
  own.run(kernel, description, shape, body, kernel_and_arguments);
}

void set_schedule_seed(std::uint64_t seed) { schedule_seed = seed; }

std::vector<KernelCount> kernel_counts() {
  Counts& all = counts();
  const std::lock_guard lock(all.mutex);
  std::vector<KernelCount> result;
  for (const auto& [name, count] : all.kernels) result.push_back(count);
  return result;
}

}  // namespace koine::cuda::host
