// C = epilogue(op(A) op(B)). bf16 on tensor cores (gemm_tile.h), tiles of 128 x 128 where there are enough of them to busy a
// large device and of 64 x 64 otherwise; fp32 by multiply-adds (gemm_float_tile.h), tiles of 128 x 64. A block makes one
// tile.
//
// FLOPs 2 m n k. From L2, per multiply-add: 1/64 element of A and B each (1/32 for small tiles); C and what the epilogue
// reads once, in 16-byte pieces, 128 bytes or more of a row together. The tile goes to the epilogue by way of shared memory,
// in the place of the slices: 64 KiB, small 32 KiB, so that two blocks (small: four) share a multiprocessor, and one's
// epilogue runs beside the other's product.
//
// Few tiles and a long depth (weight gradients): the depth is cut in parts, whose sums go to the workspace; a second kernel
// adds them in order and finishes. Only products that transpose A are cut: the rows of the others are tokens, and a token's
// result does not depend on how many there are.
//
// Slow, through loads of single elements and small tiles only: rows of A or B that do not begin on multiples of 16 bytes,
// and A and B both transposed. Sizes are below 2^31.

#include <algorithm>
#include <limits>

#include "kernels/cuda/launch.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/gemm_epilogue.h"
#include "kernels/gemm/gemm_float_tile.h"
#include "kernels/gemm/gemm_portable.h"
#include "kernels/gemm/gemm_tile.h"

namespace koine {
namespace {

using namespace cuda;

struct GemmParams {
  const void* a;
  const void* b;
  std::int64_t stride_a;
  std::int64_t stride_b;
  int depth;       // k
  int part_depth;  // of a split
  int row_tiles;
  int column_tiles;
  bool transpose_a;
  bool transpose_b;
  float* partial;  // [splits, m, columns rounded up to 8] where there are several splits
  EpilogueParams epilogue;
};

KOINE_HOST_DEVICE std::int64_t partial_stride(std::int64_t columns) { return (columns + 7) / 8 * 8; }

/// The part of the depth that is this block's.
struct Part {
  int begin;
  int end;
};
KOINE_DEVICE Part part_of_block(const GemmParams& p) {
  const int begin = static_cast<int>(block_index().y) * p.part_depth;
  return {begin, p.depth - begin < p.part_depth ? p.depth : begin + p.part_depth};
}

/// Eight sums of a part, to the workspace.
KOINE_DEVICE void store_partial(const GemmParams& p, int row, int column, const float (&t)[8]) {
  if (row >= p.epilogue.rows || column >= p.epilogue.columns) return;
  const std::int64_t stride = partial_stride(p.epilogue.columns);
  store_floats(p.partial + (block_index().y * std::int64_t{p.epilogue.rows} + row) * stride + column, t);
}

/// Threads of a row of a tile take eight columns each; a thread's rows are kStep apart.
template <int kSize>
KOINE_DEVICE void finish_tile(const GemmParams& p, const float* staged, const TilePlace& place) {
  constexpr int kGroups = kSize / 8;
  constexpr int kStep = kTileThreads / kGroups;
  constexpr int kTogether = 4;
  const int group = thread_index() % kGroups;
  const int first = thread_index() / kGroups;
  const int column = place.column * kSize + 8 * group;
  float bias[8];
  load_bias(bias, p.epilogue, column);
  const PhiloxKey key = dropout_key(p.epilogue.dropout);
  for (int row = first; row < kSize; row += kTogether * kStep) {
    const auto sums_of = [&](int i, float(&t)[8]) { read_staged<kSize>(t, staged, row + i * kStep, 8 * group); };
    const auto row_of = [&](int i) { return place.row * kSize + row + i * kStep; };
    if (p.partial != nullptr) {
      KOINE_UNROLL
      for (int i = 0; i < kTogether; ++i) {
        float t[8];
        sums_of(i, t);
        store_partial(p, row_of(i), column, t);
      }
    } else {
      finish_rows<kTogether>(p.epilogue, key, column, bias, row_of, sums_of);
    }
  }
}

/// Grid: tiles, splits.
template <int kSize, bool kTransposeA, bool kTransposeB, bool kVector>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kTileThreads, kTileBlocks<kSize>) gemm_kernel(GemmParams p) {
  auto& memory = shared_memory<TileMemory<kSize>>();
  const TilePlace place = tile_place(static_cast<int>(block_index().x), p.row_tiles, p.column_tiles);
  const Part part = part_of_block(p);
  auto* staged = reinterpret_cast<float*>(&memory);
  {
    TileSums<kSize, false> sums;
    multiply_tile<kSize, kTransposeA, kTransposeB, kVector>(
        memory, {static_cast<const BFloat16*>(p.a), p.stride_a, p.epilogue.rows},
        {static_cast<const BFloat16*>(p.b), p.stride_b, p.epilogue.columns}, place.row * kSize, place.column * kSize,
        part.begin, part.end, false, sums);
    stage_tile<kSize>(staged, sums);
  }
  sync_block();
  finish_tile<kSize>(p, staged, place);
}

/// Grid: tiles, splits. A thread finishes its own sums.
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kFloatThreads) gemm_float_kernel(GemmParams p) {
  auto& memory = shared_memory<FloatTileMemory>();
  const TilePlace place = tile_place(static_cast<int>(block_index().x), p.row_tiles, p.column_tiles);
  const Part part = part_of_block(p);
  FloatTileSums sums;
  multiply_float_tile(memory, {static_cast<const float*>(p.a), p.stride_a, p.epilogue.rows, !p.transpose_a},
                      {static_cast<const float*>(p.b), p.stride_b, p.epilogue.columns, p.transpose_b},
                      place.row * kFloatRows, place.column * kFloatColumns, part.begin, part.end, false, sums);
  const int column = place.column * kFloatColumns + float_column();
  float bias[8];
  load_bias(bias, p.epilogue, column);
  const PhiloxKey key = dropout_key(p.epilogue.dropout);
  KOINE_UNROLL
  for (int i = 0; i < 8; ++i) {
    const auto row_of = [&](int) { return place.row * kFloatRows + float_row(i); };
    const auto sums_of = [&](int, float(&t)[8]) {
      KOINE_UNROLL
      for (int j = 0; j < 8; ++j) t[j] = sums.c[i][j];
    };
    if (p.partial != nullptr) {
      store_partial(p, row_of(0), column, sums.c[i]);
    } else {
      finish_rows<1>(p.epilogue, key, column, bias, row_of, sums_of);
    }
  }
}

constexpr int kSplitThreads = 128;

/// A thread adds eight columns' parts in order and finishes them. Bound by memory traffic: splits * 4 bytes an element.
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kSplitThreads) gemm_split_kernel(GemmParams p, int splits) {
  const std::int64_t groups = partial_stride(p.epilogue.columns) / 8;
  const std::int64_t group = std::int64_t{block_index().x} * kSplitThreads + thread_index();
  const bool inside = group < groups * p.epilogue.rows;
  const int row = inside ? static_cast<int>(group / groups) : p.epilogue.rows;
  const int column = static_cast<int>(group % groups) * 8;
  float bias[8];
  load_bias(bias, p.epilogue, column);
  const auto sums_of = [&](int, float(&t)[8]) {
    KOINE_UNROLL
    for (int j = 0; j < 8; ++j) t[j] = 0;
    for (int split = 0; split < splits && inside; ++split) {
      float part[8];
      load_floats(part, p.partial + (split * std::int64_t{p.epilogue.rows} * groups + group) * 8);
      KOINE_UNROLL
      for (int j = 0; j < 8; ++j) t[j] += part[j];
    }
  };
  finish_rows<1>(
      p.epilogue, dropout_key(p.epilogue.dropout), column, bias, [&](int) { return row; }, sums_of);
}

// --- choosing ------------------------------------------------------------------------------------------------------------

constexpr std::int64_t kMultiprocessors = 132;  // the plan's idea of a device, whatever the device
constexpr std::int64_t kLeastPartDepth = 512;
constexpr std::int64_t kMostSplits = 16;
// Writing and reading a part's sums takes about as long as so much depth of the product: 128 KiB of a large tile at a
// multiprocessor's share of 3.3 TB/s, against its share of 500 TFLOP/s.
constexpr std::int64_t kPartCost = 600;

bool vector_operands(const GemmArguments& g) {
  const auto bytes = [&](std::int64_t stride) { return static_cast<std::uintptr_t>(stride) * size_of(g.input_type); };
  return all_aligned(16, g.a, g.b, bytes(g.lda), bytes(g.ldb));
}

struct TileShape {
  std::int64_t rows;
  std::int64_t columns;
};
TileShape shape_of(GemmTile tile) {
  if (tile == GemmTile::kFloat) return {kFloatRows, kFloatColumns};
  return tile == GemmTile::kLarge ? TileShape{128, 128} : TileShape{64, 64};
}

std::int64_t tile_count(const GemmArguments& g, GemmTile tile) {
  const TileShape shape = shape_of(tile);
  return divide_up(g.m, shape.rows) * divide_up(g.n, shape.columns);
}

/// As many parts as take the least time: waves of blocks, times what a block does.
void plan_splits(const GemmArguments& g, GemmPlan& plan) {
  plan.splits = 1;
  plan.depth = g.k;
  if (!g.transpose_a) return;
  const std::int64_t tiles = tile_count(g, plan.tile);
  const std::int64_t together = kMultiprocessors * (plan.tile == GemmTile::kSmall ? kTileBlocks<64> : kTileBlocks<128>);
  std::int64_t least = divide_up(tiles, together) * g.k;
  for (std::int64_t splits = 2; splits <= std::min(g.k / kLeastPartDepth, kMostSplits); ++splits) {
    const std::int64_t cost = divide_up(tiles * splits, together) * (divide_up(g.k, splits) + kPartCost);
    if (cost >= least) continue;
    least = cost;
    plan.depth = divide_up(divide_up(g.k, splits), kTileDepth) * kTileDepth;
    plan.splits = divide_up(g.k, plan.depth);
  }
}

template <int kSize, bool kTransposeA, bool kTransposeB, bool kVector>
void start(const Launch& launch_of, const GemmParams& params) {
  Launch tiles = launch_of;
  tiles.shared_bytes = sizeof(TileMemory<kSize>);
  launch(tiles, gemm_kernel<kSize, kTransposeA, kTransposeB, kVector>, params);
}

void start_tiles(const GemmPlan& plan, const Launch& launch_of, const GemmParams& p) {
  if (plan.tile == GemmTile::kFloat) {
    Launch tiles = launch_of;
    tiles.shared_bytes = sizeof(FloatTileMemory);
    launch(tiles, gemm_float_kernel, p);
    return;
  }
  using Start = void (*)(const Launch&, const GemmParams&);
  constexpr Start kTable[3][4] = {
      {start<128, false, false, true>, start<128, false, true, true>, start<128, true, false, true>, nullptr},
      {start<64, false, false, true>, start<64, false, true, true>, start<64, true, false, true>, nullptr},
      {start<64, false, false, false>, start<64, false, true, false>, start<64, true, false, false>,
       start<64, true, true, false>}};
  const int kind = plan.tile == GemmTile::kLarge ? 0 : plan.tile == GemmTile::kSmall ? 1 : 2;
  const Start start_kernel = kTable[kind][(p.transpose_a ? 2 : 0) + (p.transpose_b ? 1 : 0)];
  check(start_kernel != nullptr, "gemm: no such tile for A and B both transposed");
  start_kernel(launch_of, p);
}

}  // namespace

GemmPlan plan_gemm(const GemmArguments& g) {
  GemmPlan plan;
  plan.tile = g.input_type == DType::kFloat32 ? GemmTile::kFloat : GemmTile::kLarge;
  plan_splits(g, plan);
  if (plan.tile == GemmTile::kFloat) return plan;
  // Large tiles read half as much, but are to reach half of the multiprocessors.
  if (tile_count(g, plan.tile) * plan.splits * 2 < kMultiprocessors) {
    plan.tile = GemmTile::kSmall;
    plan_splits(g, plan);
  }
  // The parts stay: neither results nor workspaces depend on where operands lie.
  if (!vector_operands(g) || (g.transpose_a && g.transpose_b)) plan.tile = GemmTile::kSmallElements;
  return plan;
}

std::size_t gemm_plan_workspace(const GemmArguments& g, const GemmPlan& plan) {
  if (plan.splits == 1) return 0;
  return static_cast<std::size_t>(plan.splits * g.m * partial_stride(g.n)) * sizeof(float);
}

void launch_gemm_plan(const Context& context, const GemmArguments& g, const GemmPlan& plan, void* workspace) {
  if (g.m == 0 || g.n == 0) return;
  const TileShape shape = shape_of(plan.tile);
  GemmParams p = {.a = g.a,
                  .b = g.b,
                  .stride_a = g.lda,
                  .stride_b = g.ldb,
                  .depth = static_cast<int>(g.k),
                  .part_depth = static_cast<int>(plan.depth),
                  .row_tiles = static_cast<int>(divide_up(g.m, shape.rows)),
                  .column_tiles = static_cast<int>(divide_up(g.n, shape.columns)),
                  .transpose_a = g.transpose_a,
                  .transpose_b = g.transpose_b,
                  .partial = plan.splits > 1 ? static_cast<float*>(workspace) : nullptr,
                  .epilogue = epilogue_params(g)};
  start_tiles(plan,
              {.kernel = plan.tile == GemmTile::kFloat ? "gemm_fp32" : "gemm_bf16",
               .shape = {g.m, g.n, g.k},
               .grid = {grid_extent(tile_count(g, plan.tile)), grid_extent(plan.splits)},
               .threads = kTileThreads,
               .stream = context.stream},
              p);
  if (plan.splits == 1) return;
  launch({.kernel = "gemm_split",
          .shape = {g.m, g.n, g.k, plan.splits},
          .grid = {grid_extent(divide_up(g.m * (partial_stride(g.n) / 8), kSplitThreads))},
          .threads = kSplitThreads,
          .stream = context.stream},
         gemm_split_kernel, p, static_cast<int>(plan.splits));
}

bool gemm_portable_supports(const GemmArguments& g) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max() - 1024;
  return g.input_type != DType::kFloat64 && g.output_type != DType::kFloat64 && g.m < kMost && g.n < kMost && g.k < kMost &&
         tile_count(g, plan_gemm(g).tile) < kMost;
}

std::size_t gemm_portable_workspace(const GemmArguments& g) { return gemm_plan_workspace(g, plan_gemm(g)); }

void gemm_portable(const Context& context, const GemmArguments& g, void* workspace) {
  launch_gemm_plan(context, g, plan_gemm(g), workspace);
}

}  // namespace koine
