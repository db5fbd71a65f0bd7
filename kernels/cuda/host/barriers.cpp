// mbarriers, named barriers, clusters and the pool of registers (kernels/cuda/hopper/barrier.h, cluster.h, warpgroup.h).

#include <cstring>

#include "kernels/common/check.h"
#include "kernels/cuda/hopper/cluster.h"
#include "kernels/cuda/hopper/dependent_launch.h"
#include "kernels/cuda/host/machine.h"

namespace koine::cuda::host {
namespace {

constexpr std::int64_t kMostBytes = (1 << 20) - 1;  // and arrivals, of a phase
constexpr int kNamedBarriers = 16;

/// What the eight bytes of an mbarrier hold.
std::uint64_t pattern_of(unsigned rank, std::uint32_t offset) {
  return 0x6d62617272696572u ^ (std::uint64_t{rank} << 56) ^ std::uint64_t{offset} << 20;
}

}  // namespace

// --- addresses ---

bool Machine::is_shared(const void* at, std::size_t bytes) {
  if (block().shared == nullptr) return false;
  const std::uintptr_t inside =
      reinterpret_cast<std::uintptr_t>(at) - reinterpret_cast<std::uintptr_t>(block().shared->data());
  return inside <= shape_.shared_bytes && shape_.shared_bytes - inside >= bytes;
}

/// Offset in the running block's window; ends the launch where it is not the block's shared memory.
std::uint32_t Machine::offset_of(const void* shared, std::size_t bytes) {
  if (!is_shared(shared, bytes)) {
    fail(concatenate("an address is outside of the block's shared memory: ", bytes, " bytes at ", shared));
  }
  return window_ +
         static_cast<std::uint32_t>(static_cast<const char*>(shared) - static_cast<const char*>(block().shared->data()));
}

std::uint32_t Machine::shared_address(const void* shared) { return offset_of(shared, 0); }

/// Block `rank`'s counterpart of the running block's `shared`.
void* Machine::in_block(const void* shared, unsigned rank, std::size_t bytes) {
  const std::uint32_t offset = offset_of(shared, bytes);
  if (rank >= cluster_blocks_) fail(concatenate("there is no block ", rank, " in a cluster of ", cluster_blocks_));
  if (has_left(rank)) {
    fail(concatenate("block ", rank, " of the cluster has left, and its shared memory is gone"));
  }
  if (rank != this->rank()) races::remote(rank);
  return address_of(rank, offset);
}

// --- mbarriers ---

std::string Machine::name_of_barrier(std::uint32_t offset, const Barrier& barrier) const {
  return concatenate("the mbarrier at byte ", offset - window_, " of shared memory (", barrier.phase, " phases ended, ",
                     barrier.arrivals - barrier.pending, " of ", barrier.arrivals, " arrivals, ", barrier.bytes,
                     " bytes to come)");
}

/// In steps: a text that is part of an expression would be left on the fibre.
void Machine::fail_at(std::string before, std::uint32_t offset, const Barrier& barrier, std::string after) {
  std::string text = std::move(before);
  text += name_of_barrier(offset, barrier);
  text += after;
  std::string().swap(after);
  fail(std::move(text));
}

Barrier& Machine::barrier_at(unsigned rank, std::uint32_t offset) {
  const auto found = blocks_[rank].barriers.find(offset);
  if (found == blocks_[rank].barriers.end()) {
    fail(concatenate("there is no mbarrier at byte ", offset - window_, " of shared memory",
                     rank != this->rank() ? " of block " : "", rank != this->rank() ? std::to_string(rank) : ""));
  }
  Barrier& barrier = found->second;
  std::uint64_t bytes = 0;
  std::memcpy(&bytes, address_of(rank, offset), sizeof bytes);
  if (bytes != pattern_of(rank, offset)) fail_at("something wrote over ", offset, barrier);
  if (barrier.maker != current_ && !barrier.published) {
    fail_at(concatenate("thread ", barrier.maker % shape_.threads, " made "), offset, barrier,
            " and has not called fence_mbarrier_init()");
  }
  return barrier;
}

void Machine::make_barrier(void* at, int arrivals, Site site) {
  current().site = site;
  const std::uint32_t offset = offset_of(at, sizeof(std::uint64_t));
  check_aligned(at, sizeof(std::uint64_t));
  if (arrivals < 1 || arrivals > kMostBytes) fail(concatenate("an mbarrier counts 1 to 2^20 - 1 arrivals, not ", arrivals));
  const auto [found, is_new] = block().barriers.try_emplace(offset);
  if (!is_new) fail_at("", offset, found->second, " is made again while it is in use");
  found->second.arrivals = found->second.pending = arrivals;
  found->second.maker = current_;
  races::write(at, sizeof(std::uint64_t), __builtin_return_address(0));
  const std::uint64_t bytes = pattern_of(rank(), offset);
  std::memcpy(at, &bytes, sizeof bytes);
}

void Machine::invalidate_barrier(void* at, Site site) {
  current().site = site;
  const std::uint32_t offset = offset_of(at, sizeof(std::uint64_t));
  const Barrier& barrier = barrier_at(rank(), offset);
  if (barrier.bytes != 0) fail_at("", offset, barrier, " is given up while bytes are to come");
  races::write(at, sizeof(std::uint64_t), __builtin_return_address(0));
  std::memset(at, kPoison, sizeof(std::uint64_t));
  block().barriers.erase(offset);
}

void Machine::publish_barriers() {
  for (auto& [offset, barrier] : block().barriers) {
    if (barrier.maker == current_) barrier.published = true;
  }
}

/// Ends the phase if nothing more is to come.
void Machine::count_down(unsigned rank, std::uint32_t offset, Barrier& barrier) {
  if (barrier.pending != 0 || barrier.bytes != 0) return;
  if (barrier.woken != 0) {
    fail_at("a phase of ", offset, barrier,
            concatenate(" ends while ", barrier.woken,
                        " threads that waited for the one before have not seen that it ended: to them both look alike"));
  }
  ++barrier.phase;
  barrier.pending = barrier.arrivals;
  races::assign(barrier.ended, barrier.arriving);
  for (std::size_t t = 0; t < static_cast<std::size_t>(shape_.threads); ++t) {
    const std::size_t number = static_cast<std::size_t>(rank) * static_cast<std::size_t>(shape_.threads) + t;
    Thread& thread = threads_[number];
    if (thread.state != State::kAtMBarrier || thread.waits_at != offset) continue;
    thread.woken = true;
    ++barrier.woken;
    make_ready(static_cast<int>(number));
  }
}

void Machine::arrive(void* at, unsigned rank, std::int64_t bytes, Site site) {
  current().site = site;
  void* const there = rank == this->rank() ? at : in_block(at, rank, sizeof(std::uint64_t));
  const std::uint32_t offset = offset_of(at, sizeof(std::uint64_t));
  Barrier& barrier = barrier_at(rank, offset);
  races::read(there, sizeof(std::uint64_t), __builtin_return_address(0));
  if (bytes < 0 || barrier.bytes + bytes > kMostBytes) {
    fail_at(concatenate("more than 2^20 - 1 bytes, ", barrier.bytes + bytes, ", are expected by "), offset, barrier);
  }
  if (barrier.pending == 0) fail_at("one arrival too many at ", offset, barrier);
  races::release(barrier.arriving);
  barrier.bytes += bytes;
  --barrier.pending;
  count_down(rank, offset, barrier);
}

/// A load's bytes have come.
void Machine::land(const Transfer& transfer) {
  Barrier& barrier = barrier_at(transfer.rank, transfer.barrier);
  barrier.bytes -= transfer.bytes;
  races::complete(transfer.write, barrier.arriving);
  if (barrier.bytes < -kMostBytes) {
    fail_at("more bytes than were expected landed at ", transfer.barrier, barrier);
  }
  count_down(transfer.rank, transfer.barrier, barrier);
}

void Machine::wait_barrier(void* at, std::uint32_t parity, Site site) {
  current().site = site;
  const std::uint32_t offset = offset_of(at, sizeof(std::uint64_t));
  Barrier& barrier = barrier_at(rank(), offset);
  races::read(at, sizeof(std::uint64_t), __builtin_return_address(0));
  if (parity > 1) fail(concatenate("the parity of a phase is 0 or 1, not ", parity));
  if ((barrier.phase & 1) == static_cast<std::int64_t>(parity)) {
    current().waits_at = offset;
    current().parity = parity;
    wait_in(State::kAtMBarrier, site);
    current().woken = false;
    --barrier.woken;
  }
  races::acquire(barrier.ended);
}

// --- named barriers ---

void Machine::meet_named(int number, int threads, bool waits, Site site) {
  at_warp(site, nullptr, nullptr, false);
  if (number < 1 || number >= kNamedBarriers) {
    fail(concatenate("named barriers are 1 to 15, not ", number, number == 0 ? ", which is sync_block()'s" : ""));
  }
  if (threads <= 0 || threads % kWarp != 0 || threads > shape_.threads) {
    fail(concatenate("whole warps of the block meet at a named barrier, not ", threads, " threads"));
  }
  NamedBarrier& barrier = block().named[number];
  if (barrier.arrived != 0 && barrier.threads != threads) {
    fail(concatenate("named barrier ", number, " is met with ", barrier.threads, " and with ", threads, " threads"));
  }
  barrier.threads = threads;
  races::release(barrier.clock);
  if (waits) barrier.waiting.push_back(current_);
  if (++barrier.arrived == threads) {
    for (const int waiting : barrier.waiting) {
      races::acquire(barrier.clock, waiting);
      if (waiting != current_) make_ready(waiting);
    }
    if (waits) make_ready(current_);
    barrier.arrived = 0;
    barrier.waiting.clear();
    races::clear(barrier.clock);
  }
  if (!waits) return;
  current().waits_at = static_cast<std::uint32_t>(number);
  // Whoever came last is ready already, and waits its turn among the others.
  const bool last = !ready_.empty() && ready_.back() == current_;
  current().site = site;
  if (!last) current().state = State::kAtNamedBarrier;
  resume_next(false);
}

// --- clusters ---

void Machine::end_cluster_phase_if_all_arrived() {
  const int threads = shape_.threads * static_cast<int>(cluster_blocks_);
  if (cluster_arrived_ == 0 || cluster_arrived_ + finished_ < threads) return;
  cluster_arrived_ = 0;
  ++cluster_phase_;
  for (int t = 0; t < threads; ++t) {
    Thread& thread = threads_[static_cast<std::size_t>(t)];
    if (thread.state != State::kAtCluster) continue;
    races::acquire(cluster_clock_, t);
    make_ready(t);
  }
}

void Machine::arrive_cluster(Site site) {
  at_warp(site, nullptr, nullptr, false);
  Thread& self = current();
  if (self.cluster_arrivals > cluster_phase_) fail("a thread arrives at the cluster's barrier twice without waiting");
  self.cluster_arrivals = cluster_phase_ + 1;
  ++cluster_arrived_;
  races::release(cluster_clock_);
  end_cluster_phase_if_all_arrived();
}

void Machine::wait_cluster(Site site) {
  at_warp(site, nullptr, nullptr, false);
  Thread& self = current();
  if (self.cluster_arrivals == 0 || self.cluster_arrivals < cluster_phase_) {
    fail("a thread waits at the cluster's barrier without having arrived");
  }
  if (cluster_phase_ < self.cluster_arrivals) {
    wait_in(State::kAtCluster, site);
  } else {
    races::acquire(cluster_clock_);
  }
}

// --- registers ---

/// Lets those go on whose increase fits.
void Machine::give_registers(unsigned rank) {
  const int first = static_cast<int>(rank) * shape_.threads;
  for (int w = first / kWarp; w < (first + shape_.threads) / kWarp; ++w) {
    Thread& leader = threads_[static_cast<std::size_t>(w * kWarp)];
    if (leader.state != State::kAtRegisters) continue;
    Warp& warp = warps_[static_cast<std::size_t>(w)];
    const int more = (static_cast<int>(leader.waits_at) - warp.registers) * kWarp;
    if (more > blocks_[rank].free_registers) continue;
    bool all = true;
    for (int l = 0; l < kWarp; ++l)
      all = all && threads_[static_cast<std::size_t>(w * kWarp + l)].state == State::kAtRegisters;
    if (!all) continue;
    blocks_[rank].free_registers -= more;
    warp.registers = static_cast<int>(leader.waits_at);
    for (int l = 0; l < kWarp; ++l) make_ready(w * kWarp + l);
  }
}

void Machine::set_registers(int registers, bool increase, Site site) {
  at_warp(site, nullptr, nullptr, false);
  Warp& mine = warp();
  if (lane() == 0) {
    std::vector<int>& said = warpgroup().register_changes;
    const auto number = static_cast<std::size_t>(mine.register_changes);
    const int change = increase ? registers : -registers;
    if (number == said.size()) said.push_back(change);
    if (said[number] != change) {
      fail(concatenate("the warps of a warpgroup set different numbers of registers: ", std::abs(said[number]), " and ",
                       registers));
    }
    ++mine.register_changes;
    if (increase ? registers < mine.registers : registers > mine.registers) {
      fail(concatenate("the warp has ", mine.registers, " registers a thread: ", increase ? "an increase" : "a decrease",
                       " to ", registers, " is none"));
    }
  }
  if (!increase) {
    if (lane() == 0) {
      block().free_registers += (mine.registers - registers) * kWarp;
      mine.registers = registers;
      give_registers(rank());
    }
    at_warp(site, nullptr, nullptr, false);
    return;
  }
  Thread& self = current();
  self.waits_at = static_cast<std::uint32_t>(registers);
  self.site = site;
  self.state = State::kAtRegisters;
  give_registers(rank());
  resume_next(false);
}

// --- what the headers call ---

std::uint32_t shared_address(const void* shared) { return machine->shared_address(shared); }
void mbarrier_init(void* barrier, int arrivals, Site site) { machine->make_barrier(barrier, arrivals, site); }
void mbarrier_invalidate(void* barrier, Site site) { machine->invalidate_barrier(barrier, site); }
void fence_mbarrier_init() { machine->publish_barriers(); }
void mbarrier_arrive(void* barrier, std::int64_t expected_bytes, Site site) {
  machine->arrive(barrier, machine->rank(), expected_bytes, site);
}
void mbarrier_arrive_at(void* barrier, unsigned rank, Site site) { machine->arrive(barrier, rank, 0, site); }
void mbarrier_wait(void* barrier, std::uint32_t parity, Site site) { machine->wait_barrier(barrier, parity, site); }
void named_barrier(int number, int threads, bool waits, Site site) { machine->meet_named(number, threads, waits, site); }
void fence_async_proxy() { races::fence_async_proxy(); }

unsigned cluster_rank() { return machine->rank(); }
void cluster_arrive(Site site) { machine->arrive_cluster(site); }
void cluster_wait(Site site) { machine->wait_cluster(site); }
std::uint32_t address_in_block(const void* shared, unsigned rank) {
  machine->in_block(shared, rank, 0);
  return machine->shared_address(shared) | (rank + 1) << kRankShift;
}
void load_from_block(void* to, const void* shared, unsigned rank, std::size_t bytes) {
  const void* const there = machine->in_block(shared, rank, bytes);
  races::read(there, bytes, __builtin_return_address(0));
  std::memcpy(to, there, bytes);
}
void store_to_block(void* shared, unsigned rank, const void* from, std::size_t bytes) {
  void* const there = machine->in_block(shared, rank, bytes);
  races::write(there, bytes, __builtin_return_address(0));
  std::memcpy(there, from, bytes);
}

void set_warpgroup_registers(int registers, bool increase, Site site) { machine->set_registers(registers, increase, site); }
void dependency_wait() { machine->current().waited_for_dependency = true; }

}  // namespace koine::cuda::host
