// Mistakes in kernels and in the use of streams, each of which the host implementation of the CUDA kernels must catch. Runs
// where the kernels run on the CPU.

#if !defined(KOINE_HAVE_CUDA)

#include "tests/kernels/cuda_layer.h"

namespace koine::cuda {
namespace {

// --- mistakes in kernels: missing synchronisation ---

struct Exchange {
  float x[1024];
};
template <bool kBarrier>
KOINE_KERNEL exchange_kernel(const float* from, float* to) {
  auto& s = shared_memory<Exchange>();
  const int t = thread_index();
  s.x[t] = from[t];
  if (kBarrier) sync_block();
  to[t] = s.x[(t + 33) % block_threads()];
}
template <bool kBarrier>
KOINE_KERNEL reuse_kernel(const float* from, float* to) {
  auto& s = shared_memory<Exchange>();
  const int t = thread_index();
  for (int round = 0; round < 2; ++round) {
    s.x[t] = from[t] + static_cast<float>(round);
    sync_block();
    to[block_threads() * round + t] = s.x[(t + 33) % block_threads()];
    if (kBarrier) sync_block();
  }
}
template <bool kSync>
KOINE_KERNEL warp_exchange_kernel(const float* from, float* to) {
  auto& s = shared_memory<Exchange>();
  const int t = thread_index();
  s.x[t] = from[t];
  if (kSync) sync_warp();
  to[t] = s.x[t ^ 1];
}

/// How many of the schedules give a wrong result, or, where races are looked for, end in a report of one.
int schedules_that_show(void (*kernel)(const float*, float*), int rounds, int (*source)(int)) {
  int shown = 0;
  for_schedules([&] {
    std::vector<float> x;
    for (int i = 0; i < 64; ++i) x.push_back(number(i));
    const DeviceArray<float> from(x);
    const DeviceArray<float> to(static_cast<std::size_t>(64 * rounds));
    const std::string failure =
        failure_of([&] { start({.threads = 64, .shared_bytes = sizeof(Exchange)}, kernel, from.data(), to.data()); });
    const std::vector<float> values = to.values();
    bool wrong = !failure.empty();
    for (int i = 0; i < 64 * rounds && !wrong; ++i) {
      wrong =
          !(values[static_cast<std::size_t>(i)] == x[static_cast<std::size_t>(source(i % 64))] + static_cast<float>(i / 64));
    }
    shown += wrong ? 1 : 0;
  });
  return shown;
}
int across(int i) { return (i + 33) % 64; }
int neighbour(int i) { return i ^ 1; }

TEST(CudaLayer, MissingBarriersShowInResults) {
  EXPECT_EQ(schedules_that_show(exchange_kernel<true>, 1, across), 0);
  EXPECT_EQ(schedules_that_show(exchange_kernel<false>, 1, across), 8);
  EXPECT_EQ(schedules_that_show(reuse_kernel<true>, 2, across), 0);
  EXPECT_GE(schedules_that_show(reuse_kernel<false>, 2, across), 7);
  EXPECT_EQ(schedules_that_show(warp_exchange_kernel<true>, 1, neighbour), 0);
  EXPECT_EQ(schedules_that_show(warp_exchange_kernel<false>, 1, neighbour), 8);
}

KOINE_KERNEL unwritten_kernel(float* to) {
  auto& s = shared_memory<Exchange>();
  if (thread_index() < 31) s.x[thread_index()] = 1;
  sync_block();
  to[block_index().x * 32 + static_cast<unsigned>(thread_index())] = s.x[thread_index()];
}
TEST(CudaLayer, SharedMemoryNobodyWroteIsNaN) {
  const DeviceArray<float> to(64);
  const std::string failure =
      failure_of([&] { start({.grid = {2}, .shared_bytes = sizeof(Exchange)}, unwritten_kernel, to.data()); });
  if (kRaces) {
    expect_contains(failure, "read of 4 bytes at byte 124 of shared memory which no thread of the block has written");
  } else {
    const std::vector<float> values = to.values();
    EXPECT_EQ(values[30], 1);
    EXPECT_TRUE(std::isnan(values[31]) && std::isnan(values[63]));
  }
}

KOINE_KERNEL leftovers_kernel(float* to) {
  auto& s = shared_memory<Exchange>();
  if (block_index().x == 0) s.x[thread_index()] = 1;
  if (block_index().x == 1) to[thread_index()] = s.x[thread_index()];
}
TEST(CudaLayer, ABlockFindsNothingOfTheBlockBefore) {
  host::set_schedule_seed(0);
  const DeviceArray<float> to(32);
  const std::string failure =
      failure_of([&] { start({.grid = {2}, .shared_bytes = sizeof(Exchange)}, leftovers_kernel, to.data()); });
  host::set_schedule_seed(1);
  if (kRaces) {
    expect_contains(failure, "which no thread of the block has written");
  } else {
    EXPECT_TRUE(std::isnan(to.values()[5]));
  }
}

// --- mistakes in kernels: control flow ---

KOINE_KERNEL two_barriers_kernel() {
  if (warp_index() == 0) {
    sync_block();
  } else {
    sync_block();
  }
}
KOINE_KERNEL early_exit_kernel() {
  if (thread_index() == 40) return;
  sync_block();
}
KOINE_KERNEL divergent_lanes_kernel(float* to) {
  if (lane_index() < 16) {
    to[0] = warp_sum(1.0f);
  } else {
    to[1] = warp_max(1.0f);
  }
}
KOINE_KERNEL deadlock_kernel() {
  if (lane_index() < 16) {
    sync_block();
  } else {
    sync_warp();
  }
}
KOINE_KERNEL throwing_kernel() {
  if (thread_index() == 7) throw Error("something in the kernel");
  sync_block();
}
TEST(CudaLayer, DivergenceEndsTheLaunch) {
  const Geometry two_warps = {.threads = 64};
  for_schedules([&] {
    expect_contains(failure_of([&] { start(two_warps, two_barriers_kernel); }),
                    "the threads of a block meet different barriers");
    const std::string early = failure_of([&] { start(two_warps, early_exit_kernel); });
    expect_contains(early, "test [7] (grid 1 x 1 x 1, 64 threads, 0 bytes of shared memory; ");
    expect_contains(early, "wait in vain: from thread 0 at the barrier of ");
    expect_contains(early, "from thread 40 finished, from thread 41 at the barrier of ");
    const DeviceArray<float> to(2);
    expect_contains(failure_of([&] { start(two_warps, divergent_lanes_kernel, to.data()); }),
                    "the lanes of a warp meet different operations");
    const std::string deadlock = failure_of([&] { start(two_warps, deadlock_kernel); });
    expect_contains(deadlock, "wait in vain: from thread 0 at the barrier of ");
    expect_contains(deadlock, "from thread 16 at the warp operation of ");
    expect_contains(failure_of([&] { start(two_warps, throwing_kernel); }), "something in the kernel");
  });
  // And nothing of it is left behind.
  const DeviceArray<std::uint32_t> to(64);
  start(two_warps, places_kernel, to.data());
  EXPECT_EQ(to.values()[33], 101u);
}

// --- mistakes in kernels: memory ---

KOINE_KERNEL uncommitted_kernel(const float* from, float* to, bool commit, bool wait) {
  auto& s = shared_memory<CopyTiles>();
  async_copy<16>(s.first[thread_index()], from + 4 * thread_index());
  if (commit) async_commit();
  if (wait) async_wait<0>();
  sync_block();
  to[thread_index()] = s.first[(thread_index() + 1) % 32][0];
}
TEST(CudaLayer, CopiesNobodyWaitedForAreCaught) {
  const DeviceArray<float> from(std::vector<float>(128, 2.0f));
  for (const bool commit : {false, true}) {
    for (const bool wait : {false, true}) {
      const DeviceArray<float> to(32);
      const std::string failure = failure_of(
          [&] { start({.shared_bytes = sizeof(CopyTiles)}, uncommitted_kernel, from.data(), to.data(), commit, wait); });
      if (commit && wait) {
        EXPECT_EQ(failure, "");
        EXPECT_EQ(to.values()[3], 2.0f);
      } else {
        expect_contains(failure, "a thread leaves while its asynchronous copies are under way");
      }
    }
  }
}

KOINE_KERNEL misaligned_kernel(const BFloat16* from, int which) {
  auto& s = shared_memory<Matrices>();
  std::uint32_t x[4];
  if (which == 0) load_pack<BFloat16, 8>(from + 4);
  if (which == 1) store_pack<BFloat16, 2>(&s.rows[0][1], {});
  if (which == 2) async_copy<16>(s.rows[thread_index()], from + 1);
  if (which == 3) async_copy<8>(&s.rows[thread_index()][2], from);
  if (which == 4) load_matrix_x4(x, &s.rows[thread_index()][1]);
}
TEST(CudaLayer, MisalignedAccessesAreCaught) {
  const DeviceArray<BFloat16> from(512);
  for (int which = 0; which < 5; ++which) {
    const std::string failure =
        failure_of([&] { start({.shared_bytes = sizeof(Matrices)}, misaligned_kernel, from.data(), which); });
    expect_contains(failure, "is not a multiple of ");
  }
}

KOINE_KERNEL shared_index_kernel(int index, bool write, float* to) {
  auto* x = &shared_memory<float>();
  if (thread_index() == 0) {
    if (write) {
      x[index] = 3;
    } else {
      to[0] = x[index];
    }
  }
}
KOINE_KERNEL large_struct_kernel(float* to) { to[0] = shared_memory<Exchange>().x[0]; }
KOINE_KERNEL copy_outside_kernel(const float* from) {
  auto& s = shared_memory<Matrices>();
  async_copy<16>(s.rows[32 + thread_index()], from);
}
TEST(CudaLayer, AccessesOutsideOfSharedMemoryAreCaught) {
  const DeviceArray<float> to(4);
  for (const int index : {25, -1, 60}) {
    const auto write = [&] { start({.shared_bytes = 100}, shared_index_kernel, index, true, to.data()); };
    if (kAddressSanitizer) {
      EXPECT_DEATH(write(), "AddressSanitizer");
      EXPECT_DEATH(start({.shared_bytes = 100}, shared_index_kernel, index, false, to.data()), "AddressSanitizer");
    } else {
      expect_contains(failure_of(write), "wrote outside of its 100 bytes of shared memory");
    }
  }
  expect_contains(failure_of([&] { start({.shared_bytes = 100}, large_struct_kernel, to.data()); }),
                  "the kernel uses 4096 bytes of shared memory, its launch asked for 100");
  expect_contains(failure_of([&] { start({.shared_bytes = sizeof(Matrices)}, copy_outside_kernel, to.data()); }),
                  "an asynchronous copy goes outside of shared memory");
}

KOINE_KERNEL global_index_kernel(float* x, std::int64_t index, bool write, float* to) {
  if (thread_index() == 0) {
    if (write) {
      x[index] = 3;
    } else {
      to[0] = x[index];
    }
  }
}
TEST(CudaLayer, AccessesOutsideOfDeviceMemoryAreCaught) {
  const DeviceArray<float> to(1);
  for (const std::int64_t index : {100, -1, 127}) {
    const DeviceArray<float> x(100, "weights");
    const auto access = [&](bool write) { start({}, global_index_kernel, x.data(), index, write, to.data()); };
    if (kAddressSanitizer) {
      EXPECT_DEATH(access(true), "AddressSanitizer");
      EXPECT_DEATH(access(false), "AddressSanitizer");
    } else {
      expect_contains(failure_of([&] { access(true); }),
                      "something wrote outside of the 400 bytes of device memory \"weights\"");
      EXPECT_EQ(failure_of([&] {}), "");  // told once
    }
  }
  const DeviceArray<float> x(100);
  for (const std::int64_t far : {2000, -2000}) {
    EXPECT_DEATH(start({}, global_index_kernel, x.data(), far, false, to.data()), "");
  }
}

TEST(CudaLayer, DeviceMemoryIsNaNUntilWrittenAndAlignedTo256) {
  const DeviceArray<float> x(100);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(x.data()) % 256, 0u);
  EXPECT_TRUE(std::isnan(x.values()[0]) && std::isnan(x.values()[99]));
}

TEST(CudaLayer, HostCodeCannotTouchDeviceMemory) {
  const DeviceArray<float> x(std::vector<float>(10, 1.0f));
  EXPECT_DEATH(x.data()[3] = 2, "");
  EXPECT_DEATH(std::exit(x.data()[3] == 1 ? 0 : 1), "");
}

TEST(CudaLayer, LaunchesADeviceWouldRefuseFail) {
  const DeviceArray<std::uint32_t> to(64);
  const auto failure = [&](const Geometry& geometry) {
    return failure_of([&] { start(geometry, places_kernel, to.data()); });
  };
  EXPECT_EQ(failure({.grid = {2}}), "");
  expect_contains(failure({.grid = {0}}), "test [7] (grid 0 x 1 x 1");
  expect_contains(failure({.grid = {0}}), "no such grid");
  expect_contains(failure({.grid = {1, 65536, 1}}), "no such grid");
  expect_contains(failure({.grid = {1, 1, 65536}}), "no such grid");
  expect_contains(failure({.grid = {0x80000000u, 1, 1}}), "no such grid");
  for (const int threads : {0, 33, 1056}) expect_contains(failure({.threads = threads}), "a block has 32 to 1024 threads");
  EXPECT_EQ(failure({.shared_bytes = 227 << 10}), "");
  expect_contains(failure({.shared_bytes = (227 << 10) + 1}), "at most 227 KiB of shared memory");
}

// --- streams, events, graphs ---

KOINE_KERNEL add_kernel(float* x, float what) { x[thread_index()] += what; }
KOINE_KERNEL multiply_kernel(const float* x, float* to, float factor) { to[thread_index()] = factor * x[thread_index()]; }

/// What a second stream makes of the first one's result, with or without an event between them.
float across_streams(bool wait) {
  const Stream first;
  const Stream second;
  const DeviceArray<float> x(std::vector<float>(32, 1.0f));
  const DeviceArray<float> to(32);
  for (int i = 0; i < 4; ++i) start({.stream = first.handle()}, add_kernel, x.data(), 1.0f);
  Event done;
  done.record(first.handle());
  if (wait) done.wait_on(second.handle());
  start({.stream = second.handle()}, multiply_kernel, x.data(), to.data(), 10.0f);
  synchronize(second.handle());
  const float result = to.values()[0];
  synchronize(first.handle());
  return result;
}
TEST(CudaLayer, AMissingEventShowsInResults) {
  int wrong = 0;
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(across_streams(true), 50.0f);
    wrong += across_streams(false) == 50.0f ? 0 : 1;
  }
  EXPECT_GE(wrong, 10);
}

TEST(CudaLayer, ResultsAreNotThereBeforeTheyAreWaitedFor) {
  const Stream stream;
  const DeviceArray<float> x(std::vector<float>(32, 1.0f));
  const PinnedMemory pinned(32 * sizeof(float));
  const auto* const result = static_cast<const float*>(pinned.data());
  copy_to_host(pinned.data(), x.data(), pinned.bytes(), stream.handle());
  Event done;
  done.record(stream.handle());
  EXPECT_TRUE(std::isnan(result[0]));
  done.synchronize();
  EXPECT_EQ(result[0], 1.0f);
  start({.stream = stream.handle()}, add_kernel, x.data(), 1.0f);
  copy_to_host(pinned.data(), x.data(), pinned.bytes(), stream.handle());
  EXPECT_EQ(result[0], 1.0f);  // of before
  done.record(stream.handle());
  for (int asked = 0; !done.passed(); ++asked) ASSERT_LT(asked, 100);
  EXPECT_EQ(result[0], 2.0f);
}

TEST(CudaLayer, PinnedMemoryThatIsChangedTooEarlyShows) {
  const Stream stream;
  const DeviceArray<float> x(1);
  const PinnedMemory pinned(sizeof(float));
  auto* const staged = static_cast<float*>(pinned.data());
  *staged = 1;
  copy_to_device(x.data(), staged, sizeof(float), stream.handle());
  *staged = 2;  // the device has not read it yet
  synchronize(stream.handle());
  EXPECT_EQ(x.values()[0], 2.0f);
}

TEST(CudaLayer, GraphsReplayWhatTheyRecorded) {
  const Stream stream;
  const DeviceArray<float> x(std::vector<float>(32, 0.0f));
  float what = 3;
  Graph::begin_recording(stream.handle());
  start({.stream = stream.handle()}, add_kernel, x.data(), what);
  EXPECT_THROW(synchronize(stream.handle()), Error);
  const Graph graph = Graph::end_recording(stream.handle());
  EXPECT_EQ(x.values()[0], 0.0f);  // recorded, not run
  what = 100;                      // too late for the graph
  const Trace before = trace();
  for (int i = 0; i < 3; ++i) graph.launch(stream.handle());
  synchronize(stream.handle());
  EXPECT_EQ(x.values()[0], 9.0f);
  EXPECT_EQ(trace().graph_launches - before.graph_launches, 3);
  EXPECT_EQ(trace().launches, before.launches);
  Graph::begin_recording(stream.handle());
  start({.stream = stream.handle()}, add_kernel, x.data(), what);
  Graph::abandon_recording(stream.handle());
  synchronize(stream.handle());
  EXPECT_EQ(x.values()[0], 9.0f);
}

TEST(CudaLayer, AFailureOnAStreamComesToWhoeverWaits) {
  const Stream stream;
  const DeviceArray<float> x(std::vector<float>(64, 0.0f));
  start({.threads = 64, .stream = stream.handle()}, early_exit_kernel);
  start({.stream = stream.handle()}, add_kernel, x.data(), 1.0f);
  expect_contains(failure_of([&] { synchronize(stream.handle()); }), "wait in vain");
  synchronize(stream.handle());
  EXPECT_EQ(x.values()[0], 0.0f);  // what came behind is dropped
  start({.stream = stream.handle()}, add_kernel, x.data(), 1.0f);
  synchronize(stream.handle());
  EXPECT_EQ(x.values()[0], 1.0f);
  {
    const Stream short_lived;
    start({.threads = 64, .stream = short_lived.handle()}, early_exit_kernel);
  }
  expect_contains(failure_of([&] { synchronize(stream.handle()); }), "wait in vain");
}

TEST(CudaLayer, EventsOfOnePassInTheirOrder) {
  const Stream stream;
  Event begin;
  Event end;
  EXPECT_TRUE(begin.passed());  // never recorded
  begin.record(stream.handle());
  const DeviceArray<float> x(std::vector<float>(32, 0.0f));
  start({.stream = stream.handle()}, add_kernel, x.data(), 1.0f);
  end.record(stream.handle());
  EXPECT_THROW(Event::milliseconds(begin, end), Error);
  end.synchronize();
  EXPECT_GE(Event::milliseconds(begin, end), 0);
  EXPECT_EQ(x.values()[0], 1.0f);
}

TEST(CudaLayer, LaunchesAreCounted) {
  const auto count = [] {
    for (const host::KernelCount& one : host::kernel_counts()) {
      if (one.kernel == "test") return one;
    }
    return host::KernelCount{};
  };
  const host::KernelCount before = count();
  const DeviceArray<std::uint32_t> to(6 * 64);
  start({.grid = {3, 2, 1}, .threads = 64, .shared_bytes = 512}, places_kernel, to.data());
  const host::KernelCount after = count();
  EXPECT_EQ(after.launches - before.launches, 1);
  EXPECT_EQ(after.blocks - before.blocks, 6);
  EXPECT_EQ(after.threads - before.threads, 6 * 64);
  EXPECT_GE(after.largest_block, 64);
  EXPECT_GE(after.largest_shared_bytes, 512u);
}

// --- races ---

#if defined(KOINE_CUDA_RACES)

/// Reports of `body` under several orders; each must name `part` and places in the source.
void expect_races(const std::function<void()>& body, const std::string& part) {
  for_schedules([&] {
    const std::string failure = failure_of(body);
    expect_contains(failure, "race on byte ");
    expect_contains(failure, part);
    // In this file, or in a header of kernels/cuda that was not inlined here.
    EXPECT_TRUE(std::regex_search(failure, std::regex("; the first at [a-z_/]*cuda[a-z_/]*\\.(cpp|h):[0-9]+"))) << failure;
    EXPECT_TRUE(std::regex_search(failure, std::regex(", the second at [a-z_/]*cuda[a-z_/]*\\.(cpp|h):[0-9]+"))) << failure;
  });
}
const Geometry kTwoWarps = {.threads = 64, .shared_bytes = sizeof(Exchange)};

/// Thread t writes element t, then reads another one's.
KOINE_KERNEL read_too_early_kernel(float* to, int distance, bool barrier) {
  auto& s = shared_memory<Exchange>();
  const int t = thread_index();
  s.x[t] = 0;
  sync_block();
  s.x[t] = 1;
  if (barrier) sync_block();
  to[t] = s.x[(t + distance) % 64];
}
TEST(CudaRaces, AReadNoBarrierSeparatesFromAWrite) {
  const DeviceArray<float> to(64);
  expect_races([&] { start(kTwoWarps, read_too_early_kernel, to.data(), 32, false); }, "no sync_block() between them");
  expect_races([&] { start(kTwoWarps, read_too_early_kernel, to.data(), 1, false); }, " between them");
  EXPECT_EQ(failure_of([&] { start(kTwoWarps, read_too_early_kernel, to.data(), 32, true); }), "");
  host::set_schedule_seed(0);
  const std::string failure = failure_of([&] { start(kTwoWarps, read_too_early_kernel, to.data(), 33, false); });
  host::set_schedule_seed(1);
  expect_contains(failure, "; the first at tests/kernels/cuda_mistakes_test.cpp:");
  expect_contains(failure, ", the second at tests/kernels/cuda_mistakes_test.cpp:");
  expect_contains(failure,
                  "race on byte 0 of shared memory: write by thread 0 of the same block, then read of 4 bytes by thread 31, "
                  "no sync_warp() or sync_block() between them; thread 31 of block (0, 0, 0); the first at ");
}

KOINE_KERNEL same_place_kernel(bool once) {
  auto& s = shared_memory<Exchange>();
  if (!once || thread_index() == 40) s.x[5] = 1;
}
TEST(CudaRaces, TwoWritesToOnePlace) {
  expect_races([&] { start(kTwoWarps, same_place_kernel, false); }, "race on byte 20 of shared memory: write by thread ");
  EXPECT_EQ(failure_of([&] { start(kTwoWarps, same_place_kernel, true); }), "");
}

TEST(CudaRaces, ABufferUsedAgainTooEarly) {
  const DeviceArray<float> from(std::vector<float>(64, 1.0f));
  const DeviceArray<float> to(128);
  expect_races([&] { start(kTwoWarps, reuse_kernel<false>, from.data(), to.data()); }, "sync_block() between them");
  EXPECT_EQ(failure_of([&] { start(kTwoWarps, reuse_kernel<true>, from.data(), to.data()); }), "");
}

/// The first and the last reader of an element are in the writer's warp, one between them is not.
KOINE_KERNEL many_readers_kernel(float* to) {
  auto& s = shared_memory<Exchange>();
  const int t = thread_index();
  s.x[t] = 0;
  sync_block();
  float sum = 0;
  for (int i = 0; i < 64; ++i) sum += s.x[(t + i) % 64];
  sync_warp();
  s.x[t] = sum;
  to[t] = sum;
}
TEST(CudaRaces, AReaderOfAnotherWarpIsNotForgotten) {
  const DeviceArray<float> to(64);
  expect_races([&] { start(kTwoWarps, many_readers_kernel, to.data()); }, "no sync_block() between them");
}

/// What only looks like a synchronisation: a shuffle orders no memory.
KOINE_KERNEL after_shuffle_kernel(float* to, bool sync) {
  auto& s = shared_memory<Exchange>();
  const int t = thread_index();
  s.x[t] = 1;
  const float sum = warp_sum(1.0f);
  if (sync) sync_warp();
  to[t] = s.x[t ^ 1] + sum;
}
TEST(CudaRaces, OnlySyncWarpOrdersTheLanesOfAWarp) {
  const DeviceArray<float> to(64);
  expect_races([&] { start(kTwoWarps, after_shuffle_kernel, to.data(), false); },
               "no sync_warp() or sync_block() between them");
  EXPECT_EQ(failure_of([&] { start(kTwoWarps, after_shuffle_kernel, to.data(), true); }), "");
}

KOINE_KERNEL early_ldmatrix_kernel(std::uint32_t* to, bool sync) {
  auto& s = shared_memory<Matrices>();
  store_pack<BFloat16, 8>(s.rows[lane_index()], {});
  sync_warp();
  store_pack<BFloat16, 8>(s.rows[lane_index()], {});
  if (sync) sync_warp();
  std::uint32_t x[4];
  load_matrix_x4(x, s.rows[31 - lane_index()]);
  to[lane_index()] = x[0];
}
TEST(CudaRaces, LdmatrixReads) {
  const DeviceArray<std::uint32_t> to(32);
  const Geometry geometry = {.shared_bytes = sizeof(Matrices)};
  expect_races([&] { start(geometry, early_ldmatrix_kernel, to.data(), false); }, "no sync_warp()");
  EXPECT_EQ(failure_of([&] { start(geometry, early_ldmatrix_kernel, to.data(), true); }), "");
}

/// Two stages in one buffer. `second`: a barrier before the buffer is filled again; `first`: one behind the wait.
KOINE_KERNEL pipeline_kernel(const float* from, float* to, bool first, bool second) {
  auto& s = shared_memory<CopyTiles>();
  const int t = thread_index();
  for (int stage = 0; stage < 2; ++stage) {
    async_copy<16>(s.first[t], from + 4 * t);
    async_commit();
    async_wait<0>();
    if (first) sync_block();
    to[64 * stage + t] = s.first[(t + 32) % 64][0];
    if (second) sync_block();
  }
}
TEST(CudaRaces, AsynchronousCopiesWrite) {
  const DeviceArray<float> from(std::vector<float>(256, 1.0f));
  const DeviceArray<float> to(128);
  const Geometry geometry = {.threads = 64, .shared_bytes = sizeof(CopyTiles)};
  const auto run = [&](bool first, bool second) { start(geometry, pipeline_kernel, from.data(), to.data(), first, second); };
  EXPECT_EQ(failure_of([&] { run(true, true); }), "");
  expect_races([&] { run(true, false); }, "no sync_block() between them");
  for_schedules([&] { EXPECT_NE(failure_of([&] { run(false, true); }), ""); });  // a race, or read before anyone wrote
}

KOINE_KERNEL blocks_kernel(float* x, int which) {
  const auto block = static_cast<int>(block_index().x);
  if (thread_index() != 3) return;
  if (which == 0) x[9] = 1;                            // all write
  if (which == 1 && block == 0) x[9] = 1;              // one writes,
  if (which == 1 && block != 0) x[20 + block] = x[9];  // the others read
  if (which == 2) x[block] = x[9];                     // all read, one writes its own and what they read
  if (which == 3) x[block] = x[32];                    // all read, each writes its own
}
TEST(CudaRaces, BlocksOfALaunchAreNotOrdered) {
  const DeviceArray<float> x(std::vector<float>(64, 0.0f));
  const Geometry blocks = {.grid = {12}};
  const std::string place = "race on byte 36 of the device memory \"an array\": ";
  for (int which = 0; which < 3; ++which) {
    expect_races([&] { start(blocks, blocks_kernel, x.data(), which); }, place);
    expect_races([&] { start(blocks, blocks_kernel, x.data(), which); }, "nothing orders two blocks of a launch");
  }
  EXPECT_EQ(failure_of([&] { start(blocks, blocks_kernel, x.data(), 3); }), "");
  EXPECT_EQ(failure_of([&] { start({.grid = {1}}, blocks_kernel, x.data(), 0); }), "");
  EXPECT_EQ(failure_of([&] { start({.grid = {1}}, blocks_kernel, x.data(), 0); }), "");  // launches are ordered
}

KOINE_KERNEL global_exchange_kernel(float* x, bool barrier) {
  const int t = thread_index();
  x[t] = 1;
  if (barrier) sync_block();
  x[64 + t] = x[(t + 32) % 64];
}
TEST(CudaRaces, DeviceMemoryWithinABlock) {
  const DeviceArray<float> x(std::vector<float>(128, 0.0f));
  expect_races([&] { start(kTwoWarps, global_exchange_kernel, x.data(), false); }, "no sync_block() between them");
  EXPECT_EQ(failure_of([&] { start(kTwoWarps, global_exchange_kernel, x.data(), true); }), "");
}

template <class T>
KOINE_KERNEL neighbours_kernel(T* x) {
  const std::size_t i = block_index().x * 64 + static_cast<std::size_t>(thread_index());
  auto* s = &shared_memory<T>();
  s[thread_index()] = T{};
  x[i] = s[thread_index()];
  x[i] = x[i];
}
TEST(CudaRaces, NeighboursDoNotRace) {
  const Geometry geometry = {.grid = {4}, .threads = 64, .shared_bytes = 1024};
  const DeviceArray<double> x(256);
  auto* const odd = reinterpret_cast<unsigned char*>(x.data()) + 1;  // blocks meet inside of a word
  for_schedules([&] {
    EXPECT_EQ(failure_of([&] { start(geometry, neighbours_kernel<unsigned char>, odd); }), "");
    EXPECT_EQ(failure_of([&] { start(geometry, neighbours_kernel<BFloat16>, reinterpret_cast<BFloat16*>(x.data())); }), "");
    EXPECT_EQ(failure_of([&] { start(geometry, neighbours_kernel<float>, reinterpret_cast<float*>(x.data())); }), "");
    EXPECT_EQ(failure_of([&] { start(geometry, neighbours_kernel<double>, x.data()); }), "");
  });
}

#endif
}  // namespace
}  // namespace koine::cuda

#endif
