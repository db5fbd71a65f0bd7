// d_weight += dy^T x, d_bias += column sums of dy, for up to eight layers in one grid: a block makes one tile of one layer's
// d_weight, by gemm_tile.h (bf16) or gemm_float_tile.h (fp32), over all rows in ascending order. The list of layers travels
// in the kernel's parameters; a block finds its layer by the number of its first tile.
//
// bf16 tiles are 128 x 128, or 64 x 64 where all layers together have fewer than 132 large ones, or where an operand's rows
// do not begin on multiples of 16 bytes: elements are read one by one then.
//
// d_bias comes from the blocks of a layer's first column of tiles: the slices of dy that they hold anyway are multiplied by
// ones as well, one more product of tensor cores beside the eight of a step (fp32: added up, a row a thread).
//
// FLOPs 2 rows out in; from L2 1/64 element of x and dy per multiply-add (small tiles 1/32); d_weight read and written once.
// Shared memory 64 KiB (small 32 KiB, fp32 26 KiB). Sizes below 2^31.

#include <algorithm>
#include <limits>

#include "kernels/cuda/launch.h"
#include "kernels/gemm/gemm_epilogue.h"
#include "kernels/gemm/gemm_float_tile.h"
#include "kernels/gemm/gemm_tile.h"
#include "kernels/gemm/weight_gradients.h"

namespace koine {
namespace {

using namespace cuda;

struct Entry {
  int out;
  int in;
  int rows;
  int first_tile;
  int row_tiles;
  int column_tiles;
  bool vector;  ///< rows of d_weight begin on multiples of 16 bytes
  const void* x;
  const void* dy;
  std::int64_t ldx;
  std::int64_t lddy;
  float* d_weight;
  float* d_bias;
};

struct Params {
  int count;
  Entry entries[WeightGradientsArguments::kMost];
};

/// The layer that tile `tile` belongs to.
KOINE_DEVICE int entry_of(const Params& p, int tile) {
  int entry = 0;
  while (entry + 1 < p.count && tile >= p.entries[entry + 1].first_tile) ++entry;
  return entry;
}

KOINE_DEVICE EpilogueParams epilogue_of(const Entry& e) {
  EpilogueParams epilogue;
  epilogue.rows = e.out;
  epilogue.columns = e.in;
  epilogue.stride = e.in;
  epilogue.c = e.d_weight;
  epilogue.vector = e.vector;
  epilogue.accumulate = true;
  return epilogue;
}

/// Each row's sum is in all columns of its fragment: the first lane of the four that hold a row adds it.
template <int kSize>
KOINE_DEVICE void add_bias(const Entry& e, int first_row, const TileSums<kSize, true>& sums) {
  const bool adds = lane_index() % 4 == 0;
  const int first = first_row + warp_index() / 2 * (kSize / 2) + lane_index() / 4;
  KOINE_UNROLL
  for (int i = 0; i < kSize / 32; ++i) {
    KOINE_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = first + 16 * i + 8 * half;
      if (adds && row < e.out) e.d_bias[row] += sums.rows[i].x[2 * half];
    }
  }
}

/// Threads of a row of the tile take eight columns each, four rows at a time.
template <int kSize>
KOINE_DEVICE void add_weight(const Entry& e, const TilePlace& place, const float* staged) {
  constexpr int kGroups = kSize / 8;
  constexpr int kStep = kTileThreads / kGroups;
  constexpr int kTogether = 4;
  const EpilogueParams epilogue = epilogue_of(e);
  const int group = thread_index() % kGroups;
  const float no_bias[8] = {};
  for (int row = thread_index() / kGroups; row < kSize; row += kTogether * kStep) {
    finish_rows<kTogether>(
        epilogue, {}, place.column * kSize + 8 * group, no_bias, [&](int i) { return place.row * kSize + row + i * kStep; },
        [&](int i, float(&t)[8]) { read_staged<kSize>(t, staged, row + i * kStep, 8 * group); });
  }
}

template <int kSize, bool kVector>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kTileThreads, kTileBlocks<kSize>) weight_gradients_kernel(Params p) {
  auto& memory = shared_memory<TileMemory<kSize>>();
  auto* staged = reinterpret_cast<float*>(&memory);
  const int tile = static_cast<int>(block_index().x);
  const Entry& e = p.entries[entry_of(p, tile)];
  const TilePlace place = tile_place(tile - e.first_tile, e.row_tiles, e.column_tiles);
  {
    const bool bias = e.d_bias != nullptr && place.column == 0 && warp_index() % 2 == 0;
    TileSums<kSize, true> sums;
    multiply_tile<kSize, true, false, kVector>(memory, {static_cast<const BFloat16*>(e.dy), e.lddy, e.out},
                                               {static_cast<const BFloat16*>(e.x), e.ldx, e.in}, place.row * kSize,
                                               place.column * kSize, 0, e.rows, bias, sums);
    if (bias) add_bias<kSize>(e, place.row * kSize, sums);
    stage_tile<kSize>(staged, sums);
  }
  sync_block();
  add_weight<kSize>(e, place, staged);
}

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kFloatThreads) weight_gradients_float_kernel(Params p) {
  auto& memory = shared_memory<FloatTileMemory>();
  const int tile = static_cast<int>(block_index().x);
  const Entry& e = p.entries[entry_of(p, tile)];
  const TilePlace place = tile_place(tile - e.first_tile, e.row_tiles, e.column_tiles);
  const bool bias = e.d_bias != nullptr && place.column == 0;
  FloatTileSums sums;
  multiply_float_tile(memory, {static_cast<const float*>(e.dy), e.lddy, e.out, false},
                      {static_cast<const float*>(e.x), e.ldx, e.in, false}, place.row * kFloatRows,
                      place.column * kFloatColumns, 0, e.rows, bias, sums);
  const int bias_row = place.row * kFloatRows + thread_index();
  if (bias && bias_row < e.out) e.d_bias[bias_row] += sums.row;
  const EpilogueParams epilogue = epilogue_of(e);
  const float no_bias[8] = {};
  KOINE_UNROLL
  for (int i = 0; i < 8; ++i) {
    finish_rows<1>(
        epilogue, {}, place.column * kFloatColumns + float_column(), no_bias,
        [&](int) { return place.row * kFloatRows + float_row(i); },
        [&](int, float(&t)[8]) {
          KOINE_UNROLL
          for (int j = 0; j < 8; ++j) t[j] = sums.c[i][j];
        });
  }
}

// --- choosing ------------------------------------------------------------------------------------------------------------

constexpr std::int64_t kEnoughTiles = 132;  // one for each multiprocessor of a large device, whatever the device

std::int64_t tiles_of(const WeightGradient& e, std::int64_t rows, std::int64_t columns) {
  // A layer without inputs has a bias all the same.
  return divide_up(e.out, rows) * std::max<std::int64_t>(divide_up(e.in, columns), e.d_bias != nullptr ? 1 : 0);
}

std::int64_t tiles_of(const WeightGradientsArguments& a, std::int64_t rows, std::int64_t columns) {
  std::int64_t total = 0;
  for (int i = 0; i < a.count; ++i) total += tiles_of(a.entries[i], rows, columns);
  return total;
}

Params params_of(const WeightGradientsArguments& a, std::int64_t rows, std::int64_t columns) {
  Params p = {};
  std::int64_t first = 0;
  for (int i = 0; i < a.count; ++i) {
    const WeightGradient& e = a.entries[i];
    const std::int64_t tiles = tiles_of(e, rows, columns);
    if (tiles == 0) continue;
    const std::int64_t row_tiles = divide_up(e.out, rows);
    p.entries[p.count++] = {.out = static_cast<int>(e.out),
                            .in = static_cast<int>(e.in),
                            .rows = static_cast<int>(e.rows),
                            .first_tile = static_cast<int>(first),
                            .row_tiles = static_cast<int>(row_tiles),
                            .column_tiles = static_cast<int>(tiles / row_tiles),
                            .vector = all_aligned(16, e.d_weight, static_cast<std::uintptr_t>(e.in) * sizeof(float)),
                            .x = e.x,
                            .dy = e.dy,
                            .ldx = e.ldx,
                            .lddy = e.lddy,
                            .d_weight = e.d_weight,
                            .d_bias = e.d_bias};
    first += tiles;
  }
  return p;
}

bool vector_operands(const WeightGradientsArguments& a) {
  return std::all_of(a.entries, a.entries + a.count, [](const WeightGradient& e) {
    return all_aligned(16, e.x, e.dy, static_cast<std::uintptr_t>(e.ldx) * sizeof(BFloat16),
                       static_cast<std::uintptr_t>(e.lddy) * sizeof(BFloat16));
  });
}

}  // namespace

bool weight_gradients_portable_supports(const WeightGradientsArguments& a) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max() - 1024;
  const bool fits = std::all_of(a.entries, a.entries + a.count,
                                [](const WeightGradient& e) { return e.out < kMost && e.in < kMost && e.rows < kMost; });
  return a.type != DType::kFloat64 && fits && tiles_of(a, 64, 64) < kMost;
}

void weight_gradients_portable(const Context& context, const WeightGradientsArguments& a, void*) {
  const auto start = [&](auto kernel, const char* name, std::size_t shared, std::int64_t rows, std::int64_t columns) {
    const std::int64_t tiles = tiles_of(a, rows, columns);
    if (tiles == 0) return;
    launch({.kernel = name,
            .shape = {a.count, a.entries[0].out, a.entries[0].in, a.entries[0].rows},
            .grid = {grid_extent(tiles)},
            .threads = kTileThreads,
            .shared_bytes = shared,
            .stream = context.stream},
           kernel, params_of(a, rows, columns));
  };
  if (a.type == DType::kFloat32) {
    start(weight_gradients_float_kernel, "weight_gradients_fp32", sizeof(FloatTileMemory), kFloatRows, kFloatColumns);
  } else if (!vector_operands(a)) {
    start(weight_gradients_kernel<64, false>, "weight_gradients_bf16", sizeof(TileMemory<64>), 64, 64);
  } else if (tiles_of(a, 128, 128) < kEnoughTiles) {
    start(weight_gradients_kernel<64, true>, "weight_gradients_bf16", sizeof(TileMemory<64>), 64, 64);
  } else {
    start(weight_gradients_kernel<128, true>, "weight_gradients_bf16", sizeof(TileMemory<128>), 128, 128);
  }
}

}  // namespace koine
