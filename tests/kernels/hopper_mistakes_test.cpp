// Mistakes in kernels for 9.0, each of which the host implementation must catch: by a message that names it, or, where it is
// a matter of order, by wrong results or a deadlock under some of the orders. Where races are looked for, the detector may
// say it first.

#if !defined(KOINE_HAVE_CUDA)

#include "kernels/cuda/hopper/bulk_copy.h"
#include "kernels/cuda/hopper/cluster.h"
#include "kernels/cuda/hopper/dependent_launch.h"
#include "kernels/cuda/hopper/store_matrix.h"
#include "kernels/cuda/hopper/warpgroup.h"
#include "tests/kernels/cuda_layer.h"
#include "tests/kernels/hopper_host.h"

namespace koine::cuda {
namespace {

/// What came of one run: what it threw, or whether its result was wrong.
struct Outcome {
  std::string failure;
  bool wrong = false;
};

/// Runs under all orders. `message`: each failure says it (or, where races are looked for, names a race). Without a message
/// the mistake is one of order: at least `least` of the eight runs fail or are wrong.
void expect_caught(const char* name, const std::string& message, int least, const std::function<Outcome()>& run) {
  SCOPED_TRACE(name);
  int caught = 0;
  for_schedules([&] {
    const Outcome outcome = run();
    if (outcome.failure.empty() && !outcome.wrong) return;
    ++caught;
    const bool race = kRaces && (outcome.failure.find("race on ") != std::string::npos ||
                                 outcome.failure.find("fence_async_proxy") != std::string::npos ||
                                 outcome.failure.find("which no thread") != std::string::npos ||
                                 outcome.failure.find("having waited for all") != std::string::npos);
    if (!message.empty() && !race) expect_contains(outcome.failure, message);
  });
  EXPECT_GE(caught, least);
}
void expect_right(const std::function<Outcome()>& run) {
  for_schedules([&] {
    const Outcome outcome = run();
    EXPECT_EQ(outcome.failure, "");
    EXPECT_FALSE(outcome.wrong);
  });
}
constexpr int kAll = 8;

// --- a ring between a producer warp and two consumer warps ---

enum class Ring {
  kRight,
  kConsumerParity,      // waits for the phase before
  kProducerParity,      // waits for the first consumers before it has loaded anything
  kFewBytes,            // expects less than comes
  kManyBytes,           // expects more
  kNoEmptyWait,         // loads into a stage that is being read
  kEarlyRelease,        // says a stage is free and then reads it
  kNoInitFence,         //
  kNoInitBarrier,       //
  kManyArrivals,        // counts more consumers than there are
  kFewArrivals,         // counts fewer
  kOverwrittenBarrier,  //
  kMadeTwice,           //
  kPlainRead,           // forgets the swizzle
  kBarrierAfterRoles,   // sync_block() where the producer is not
  kNoFullWait,          //
  kLeavesEarly,         // the last box is not waited for
  kParityTwo,           // does not take the parity of the round
};

constexpr int kBoxRows = 8;
constexpr int kBoxBytes = kBoxRows * 128;
struct RingMemory {
  alignas(1024) BFloat16 box[2][kBoxRows * 64];
  MBarrier full[2];
  MBarrier empty[2];
};
constexpr int kBoxes = 6;

KOINE_KERNEL ring_kernel(const KOINE_GRID_CONSTANT TensorMap map, BFloat16* to, Ring mistake) {
  auto& s = shared_memory<RingMemory>();
  if (thread_index() == 0) {
    for (int stage = 0; stage < 2; ++stage) {
      mbarrier_init(s.full[stage], 1);
      mbarrier_init(s.empty[stage], mistake == Ring::kManyArrivals ? 3 : mistake == Ring::kFewArrivals ? 1 : 2);
    }
    if (mistake == Ring::kMadeTwice) mbarrier_init(s.full[0], 1);
    if (mistake == Ring::kOverwrittenBarrier) s.full[0].state = 7;
    if (mistake != Ring::kNoInitFence) fence_mbarrier_init();
  }
  if (mistake != Ring::kNoInitBarrier) sync_block();
  if (warp_index() == 0) {
    if (elect_lane()) {
      for (int i = 0; i < kBoxes; ++i) {
        const int stage = i % 2;
        const std::uint32_t parity = i / 2 % 2 == 0 ? 1 : 0;
        if (mistake != Ring::kNoEmptyWait)
          mbarrier_wait(s.empty[stage], mistake == Ring::kProducerParity ? parity ^ 1 : parity);
        mbarrier_arrive_expect(s.full[stage], mistake == Ring::kFewBytes    ? kBoxBytes - 128
                                              : mistake == Ring::kManyBytes ? kBoxBytes + 128
                                                                            : kBoxBytes);
        tensor_load_2d(s.box[stage], map, 0, i * kBoxRows, s.full[stage]);
      }
    }
  } else {
    for (int i = 0; i < kBoxes; ++i) {
      const int stage = i % 2;
      if (mistake == Ring::kLeavesEarly && i == kBoxes - 1) break;
      std::uint32_t parity = static_cast<std::uint32_t>(i / 2 % 2);
      if (mistake == Ring::kConsumerParity) parity ^= 1;
      if (mistake == Ring::kParityTwo) parity = static_cast<std::uint32_t>(i / 2);
      if (mistake != Ring::kNoFullWait) mbarrier_wait(s.full[stage], parity);
      if (mistake == Ring::kBarrierAfterRoles) sync_block();
      sync_warp();
      if (mistake == Ring::kEarlyRelease && lane_index() == 0) mbarrier_arrive(s.empty[stage]);
      sync_warp();
      for (int place = thread_index() - 32; place < kBoxRows * 8; place += 64) {
        const auto at = static_cast<std::uint32_t>(16 * place);
        const std::uint32_t from = mistake == Ring::kPlainRead ? at : swizzled(at, Swizzle::k128Bytes);
        store_pack<BFloat16, 8>(to + i * kBoxRows * 64 + 8 * place, load_pack<BFloat16, 8>(s.box[stage] + from / 2));
      }
      sync_warp();
      if (mistake != Ring::kEarlyRelease && lane_index() == 0) mbarrier_arrive(s.empty[stage]);
    }
  }
}

std::vector<BFloat16> numbered(std::size_t count) {
  std::vector<BFloat16> result(count);
  for (std::size_t i = 0; i < count; ++i) result[i].bits = static_cast<std::uint16_t>(i + 1);
  return result;
}
TensorLayout rows_of_64(const BFloat16* data, std::int64_t rows, int box_rows) {
  return {.data = data,
          .type = DType::kBFloat16,
          .dimensions = 2,
          .extent = {64, rows},
          .stride_bytes = {2, 128},
          .box = {64, box_rows},
          .swizzle = Swizzle::k128Bytes};
}
bool differ(const std::vector<BFloat16>& left, const std::vector<BFloat16>& right) {
  return std::memcmp(left.data(), right.data(), left.size() * sizeof(BFloat16)) != 0;
}

Outcome run_ring(Ring mistake) {
  const std::vector<BFloat16> values = numbered(kBoxes * kBoxRows * 64);
  const DeviceArray<BFloat16> from(values);
  const DeviceArray<BFloat16> to(values.size());
  const TensorMap map = make_tensor_map(rows_of_64(from.data(), kBoxes * kBoxRows, kBoxRows));
  Outcome outcome;
  outcome.failure =
      failure_of([&] { start({.threads = 96, .shared_bytes = sizeof(RingMemory)}, ring_kernel, map, to.data(), mistake); });
  outcome.wrong = differ(to.values(), values);
  return outcome;
}

TEST(HopperMistakes, InARing) {
  const Emulated device(90);
  expect_right([] { return run_ring(Ring::kRight); });
  const auto expect = [](const char* name, Ring mistake, const char* message, int least = kAll) {
    expect_caught(name, message, least, [=] { return run_ring(mistake); });
  };
  expect("the consumers' parity", Ring::kConsumerParity, "");
  expect("the producer's parity", Ring::kProducerParity, "wait in vain: from thread 0 ");
  expect("fewer bytes expected", Ring::kFewBytes, "");
  expect("more bytes expected", Ring::kManyBytes, "128 bytes to come");
  expect("no wait for empty stages", Ring::kNoEmptyWait, "", 6);
  expect("stages given up before they are read", Ring::kEarlyRelease, "", kRaces ? kAll : 3);
  expect("no fence after making barriers", Ring::kNoInitFence, "has not called fence_mbarrier_init()");
  expect("no barrier after making barriers", Ring::kNoInitBarrier, "", kRaces ? kAll : 5);
  expect("arrivals nobody makes", Ring::kManyArrivals, "wait in vain: ");
  expect("one arrival for two warps", Ring::kFewArrivals, "", kRaces ? kAll : 3);
  expect("a barrier's bytes written over", Ring::kOverwrittenBarrier, "something wrote over the mbarrier at byte 2048");
  expect("a barrier made twice", Ring::kMadeTwice, "is made again while it is in use");
  expect("a swizzle forgotten", Ring::kPlainRead, "");
  expect("sync_block() after the roles part", Ring::kBarrierAfterRoles, "wait in vain: ");
  expect("no wait for full stages", Ring::kNoFullWait, "", kRaces ? kAll : 4);
  expect("the last box not waited for", Ring::kLeavesEarly, "");
  expect("a parity that is none", Ring::kParityTwo, "parity of a phase is 0 or 1, not 2");
}

// --- barriers by themselves ---

enum class Meeting { kRight, kNumberZero, kNumberSixteen, kTwoCounts, kOddCount, kMissing, kHalfWarp };
KOINE_KERNEL meeting_kernel(float* to, Meeting mistake) {
  auto& x = shared_memory<Matrices>();
  const int number = mistake == Meeting::kNumberZero ? 0 : mistake == Meeting::kNumberSixteen ? 16 : 1;
  const int threads = mistake == Meeting::kOddCount ? 40 : 64;
  if (mistake == Meeting::kHalfWarp && lane_index() < 16) return;
  if (warp_index() == 0) {
    x.rows[lane_index()][0].bits = static_cast<std::uint16_t>(lane_index());
    named_barrier_arrive(number, threads);
  } else if (warp_index() == 1) {
    named_barrier_sync(number, mistake == Meeting::kTwoCounts ? 96 : threads);
    to[lane_index()] = static_cast<float>(x.rows[31 - lane_index()][0].bits);
  } else if (mistake == Meeting::kMissing) {
    named_barrier_sync(2, 64);
  }
}
Outcome run_meeting(Meeting mistake) {
  const DeviceArray<float> to(32);
  Outcome outcome;
  outcome.failure =
      failure_of([&] { start({.threads = 96, .shared_bytes = sizeof(Matrices)}, meeting_kernel, to.data(), mistake); });
  const std::vector<float> values = to.values();
  for (int i = 0; i < 32; ++i)
    outcome.wrong = outcome.wrong || values[static_cast<std::size_t>(i)] != static_cast<float>(31 - i);
  return outcome;
}
TEST(HopperMistakes, AtNamedBarriers) {
  expect_right([] { return run_meeting(Meeting::kRight); });
  const auto expect = [](const char* name, Meeting mistake, const char* message) {
    expect_caught(name, message, kAll, [=] { return run_meeting(mistake); });
  };
  expect("number 0", Meeting::kNumberZero, "named barriers are 1 to 15, not 0, which is sync_block()'s");
  expect("number 16", Meeting::kNumberSixteen, "named barriers are 1 to 15, not 16");
  expect("two counts", Meeting::kTwoCounts, "named barrier 1 is met with ");
  expect("part of a warp counted", Meeting::kOddCount, "whole warps of the block meet at a named barrier, not 40");
  expect("nobody else comes", Meeting::kMissing, "at the named barrier 2 of ");
  expect("half a warp", Meeting::kHalfWarp, "wait in vain");
}

enum class Single { kMisaligned, kNeverMade, kNoArrivals, kOneTooMany, kLeftover, kTooManyBytes, kNotShared };
struct SingleMemory {
  alignas(16) float x[32];
  MBarrier barrier;
  MBarrier other;
};
KOINE_KERNEL single_kernel(float* global, Single mistake) {
  auto& s = shared_memory<SingleMemory>();
  if (thread_index() != 0) return;
  if (mistake == Single::kMisaligned)
    mbarrier_init(*reinterpret_cast<MBarrier*>(reinterpret_cast<char*>(&s.barrier) + 4), 1);
  if (mistake == Single::kNeverMade) mbarrier_arrive(s.other);
  if (mistake == Single::kNoArrivals) mbarrier_init(s.barrier, 0);
  if (mistake == Single::kNotShared) mbarrier_init(*reinterpret_cast<MBarrier*>(global), 1);
  mbarrier_init(s.barrier, 1);
  fence_mbarrier_init();
  if (mistake == Single::kOneTooMany || mistake == Single::kLeftover) mbarrier_arrive_expect(s.barrier, 16);
  if (mistake == Single::kOneTooMany) mbarrier_arrive(s.barrier);
  if (mistake == Single::kTooManyBytes) mbarrier_arrive_expect(s.barrier, 1 << 20);
}
TEST(HopperMistakes, WithOneBarrier) {
  const DeviceArray<float> global(8);
  const auto expect = [&](const char* name, Single mistake, const char* message) {
    expect_caught(name, message, kAll, [&] {
      return Outcome{
          failure_of([&] { start({.shared_bytes = sizeof(SingleMemory)}, single_kernel, global.data(), mistake); })};
    });
  };
  const Emulated device(90);
  // The undefined behaviour sanitizer, which goes with the address sanitizer, stops at the reference.
  if (!kAddressSanitizer) expect("on no multiple of 8", Single::kMisaligned, "is not a multiple of 8");
  expect("never made", Single::kNeverMade, "there is no mbarrier at byte 136");
  expect("no arrivals", Single::kNoArrivals, "counts 1 to 2^20 - 1 arrivals, not 0");
  expect("in device memory", Single::kNotShared, "outside of the block's shared memory");
  expect("one arrival too many", Single::kOneTooMany, "one arrival too many at the mbarrier");
  expect("bytes that never come", Single::kLeftover, "leaves while bytes are to come");
  expect("more bytes than a phase counts", Single::kTooManyBytes, "more than 2^20 - 1 bytes");
}

// --- boxes and bytes ---

enum class Boxes {
  kRight,
  kOtherDimensions,
  kMisaligned,
  kOutside,
  kNoMap,
  kNoReadWait,       // leaves while the store reads
  kNotCommitted,     //
  kStagingReused,    // writes the next box while the last is read
  kNoProxyFence,     //
  kOddBytes,         //
  kMisalignedBytes,  //
  kPastTheEnd,       // the box is longer than the sequence
};
struct BoxMemory {
  alignas(1024) BFloat16 box[kBoxRows * 64];
  BFloat16 behind[64];
  MBarrier full;
};
/// Each block writes `count` rows of its sequence, boxes of kBoxRows of them, from staging.
KOINE_KERNEL store_kernel(const KOINE_GRID_CONSTANT TensorMap map, BFloat16* plain, int count, Boxes mistake) {
  auto& s = shared_memory<BoxMemory>();
  const int first = static_cast<int>(block_index().x) * count;
  for (int row = 0; row < count; row += kBoxRows) {
    for (int place = thread_index(); place < kBoxRows * 8; place += block_threads()) {
      Pack<BFloat16, 8> pack;
      const bool inside = row + place / 8 < count;
      for (int i = 0; i < 8; ++i) {
        pack.values[i].bits = static_cast<std::uint16_t>(inside ? (first + row) * 64 + 8 * place + i + 1 : 0);
      }
      store_pack<BFloat16, 8>(s.box + swizzled(static_cast<std::uint32_t>(16 * place), Swizzle::k128Bytes) / 2, pack);
    }
    if (mistake != Boxes::kNoProxyFence) fence_async_proxy();
    sync_block();
    if (thread_index() == 0) {
      if (mistake == Boxes::kOtherDimensions) tensor_store_3d(map, s.box, 0, first + row, 0);
      if (mistake == Boxes::kMisaligned) tensor_store_2d(map, s.box + 8, 0, first + row);
      if (mistake == Boxes::kOutside) tensor_store_2d(map, s.box + 1024, 0, first + row);
      if (mistake == Boxes::kNoMap) tensor_store_2d(TensorMap{}, s.box, 0, first + row);
      if (mistake == Boxes::kOddBytes) bulk_store(plain, s.box, 24);
      if (mistake == Boxes::kMisalignedBytes) bulk_store(plain + 4, s.box, 32);
      tensor_store_2d(map, s.box, 0, first + row);
      if (mistake != Boxes::kNotCommitted) bulk_commit();
      if (mistake != Boxes::kNoReadWait && (mistake != Boxes::kStagingReused || row + kBoxRows >= count))
        bulk_wait_read<0>();
    }
    sync_block();
  }
}
Outcome run_store(Boxes mistake) {
  const int count = mistake == Boxes::kPastTheEnd   ? kBoxRows * 2 - 3
                    : mistake == Boxes::kNoReadWait ? kBoxRows
                                                    : kBoxRows * 2;
  const auto rows = static_cast<std::size_t>(2 * count);
  const std::vector<BFloat16> expected = numbered(rows * 64);
  const DeviceArray<BFloat16> to(rows * 64);
  const TensorMap map = make_tensor_map(rows_of_64(to.data(), static_cast<std::int64_t>(rows), kBoxRows));
  Outcome outcome;
  outcome.failure = failure_of([&] {
    start({.grid = {2}, .threads = 64, .shared_bytes = sizeof(BoxMemory)}, store_kernel, map, to.data(), count, mistake);
  });
  outcome.wrong = differ(to.values(), expected);
  return outcome;
}
TEST(HopperMistakes, InStoresOfBoxes) {
  const Emulated device(90);
  expect_right([] { return run_store(Boxes::kRight); });
  const auto expect = [](const char* name, Boxes mistake, const char* message, int least = kAll) {
    expect_caught(name, message, least, [=] { return run_store(mistake); });
  };
  expect("a map of other dimensions", Boxes::kOtherDimensions, "a copy in 3 dimensions of a tensor of 2");
  expect("a box on no multiple of 128", Boxes::kMisaligned, "is not a multiple of 128");
  expect("a box that ends outside", Boxes::kOutside, "goes outside of the block's");
  expect("a map nobody made", Boxes::kNoMap, "was not made by make_tensor_map()");
  expect("left while it reads", Boxes::kNoReadWait, "may still read shared memory", 4);
  expect("not committed", Boxes::kNotCommitted, "");
  expect("staging filled again too early", Boxes::kStagingReused, "", kRaces ? kAll : 3);
  expect("24 bytes", Boxes::kOddBytes, "moves a multiple of 16 bytes, not 24");
  expect("bytes on no multiple of 16", Boxes::kMisalignedBytes, "is not a multiple of 16");
  // The second sequence's first rows are the first one's last box, whichever comes last.
  expect("a store across a sequence's end", Boxes::kPastTheEnd, "", kRaces ? kAll : 2);
  if (kRaces) expect("no proxy fence before a store", Boxes::kNoProxyFence, "did not call fence_async_proxy()");
}

// --- products ---

enum class Wgmma {
  kRight,
  kStride,          // SBO of another swizzle
  kLeading,         // LBO of a block as long as A's
  kSwizzle,         // another swizzle in the descriptor
  kMajor,           // another transposition
  kInsidePeriod,    // a descriptor that begins in the middle of a period
  kOutside,         //
  kBaseOffset,      //
  kNoFence,         //
  kFenceElsewhere,  // names other registers
  kWrittenAfterFence,
  kReadBeforeWait,
  kNoWait,
  kNotCommitted,
  kWaitElsewhere,   // names other registers
  kWaitForTooFew,   // lets one group too many run
  kOperandChanged,  // loads the next slice before the wait
  kOneWarpMissing,
  kDescriptorsDiffer,
  kHalfWarp,
  kNoFullWait,       // the operands have not landed
  kGenericNoFence,   // operands by ordinary stores, not fenced
  kWrongStep,        // the next 16 in depth at the wrong place
  kTooEarlyRelease,  // lets the producer go on before the wait
};
constexpr int kSliceRows = 64;
struct ProductMemory {
  alignas(1024) BFloat16 a[64 * 64];
  alignas(1024) BFloat16 b[2][64 * 64];  // two blocks along n: [64 in depth, 64]
  MBarrier full;
};
/// d [64, 128] = a [64, 64] b [64, 128].
KOINE_KERNEL product_kernel(const KOINE_GRID_CONSTANT TensorMap map_a, const KOINE_GRID_CONSTANT TensorMap map_b, float* to,
                            Wgmma mistake) {
  auto& s = shared_memory<ProductMemory>();
  if (thread_index() == 0) {
    mbarrier_init(s.full, 1);
    fence_mbarrier_init();
  }
  sync_block();
  const auto load = [&] {
    mbarrier_arrive_expect(s.full, 3 * 8192);
    tensor_load_2d(s.a, map_a, 0, 0, s.full);
    tensor_load_2d(s.b[0], map_b, 0, 0, s.full);
    tensor_load_2d(s.b[1], map_b, 64, 0, s.full);
  };
  if (thread_index() == 0) load();
  if (mistake != Wgmma::kNoFullWait) mbarrier_wait(s.full, 0);
  if (mistake == Wgmma::kGenericNoFence) {
    sync_block();
    s.a[thread_index()].bits = 0x3f80;
    sync_block();
  }
  const int block_bytes = mistake == Wgmma::kLeading ? 4096 : 8192;
  std::uint64_t a = k_major_operand(s.a, mistake == Wgmma::kSwizzle ? Swizzle::k64Bytes : Swizzle::k128Bytes);
  std::uint64_t b = mn_major_operand(s.b[0], Swizzle::k128Bytes, block_bytes);
  if (mistake == Wgmma::kStride) a = matrix_descriptor(shared_address(s.a), 16, 512, Swizzle::k128Bytes);
  if (mistake == Wgmma::kInsidePeriod) a = advanced(a, 128);
  if (mistake == Wgmma::kOutside) b = mn_major_operand(s.b[0], Swizzle::k128Bytes, 3 * 8192);
  if (mistake == Wgmma::kBaseOffset) a |= std::uint64_t{1} << 49;
  if (mistake == Wgmma::kDescriptorsDiffer && warp_index() == 2) a = advanced(a, 32);
  Accumulator d[16];
  Accumulator other[1] = {};
  if (mistake == Wgmma::kFenceElsewhere) {
    warpgroup_fence(other);
  } else if (mistake != Wgmma::kNoFence) {
    warpgroup_fence(d);
  }
  if (mistake == Wgmma::kWrittenAfterFence) {
    for (Accumulator& sums : d) sums = {{1, 2, 3, 4}};
  }
  for (int step = 0; step < 4; ++step) {
    const int lines = mistake == Wgmma::kWrongStep ? 32 : 2048;
    if (mistake == Wgmma::kOneWarpMissing && warp_index() == 3 && step == 3) break;
    if (mistake == Wgmma::kHalfWarp && step == 3 && lane_index() < 16) break;
    if (mistake == Wgmma::kMajor) {
      warpgroup_multiply<128, Major::kDepth, Major::kDepth>(d, advanced(a, 32 * step), advanced(b, 32 * step), step > 0);
    } else {
      warpgroup_multiply<128, Major::kDepth, Major::kRows>(d, advanced(a, 32 * step), advanced(b, lines * step), step > 0);
    }
    if (mistake == Wgmma::kWaitForTooFew) warpgroup_commit();
  }
  if (mistake != Wgmma::kNotCommitted) warpgroup_commit();
  float early = 0;
  if (mistake == Wgmma::kReadBeforeWait) early = d[0].x[0];
  if (mistake == Wgmma::kOperandChanged && thread_index() == 0) load();
  if (mistake == Wgmma::kTooEarlyRelease) {
    sync_block();
    s.a[thread_index() * 3].bits = 7;
  }
  if (mistake == Wgmma::kWaitElsewhere) {
    warpgroup_wait<0>(other);
  } else if (mistake == Wgmma::kWaitForTooFew) {
    warpgroup_wait<2>(d);
  } else if (mistake != Wgmma::kNoWait) {
    warpgroup_wait<0>(d);
  }
  const int row = 16 * warp_index() + lane_index() / 4;
  for (int j = 0; j < 16; ++j) {
    for (int i = 0; i < 4; ++i) {
      to[(row + i / 2 * 8) * 128 + 8 * j + 2 * (lane_index() % 4) + i % 2] =
          mistake == Wgmma::kReadBeforeWait && j + i == 0 ? early : d[j].x[i];
    }
  }
  if (mistake == Wgmma::kOperandChanged) mbarrier_wait(s.full, 1);
}
Outcome run_product(Wgmma mistake) {
  TestRandom random(9);
  std::vector<BFloat16> a(64 * 64);
  std::vector<BFloat16> b(64 * 128);
  for (BFloat16& value : a) value = to_bfloat16(static_cast<float>(random.normal()));
  for (BFloat16& value : b) value = to_bfloat16(static_cast<float>(random.normal()));
  const DeviceArray<BFloat16> device_a(a);
  const DeviceArray<BFloat16> device_b(b);
  const DeviceArray<float> to(64 * 128);
  const TensorMap map_a = make_tensor_map(rows_of_64(device_a.data(), 64, 64));
  TensorLayout layout_b = rows_of_64(device_b.data(), 64, 64);
  layout_b.extent[0] = 128;
  layout_b.stride_bytes[1] = 256;
  Outcome outcome;
  outcome.failure = failure_of([&] {
    start({.threads = 128, .shared_bytes = sizeof(ProductMemory)}, product_kernel, map_a, make_tensor_map(layout_b),
          to.data(), mistake);
  });
  const std::vector<float> result = to.values();
  for (std::size_t row = 0; row < 64; ++row) {
    for (std::size_t column = 0; column < 128; ++column) {
      double sum = 0;
      for (std::size_t k = 0; k < 64; ++k)
        sum += static_cast<double>(to_float(a[64 * row + k])) * to_float(b[128 * k + column]);
      outcome.wrong = outcome.wrong || !(std::fabs(result[128 * row + column] - sum) < 1e-3);
    }
  }
  return outcome;
}
TEST(HopperMistakes, InProducts) {
  const Emulated device(90);
  expect_right([] { return run_product(Wgmma::kRight); });
  const auto expect = [](const char* name, Wgmma mistake, const char* message, int least = kAll) {
    expect_caught(name, message, least, [=] { return run_product(mistake); });
  };
  expect("the stride offset of another swizzle", Wgmma::kStride, "");
  expect("the leading offset of another block", Wgmma::kLeading, "");
  expect("another swizzle", Wgmma::kSwizzle, "");
  expect("another transposition", Wgmma::kMajor, "");
  expect("the wrong place of the next 16", Wgmma::kWrongStep, "");
  expect("a start inside of a period", Wgmma::kInsidePeriod, "begins inside of a period of its swizzle, 128 bytes behind");
  expect("an operand that ends outside", Wgmma::kOutside, "wgmma reads B outside of the block's");
  expect("a base offset", Wgmma::kBaseOffset, "has a base offset");
  expect("no fence", Wgmma::kNoFence, "no warpgroup_fence() named them");
  expect("a fence of other registers", Wgmma::kFenceElsewhere, "no warpgroup_fence() named them");
  expect("sums written after the fence", Wgmma::kWrittenAfterFence, "written between warpgroup_fence() and the product");
  expect("sums read before the wait", Wgmma::kReadBeforeWait, "");
  expect("no wait", Wgmma::kNoWait, "leaves while the wgmma of ");
  expect("no commit", Wgmma::kNotCommitted, "leaves while the wgmma of ");
  expect("a wait for other registers", Wgmma::kWaitElsewhere, "does not name the sums");
  expect("a wait that lets groups run on", Wgmma::kWaitForTooFew, "leaves while the wgmma of ");
  expect("operands loaded over before the wait", Wgmma::kOperandChanged, "changed between its issue and ",
         kRaces ? kAll : 3);
  expect("operands stored over before the wait", Wgmma::kTooEarlyRelease, "changed between its issue and ");
  expect("a warp that leaves one out", Wgmma::kOneWarpMissing, "");
  expect("warps with other descriptors", Wgmma::kDescriptorsDiffer, "issue different products");
  expect("half a warp", Wgmma::kHalfWarp, "");
  expect("operands that have not landed", Wgmma::kNoFullWait, "has not landed", kRaces ? kAll : 4);
  if (kRaces) expect("operands stored and not fenced", Wgmma::kGenericNoFence, "did not call fence_async_proxy()");
}

TEST(HopperMistakes, ProductsAreOf90Alone) {
  for (const int architecture : {80, 100}) {
    const Emulated device(architecture);
    expect_contains(run_product(Wgmma::kRight).failure,
                    architecture == 80 ? "need compute capability 9.0" : "wgmma is of compute capability 9.0 alone");
  }
}

// --- products with A in registers ---

enum class Fragments { kRight, kNotFenced, kChangedBeforeWait, kWaitElsewhere };
struct FragmentMemory {
  alignas(1024) BFloat16 b[8 * 64];
};
KOINE_KERNEL fragment_kernel(float* to, Fragments mistake) {
  auto& s = shared_memory<FragmentMemory>();
  for (int i = thread_index(); i < 8 * 64; i += block_threads()) s.b[i] = to_bfloat16(1.0f);
  fence_async_proxy();
  sync_block();
  FragmentA a = {{0x3f803f80u, 0x3f803f80u, 0x3f803f80u, 0x3f803f80u}};
  Accumulator d[1];
  if (mistake == Fragments::kNotFenced) {
    warpgroup_fence(d);
  } else {
    warpgroup_fence(d, a);
  }
  warpgroup_multiply<8>(d, a, k_major_operand(s.b, Swizzle::k128Bytes), false);
  warpgroup_commit();
  if (mistake == Fragments::kChangedBeforeWait) a.x[0] = 5;
  if (mistake == Fragments::kWaitElsewhere) {
    warpgroup_wait<0>(d);
  } else {
    warpgroup_wait<0>(d, a);
  }
  for (int i = 0; i < 4; ++i) to[4 * thread_index() + i] = d[0].x[i];
}
TEST(HopperMistakes, WithFragments) {
  const Emulated device(90);
  const auto run = [](Fragments mistake) {
    const DeviceArray<float> to(512);
    Outcome outcome;
    outcome.failure = failure_of(
        [&] { start({.threads = 128, .shared_bytes = sizeof(FragmentMemory)}, fragment_kernel, to.data(), mistake); });
    for (const float value : to.values()) outcome.wrong = outcome.wrong || value != 16.0f;
    return outcome;
  };
  expect_right([&] { return run(Fragments::kRight); });
  const auto expect = [&](const char* name, Fragments mistake, const char* message) {
    expect_caught(name, message, kAll, [&] { return run(mistake); });
  };
  expect("not fenced", Fragments::kNotFenced, "a fragment of A was not named by warpgroup_fence()");
  expect("written before the wait", Fragments::kChangedBeforeWait, "a fragment of A was written while");
  expect("not waited for", Fragments::kWaitElsewhere, "does not name a fragment");
}

// --- registers ---

enum class Registers { kRight, kTooMany, kNoDecrease, kNotUniform, kRaisingDecrease, kHalfWarpgroup };
KOINE_KERNEL registers_kernel(int* to, Registers mistake) {
  if (warpgroup_index() == 0) {
    if (mistake == Registers::kHalfWarpgroup && warp_index() == 1) {
      warpgroup_decrease_registers<48>();
    } else if (mistake == Registers::kRaisingDecrease) {
      warpgroup_decrease_registers<184>();
    } else if (mistake != Registers::kNoDecrease) {
      warpgroup_decrease_registers<24>();
    }
  } else if (mistake == Registers::kTooMany) {
    warpgroup_increase_registers<248>();
  } else if (mistake == Registers::kNotUniform && warp_index() == 9) {
    warpgroup_increase_registers<232>();
  } else {
    warpgroup_increase_registers<240>();
  }
  to[thread_index()] = 1;
}
TEST(HopperMistakes, WithRegisters) {
  const Emulated device(90);
  const auto run = [](Registers mistake) {
    const DeviceArray<int> to(384);
    return Outcome{failure_of([&] { start({.threads = 384}, registers_kernel, to.data(), mistake); })};
  };
  expect_right([&] { return run(Registers::kRight); });
  const auto expect = [&](const char* name, Registers mistake, const char* message) {
    expect_caught(name, message, kAll, [&] { return run(mistake); });
  };
  expect("more than there are", Registers::kTooMany, "at the increase of ");
  expect("nobody gives any", Registers::kNoDecrease, "at the increase of ");
  expect("warps that want different numbers", Registers::kNotUniform, "set different numbers of registers");
  expect("warps that give different numbers", Registers::kHalfWarpgroup, "set different numbers of registers");
  expect("a decrease to more", Registers::kRaisingDecrease, "has 168 registers a thread: a decrease to 184 is none");
}

// --- clusters ---

enum class Cluster {
  kRight,
  kLeavesEarly,  // before its neighbour has arrived
  kNoMeeting,    // reads what the neighbour may not have written
  kNoSuchBlock,
  kWaitsOnly,
  kArrivesTwice,
  kOwnBytesOnly,  // expects only what it asks for itself
  kNoSuchMulticast,
  kRemoteNotMade,  // arrives at a barrier the neighbour may not have made
};
struct ClusterMemory {
  alignas(1024) BFloat16 box[kBoxRows * 64];
  float x[32];
  MBarrier full;
  MBarrier done;
};
KOINE_KERNEL cluster_kernel(const KOINE_GRID_CONSTANT TensorMap map, BFloat16* to, float* passed, Cluster mistake) {
  auto& s = shared_memory<ClusterMemory>();
  const unsigned rank = cluster_rank();
  const unsigned other = rank ^ 1;
  const int t = thread_index();
  if (t == 0) {
    mbarrier_init(s.full, 1);
    mbarrier_init(s.done, 32);
    fence_mbarrier_init();
  }
  s.x[t] = static_cast<float>(100 * rank + static_cast<unsigned>(t));
  if (mistake == Cluster::kWaitsOnly) cluster_wait();
  if (mistake == Cluster::kArrivesTwice) cluster_arrive();
  if (mistake != Cluster::kNoMeeting && mistake != Cluster::kRemoteNotMade) sync_cluster();
  if (mistake == Cluster::kNoMeeting || mistake == Cluster::kRemoteNotMade) sync_block();
  if (mistake == Cluster::kNoMeeting && rank == 1) sync_cluster();
  passed[32 * rank + static_cast<unsigned>(t)] = load_from_block(&s.x[31 - t], mistake == Cluster::kNoSuchBlock ? 2 : other);
  if (mistake == Cluster::kNoMeeting && rank == 0) sync_cluster();
  if (t == 0) {
    mbarrier_arrive_expect(s.full, mistake == Cluster::kOwnBytesOnly ? kBoxBytes / 2 : kBoxBytes);
    tensor_load_2d_multicast(s.box + rank * (kBoxRows / 2) * 64, map, 0, static_cast<int>(rank) * kBoxRows / 2, s.full,
                             mistake == Cluster::kNoSuchMulticast ? 7 : 3);
  }
  sync_warp();
  mbarrier_wait(s.full, 0);
  for (int place = t; place < kBoxRows * 8; place += 32) {
    const std::uint32_t from = swizzled(static_cast<std::uint32_t>(16 * place), Swizzle::k128Bytes) / 2;
    store_pack<BFloat16, 8>(to + rank * kBoxRows * 64 + 8 * place, load_pack<BFloat16, 8>(s.box + from));
  }
  mbarrier_arrive_at(s.done, other);
  if (mistake != Cluster::kLeavesEarly) mbarrier_wait(s.done, 0);
}
Outcome run_cluster(Cluster mistake) {
  const std::vector<BFloat16> values = numbered(kBoxRows * 64);
  const DeviceArray<BFloat16> from(values);
  const DeviceArray<BFloat16> to(2 * values.size());
  const DeviceArray<float> passed(64);
  const TensorMap map = make_tensor_map(rows_of_64(from.data(), kBoxRows, kBoxRows / 2));
  Outcome outcome;
  outcome.failure = failure_of([&] {
    launch({.kernel = "test", .grid = {2}, .cluster = {2}, .threads = 32, .shared_bytes = sizeof(ClusterMemory)},
           cluster_kernel, map, to.data(), passed.data(), mistake);
  });
  std::vector<BFloat16> twice = values;
  twice.insert(twice.end(), values.begin(), values.end());
  outcome.wrong = differ(to.values(), twice);
  const std::vector<float> found = passed.values();
  for (int i = 0; i < 64; ++i) {
    outcome.wrong =
        outcome.wrong || found[static_cast<std::size_t>(i)] != static_cast<float>((i < 32 ? 100 : 0) + 31 - i % 32);
  }
  return outcome;
}
TEST(HopperMistakes, InClusters) {
  const Emulated device(90);
  expect_right([] { return run_cluster(Cluster::kRight); });
  const auto expect = [](const char* name, Cluster mistake, const char* message, int least = kAll) {
    expect_caught(name, message, least, [=] { return run_cluster(mistake); });
  };
  expect("a block that leaves before its neighbour arrives", Cluster::kLeavesEarly, "", kRaces ? kAll : 3);
  expect("a neighbour's memory read too early", Cluster::kNoMeeting, "", kRaces ? kAll : 3);
  expect("a block that is not there", Cluster::kNoSuchBlock, "there is no block 2 in a cluster of 2");
  expect("a wait without an arrival", Cluster::kWaitsOnly, "without having arrived");
  expect("two arrivals without a wait", Cluster::kArrivesTwice, "twice without waiting");
  expect("only its own half of the bytes expected", Cluster::kOwnBytesOnly, "");
  expect("a multicast to a block that is not there", Cluster::kNoSuchMulticast, "a multicast to blocks 7");
  expect("a barrier the neighbour has not made", Cluster::kRemoteNotMade, "", kRaces ? kAll : 3);
}

// --- the rest ---

KOINE_KERNEL overlapping_kernel(float* to, bool waits) {
  if (waits) dependency_wait();
  to[thread_index()] = 1;
  dependency_trigger();
}
TEST(HopperMistakes, AKernelThatOverlapsWaitsForTheOneBeforeIt) {
  const Emulated device(90);
  const DeviceArray<float> to(32);
  const auto run = [&](bool waits) {
    return failure_of([&] {
      launch({.kernel = "test", .grid = {1}, .threads = 32, .overlap = true}, overlapping_kernel, to.data(), waits);
    });
  };
  EXPECT_EQ(run(true), "");
  expect_contains(run(false), "leaves without dependency_wait()");
}

struct Ordinary {
  alignas(16) float x[4];
};
struct Aligned {
  alignas(1024) float x[4];
};
KOINE_KERNEL alignment_kernel(std::uint64_t* to, bool aligned) {
  const void* const at = aligned ? static_cast<const void*>(&shared_memory<Aligned>()) : &shared_memory<Ordinary>();
  if (thread_index() == 0) {
    to[0] = reinterpret_cast<std::uintptr_t>(at);
    to[1] = shared_address(at);
  }
}
TEST(HopperMistakes, SharedMemoryIsAlignedAsAskedForAndNoMore) {
  for (const bool aligned : {false, true}) {
    const DeviceArray<std::uint64_t> to(2);
    start({.shared_bytes = 1024}, alignment_kernel, to.data(), aligned);
    const std::uint64_t alignment = aligned ? 1024 : 128;
    for (const std::uint64_t address : to.values()) {
      EXPECT_EQ(address % alignment, 0u);
      EXPECT_NE(address % (2 * alignment), 0u);
    }
  }
}

KOINE_KERNEL elect_kernel(int* to) { to[thread_index()] = elect_lane() ? lane_index() : -1; }
TEST(HopperMistakes, TheElectedLaneIsOneAndNotAlwaysTheFirst) {
  int first = 0;
  for_schedules([&] {
    const DeviceArray<int> to(64);
    start({.threads = 64}, elect_kernel, to.data());
    const std::vector<int> values = to.values();
    int elected = 0;
    for (const int value : values) elected += value >= 0 ? 1 : 0;
    EXPECT_EQ(elected, 2);
    first += values[0] == 0 ? 1 : 0;
  });
  EXPECT_GE(first, 1);
  EXPECT_LE(first, 4);
}

struct MatrixMemory {
  alignas(16) BFloat16 rows[32][8];
};
KOINE_KERNEL store_matrix_kernel(std::uint32_t* to, bool transposed) {
  auto& s = shared_memory<MatrixMemory>();
  const auto lane = static_cast<std::uint32_t>(lane_index());
  std::uint32_t x[4];
  for (std::uint32_t i = 0; i < 4; ++i) x[i] = (16 * lane + 4 * i) | (16 * lane + 4 * i + 1) << 16;
  if (transposed) {
    store_matrix_x4_transposed(s.rows[lane_index()], x);
  } else {
    store_matrix_x4(s.rows[lane_index()], x);
  }
  sync_warp();
  std::uint32_t back[4];
  if (transposed) {
    load_matrix_x4_transposed(back, s.rows[lane_index()]);
  } else {
    load_matrix_x4(back, s.rows[lane_index()]);
  }
  for (int i = 0; i < 4; ++i) to[4 * lane_index() + i] = back[i] ^ x[i];
  if (!transposed) to[4 * lane_index()] |= s.rows[lane_index()][3].bits ^ ((16 * (lane % 8 * 4 + 1) + 4 * (lane / 8)) + 1);
}
TEST(HopperMistakes, StmatrixIsTheWayBackOfLdmatrix) {
  for (const bool transposed : {false, true}) {
    const DeviceArray<std::uint32_t> to(128);
    start({.shared_bytes = sizeof(MatrixMemory)}, store_matrix_kernel, to.data(), transposed);
    for (const std::uint32_t value : to.values()) EXPECT_EQ(value, 0u);
  }
}

}  // namespace
}  // namespace koine::cuda

#endif
