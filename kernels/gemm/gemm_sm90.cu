// C = epilogue(op(A) op(B)) of bf16 matrices on 9.0: tensor copies into a ring, wgmma by two warpgroups in turn.
//
// A block is persistent and makes tiles of 128 x 128; two blocks of a cluster make a pair of tiles one above the other and
// share the columns of B: each copies half of them for both. The producer runs ahead through the ring across tiles, so that
// one warpgroup's epilogue runs beside the other's product.
//
//   warps      role       registers  what                                                   rate of a slice of depth 64
//   0-3        producer   40         one thread: waits for a stage that both blocks have    24 KiB asked for (16 of A,
//                                    left, asks for A [128, 64] and half of B [128, 64]     8 of B), 16 of B arriving
//   4-7, 8-11  consumers  232        tiles in turn: 8 wgmma m64n128k16 a slice, one group   512 clocks of the tensor
//                                    in flight; then the epilogue by way of staging         cores (48 B/clock from L2)
//
// Registers of a consumer: 128 sums; of the epilogue, 32 operands of 4 rows and 8 bias. Shared memory: 5 stages of 32 KiB,
// and for each consumer 32 KiB of staging, 64 rows of the tile in fp32: 224 KiB and 10 barriers.
//
// A tile of depth k takes 8 k clocks of the tensor cores, its epilogue 16,384 elements: for k = 1,024, 8,192 clocks, against
// which the other consumer has some 30 instructions of each of its elements' (3,840 issue clocks) to hide. FLOPs 2 m n k.
//
// A sum runs over the depth in ascending steps of 16, whatever m, n and the number of blocks: a row's bits do not depend on
// its batch. Deterministic: nothing is added across blocks. Weight gradients with few tiles leave multiprocessors idle; the
// portable variant cuts their depth.

#include <algorithm>
#include <limits>

#include "kernels/cuda/hopper/bulk_copy.h"
#include "kernels/cuda/hopper/cluster.h"
#include "kernels/cuda/hopper/warpgroup.h"
#include "kernels/cuda/launch.h"
#include "kernels/gemm/gemm_epilogue.h"
#include "kernels/gemm/gemm_sm90.h"
#include "kernels/gemm/gemm_tile.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kTile = 128;
constexpr int kDepth = 64;  // of a slice: one swizzle of 128 bytes
constexpr int kStages = 5;
constexpr int kConsumers = 2;
constexpr int kThreads = (1 + kConsumers) * kWarpgroupThreads;
constexpr unsigned kClusterBlocks = 2;
constexpr int kBoxRows = 64;
constexpr int kBox = kBoxRows * kDepth;  // elements of a box, which is also half an operand's tile
constexpr int kBoxBytes = kBox * 2;
constexpr int kStageBytes = 4 * kBoxBytes;
constexpr int kProducerRegisters = 40;
constexpr int kConsumerRegisters = 232;

struct GemmSm90Params {
  TensorMap map_a;
  TensorMap map_b;
  GemmSm90Plan plan;
  EpilogueParams epilogue;
};

struct GemmSm90Memory {
  alignas(1024) BFloat16 a[kStages][2 * kBox];
  alignas(1024) BFloat16 b[kStages][2 * kBox];
  alignas(1024) float staging[kConsumers][kBoxRows * kTile];
  MBarrier full[kStages];
  MBarrier empty[kStages];
};
static_assert(sizeof(GemmSm90Memory) <= 232448);

/// A place in the ring and the parity of its round.
struct RingPlace {
  int stage = 0;
  std::uint32_t parity = 0;

  KOINE_DEVICE void advance() {
    if (++stage < kStages) return;
    stage = 0;
    parity ^= 1;
  }
};
KOINE_DEVICE RingPlace ring_place(int slices) {
  return {slices % kStages, static_cast<std::uint32_t>(slices / kStages % 2)};
}

/// The cluster's tiles, numbers `first`, `first + step` ...: those of this block.
struct TileWalk {
  int first;
  int step;
  int count;

  KOINE_DEVICE explicit TileWalk(const GemmSm90Plan& plan)
      : first(static_cast<int>(block_index().x / kClusterBlocks)),
        step(static_cast<int>(grid_size().x / kClusterBlocks)),
        count(plan.row_pairs * plan.column_tiles) {}
};
KOINE_DEVICE TilePlace place_of(const GemmSm90Plan& plan, int tile, unsigned rank) {
  const TilePlace pair = tile_place(tile, plan.row_pairs, plan.column_tiles);
  return {(pair.row * 2 + static_cast<int>(rank)) * kTile, pair.column * kTile};
}

/// By one thread.
template <Major kMajorA, Major kMajorB>
KOINE_DEVICE void produce(GemmSm90Memory& s, const GemmSm90Params& p, unsigned rank) {
  constexpr std::uint16_t kBoth = 3;
  const TileWalk walk(p.plan);
  const int half = static_cast<int>(rank) * kBoxRows;  // of B's columns
  RingPlace at;
  for (int tile = walk.first; tile < walk.count; tile += walk.step) {
    const TilePlace place = place_of(p.plan, tile, rank);
    for (int slice = 0; slice < p.plan.depth_slices; ++slice) {
      const int depth = slice * kDepth;
      BFloat16* const a = s.a[at.stage];
      BFloat16* const b = s.b[at.stage] + static_cast<int>(rank) * kBox;
      MBarrier& full = s.full[at.stage];
      mbarrier_wait(s.empty[at.stage], at.parity ^ 1);
      mbarrier_arrive_expect(full, kStageBytes);
      if constexpr (kMajorA == Major::kDepth) {
        tensor_load_2d(a, p.map_a, depth, place.row, full);
        tensor_load_2d(a + kBox, p.map_a, depth, place.row + kBoxRows, full);
      } else {
        tensor_load_2d(a, p.map_a, place.row, depth, full);
        tensor_load_2d(a + kBox, p.map_a, place.row + kBoxRows, depth, full);
      }
      if constexpr (kMajorB == Major::kDepth) {
        tensor_load_2d_multicast(b, p.map_b, depth, place.column + half, full, kBoth);
      } else {
        tensor_load_2d_multicast(b, p.map_b, place.column + half, depth, full, kBoth);
      }
      at.advance();
    }
  }
}

/// The sums of a warpgroup: rows 0-63 and 64-127 of the tile.
struct Sm90Sums {
  Accumulator upper[kTile / 8];
  Accumulator lower[kTile / 8];
};

/// Issues the products of a slice, as one group.
template <Major kMajorA, Major kMajorB>
KOINE_DEVICE void multiply_slice(const GemmSm90Memory& s, int stage, bool add, Sm90Sums& sums) {
  constexpr int kStepA = kMajorA == Major::kDepth ? 32 : 16 * 128;  // bytes to the next 16 in depth
  constexpr int kStepB = kMajorB == Major::kDepth ? 32 : 16 * 128;
  const std::uint64_t a = kMajorA == Major::kDepth ? k_major_operand(s.a[stage], Swizzle::k128Bytes)
                                                   : mn_major_operand(s.a[stage], Swizzle::k128Bytes, kBoxBytes);
  const std::uint64_t b = kMajorB == Major::kDepth ? k_major_operand(s.b[stage], Swizzle::k128Bytes)
                                                   : mn_major_operand(s.b[stage], Swizzle::k128Bytes, kBoxBytes);
  warpgroup_fence(sums.upper, sums.lower);
  KOINE_UNROLL
  for (int step = 0; step < kDepth / 16; ++step) {
    const std::uint64_t rows = advanced(a, step * kStepA);
    const std::uint64_t columns = advanced(b, step * kStepB);
    warpgroup_multiply<kTile, kMajorA, kMajorB>(sums.upper, rows, columns, add || step > 0);
    warpgroup_multiply<kTile, kMajorA, kMajorB>(sums.lower, advanced(rows, kBoxBytes), columns, add || step > 0);
  }
  warpgroup_commit();
}

/// This block's warpgroup has read the stage: both producers may fill it.
KOINE_DEVICE void leave_stage(GemmSm90Memory& s, int stage) {
  if (warpgroup_thread() < static_cast<int>(kClusterBlocks)) {
    mbarrier_arrive_at(s.empty[stage], static_cast<unsigned>(warpgroup_thread()));
  }
}

template <Major kMajorA, Major kMajorB>
KOINE_DEVICE void multiply_tile_sm90(GemmSm90Memory& s, RingPlace at, int slices, Sm90Sums& sums) {
  mbarrier_wait(s.full[at.stage], at.parity);
  multiply_slice<kMajorA, kMajorB>(s, at.stage, false, sums);
  for (int slice = 1; slice < slices; ++slice) {
    const int before = at.stage;
    at.advance();
    mbarrier_wait(s.full[at.stage], at.parity);
    multiply_slice<kMajorA, kMajorB>(s, at.stage, true, sums);
    warpgroup_wait<1>(sums.upper, sums.lower);
    leave_stage(s, before);
  }
  warpgroup_wait<0>(sums.upper, sums.lower);
  leave_stage(s, at.stage);
}

/// 64 rows of the tile, by way of `staged`, by the threads of a warpgroup, which meet at named barrier `meeting`. Threads of
/// a row take eight columns each; a thread's rows are kStep apart.
KOINE_DEVICE void finish_half(const EpilogueParams& p, float* staged, const Accumulator (&sums)[kTile / 8], int row,
                              int column, int meeting) {
  constexpr int kGroups = kTile / 8;
  constexpr int kStep = kWarpgroupThreads / kGroups;
  constexpr int kTogether = 4;
  const int own_row = warpgroup_thread() / kWarpThreads * 16 + lane_index() / 4;
  const int own_column = 2 * (lane_index() % 4);
  KOINE_UNROLL
  for (int j = 0; j < kTile / 8; ++j) {
    KOINE_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int place = staged_place<kTile>(own_row + 8 * half, 8 * j + own_column / 4 * 4) + own_column % 4;
      store_pack<float, 2>(staged + place, {{sums[j].x[2 * half], sums[j].x[2 * half + 1]}});
    }
  }
  named_barrier_sync(meeting, kWarpgroupThreads);
  const int group = warpgroup_thread() % kGroups;
  float bias[8];
  load_bias(bias, p, column + 8 * group);
  const PhiloxKey key = dropout_key(p.dropout);
  for (int first = warpgroup_thread() / kGroups; first < kBoxRows; first += kTogether * kStep) {
    finish_rows<kTogether>(
        p, key, column + 8 * group, bias, [&](int i) { return row + first + i * kStep; },
        [&](int i, float(&t)[8]) { read_staged<kTile>(t, staged, first + i * kStep, 8 * group); });
  }
  named_barrier_sync(meeting, kWarpgroupThreads);
}

/// Consumer 0 makes the block's tiles 0, 2, 4 ..., consumer 1 the others. They multiply in turn: who begins a tile knows that
/// all slices before it have landed, so that no stage is more than one phase behind the one it waits for.
template <Major kMajorA, Major kMajorB>
KOINE_DEVICE void consume(GemmSm90Memory& s, const GemmSm90Params& p, unsigned rank, int consumer) {
  constexpr int kTurn = 1 + kConsumers;  // named barriers behind the epilogues' own: one for each consumer's turn
  constexpr int kBoth = kConsumers * kWarpgroupThreads;
  const TileWalk walk(p.plan);
  int number = consumer;
  for (int tile = walk.first + consumer * walk.step; tile < walk.count; tile += kConsumers * walk.step) {
    const TilePlace place = place_of(p.plan, tile, rank);
    Sm90Sums sums;
    if (number > 0) named_barrier_sync(kTurn + consumer, kBoth);
    multiply_tile_sm90<kMajorA, kMajorB>(s, ring_place(number * p.plan.depth_slices), p.plan.depth_slices, sums);
    if (tile + walk.step < walk.count) named_barrier_arrive(kTurn + 1 - consumer, kBoth);
    finish_half(p.epilogue, s.staging[consumer], sums.upper, place.row, place.column, 1 + consumer);
    finish_half(p.epilogue, s.staging[consumer], sums.lower, place.row + kBoxRows, place.column, 1 + consumer);
    number += kConsumers;
  }
}

/// Grid: clusters of two blocks.
template <Major kMajorA, Major kMajorB>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads, 1) gemm_sm90_kernel(const KOINE_GRID_CONSTANT GemmSm90Params p) {
  auto& s = shared_memory<GemmSm90Memory>();
  const unsigned rank = cluster_rank();
  if (thread_index() == 0) {
    for (int stage = 0; stage < kStages; ++stage) {
      mbarrier_init(s.full[stage], 1);
      mbarrier_init(s.empty[stage], kClusterBlocks);  // the consumer of each block that has the tile
    }
    fence_mbarrier_init();
  }
  sync_cluster();
  if (warpgroup_index() == 0) {
    warpgroup_decrease_registers<kProducerRegisters>();
    if (warp_index() == 0 && elect_lane()) produce<kMajorA, kMajorB>(s, p, rank);
    sync_warp();
  } else {
    warpgroup_increase_registers<kConsumerRegisters>();
    consume<kMajorA, kMajorB>(s, p, rank, warpgroup_index() - 1);
  }
  sync_cluster();  // the other block's consumers arrive here until their last slice
}

/// `lines` of `width` elements, of which boxes of 64 x 64 are copied.
TensorMap operand_map(const void* data, std::int64_t width, std::int64_t lines, std::int64_t stride) {
  return make_tensor_map({.data = data,
                          .type = DType::kBFloat16,
                          .dimensions = 2,
                          .extent = {width, lines},
                          .stride_bytes = {2, 2 * stride},
                          .box = {kDepth, kBoxRows},
                          .swizzle = Swizzle::k128Bytes});
}

}  // namespace

GemmSm90Plan plan_gemm_sm90(const GemmArguments& g, int multiprocessors) {
  GemmSm90Plan plan;
  plan.row_pairs = static_cast<int>(divide_up(g.m, kClusterBlocks * kTile));
  plan.column_tiles = static_cast<int>(divide_up(g.n, kTile));
  plan.depth_slices = static_cast<int>(divide_up(g.k, kDepth));
  const std::int64_t pairs = std::int64_t{plan.row_pairs} * plan.column_tiles;
  plan.clusters = static_cast<int>(std::min<std::int64_t>(pairs, multiprocessors / static_cast<int>(kClusterBlocks)));
  return plan;
}

bool gemm_sm90_supports(const GemmArguments& g) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max() - 1024;
  if (g.input_type != DType::kBFloat16 || g.output_type == DType::kFloat64 || (g.transpose_a && g.transpose_b)) return false;
  if (g.m < 1 || g.n < 1 || g.k < 1 || g.m >= kMost || g.n >= kMost || g.k >= kMost) return false;
  if (divide_up(g.m, kTile) * divide_up(g.n, kTile) * divide_up(g.k, kDepth) >= kMost) return false;
  return all_aligned(16, g.a, g.b, 2 * g.lda, 2 * g.ldb);
}

void launch_gemm_sm90(const Context& context, const GemmArguments& g, const GemmSm90Plan& plan) {
  GemmSm90Params p = {.map_a = g.transpose_a ? operand_map(g.a, g.m, g.k, g.lda) : operand_map(g.a, g.k, g.m, g.lda),
                      .map_b = g.transpose_b ? operand_map(g.b, g.k, g.n, g.ldb) : operand_map(g.b, g.n, g.k, g.ldb),
                      .plan = plan,
                      .epilogue = epilogue_params(g)};
  const Launch tiles = {.kernel = "gemm_sm90",
                        .shape = {g.m, g.n, g.k},
                        .grid = {grid_extent(plan.clusters * kClusterBlocks)},
                        .cluster = {kClusterBlocks},
                        .threads = kThreads,
                        .shared_bytes = sizeof(GemmSm90Memory),
                        .stream = context.stream};
  if (g.transpose_a) {
    launch(tiles, gemm_sm90_kernel<Major::kRows, Major::kRows>, p);
  } else if (g.transpose_b) {
    launch(tiles, gemm_sm90_kernel<Major::kDepth, Major::kDepth>, p);
  } else {
    launch(tiles, gemm_sm90_kernel<Major::kDepth, Major::kRows>, p);
  }
}

void gemm_sm90(const Context& context, const GemmArguments& g, void* /*workspace*/) {
  launch_gemm_sm90(context, g, plan_gemm_sm90(g));
}

}  // namespace koine
