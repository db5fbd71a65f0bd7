#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

#include "kernels/common/check.h"
#include "kernels/common/types.h"
#include "kernels/cuda/host/machine.h"
#include "kernels/cuda/warp.h"

namespace koine::cuda::host {

thread_local Machine* machine = nullptr;

namespace {

constexpr std::size_t kStackBytes = 252 << 10;
constexpr int kMostThreads = 1024;
constexpr unsigned kMostClusterBlocks = 8;       // that every device with clusters takes
constexpr std::size_t kMostShared = 227 << 10;   // of a block, compute capability 9.0; 163 KiB on 8.0
constexpr std::size_t kDeclaredAlignment = 128;  // of shared memory that asks for no more (platform.h)
constexpr int kRegistersOfMultiprocessor = 65536;
constexpr int kMostRegisters = 248;  // a launch gives a thread, a multiple of 8

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

}  // namespace

void Machine::thread_main() {
  Fibre::entered();
  Machine& m = *machine;
  try {
    m.body_(m.argument_);
    std::string left = m.check_left();
    m.failure_.swap(left);
  } catch (const std::exception& error) {
    m.failure_ = concatenate("the kernel throws \"", error.what(), "\"");
  } catch (...) {
    m.failure_ = "the kernel throws";
  }
  m.leave();
}

/// What the running thread, which is done, leaves undone; empty if nothing.
std::string Machine::check_left() const {
  Machine& m = *machine;
  const Thread& self = m.current();
  if (!self.issued.empty() || !self.groups.empty()) return "a thread leaves while its asynchronous copies are under way";
  std::string text = m.check_products_of_thread();
  if (text.empty()) text = m.check_transfers_of_thread();
  if (text.empty() && shape_.overlap && !self.waited_for_dependency) {
    text = "a thread of a kernel that overlaps the one before it leaves without dependency_wait()";
  }
  if (text.empty() && blocks_[rank()].finished + 1 == shape_.threads) {
    text = check_transfers_of_block(rank());
    if (text.empty() && !races::waited_for_remote(rank())) {
      text = "the block leaves without having waited for all who reach into its shared memory or arrive there";
    }
  }
  return text;
}

/// The running thread is done, or the launch has failed: whoever is next, and never back.
void Machine::leave() {
  current().state = State::kFinished;
  ++finished_;
  ++block().finished;
  if (failure_.empty()) end_cluster_phase_if_all_arrived();
  resume_next(true);
  std::abort();  // nobody switches back
}

std::string Machine::block_name(unsigned rank) const {
  const unsigned* const at = blocks_[rank].index;
  return concatenate("block (", at[0], ", ", at[1], ", ", at[2], ")");
}

std::string Machine::who(int thread) const {
  return concatenate("; thread ", thread % shape_.threads, " of ",
                     block_name(static_cast<unsigned>(thread / shape_.threads)));
}

void Machine::enter(int thread) {
  current_ = thread;
  if (cluster_blocks_ == 1) {
    execution.thread = thread;
    return;
  }
  execution.thread = thread % shape_.threads;
  execution.cluster_rank = static_cast<unsigned>(thread / shape_.threads);
  std::copy(blocks_[rank()].index, blocks_[rank()].index + 3, execution.block);
}

int Machine::next_thread() {
  const std::size_t place = order_ == nullptr ? ready_.size() - 1 : order_->below(ready_.size());
  const int next = ready_[place];
  ready_[place] = ready_.back();
  ready_.pop_back();
  return next;
}

void Machine::resume_next(bool finished) {
  Thread& self = current();
  const int me = current_;
  if (!transfers_.empty() && failure_.empty()) run_transfers_at_random();
  if (ready_.empty() || !failure_.empty()) {
    Fibre::switch_to(*self.fibre, main_, finished);
  } else {
    const int next = next_thread();
    if (next == me) return;
    enter(next);
    Fibre::switch_to(*self.fibre, *threads_[static_cast<std::size_t>(next)].fibre, finished);
  }
}

void Machine::fail(std::string message) { fail_of(current_, std::move(message)); }

void Machine::fail_of(int thread, std::string message) {
  failure_.swap(message);
  blamed_ = thread;
  leave();
}

void Machine::at_barrier(Site site) {
  Thread& self = current();
  self.state = State::kAtBarrier;
  self.site = site;
  if (++block().at_barrier == shape_.threads) {
    block().at_barrier = 0;
    races::barrier(rank());
    const int first = static_cast<int>(rank()) * shape_.threads;
    for (int t = shape_.threads - 1; t >= 0; --t) {
      const Site other = threads_[static_cast<std::size_t>(first + t)].site;
      if (!same(other, site)) {
        fail(concatenate("the threads of a block meet different barriers: thread ", t, " that of ", other.file, ":",
                         other.line, ", this one that of ", site.file, ":", site.line));
      }
      make_ready(first + t);
    }
  }
  resume_next(false);
}

void Machine::at_warp(Site site, void* deposit, void (*act)(void* const*), bool orders_memory) {
  const int number = current_ / kWarp;
  Warp& warp = warps_[static_cast<std::size_t>(number)];
  Thread& self = current();
  self.state = State::kAtWarp;
  self.site = site;
  warp.deposits[lane()] = deposit;
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

bool Machine::elect(Site site) {
  at_warp(site, nullptr, nullptr, false);
  return lane() == elected_lane_;
}

void* Machine::shared(std::size_t bytes, std::size_t alignment) {
  if (bytes > shape_.shared_bytes) {
    fail(concatenate("the kernel uses ", bytes, " bytes of shared memory, its launch asked for ", shape_.shared_bytes));
  }
  if (shared_alignment_ == 0) {
    shared_alignment_ = std::max(alignment, kDeclaredAlignment);
    window_ = kWindowReserved + static_cast<std::uint32_t>(shared_alignment_ % kWindowReserved);
    for (unsigned r = 0; r < cluster_blocks_; ++r) {
      blocks_[r].shared = std::make_unique<GuardedMemory>(shape_.shared_bytes, shared_alignment_);
      races::shared_memory(r, blocks_[r].shared->data(), shape_.shared_bytes);
    }
  }
  if (alignment > shared_alignment_) {
    fail(concatenate("shared memory was asked for on multiples of ", shared_alignment_, " and then of ", alignment));
  }
  return block().shared->data();
}

void Machine::issue(const Copy& copy) {
  const auto bytes = static_cast<std::size_t>(copy.bytes);
  if (!is_shared(copy.to, bytes)) fail("an asynchronous copy goes outside of shared memory");
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

std::string Machine::what_it_waits_for(const Thread& thread, unsigned rank) const {
  const auto at = [&](const char* what) { return concatenate(what, " of ", thread.site.file, ":", thread.site.line); };
  switch (thread.state) {
    case State::kFinished:
      return "finished";
    case State::kAtBarrier:
      return at("at the barrier");
    case State::kAtNamedBarrier: {
      const NamedBarrier& barrier = blocks_[rank].named[thread.waits_at];
      return concatenate("at the named barrier ", thread.waits_at, at(""), " (", barrier.arrived, " of ", barrier.threads,
                         " threads have come)");
    }
    case State::kAtMBarrier: {
      const auto found = blocks_[rank].barriers.find(thread.waits_at);
      return concatenate(at("at the wait"), " for parity ", thread.parity, " of ",
                         found == blocks_[rank].barriers.end() ? "an mbarrier that is gone"
                                                               : name_of_barrier(thread.waits_at, found->second));
    }
    case State::kAtCluster:
      return at("at the cluster's barrier");
    case State::kAtProducts:
      return at("at the wait for products which another warp of the warpgroup has not issued,");
    case State::kAtRegisters:
      return concatenate(at("at the increase"), " to ", thread.waits_at, " registers, ",
                         blocks_[rank].free_registers / kWarp, " a lane of one warp being free");
    default:
      return at("at the warp operation");
  }
}

std::string Machine::where_all_wait() const {
  std::string text;
  int told = 0;
  for (std::size_t t = 0; t < static_cast<std::size_t>(shape_.threads) * cluster_blocks_; ++t) {
    const Thread& thread = threads_[t];
    const Thread& before = threads_[t > 0 ? t - 1 : 0];
    const bool first = t % static_cast<std::size_t>(shape_.threads) == 0;
    if (!first && thread.state == before.state && thread.site.line == before.site.line) continue;
    if (++told > 8) return text + " ...";
    const auto rank = static_cast<unsigned>(t) / static_cast<unsigned>(shape_.threads);
    text += concatenate(text.empty() ? "" : ", ", first && cluster_blocks_ > 1 ? block_name(rank) + " " : "", "from thread ",
                        t % static_cast<std::size_t>(shape_.threads), " ", what_it_waits_for(thread, rank));
  }
  return text;
}

void Machine::begin_block(unsigned rank) {
  Block& b = blocks_[rank];
  b.at_barrier = 0;
  b.finished = 0;
  b.barriers.clear();
  for (NamedBarrier& barrier : b.named) barrier = {};
  b.warpgroups.assign(static_cast<std::size_t>((shape_.threads + kWarpgroupThreads - 1) / kWarpgroupThreads), {});
  b.free_registers = 0;
  if (b.shared != nullptr) b.shared->poison();
  const int first = static_cast<int>(rank) * shape_.threads;
  for (int w = 0; w < shape_.threads / kWarp; ++w) {
    Warp& warp = warps_[static_cast<std::size_t>(first / kWarp + w)];
    warp = {};
    warp.registers = std::min(kRegistersOfMultiprocessor / (shape_.threads * shape_.blocks_at_once) / 8 * 8, kMostRegisters);
  }
  for (int t = first + shape_.threads - 1; t >= first; --t) {
    Thread& thread = threads_[static_cast<std::size_t>(t)];
    std::unique_ptr<Fibre> fibre = std::move(thread.fibre);
    thread = {};
    thread.fibre = std::move(fibre);
    thread.fibre->prepare(thread_main);
    make_ready(t);
  }
}

void Machine::run_cluster() {
  finished_ = 0;
  ready_.clear();
  transfers_.clear();
  cluster_phase_ = 0;
  cluster_arrived_ = 0;
  cluster_clock_ = {};
  blamed_ = -1;
  const int threads = shape_.threads * static_cast<int>(cluster_blocks_);
  races::begin_cluster(cluster_blocks_, shape_.threads);
  for (unsigned r = cluster_blocks_; r-- > 0;) {
    races::begin_block(r, blocks_[r].index);
    if (blocks_[r].shared != nullptr) races::shared_memory(r, blocks_[r].shared->data(), shape_.shared_bytes);
    begin_block(r);
  }
  execution.cluster_rank = 0;
  std::copy(blocks_[0].index, blocks_[0].index + 3, execution.block);
  enter(next_thread());
  Fibre::switch_to(main_, *current().fibre);
  if (!failure_.empty()) {
    failure_ += who(blamed_ < 0 ? current_ : blamed_);
    return;
  }
  if (finished_ < threads) {
    failure_ = concatenate("threads of ", block_name(0), cluster_blocks_ > 1 ? " and its cluster" : "",
                           " wait in vain: ", where_all_wait());
    return;
  }
  finish_stores();
  for (unsigned r = 0; r < cluster_blocks_ && failure_.empty(); ++r) {
    if (blocks_[r].shared != nullptr && !blocks_[r].shared->guards_intact()) {
      failure_ = concatenate(block_name(r), " wrote outside of its ", shape_.shared_bytes, " bytes of shared memory");
    }
  }
}

namespace {

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

}  // namespace

void Machine::prepare(const Shape& shape) {
  shape_ = shape;
  std::string().swap(failure_);  // owns nothing that fail() would leave on a fibre
  cluster_blocks_ = shape.cluster[0] * shape.cluster[1] * shape.cluster[2];
  const std::size_t threads = static_cast<std::size_t>(shape.threads) * cluster_blocks_;
  if (threads_.size() < threads) threads_.resize(threads);
  for (std::size_t t = 0; t < threads; ++t) {
    if (threads_[t].fibre == nullptr) threads_[t].fibre = std::make_unique<Fibre>(kStackBytes, static_cast<int>(t));
  }
  warps_.resize(threads / kWarp);
  blocks_.clear();
  blocks_.resize(cluster_blocks_);
  shared_alignment_ = 0;
  execution.threads = shape.threads;
  std::copy(shape.grid, shape.grid + 3, execution.grid);
  std::copy(shape.cluster, shape.cluster + 3, execution.cluster);
  seed_ = schedule_seed;
  order_ = seed_ == 0 ? nullptr : std::make_unique<Order>(seed_);
  elected_lane_ = order_ == nullptr ? 0 : static_cast<int>(order_->below(kWarp));
}

/// Clusters are numbered as blocks are, x first, and so are the blocks of one.
void Machine::run_clusters(std::uint64_t first, std::uint64_t stride, std::uint64_t count) {
  const unsigned* const size = shape_.cluster;
  const std::uint64_t across[2] = {shape_.grid[0] / size[0], shape_.grid[1] / size[1]};
  for (std::uint64_t i = 0; i < count && failure_.empty(); ++i) {
    const std::uint64_t number = (first + i * stride) % count;
    const std::uint64_t at[3] = {number % across[0], number / across[0] % across[1], number / across[0] / across[1]};
    for (unsigned r = 0; r < cluster_blocks_; ++r) {
      const unsigned inside[3] = {r % size[0], r / size[0] % size[1], r / size[0] / size[1]};
      for (int d = 0; d < 3; ++d) blocks_[r].index[d] = static_cast<unsigned>(at[d]) * size[d] + inside[d];
    }
    run_cluster();
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
  const std::uint64_t clusters = blocks / cluster_blocks_;
  // A permutation without memory for it: first + i * stride, the stride without a common divisor.
  std::uint64_t first = 0;
  std::uint64_t stride = 1;
  if (order_ != nullptr && clusters > 1) {
    first = order_->below(clusters);
    const auto divides = [&](std::uint64_t a) {
      std::uint64_t b = clusters;
      while (b != 0) std::swap(a %= b, b);
      return a;
    };
    do stride = 1 + order_->below(clusters - 1);
    while (divides(stride) != 1);
  }
  races::begin_launch();
  running = &execution;
  machine = this;
  run_clusters(first, stride, clusters);
  machine = nullptr;
  running = nullptr;
  blocks_.clear();
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
bool elect_lane(Site site) { return machine->elect(site); }
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
