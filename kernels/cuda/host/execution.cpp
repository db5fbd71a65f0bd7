#include "kernels/cuda/host/execution.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

#include "kernels/common/check.h"
#include "kernels/common/types.h"
#include "kernels/cuda/host/fibre.h"
#include "kernels/cuda/host/memory_guard.h"
#include "kernels/cuda/host/race_hooks.h"

namespace koine::cuda::host {
namespace {

constexpr std::size_t kStackBytes = 252 << 10;
constexpr int kWarp = 32;
constexpr int kMostThreads = 1024;
constexpr unsigned kMostClusterBlocks = 8;      // that every device with clusters takes
constexpr std::size_t kMostShared = 227 << 10;  // of a block, compute capability 9.0; 163 KiB on 8.0
constexpr unsigned char kPoison = 0xff;         // a NaN, as fp32 and as bf16

struct Copy {
  void* to;
  const void* from;  // null: zeros
  int bytes;
  const void* place;  // the return address, for the race detector
};

bool same(Site left, Site right) {
  return left.line == right.line && (left.file == right.file || std::strcmp(left.file, right.file) == 0);
}

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
  Site site = {"", 0};  // where the first of them stands
  int first = 0;        // which it was
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

std::atomic<std::uint64_t> schedule_seed{1};
std::atomic<int> emulated_architecture{80};

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
  void at_warp(Site site, void* deposit, void (*act)(void* const*), bool orders_memory);
  void issue(const Copy& copy);
  void commit();
  void wait(int pending);
  [[noreturn]] void fail(std::string message);

  Execution execution;

 private:
  static void thread_main();
  [[noreturn]] void leave();
  void run_blocks(std::uint64_t first, std::uint64_t stride, std::uint64_t count);
  void run_block();
  std::string who() const;
  void prepare(const Shape& shape);
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
  try {
    m.body_(m.argument_);
    if (!m.current().issued.empty() || !m.current().groups.empty()) {
      m.failure_ = "a thread leaves while its asynchronous copies are under way";
    }
  } catch (const std::exception& error) {
    m.failure_ = concatenate("the kernel throws \"", error.what(), "\"");
  } catch (...) {
    m.failure_ = "the kernel throws";
  }
  m.leave();
}

/// The running thread is done, or the launch has failed: whoever is next, and never back.
void Machine::leave() {
  current().state = State::kFinished;
  ++finished_;
  resume_next(true);
  std::abort();  // nobody switches back
}

std::string Machine::who() const {
  return concatenate("; thread ", execution.thread, " of block (", execution.block[0], ", ", execution.block[1], ", ",
                     execution.block[2], ")");
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

/// Ends the launch. The fibres stay where they are, this one too: it may be called from under functions that no exception
/// can pass. So nothing on them may own memory; the message is moved out.
void Machine::fail(std::string message) {
  failure_.swap(message);
  leave();
}

void Machine::at_barrier(Site site) {
  Thread& self = current();
  self.state = State::kAtBarrier;
  self.site = site;
  if (++at_barrier_ == shape_.threads) {
    at_barrier_ = 0;
    races::barrier();
    for (int t = shape_.threads - 1; t >= 0; --t) {
      const Site other = threads_[static_cast<std::size_t>(t)].site;
      if (!same(other, site)) {
        fail(concatenate("the threads of a block meet different barriers: thread ", t, " that of ", other.file, ":",
                         other.line, ", this one that of ", site.file, ":", site.line));
      }
      make_ready(t);
    }
  }
  resume_next(false);
}

void Machine::at_warp(Site site, void* deposit, void (*act)(void* const*), bool orders_memory) {
  const int number = execution.thread / kWarp;
  Warp& warp = warps_[static_cast<std::size_t>(number)];
  Thread& self = current();
  self.state = State::kAtWarp;
  self.site = site;
  warp.deposits[execution.thread % kWarp] = deposit;
  if (warp.arrived == 0) {
    warp.site = site;
    warp.first = execution.thread;
  } else if (!same(warp.site, site)) {
    fail(concatenate("the lanes of a warp meet different operations: thread ", warp.first, " that of ", warp.site.file, ":",
                     warp.site.line, ", this one that of ", site.file, ":", site.line));
  }
  if (++warp.arrived == kWarp) {
    warp.arrived = 0;
    if (orders_memory) races::warp_barrier(number);
    if (act != nullptr) act(warp.deposits);
    // This lane goes on first or last as it comes: the others are ready, and it waits its turn among them.
    for (int lane = kWarp - 1; lane >= 0; --lane) make_ready(number * kWarp + lane);
  }
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
  const auto bytes = static_cast<std::size_t>(copy.bytes);
  if (to < begin || to + bytes > begin + shape_.shared_bytes) fail("an asynchronous copy goes outside of shared memory");
  races::write(copy.to, bytes, copy.place);  // it may arrive from here on
  std::memset(copy.to, kPoison, bytes);
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
  if (self.groups.size() <= keep) return;
  const auto arrived = static_cast<std::ptrdiff_t>(self.groups.size() - keep);
  for (auto group = self.groups.begin(); group != self.groups.begin() + arrived; ++group) {
    for (const Copy& copy : *group) {
      const auto bytes = static_cast<std::size_t>(copy.bytes);
      races::write(copy.to, bytes, copy.place);
      if (copy.from == nullptr) {
        std::memset(copy.to, 0, bytes);
      } else {
        races::read(copy.from, bytes, copy.place);
        std::memcpy(copy.to, copy.from, bytes);
      }
    }
  }
  self.groups.erase(self.groups.begin(), self.groups.begin() + arrived);
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
  for (Warp& warp : warps_) warp.arrived = 0;
  races::begin_block(execution.block, shared_->data(), shape_.shared_bytes);
  for (int t = shape_.threads - 1; t >= 0; --t) {
    Thread& thread = threads_[static_cast<std::size_t>(t)];
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
  if (!failure_.empty()) {
    failure_ += who();
    return;
  }
  if (finished_ < shape_.threads) {
    failure_ = concatenate("threads of block (", execution.block[0], ", ", execution.block[1], ", ", execution.block[2],
                           ") wait in vain: ", where_all_wait());
  }
  if (failure_.empty() && !shared_->guards_intact()) {
    failure_ = concatenate("block (", execution.block[0], ", ", execution.block[1], ", ", execution.block[2],
                           ") wrote outside of its ", shape_.shared_bytes, " bytes of shared memory");
  }
}

void check_shape(const std::string& where, const Shape& shape) {
  check(shape.threads > 0 && shape.threads <= kMostThreads && shape.threads % kWarp == 0, where.c_str(),
        "a block has 32 to 1024 threads, a multiple of 32");
  check(shape.grid[0] > 0 && shape.grid[1] > 0 && shape.grid[2] > 0 && shape.grid[0] <= 0x7fffffffu &&
            shape.grid[1] <= 65535 && shape.grid[2] <= 65535,
        where.c_str(), "no such grid");
  const unsigned* const cluster = shape.cluster;
  const std::uint64_t blocks = std::uint64_t{cluster[0]} * cluster[1] * cluster[2];
  if (blocks != 1) {
    check(emulated_architecture >= 90, where.c_str(), "clusters of blocks need compute capability 9.0, this device has ",
          emulated_architecture / 10, ".", emulated_architecture % 10);
    check(blocks != 0 && blocks <= kMostClusterBlocks, where.c_str(), "a cluster has 1 to 8 blocks, not ", blocks);
    for (int i = 0; i < 3; ++i) {
      check(shape.grid[i] % cluster[i] == 0, where.c_str(), "extent ", "xyz"[i], " of the grid, ", shape.grid[i],
            ", is not a multiple of the cluster's, ", cluster[i]);
    }
  }
  check(shape.shared_bytes <= kMostShared, where.c_str(), "a block has at most 227 KiB of shared memory");
}

void Machine::prepare(const Shape& shape) {
  shape_ = shape;
  std::string().swap(failure_);  // owns nothing that fail() would leave on a fibre
  if (threads_.size() < static_cast<std::size_t>(shape.threads)) threads_.resize(static_cast<std::size_t>(shape.threads));
  for (int t = 0; t < shape.threads; ++t) {
    Thread& thread = threads_[static_cast<std::size_t>(t)];
    if (thread.fibre == nullptr) thread.fibre = std::make_unique<Fibre>(kStackBytes, t);
  }
  warps_.resize(static_cast<std::size_t>(shape.threads / kWarp));
  shared_ = std::make_unique<GuardedMemory>(shape.shared_bytes, 1024);
  execution.threads = shape.threads;
  std::copy(shape.grid, shape.grid + 3, execution.grid);
  std::copy(shape.cluster, shape.cluster + 3, execution.cluster);
  const std::uint64_t seed = schedule_seed;
  order_ = seed == 0 ? nullptr : std::make_unique<Order>(seed);
}

void Machine::run_blocks(std::uint64_t first, std::uint64_t stride, std::uint64_t count) {
  const unsigned* const grid = shape_.grid;
  for (std::uint64_t i = 0; i < count && failure_.empty(); ++i) {
    const std::uint64_t block = (first + i * stride) % count;
    execution.block[0] = static_cast<unsigned>(block % grid[0]);
    execution.block[1] = static_cast<unsigned>(block / grid[0] % grid[1]);
    execution.block[2] = static_cast<unsigned>(block / grid[0] / grid[1]);
    run_block();
  }
}

void Machine::run(const char* kernel, const std::string& description, const Shape& shape, void (*body)(const void*),
                  const void* argument) {
  const std::string where = description + ": ";
  check_shape(where, shape);
  check(running == nullptr, where.c_str(), "a kernel cannot start kernels");
  body_ = body;
  argument_ = argument;
  prepare(shape);
  const std::uint64_t blocks = std::uint64_t{shape.grid[0]} * shape.grid[1] * shape.grid[2];
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
  races::begin_launch();
  running = &execution;
  machine = this;
  run_blocks(first, stride, blocks);
  machine = nullptr;
  running = nullptr;
  shared_.reset();
  if (!failure_.empty()) throw Error(where + failure_ + races::places());

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
void warp_collective(Site site, void* deposit, void (*act)(void* const* lanes)) {
  machine->at_warp(site, deposit, act, false);
}
void sync_warp(Site site) { machine->at_warp(site, nullptr, nullptr, true); }
void async_copy(void* shared, const void* global, int bytes) {
  machine->issue({shared, global, bytes, __builtin_return_address(0)});
}
void async_commit() { machine->commit(); }
void async_wait(int pending) { machine->wait(pending); }
void fail(std::string message) { machine->fail(std::move(message)); }
void fail_misaligned(const void* address, std::size_t alignment) {
  machine->fail(concatenate("address ", address, " is not a multiple of ", alignment));
}

void run_grid(const char* kernel, const std::string& description, const Shape& shape,
              void (*body)(const void* kernel_and_arguments), const void* kernel_and_arguments) {
  thread_local Machine own;
  own.run(kernel, description, shape, body, kernel_and_arguments);
}

void set_schedule_seed(std::uint64_t seed) { schedule_seed = seed; }
void set_architecture(int architecture) { emulated_architecture = architecture; }
int architecture() { return emulated_architecture; }

std::vector<KernelCount> kernel_counts() {
  Counts& all = counts();
  const std::lock_guard lock(all.mutex);
  std::vector<KernelCount> result;
  for (const auto& [name, count] : all.kernels) result.push_back(count);
  return result;
}

}  // namespace koine::cuda::host
