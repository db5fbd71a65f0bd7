#include "kernels/cuda/host/race_hooks.h"

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
#include "kernels/cuda/host/execution.h"

namespace koine::cuda::host::races {
namespace {

// --- what is remembered of an access ---

// An access in 64 bits, from the top:
//   24  interval: numbers run on from barrier to barrier, from block to block and from launch to launch, so that what is
//       older than the block or the launch is seen by its number, and shadows are never cleared; 0: no access
//   13  the warp's interval since the last barrier, modulo 8192
//   10  thread
//    1  several lanes of the warp did this in the same interval (reads)
//    2  which bytes of the 2-byte word
//   14  place in the source, an index; 0: one too many
using Entry = std::uint64_t;
constexpr int kPlaceBits = 14;
constexpr int kMaskShift = 14;
constexpr int kManyShift = 16;
constexpr int kThreadShift = 17;
constexpr int kWarpShift = 27;
constexpr int kIntervalShift = 40;
constexpr std::uint64_t kMostIntervals = (std::uint64_t{1} << 24) - 1;
constexpr Entry kMany = Entry{1} << kManyShift;

std::uint64_t interval_of(Entry e) { return e >> kIntervalShift; }
unsigned warp_interval_of(Entry e) { return static_cast<unsigned>(e >> kWarpShift) & 0x1fffu; }
int thread_of(Entry e) { return static_cast<int>(e >> kThreadShift & 0x3ffu); }
unsigned mask_of(Entry e) { return static_cast<unsigned>(e >> kMaskShift) & 3u; }

/// Of two bytes. The last write is enough: who races with an older one races with it too, or the two writes did. Of reads,
/// two of different warps are enough: a later write is in another warp than one of them.
struct Cell {
  Entry write;
  Entry read;
  Entry other_read;    // of the same interval, another warp
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
  std::uintptr_t shared = 0;
  std::size_t shared_bytes = 0;
  Cell* shared_cells = nullptr;

  std::uint64_t interval = 1;
  std::uint64_t launch_first = 1;
  std::uint64_t block_first = 1;
  std::array<unsigned, 32> warp_intervals = {};
  struct Start {
    std::uint64_t interval;
    unsigned block[3];
  };
  std::vector<Start> blocks;  // of this launch

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
      if (shared_cells != nullptr) std::memset(shared_cells, 0, (kSharedBytes / 2 + 1) * sizeof(Cell));
      interval = launch_first = block_first = 0;
      blocks.clear();
    }
    ++interval;
    warp_intervals.fill(0);
  }
};

// --- is it a race? ---

struct Access {
  Detector& detector;
  bool is_write;
  bool in_shared;
  const Region* region;  // null: shared memory
  std::size_t offset;
  std::size_t bytes;
  int thread;
  const void* place;
  Entry entry = 0;  // without the mask

  /// Whether what `e` stands for comes before this access whatever the schedule.
  bool ordered(Entry e) const {
    const Detector& d = detector;
    if (interval_of(e) < (in_shared ? d.block_first : d.launch_first)) return true;
    if (interval_of(e) < d.block_first) return false;
    if (interval_of(e) < d.interval) return true;
    if (thread_of(e) / 32 != thread / 32) return false;
    if (warp_interval_of(e) != d.warp_intervals[static_cast<std::size_t>(thread / 32)]) return true;
    return thread_of(e) == thread && (e & kMany) == 0;
  }

  std::string where() const {
    if (in_shared) return concatenate("byte ", offset, " of shared memory");
    return concatenate("byte ", offset, " of the device memory \"", region->name, "\"");
  }

  [[noreturn]] void report(Entry other, bool other_writes) const {
    const Detector& d = detector;
    std::string block = "of the same block";
    if (interval_of(other) < d.block_first) {
      block = "of an earlier block";
      for (const Detector::Start& start : d.blocks) {
        if (start.interval > interval_of(other)) break;
        block = concatenate("of block (", start.block[0], ", ", start.block[1], ", ", start.block[2], ")");
      }
    }
    const char* const missing = interval_of(other) < d.block_first     ? "nothing orders two blocks of a launch"
                                : thread_of(other) / 32 == thread / 32 ? "no sync_warp() or sync_block() between them"
                                                                       : "no sync_block() between them";
    std::string message =
        concatenate("race on ", where(), ": ", other_writes ? "write" : "read", " by thread ", thread_of(other), " ", block,
                    ", then ", is_write ? "write" : "read", " of ", bytes, " bytes by thread ", thread, ", ", missing);
    detector.reported = {d.places[other & (kMostPlaces - 1)], reinterpret_cast<std::uintptr_t>(place)};
    fail(std::move(message));
  }

  [[noreturn]] void report_unwritten() const {
    std::string message = concatenate("read of ", bytes, " bytes at ", where(), " which no thread of the block has written");
    detector.reported = {reinterpret_cast<std::uintptr_t>(place)};
    fail(std::move(message));
  }

  /// Puts `mine` beside `slot`, a read of the same warp and barrier interval.
  static void merge(Entry& slot, Entry mine) {
    constexpr Entry kSamePhase = ~(((Entry{1} << kWarpShift) - 1));
    if (((slot ^ mine) & kSamePhase) == 0 && mask_of(slot) == mask_of(mine)) {
      if (thread_of(slot) != thread_of(mine)) slot |= kMany;
    } else {
      slot = mine;
    }
  }

  void note_read(Cell& cell, Entry mine) const {
    const Detector& d = detector;
    if (interval_of(cell.read) < d.interval) {
      if (interval_of(cell.read) >= d.launch_first && interval_of(cell.read) < d.block_first) cell.earlier_read = cell.read;
      cell.read = mine;
      return;
    }
    if (thread_of(cell.read) / 32 == thread / 32) return merge(cell.read, mine);
    if (interval_of(cell.other_read) < d.interval) {
      cell.other_read = mine;
    } else if (thread_of(cell.other_read) / 32 == thread / 32) {
      merge(cell.other_read, mine);
    }
  }

  void visit(Cell& cell, unsigned mask) const {
    const Entry mine = entry | Entry{mask} << kMaskShift;
    const auto races = [&](Entry e) { return e != 0 && (mask_of(e) & mask) != 0 && !ordered(e); };
    if (races(cell.write)) report(cell.write, true);
    if (is_write) {
      for (const Entry e : {cell.read, cell.other_read}) {
        if (races(e)) report(e, false);
      }
      if (!in_shared && races(cell.earlier_read)) report(cell.earlier_read, false);
      cell.write = mine;
    } else {
      if (in_shared && interval_of(cell.write) < detector.block_first) report_unwritten();
      note_read(cell, mine);
    }
  }
};

void access(const void* address, std::size_t bytes, const void* place, bool is_write) {
  if (running == nullptr || bytes == 0) return;
  Detector& d = Detector::get();
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  const bool in_shared = begin - d.shared < d.shared_bytes;
  const Region* const region = in_shared ? nullptr : d.region_of(begin);
  if (!in_shared && region == nullptr) return;  // stacks, arguments, constants
  const std::size_t offset = in_shared ? begin - d.shared : begin - region->begin;
  const std::size_t room = (in_shared ? d.shared_bytes : region->bytes) - offset;
  const std::size_t end = offset + std::min(bytes, room);
  const int thread = execution().thread;
  const Entry entry = d.interval << kIntervalShift |
                      Entry{d.warp_intervals[static_cast<std::size_t>(thread / 32)]} << kWarpShift |
                      static_cast<Entry>(thread) << kThreadShift | d.place_index(place);
  const Access what = {d, is_write, in_shared, region, offset, bytes, thread, place, entry};
  Cell* const cells = in_shared ? d.shared_cells : region->cells;
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
  if (d.shared_cells == nullptr) d.shared_cells = make_cells(kSharedBytes);
  d.next_interval();
  d.launch_first = d.interval;
  d.blocks.clear();
  d.reported.clear();
}

void begin_block(const unsigned (&block)[3], const void* shared, std::size_t shared_bytes) {
  Detector& d = Detector::get();
  d.shared = reinterpret_cast<std::uintptr_t>(shared);
  d.shared_bytes = shared_bytes;
  d.next_interval();
  d.block_first = d.interval;
  d.blocks.push_back({d.interval, {block[0], block[1], block[2]}});
}

void barrier() { Detector::get().next_interval(); }
void warp_barrier(int warp) {
  unsigned& number = Detector::get().warp_intervals[static_cast<std::size_t>(warp)];
  number = (number + 1) & 0x1fffu;
}

void read(const void* address, std::size_t bytes, const void* place) { access(address, bytes, place, false); }
void write(const void* address, std::size_t bytes, const void* place) { access(address, bytes, place, true); }

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
