#pragma once

// The machine of the host implementation: the blocks of one cluster, their threads and all they wait for. Its parts are
//   execution.cpp   threads, orders, sync_block, warps, cp.async, whole grids
//   barriers.cpp    mbarriers, named barriers, clusters and their shared memory, pools of registers
//   bulk_copy.cpp   tensor and bulk copies
//   warpgroup.cpp   wgmma
//
// Threads are numbered through the cluster: rank of the block times threads of a block, plus thread of the block. Addresses
// in shared memory are those of the block's window, which begins with the kilobyte the hardware keeps, as offsets and with
// the block's rank above.

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/hopper/bulk_copy.h"
#include "kernels/cuda/hopper/warpgroup.h"
#include "kernels/cuda/host/execution.h"
#include "kernels/cuda/host/fibre.h"
#include "kernels/cuda/host/memory_guard.h"
#include "kernels/cuda/host/race_hooks.h"

namespace koine::cuda::host {

inline constexpr int kWarp = 32;
inline constexpr unsigned char kPoison = 0xff;  // a NaN, as fp32 and as bf16
inline constexpr std::uint32_t kWindowReserved = 1024;
inline constexpr int kRankShift = 24;

/// cp.async.
struct Copy {
  void* to;
  const void* from;  // null: zeros
  int bytes;
  const void* place;  // the return address, for the race detector
};

enum class State {
  kReady,
  kAtBarrier,
  kAtWarp,
  kAtNamedBarrier,
  kAtMBarrier,
  kAtCluster,
  kAtProducts,
  kAtRegisters,
  kFinished
};

/// Registers that a warpgroup_fence() or warpgroup_wait() named, and what was in them then.
struct HeldRegisters {
  const void* begin;
  std::vector<unsigned char> values;
};

/// The halves of a bulk store, for the race detector.
struct StoreClocks {
  std::int64_t group;
  races::Async read;
  races::Async write;
};

struct Thread {
  std::unique_ptr<Fibre> fibre;
  State state = State::kReady;
  Site site = {"", 0};
  std::vector<Copy> issued;               // since the last commit
  std::vector<std::vector<Copy>> groups;  // committed, oldest first

  std::uint32_t waits_at = 0;  // number of the named barrier, place of the mbarrier, registers
  std::uint32_t parity = 0;
  bool woken = false;  // from an mbarrier and not run since
  std::int64_t cluster_arrivals = 0;
  std::int64_t store_groups = 0;  // of bulk stores, committed
  bool store_open = false;        // asked for since the last commit
  std::vector<StoreClocks> stores;
  bool waited_for_dependency = false;
  std::int64_t products = 0;  // wgmmas issued
  std::vector<HeldRegisters> fenced;
};

struct Warp {
  void* deposits[kWarp];
  int arrived = 0;
  Site site = {"", 0};  // where the first of them stands
  int first = 0;        // which it was

  int registers = 0;
  int register_changes = 0;
  std::vector<std::int64_t> committed;  // number of wgmmas in each group and before it
};

struct NamedBarrier {
  int threads = 0;
  int arrived = 0;
  std::vector<int> waiting;
  races::Clock clock;
};

/// An mbarrier, by its place in shared memory. The eight bytes there hold a pattern nobody else writes.
struct Barrier {
  int arrivals = 0;  // of a phase
  int pending = 0;
  std::int64_t bytes = 0;  // expected and not landed
  std::int64_t phase = 0;  // ended ones
  int maker = 0;
  bool published = false;
  int woken = 0;  // waiters of the last phase that have not run since
  races::Clock arriving;
  races::Clock ended;
};

/// Sums of a warpgroup that wgmmas are under way for.
struct Sums {
  int columns = 0;
  std::array<float*, kWarpgroupThreads> registers = {};  // of each thread, null until its warp issued the first product
  std::vector<float> values;                             // [64, columns]
  std::int64_t last = 0;                                 // product
  int delivered = 0;                                     // to so many threads
};

/// A wgmma: made by the first warp that issues it.
struct IssuedProduct {
  Site site = {"", 0};
  Product what = {};
  unsigned warps = 0;  // that have begun to issue it, by bits
  int issued = 0;      // by so many threads
  bool computed = false;
  std::shared_ptr<Sums> sums;
  races::Async clock;
  std::vector<std::uint32_t> chunks;  // offsets of all 16-byte chunks of A, if from shared memory, and B
  std::vector<unsigned char> bytes;   // what they held at issue
  std::array<std::array<std::uint32_t, 4>, kWarpgroupThreads> fragments = {};
  std::array<const void*, kWarpgroupThreads> fragment_places = {};
};

struct Warpgroup {
  std::deque<IssuedProduct> products;  // from number `first` on
  std::int64_t first = 0;
  std::vector<int> register_changes;  // what each setmaxnreg said, negative: decrease
};

struct Block {
  unsigned index[3] = {0, 0, 0};
  std::unique_ptr<GuardedMemory> shared;
  int at_barrier = 0;
  int finished = 0;
  int free_registers = 0;
  NamedBarrier named[16];
  std::map<std::uint32_t, Barrier> barriers;
  std::vector<Warpgroup> warpgroups;
};

/// A tensor or bulk copy under way. Loads land in one block; stores first read, later write.
struct Transfer {
  enum class Kind { kLoad, kStore, kToBlock } kind = Kind::kLoad;
  bool tensor = false;
  int thread = 0;
  Site site = {"", 0};
  const void* place = nullptr;
  TensorMap map = {};
  Coordinates at = {};
  const void* from = nullptr;  // global memory of a bulk load
  void* to = nullptr;          // global memory of a bulk store
  unsigned rank = 0;           // block whose shared memory is the destination of a load, the source of a store
  std::uint32_t offset = 0;    // there
  std::uint32_t barrier = 0;   // there
  std::uint32_t bytes = 0;
  std::int64_t group = 0;  // of a store: committed groups before it
  bool read = false;       // a store has
  races::Async read_clock;
  races::Async write;
  std::vector<unsigned char> data;
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

/// One CPU thread's machine: the cluster that runs, and stacks that are used again and again.
class Machine {
 public:
  void run(const char* kernel, const std::string& description, const Shape& shape, void (*body)(const void*),
           const void* argument);
  /// Ends the launch. The fibres stay where they are, this one too: it may be called from under functions that no exception
  /// can pass. So nothing on them may own memory; the message is moved out.
  [[noreturn]] void fail(std::string message);
  /// The same where the machine itself acts for a thread that asked for it earlier.
  [[noreturn]] void fail_of(int thread, std::string message);

  // execution.cpp
  void* shared(std::size_t bytes, std::size_t alignment);
  void at_barrier(Site site);
  void at_warp(Site site, void* deposit, void (*act)(void* const*), bool orders_memory);
  void issue(const Copy& copy);
  void commit();
  void wait(int pending);
  bool elect(Site site);

  // barriers.cpp
  std::uint32_t shared_address(const void* shared);
  void make_barrier(void* at, int arrivals, Site site);
  void invalidate_barrier(void* at, Site site);
  void publish_barriers();
  void arrive(void* at, unsigned rank, std::int64_t bytes, Site site);
  void wait_barrier(void* at, std::uint32_t parity, Site site);
  void meet_named(int number, int threads, bool waits, Site site);
  void arrive_cluster(Site site);
  void wait_cluster(Site site);
  void* in_block(const void* shared, unsigned rank, std::size_t bytes);
  void set_registers(int registers, bool increase, Site site);

  // bulk_copy.cpp
  void start_load(void* to, Transfer& transfer, void* barrier, int blocks);
  void start_store(const void* from, Transfer& transfer);
  void start_copy_to_block(void* to, const void* from, Transfer& transfer, void* barrier, unsigned rank);
  void commit_stores();
  void wait_stores(int pending, bool written);

  // warpgroup.cpp
  void fence_products(const RegisterRange* registers, int count, Site site);
  void issue_product(const Product& product, Site site);
  void commit_products(Site site);
  void wait_products(int pending, const RegisterRange* registers, int count, Site site);

  Thread& current() { return threads_[static_cast<std::size_t>(current_)]; }
  Block& block() { return blocks_[rank()]; }
  unsigned rank() const { return execution.cluster_rank; }
  Warp& warp() { return warps_[static_cast<std::size_t>(current_ / kWarp)]; }
  Warpgroup& warpgroup() { return block().warpgroups[static_cast<std::size_t>(execution.thread / kWarpgroupThreads)]; }
  int lane() const { return execution.thread % kWarp; }

  Execution execution;

 private:
  static void thread_main();
  [[noreturn]] void leave();
  void run_clusters(std::uint64_t first, std::uint64_t stride, std::uint64_t count);
  void run_cluster();
  void begin_block(unsigned rank);
  std::string who(int thread) const;
  std::string block_name(unsigned rank) const;
  void prepare(const Shape& shape);
  void enter(int thread);
  int next_thread();
  void resume_next(bool finished);
  void wait_in(State state, Site site) {
    current().state = state;
    current().site = site;
    resume_next(false);
  }
  void make_ready(int thread) {
    threads_[static_cast<std::size_t>(thread)].state = State::kReady;
    ready_.push_back(thread);
  }
  std::string where_all_wait() const;
  std::string what_it_waits_for(const Thread& thread, unsigned rank) const;
  std::string check_left() const;
  bool has_left(unsigned rank) const { return blocks_[rank].finished == shape_.threads; }

  // barriers.cpp
  [[noreturn]] void fail_at(std::string before, std::uint32_t offset, const Barrier& barrier, std::string after = {});
  std::string name_of_barrier(std::uint32_t offset, const Barrier& barrier) const;
  Barrier& barrier_at(unsigned rank, std::uint32_t offset);
  void count_down(unsigned rank, std::uint32_t offset, Barrier& barrier);
  void land(const Transfer& transfer);
  void end_cluster_phase_if_all_arrived();
  void give_registers(unsigned rank);
  bool is_shared(const void* at, std::size_t bytes);
  std::uint32_t offset_of(const void* shared, std::size_t bytes);
  char* address_of(unsigned rank, std::uint32_t offset) {
    return static_cast<char*>(blocks_[rank].shared->data()) + (offset - window_);
  }

  // bulk_copy.cpp
  void run_transfers_at_random();
  void run_one_transfer(std::size_t number);
  void deliver(Transfer& transfer);
  void read_store(Transfer& transfer);
  void write_store(Transfer& transfer);
  void finish_stores();
  std::string check_transfers_of_thread();
  std::string check_transfers_of_block(unsigned rank) const;
  void check_shared_range(std::uint32_t offset, std::size_t bytes, const char* what);
  void fill_box(const Transfer& transfer, bool from_tensor);

  // warpgroup.cpp
  void note_operand(IssuedProduct& product, std::uint64_t descriptor, bool rows_major, int rows, const char* name);
  void compare_operands(const IssuedProduct& product, const char* when);
  void compute(IssuedProduct& product);
  std::string check_products_of_thread();

  Shape shape_ = {};
  void (*body_)(const void*) = nullptr;
  const void* argument_ = nullptr;
  int current_ = 0;
  unsigned cluster_blocks_ = 1;
  std::vector<Block> blocks_;  // of the cluster, by rank
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<int> ready_;
  std::unique_ptr<Order> order_;  // null: ascending
  std::uint64_t seed_ = 0;
  Fibre main_;
  int finished_ = 0;
  std::uint32_t window_ = kWindowReserved;  // where shared memory begins in the blocks' windows
  std::size_t shared_alignment_ = 0;        // that the kernel asked for; 0: not yet
  std::int64_t cluster_phase_ = 0;
  int cluster_arrived_ = 0;
  races::Clock cluster_clock_;
  int elected_lane_ = 0;
  std::vector<std::unique_ptr<Transfer>> transfers_;
  std::vector<unsigned char> row_;  // of a box
  std::string failure_;
  int blamed_ = -1;
};

extern thread_local Machine* machine;

inline bool same(Site left, Site right) {
  return left.line == right.line && (left.file == right.file || __builtin_strcmp(left.file, right.file) == 0);
}

}  // namespace koine::cuda::host
