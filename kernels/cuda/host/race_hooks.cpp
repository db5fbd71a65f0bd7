#include "kernels/cuda/host/race_hooks.h"

#include "kernels/cuda/host/execution.h"

namespace koine::cuda::host {
bool watches_races() { return races::kDetects; }
}  // namespace koine::cuda::host

#if defined(KOINE_CUDA_RACES)

#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <vector>

#include "kernels/common/check.h"

namespace koine::cuda::host::races {
namespace {

// --- what is remembered of an access ---

// An access in 64 bits, from the top:
//   20  interval: numbers run on from sync_block to sync_block, from block to block and from launch to launch, so that what
//   is
//       older than the block or the launch is seen by its number, and shadows are never cleared; 0: no access
//   16  the agent's clock, which goes on wherever it lets others go on: at sync_warp(), at every arrival
//   11  agent: thread of the cluster, or wgmma, or a bulk copy
//    1  several lanes of the warp did this at the same time (reads)
//    2  which bytes of the 2-byte word
//   14  place in the source, an index; 0: one too many
using Entry = std::uint64_t;
constexpr int kPlaceBits = 14;
constexpr int kMaskShift = 14;
constexpr int kManyShift = 16;
constexpr int kAgentShift = 17;
constexpr int kClockShift = 28;
constexpr int kIntervalShift = 44;
constexpr std::uint64_t kMostIntervals = (std::uint64_t{1} << 20) - 1;
constexpr int kMostAgents = 1 << 11;
constexpr int kAsyncAgents = 512;  // of a cluster, at most
constexpr Entry kMany = Entry{1} << kManyShift;

std::uint64_t interval_of(Entry e) { return e >> kIntervalShift; }
std::uint16_t clock_of(Entry e) { return static_cast<std::uint16_t>(e >> kClockShift); }
int agent_of(Entry e) { return static_cast<int>(e >> kAgentShift & 0x7ffu); }
unsigned mask_of(Entry e) { return static_cast<unsigned>(e >> kMaskShift) & 3u; }

/// Of two bytes. The last write is enough: who races with an older one races with it too, or the two writes did. Of reads
/// between two barriers of the block, two of different warps are enough: a later write is in another warp than one of them.
/// Where roles wait for each other by other means, a third one may be forgotten, and a race with it seen under another
/// order.
struct Cell {
  Entry write;
  Entry read;
  Entry other_read;    // not ordered with that, of another warp or agent
  Entry earlier_read;  // by a block before this one
};

struct Region {
  std::string name;
  std::uintptr_t begin;
  std::size_t bytes;
  Cell* cells;
};

constexpr std::size_t kSharedBytes = 256 << 10;
constexpr int kMostPlaces = 1 << kPlaceBits;

/// Zeros that cost memory only where touched.
Cell* make_cells(std::size_t bytes) {
  void* memory = mmap(nullptr, (bytes / 2 + 1) * sizeof(Cell), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  check(memory != MAP_FAILED, "cannot allocate the race detector's notes on ", bytes, " bytes");
  return static_cast<Cell*>(memory);
}

/// All launches of a process run behind one lock (runtime.cpp), so there is one detector.
struct Detector {
  std::vector<Region> regions;  // by address
  std::size_t last_region = 0;

  /// A block of the cluster that runs.
  struct BlockMemory {
    std::uintptr_t shared = 0;
    std::size_t shared_bytes = 0;
    Cell* cells = nullptr;       // kept from cluster to cluster
    std::uint64_t first = 1;     // interval the block began with
    std::uint64_t interval = 1;  // since its last sync_block()
    Clock remote;                // who reached into it
  };
  std::array<BlockMemory, 8> memory = {};
  unsigned cluster_blocks = 1;
  int threads = 0;  // of a block

  std::uint64_t interval = 1;
  std::uint64_t launch_first = 1;
  std::uint64_t cluster_first = 1;
  struct Start {
    std::uint64_t interval;
    unsigned block[3];
  };
  std::vector<Start> blocks;  // of this launch

  // Of warps, as long as there are no vectors; of all agents then, and what each thread has seen of each.
  std::vector<std::uint16_t> clocks;
  bool vectors = false;
  std::vector<Clock> seen;
  std::vector<std::uint16_t> fenced;  // by thread: up to which of its clocks its stores are for the asynchronous proxy
  std::map<std::uint64_t, int> async_agents;

  std::array<std::uintptr_t, std::size_t{2}* kMostPlaces> place_slots = {};
  std::array<std::uint16_t, std::size_t{2}* kMostPlaces> place_numbers = {};
  std::vector<std::uintptr_t> places = {0};
  std::vector<std::uintptr_t> reported;  // return addresses of the accesses that raced

  static Detector& get() {
    static Detector* detector = new Detector;  // used by destructors of statics
    return *detector;
  }

  Entry place_index(const void* place) {
    const auto address = reinterpret_cast<std::uintptr_t>(place);
    std::size_t slot = (address * 0x9E3779B97F4A7C15u) >> (63 - kPlaceBits);
    while (place_slots[slot] != address) {
      if (place_slots[slot] == 0) {
        if (places.size() == kMostPlaces) return 0;
        place_slots[slot] = address;
        place_numbers[slot] = static_cast<std::uint16_t>(places.size());
        places.push_back(address);
        break;
      }
      slot = (slot + 1) % place_slots.size();
    }
    return place_numbers[slot];
  }

  const Region* region_of(std::uintptr_t address) {
    if (last_region < regions.size() && address - regions[last_region].begin < regions[last_region].bytes) {
      return &regions[last_region];
    }
    if (regions.empty() || address < regions.front().begin || address >= regions.back().begin + regions.back().bytes) {
      return nullptr;
    }
    const auto after = std::upper_bound(regions.begin(), regions.end(), address,
                                        [](std::uintptr_t wanted, const Region& region) { return wanted < region.begin; });
    const auto place = static_cast<std::size_t>(after - regions.begin()) - 1;
    if (address - regions[place].begin >= regions[place].bytes) return nullptr;
    last_region = place;
    return &regions[place];
  }

  void next_interval() {
    if (interval == kMostIntervals) {  // all numbers are used: forget everything
      for (const Region& region : regions) madvise(region.cells, (region.bytes / 2 + 1) * sizeof(Cell), MADV_DONTNEED);
      for (BlockMemory& one : memory) {
        if (one.cells != nullptr) std::memset(one.cells, 0, (kSharedBytes / 2 + 1) * sizeof(Cell));
        one.first = one.interval = 0;
      }
      interval = launch_first = cluster_first = 0;
      blocks.clear();
    }
    ++interval;
  }

  int cluster_threads() const { return static_cast<int>(cluster_blocks) * threads; }
  bool is_thread(int agent) const { return agent < cluster_threads(); }
  unsigned rank_of(int thread) const { return static_cast<unsigned>(thread / threads); }
  int running_thread() const { return static_cast<int>(execution().cluster_rank) * threads + execution().thread; }

  std::uint16_t clock_of_thread(int thread) const {
    return clocks[static_cast<std::size_t>(vectors ? thread : thread / 32)];
  }

  /// From clocks of warps to vectors: of its own warp a thread has seen all up to the last sync_warp(), of the others
  /// nothing since the last sync_block(), and what was before that is told by its interval.
  void begin_vectors() {
    if (vectors) return;
    vectors = true;
    const auto count = static_cast<std::size_t>(cluster_threads());
    check(count + kAsyncAgents <= kMostAgents, "too many threads in a cluster for the race detector");
    std::vector<std::uint16_t> of_threads(count + kAsyncAgents);
    seen.assign(count, {});
    fenced.assign(count, 0);
    for (std::size_t t = 0; t < count; ++t) {
      of_threads[t] = clocks[t / 32];
      seen[t].seen.assign(count + kAsyncAgents, 0);
      for (std::size_t lane = t / 32 * 32; lane < t / 32 * 32 + 32; ++lane) {
        seen[t].seen[lane] = static_cast<std::uint16_t>(clocks[t / 32] - (lane == t ? 0 : 1));
      }
    }
    clocks.swap(of_threads);
  }
  void advance(int thread) {
    std::uint16_t& clock = clocks[static_cast<std::size_t>(thread)];
    check(clock != 0xffff, "a kernel synchronises too often for the race detector");
    ++clock;
    seen[static_cast<std::size_t>(thread)].seen[static_cast<std::size_t>(thread)] = clock;
  }
  static void join(Clock& into, const Clock& from) {
    if (into.seen.size() < from.seen.size()) into.seen.resize(from.seen.size());
    std::uint16_t* const to = into.seen.data();
    const std::uint16_t* const other = from.seen.data();
    for (std::size_t i = 0; i < from.seen.size(); ++i) to[i] = std::max(to[i], other[i]);
  }
  /// Threads [first, first + count) meet.
  void meet(int first, int count) {
    Clock all;
    std::uint16_t latest = 0;
    for (int t = first; t < first + count; ++t) {
      join(all, seen[static_cast<std::size_t>(t)]);
      latest = std::max(latest, clocks[static_cast<std::size_t>(t)]);
    }
    check(latest != 0xffff, "a kernel synchronises too often for the race detector");
    for (int t = first; t < first + count; ++t) {
      seen[static_cast<std::size_t>(t)].seen = all.seen;
      clocks[static_cast<std::size_t>(t)] = latest;
      advance(t);
    }
  }
  Async begin_async(std::uint64_t key) {
    begin_vectors();
    const auto next = static_cast<int>(async_agents.size());
    const int agent = cluster_threads() + async_agents.try_emplace(key, next).first->second;
    check(agent < cluster_threads() + kAsyncAgents, "too many asynchronous agents for the race detector");
    const std::uint16_t tick = ++clocks[static_cast<std::size_t>(agent)];
    check(tick != 0xffff, "a kernel copies too often for the race detector");
    return {agent, tick, std::make_shared<const Clock>(seen[static_cast<std::size_t>(running_thread())])};
  }
};

// --- is it a race? ---

struct Access {
  Detector& detector;
  bool is_write;
  const Detector::BlockMemory* shared;  // null: device memory
  const Region* region;
  std::size_t offset;
  std::size_t bytes;
  int agent;
  const Clock* has_seen;  // with vectors
  const void* place;
  Entry entry;
  bool fence_needed;

  /// Whether the access `e` stands for comes before this access whatever the schedule.
  bool ordered(Entry e) const {
    const Detector& d = detector;
    if (interval_of(e) < (shared != nullptr ? shared->first : d.launch_first)) return true;
    if (interval_of(e) < d.cluster_first) return false;
    const int other = agent_of(e);
    if (d.is_thread(other)) {
      const unsigned rank = d.is_thread(agent) ? d.rank_of(agent) : execution().cluster_rank;  // of an agent, its issuer's
      if (d.rank_of(other) == rank && interval_of(e) < d.memory[rank].interval) return true;
    }
    if (!d.vectors) {
      if (other / 32 != agent / 32) return false;
      return clock_of(e) != d.clock_of_thread(agent) || (other == agent && (e & kMany) == 0);
    }
    const auto knows = [&](int who, std::uint16_t clock) { return has_seen->seen[static_cast<std::size_t>(who)] >= clock; };
    if (!knows(other, clock_of(e))) return false;
    if ((e & kMany) == 0) return true;
    for (int lane = other / 32 * 32; lane < other / 32 * 32 + 32; ++lane) {
      if (lane != agent && !knows(lane, std::min(clock_of(e), d.clocks[static_cast<std::size_t>(lane)]))) return false;
    }
    return true;
  }

  std::string where() const {
    if (shared != nullptr) return concatenate("byte ", offset, " of shared memory");
    return concatenate("byte ", offset, " of the device memory \"", region->name, "\"");
  }
  std::string name_of(int who) const {
    if (detector.is_thread(who)) return concatenate("thread ", who % detector.threads);
    return "wgmma or a bulk copy";
  }

  [[noreturn]] void report(Entry other, bool other_writes) const {
    const Detector& d = detector;
    const int who = agent_of(other);
    std::string block = "of the same block";
    const bool earlier = interval_of(other) < d.cluster_first;
    if (earlier) {
      block = "of an earlier block";
      for (const Detector::Start& start : d.blocks) {
        if (start.interval > interval_of(other)) break;
        block = concatenate("of block (", start.block[0], ", ", start.block[1], ", ", start.block[2], ")");
      }
    } else if (d.is_thread(who) && d.is_thread(agent) && d.rank_of(who) != d.rank_of(agent)) {
      block = concatenate("of block ", d.rank_of(who), " of the cluster");
    }
    const bool threads = d.is_thread(who) && d.is_thread(agent);
    const char* const missing = earlier                  ? "nothing orders two blocks of a launch"
                                : !threads               ? "nobody waited between them"
                                : d.vectors              ? "no chain of arrivals and waits between them"
                                : who / 32 == agent / 32 ? "no sync_warp() or sync_block() between them"
                                                         : "no sync_block() between them";
    std::string message =
        concatenate("race on ", where(), ": ", other_writes ? "write" : "read", " by ",
                    earlier ? concatenate("thread ", who) : name_of(who), " ", block, ", then ", is_write ? "write" : "read",
                    " of ", bytes, " bytes by ", name_of(agent), ", ", missing);
    detector.reported = {d.places[other & (kMostPlaces - 1)], reinterpret_cast<std::uintptr_t>(place)};
    fail(std::move(message));
  }

  [[noreturn]] void report_unwritten() const {
    std::string message = concatenate("read of ", bytes, " bytes at ", where(), " which no thread of the block has written");
    detector.reported = {reinterpret_cast<std::uintptr_t>(place)};
    fail(std::move(message));
  }

  [[noreturn]] void report_unfenced(Entry other) const {
    std::string message = concatenate("wgmma or a bulk copy reads ", where(), ", which ", name_of(agent_of(other)),
                                      " wrote and did not call fence_async_proxy() after");
    detector.reported = {detector.places[other & (kMostPlaces - 1)], reinterpret_cast<std::uintptr_t>(place)};
    fail(std::move(message));
  }

  /// Whether lanes of one warp made both.
  bool same_warp(Entry e) const {
    return detector.is_thread(agent) && detector.is_thread(agent_of(e)) ? agent_of(e) / 32 == agent / 32
                                                                        : agent_of(e) == agent;
  }

  /// Puts `mine` beside `slot`, a read of the same warp.
  static void merge(Entry& slot, Entry mine) {
    constexpr Entry kSameTime = ~((Entry{1} << kClockShift) - 1);
    if (((slot ^ mine) & kSameTime) == 0 && mask_of(slot) == mask_of(mine)) {
      if (agent_of(slot) != agent_of(mine)) slot |= kMany;
    } else {
      slot = mine;
    }
  }

  void note_read(Cell& cell, Entry mine) const {
    const Detector& d = detector;
    if (cell.read == 0 || ordered(cell.read) || interval_of(cell.read) < d.cluster_first) {
      if (interval_of(cell.read) >= d.launch_first && interval_of(cell.read) < d.cluster_first)
        cell.earlier_read = cell.read;
      if (cell.read != 0 && interval_of(cell.read) >= d.cluster_first && same_warp(cell.read)) return merge(cell.read, mine);
      cell.read = mine;
      return;
    }
    if (same_warp(cell.read)) return merge(cell.read, mine);
    if (cell.other_read != 0 && interval_of(cell.other_read) >= d.cluster_first && same_warp(cell.other_read)) {
      return merge(cell.other_read, mine);
    }
    cell.other_read = mine;
  }

  void visit(Cell& cell, unsigned mask) const {
    const Entry mine = entry | Entry{mask} << kMaskShift;
    const auto races = [&](Entry e) { return e != 0 && (mask_of(e) & mask) != 0 && !ordered(e); };
    if (races(cell.write)) report(cell.write, true);
    if (is_write) {
      for (const Entry e : {cell.read, cell.other_read}) {
        if (races(e)) report(e, false);
      }
      if (shared == nullptr && races(cell.earlier_read)) report(cell.earlier_read, false);
      cell.write = mine;
    } else {
      if (shared != nullptr && interval_of(cell.write) < shared->first) report_unwritten();
      if (fence_needed && detector.is_thread(agent_of(cell.write)) &&
          clock_of(cell.write) > detector.fenced[static_cast<std::size_t>(agent_of(cell.write))]) {
        report_unfenced(cell.write);
      }
      note_read(cell, mine);
    }
  }
};

/// By the running thread, or, with `async`, by what it issued.
void access(const void* address, std::size_t bytes, const void* place, bool is_write, const Async* async,
            bool fence_needed) {
  if (running == nullptr || bytes == 0) return;
  Detector& d = Detector::get();
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  Detector::BlockMemory* shared = nullptr;
  for (unsigned r = 0; r < d.cluster_blocks && shared == nullptr; ++r) {
    if (begin - d.memory[r].shared < d.memory[r].shared_bytes) shared = &d.memory[r];
  }
  const Region* const region = shared != nullptr ? nullptr : d.region_of(begin);
  if (shared == nullptr && region == nullptr) return;  // stacks, arguments, constants
  const std::size_t offset = shared != nullptr ? begin - shared->shared : begin - region->begin;
  const std::size_t room = (shared != nullptr ? shared->shared_bytes : region->bytes) - offset;
  const std::size_t end = offset + std::min(bytes, room);
  const int thread = d.running_thread();
  const int agent = async != nullptr ? async->agent : thread;
  const std::uint16_t clock = async != nullptr ? async->tick : d.clock_of_thread(thread);
  const Clock* const has_seen = async != nullptr ? async->issuer.get()
                                : d.vectors      ? &d.seen[static_cast<std::size_t>(thread)]
                                                 : nullptr;
  const std::uint64_t interval = d.memory[execution().cluster_rank].interval;
  const Entry entry = interval << kIntervalShift | Entry{clock} << kClockShift | static_cast<Entry>(agent) << kAgentShift |
                      d.place_index(place);
  const Access what = {d, is_write, shared, region, offset, bytes, agent, has_seen, place, entry, fence_needed};
  Cell* const cells = shared != nullptr ? shared->cells : region->cells;
  for (std::size_t word = offset / 2; word <= (end - 1) / 2; ++word) {
    const unsigned low = 2 * word >= offset ? 1u : 0u;
    const unsigned high = 2 * word + 1 < end ? 2u : 0u;
    what.visit(cells[word], low | high);
  }
}

// --- names of places ---

/// "kernels/cuda/vector.h:33 in kernels/gemm/gemm.cu:210", by addr2line; how to ask where it does not answer.
std::string find_place(std::uintptr_t return_address) {
  Dl_info info = {};
  if (return_address == 0 || dladdr(reinterpret_cast<void*>(return_address), &info) == 0) return "an unknown place";
  std::uintptr_t address = return_address - 1;
  if (static_cast<const Elf64_Ehdr*>(info.dli_fbase)->e_type == ET_DYN) {
    address -= reinterpret_cast<std::uintptr_t>(info.dli_fbase);
  }
  char number[32];
  std::snprintf(number, sizeof number, "0x%zx", static_cast<std::size_t>(address));
  char program[4096] = {};
  std::snprintf(program, sizeof program, "%s", info.dli_fname);
  const std::string command = concatenate("addr2line -i -e '", program, "' ", number);
  // Files of the repository by their path in it: this one tells where it lies.
  const std::string here = __FILE__;
  const std::string root = here.substr(0, here.find("kernels/cuda/host/race_hooks.cpp"));
  std::string text;
  if (FILE* lines = popen((command + " 2>/dev/null").c_str(), "r")) {
    char line[4096];
    while (std::fgets(line, sizeof line, lines) != nullptr) {
      std::string one(line, std::strcspn(line, "\n"));
      one.erase(std::min(one.find(" (discriminator"), one.size()));
      if (one.rfind(root, 0) == 0) one.erase(0, root.size());
      if (one.rfind("./", 0) == 0) one.erase(0, 2);
      if (one.find("std::") == std::string::npos && one.rfind("/usr/", 0) != 0 &&
          one.find("launch.h") == std::string::npos) {
        text += (text.empty() ? "" : " in ") + one;
      }
    }
    pclose(lines);
  }
  return text.empty() || text.find("??") != std::string::npos ? concatenate("(", command, ")") : text;
}

const std::string& place_text(std::uintptr_t return_address) {
  static std::map<std::uintptr_t, std::string> known;
  const auto [found, is_new] = known.try_emplace(return_address);
  if (is_new) found->second = find_place(return_address);
  return found->second;
}

}  // namespace

void add_memory(const std::string& name, const void* begin, std::size_t bytes) {
  Detector& d = Detector::get();
  const Region region = {name, reinterpret_cast<std::uintptr_t>(begin), bytes, make_cells(bytes)};
  const auto place =
      std::find_if(d.regions.begin(), d.regions.end(), [&](const Region& r) { return r.begin > region.begin; });
  d.regions.insert(place, region);
}

void remove_memory(const void* begin) {
  Detector& d = Detector::get();
  const auto found = std::find_if(d.regions.begin(), d.regions.end(), [&](const Region& region) {
    return region.begin == reinterpret_cast<std::uintptr_t>(begin);
  });
  if (found == d.regions.end()) return;
  munmap(found->cells, (found->bytes / 2 + 1) * sizeof(Cell));
  d.regions.erase(found);
}

void begin_launch() {
  Detector& d = Detector::get();
  d.next_interval();
  d.launch_first = d.interval;
  d.blocks.clear();
  d.reported.clear();
}

void begin_cluster(unsigned blocks, int threads) {
  Detector& d = Detector::get();
  d.cluster_blocks = blocks;
  d.threads = threads;
  d.next_interval();
  d.cluster_first = d.interval;
  d.vectors = false;
  d.async_agents.clear();
  d.clocks.assign(static_cast<std::size_t>(d.cluster_threads() / 32), 1);
  if (blocks > 1) d.begin_vectors();
}

void begin_block(unsigned rank, const unsigned (&block)[3]) {
  Detector& d = Detector::get();
  Detector::BlockMemory& one = d.memory[rank];
  if (one.cells == nullptr) one.cells = make_cells(kSharedBytes);
  one.first = one.interval = d.cluster_first;
  one.shared = 0;
  one.shared_bytes = 0;
  one.remote.seen.clear();
  d.blocks.push_back({d.cluster_first, {block[0], block[1], block[2]}});
}

void shared_memory(unsigned rank, const void* begin, std::size_t bytes) {
  Detector::BlockMemory& one = Detector::get().memory[rank];
  one.shared = reinterpret_cast<std::uintptr_t>(begin);
  one.shared_bytes = bytes;
}

void barrier(unsigned rank) {
  Detector& d = Detector::get();
  d.next_interval();
  d.memory[rank].interval = d.interval;
  if (d.vectors) d.meet(static_cast<int>(rank) * d.threads, d.threads);
}

void warp_barrier(int warp) {
  Detector& d = Detector::get();
  if (d.vectors) return d.meet(32 * warp, 32);
  ++d.clocks[static_cast<std::size_t>(warp)];
}

void release(Clock& into) {
  Detector& d = Detector::get();
  d.begin_vectors();
  const int thread = d.running_thread();
  Detector::join(into, d.seen[static_cast<std::size_t>(thread)]);
  d.advance(thread);
}
void acquire(const Clock& from) { acquire(from, Detector::get().running_thread()); }
void acquire(const Clock& from, int thread) {
  Detector& d = Detector::get();
  d.begin_vectors();
  Detector::join(d.seen[static_cast<std::size_t>(thread)], from);
}
void assign(Clock& to, const Clock& from) { to.seen = from.seen; }
void clear(Clock& clock) { clock.seen.clear(); }

void fence_async_proxy() {
  Detector& d = Detector::get();
  d.begin_vectors();
  const int thread = d.running_thread();
  d.fenced[static_cast<std::size_t>(thread)] = d.clocks[static_cast<std::size_t>(thread)];
  d.advance(thread);
}

Async begin_async_at(unsigned rank, std::uint32_t offset) {
  return Detector::get().begin_async(std::uint64_t{1} << 60 | std::uint64_t{rank} << 32 | offset);
}
Async begin_async_store(bool writes) {
  Detector& d = Detector::get();
  return d.begin_async(std::uint64_t{2} << 60 | std::uint64_t{writes} << 32 |
                       static_cast<std::uint64_t>(d.running_thread()));
}
Async begin_async_product(unsigned rank, int warpgroup) {
  return Detector::get().begin_async(std::uint64_t{3} << 60 | std::uint64_t{rank} << 32 |
                                     static_cast<std::uint64_t>(warpgroup));
}
void async_read(const Async& async, const void* address, std::size_t bytes, const void* place) {
  access(address, bytes, place, false, &async, false);
}
void async_read_shared(const Async& async, const void* address, std::size_t bytes, const void* place) {
  access(address, bytes, place, false, &async, true);
}
void async_write(const Async& async, const void* address, std::size_t bytes, const void* place) {
  access(address, bytes, place, true, &async, false);
}
void complete(const Async& async, Clock& into) {
  const std::size_t agents = Detector::get().clocks.size();
  if (into.seen.size() < agents) into.seen.resize(agents);
  std::uint16_t& seen = into.seen[static_cast<std::size_t>(async.agent)];
  seen = std::max(seen, async.tick);
}
void acquire_async(const Async& async) {
  Detector& d = Detector::get();
  complete(async, d.seen[static_cast<std::size_t>(d.running_thread())]);
}

void remote(unsigned rank) {
  Detector& d = Detector::get();
  d.begin_vectors();
  const auto thread = static_cast<std::size_t>(d.running_thread());
  Clock& clock = d.memory[rank].remote;
  if (clock.seen.size() < d.clocks.size()) clock.seen.resize(d.clocks.size());
  clock.seen[thread] = d.clocks[thread];
}
bool waited_for_remote(unsigned rank) {
  const Detector& d = Detector::get();
  const Clock& clock = d.memory[rank].remote;
  if (clock.seen.empty()) return true;
  Clock all;
  for (int t = static_cast<int>(rank) * d.threads; t < static_cast<int>(rank + 1) * d.threads; ++t) {
    Detector::join(all, d.seen[static_cast<std::size_t>(t)]);
  }
  for (std::size_t i = 0; i < clock.seen.size(); ++i) {
    if (clock.seen[i] > all.seen[i]) return false;
  }
  return true;
}

void read(const void* address, std::size_t bytes, const void* place) {
  access(address, bytes, place, false, nullptr, false);
}
void write(const void* address, std::size_t bytes, const void* place) {
  access(address, bytes, place, true, nullptr, false);
}

std::string places() {
  const std::vector<std::uintptr_t>& reported = Detector::get().reported;
  if (reported.empty()) return {};
  if (reported.size() == 1) return "; at " + place_text(reported[0]);
  return concatenate("; the first at ", place_text(reported[0]), ", the second at ", place_text(reported[1]));
}

}  // namespace koine::cuda::host::races

// --- what instrumented code calls ---

// The names and meanings are the compilers' (GCC's sanitizer.def, Clang's ThreadSanitizer pass).
#define KOINE_PLACE __builtin_return_address(0)
#define KOINE_ACCESS(bytes)                                                                                           \
  void __tsan_read##bytes(void* address) { koine::cuda::host::races::read(address, bytes, KOINE_PLACE); }             \
  void __tsan_write##bytes(void* address) { koine::cuda::host::races::write(address, bytes, KOINE_PLACE); }           \
  void __tsan_unaligned_read##bytes(void* address) { koine::cuda::host::races::read(address, bytes, KOINE_PLACE); }   \
  void __tsan_unaligned_write##bytes(void* address) { koine::cuda::host::races::write(address, bytes, KOINE_PLACE); } \
  void __tsan_volatile_read##bytes(void* address) { koine::cuda::host::races::read(address, bytes, KOINE_PLACE); }    \
  void __tsan_volatile_write##bytes(void* address) { koine::cuda::host::races::write(address, bytes, KOINE_PLACE); }  \
  void __tsan_read_write##bytes(void* address) {                                                                      \
    koine::cuda::host::races::read(address, bytes, KOINE_PLACE);                                                      \
    koine::cuda::host::races::write(address, bytes, KOINE_PLACE);                                                     \
  }
// Atomics order nothing here: kernels have none, and what the host's code does with its own is not watched.
#define KOINE_ATOMIC(bits, type)                                                                                           \
  type __tsan_atomic##bits##_load(const volatile type* a, int) { return __atomic_load_n(a, __ATOMIC_SEQ_CST); }            \
  void __tsan_atomic##bits##_store(volatile type* a, type v, int) { __atomic_store_n(a, v, __ATOMIC_SEQ_CST); }            \
  type __tsan_atomic##bits##_exchange(volatile type* a, type v, int) {                                                     \
    return __atomic_exchange_n(a, v, __ATOMIC_SEQ_CST);                                                                    \
  }                                                                                                                        \
  type __tsan_atomic##bits##_fetch_add(volatile type* a, type v, int) {                                                    \
    return __atomic_fetch_add(a, v, __ATOMIC_SEQ_CST);                                                                     \
  }                                                                                                                        \
  type __tsan_atomic##bits##_fetch_sub(volatile type* a, type v, int) {                                                    \
    return __atomic_fetch_sub(a, v, __ATOMIC_SEQ_CST);                                                                     \
  }                                                                                                                        \
  type __tsan_atomic##bits##_fetch_and(volatile type* a, type v, int) {                                                    \
    return __atomic_fetch_and(a, v, __ATOMIC_SEQ_CST);                                                                     \
  }                                                                                                                        \
  type __tsan_atomic##bits##_fetch_or(volatile type* a, type v, int) { return __atomic_fetch_or(a, v, __ATOMIC_SEQ_CST); } \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile type* a, type* expected, type v, int, int) {                  \
    return __atomic_compare_exchange_n(a, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                         \
  }                                                                                                                        \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile type* a, type* expected, type v, int, int) {                    \
    return __atomic_compare_exchange_n(a, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                         \
  }
// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
KOINE_ACCESS(1)
KOINE_ACCESS(2)
KOINE_ACCESS(4)
KOINE_ACCESS(8)
KOINE_ACCESS(16)
void __tsan_read_range(void* address, std::size_t bytes) { koine::cuda::host::races::read(address, bytes, KOINE_PLACE); }
void __tsan_write_range(void* address, std::size_t bytes) { koine::cuda::host::races::write(address, bytes, KOINE_PLACE); }
void* __tsan_memcpy(void* to, const void* from, std::size_t bytes) {
  koine::cuda::host::races::read(from, bytes, KOINE_PLACE);
  koine::cuda::host::races::write(to, bytes, KOINE_PLACE);
  return std::memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, std::size_t bytes) {
  koine::cuda::host::races::read(from, bytes, KOINE_PLACE);
  koine::cuda::host::races::write(to, bytes, KOINE_PLACE);
  return std::memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int value, std::size_t bytes) {
  koine::cuda::host::races::write(to, bytes, KOINE_PLACE);
  return std::memset(to, value, bytes);
}
KOINE_ATOMIC(8, std::uint8_t)
KOINE_ATOMIC(16, std::uint16_t)
KOINE_ATOMIC(32, std::uint32_t)
KOINE_ATOMIC(64, std::uint64_t)
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void __tsan_atomic_signal_fence(int) { __atomic_signal_fence(__ATOMIC_SEQ_CST); }
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)

#endif
