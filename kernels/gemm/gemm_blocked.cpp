#include "kernels/gemm/gemm_blocked.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "kernels/common/parallel.h"

namespace koine {
namespace {

constexpr std::int64_t kPackedBytes = 16 << 20;  // of A and of B that are packed at a time, at most (but for one tile)
constexpr std::int64_t kPackedRows = 64;         // rows of A that one task packs
constexpr std::int64_t kEnoughTiles = 48;        // tiles get smaller until there are so many
constexpr double kFlopsWorthThreads = 3e6;       // below, waking another thread costs more than it saves
constexpr std::int64_t kAlignment = 256;

std::int64_t divide_up(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit; }
std::int64_t round_up(std::int64_t value, std::int64_t unit) { return divide_up(value, unit) * unit; }

// Sizes of one product, from its shape (and, for the number of slots only, the number of threads).
struct Plan {
  bool pack_a = false;
  bool pack_b_by_tile = false;
  std::int64_t tile_rows = 0;
  std::int64_t tile_columns = 0;
  std::int64_t chunk_rows = 0;     // of C between two packings of A
  std::int64_t chunk_columns = 0;  // of C between two packings of B
  std::int64_t block_depth = 0;    // of k, but for the last block
  std::int64_t workers = 1;
  // Bytes of the workspace's parts, in this order.
  std::int64_t sums_bytes = 0;        // of one worker
  std::int64_t tile_panel_bytes = 0;  // of one worker
  std::int64_t a_bytes = 0;
  std::int64_t b_bytes = 0;

  std::int64_t slot_bytes() const { return sums_bytes + tile_panel_bytes; }
  std::int64_t total_bytes() const { return workers * slot_bytes() + a_bytes + b_bytes; }
};

void choose_tiles(const TileEngine& engine, const GemmArguments& arguments, Plan& plan) {
  const auto tiles = [&] { return divide_up(arguments.m, plan.tile_rows) * divide_up(arguments.n, plan.tile_columns); };
  plan.pack_b_by_tile = arguments.m <= kFewRows;
  plan.tile_rows = plan.pack_b_by_tile ? arguments.m : 128;
  plan.tile_columns = plan.pack_b_by_tile ? 128 : 256;
  while (tiles() < kEnoughTiles && plan.tile_columns > 64) {
    if (plan.tile_columns > 128 || plan.pack_b_by_tile || plan.tile_rows == 64) {
      plan.tile_columns /= 2;
    } else {
      plan.tile_rows /= 2;
    }
  }
  plan.tile_columns = round_up(std::min(plan.tile_columns, arguments.n), engine.panel_columns);
}

Plan make_plan(const TileEngine& engine, const GemmArguments& arguments) {
  Plan plan;
  choose_tiles(engine, arguments, plan);
  const auto element = static_cast<std::int64_t>(size_of(engine.panel_type));
  const bool same_type = (arguments.input_type == DType::kFloat32) == (engine.panel_type == PanelType::kFloat32);
  const bool dense = arguments.lda == arguments.k && arguments.k <= kMostDenseDepth;
  plan.pack_a = arguments.transpose_a || !same_type || arguments.k % engine.depth_unit != 0 || (engine.dense_rows && !dense);
  const std::int64_t depth = round_up(arguments.k, kDepthUnit);
  plan.block_depth = engine.dense_rows && !plan.pack_a ? depth : std::min(depth, kBlockDepth);

  const auto fitting = [&](std::int64_t extent, std::int64_t unit) {
    const std::int64_t most = kPackedBytes / std::max<std::int64_t>(1, depth * element) / unit * unit;
    return std::min(round_up(extent, unit), std::max(unit, most));
  };
  plan.chunk_rows = arguments.m;
  if (plan.pack_a) {
    plan.chunk_rows = fitting(arguments.m, plan.tile_rows);
    plan.a_bytes = round_up(depth * plan.chunk_rows * element, kAlignment);
  }
  plan.chunk_columns = round_up(arguments.n, plan.tile_columns);
  if (plan.pack_b_by_tile) {
    plan.tile_panel_bytes = round_up(plan.tile_columns * plan.block_depth * element, kAlignment);
  } else {
    plan.chunk_columns = fitting(arguments.n, plan.tile_columns);
    plan.b_bytes = round_up(depth * plan.chunk_columns * element, kAlignment);
  }
  plan.sums_bytes = round_up(plan.tile_rows * plan.tile_columns * static_cast<std::int64_t>(sizeof(float)), kAlignment);

  const double flops =
      2.0 * static_cast<double>(arguments.m) * static_cast<double>(arguments.n) * static_cast<double>(arguments.k);
  const std::int64_t tiles = divide_up(std::min(plan.chunk_rows, arguments.m), plan.tile_rows) *
                             divide_up(std::min(plan.chunk_columns, arguments.n), plan.tile_columns);
  plan.workers = flops < kFlopsWorthThreads ? 1 : std::min<std::int64_t>(tiles, thread_count());
  return plan;
}

// One product while it runs.
struct Run {
  const TileEngine& engine;
  const GemmArguments& arguments;
  const Plan plan;
  char* slots;
  char* packed_a;
  char* packed_b;

  std::int64_t element() const { return static_cast<std::int64_t>(size_of(engine.panel_type)); }
  std::int64_t blocks() const { return arguments.k == 0 ? 0 : divide_up(arguments.k, plan.block_depth); }
  std::int64_t first_of(std::int64_t block) const { return block * plan.block_depth; }
  std::int64_t depth_of(std::int64_t block) const { return std::min(plan.block_depth, arguments.k - first_of(block)); }
  std::int64_t padded_depth_of(std::int64_t block) const { return round_up(depth_of(block), kDepthUnit); }

  char* packed_rows_of(std::int64_t block, std::int64_t chunk_row) const {
    return packed_a + (first_of(block) * plan.chunk_rows + chunk_row * padded_depth_of(block)) * element();
  }
  char* packed_panel_of(std::int64_t block, std::int64_t chunk_column) const {
    return packed_b + (first_of(block) * plan.chunk_columns + chunk_column * padded_depth_of(block)) * element();
  }
};

// Calls task(index) for 0 .. tasks-1, in this thread where the product is small.
template <class Task>
void for_each(const Run& run, std::int64_t tasks, const Task& task) {
  if (run.plan.workers > 1) {
    parallel_for(tasks, [&task](std::int64_t index) { task(index); });
  } else {
    for (std::int64_t index = 0; index < tasks; ++index) task(index);
  }
}

void pack_a_chunk(const Run& run, std::int64_t first_row, std::int64_t rows) {
  const std::int64_t groups = divide_up(rows, kPackedRows);
  for_each(run, groups * run.blocks(), [&](std::int64_t index) {
    const std::int64_t block = index / groups;
    const std::int64_t row = index % groups * kPackedRows;
    pack_rows(run.engine.panel_type, run.arguments, first_row + row, std::min(kPackedRows, rows - row), run.first_of(block),
              run.depth_of(block), run.packed_rows_of(block, row));
  });
}

void pack_b_chunk(const Run& run, std::int64_t first_column, std::int64_t columns) {
  const std::int64_t width = run.engine.panel_columns;
  const std::int64_t panels = divide_up(columns, width);
  for_each(run, panels * run.blocks(), [&](std::int64_t index) {
    const std::int64_t block = index / panels;
    const std::int64_t column = index % panels * width;
    pack_panel(run.engine, run.arguments, run.first_of(block), run.depth_of(block), first_column + column,
               std::min(width, columns - column), run.packed_panel_of(block, column));
  });
}

// A part of C: first row and column, their number, and where these lie in the packed chunks.
struct Tile {
  std::int64_t row, rows, column, columns, chunk_row, chunk_column;
};

const void* tile_panels(const Run& run, const Tile& tile, std::int64_t block, std::int64_t panel_stride, char* own) {
  if (!run.plan.pack_b_by_tile) return run.packed_panel_of(block, tile.chunk_column);
  for (std::int64_t column = 0; column < tile.columns; column += run.engine.panel_columns) {
    pack_panel(run.engine, run.arguments, run.first_of(block), run.depth_of(block), tile.column + column,
               std::min(run.engine.panel_columns, tile.columns - column),
               own + column / run.engine.panel_columns * panel_stride * run.element());
  }
  return own;
}

void run_tile(const Run& run, const Tile& tile, char* slot) {
  auto* sums = reinterpret_cast<float*>(slot);
  const std::int64_t columns = round_up(tile.columns, run.engine.panel_columns);
  if (run.blocks() == 0) std::memset(sums, 0, static_cast<std::size_t>(tile.rows * columns) * sizeof(float));
  for (std::int64_t block = 0; block < run.blocks(); ++block) {
    const std::int64_t padded_depth = run.padded_depth_of(block);
    TileProduct product;
    product.rows = tile.rows;
    product.columns = columns;
    product.depth = run.plan.pack_a ? padded_depth : run.depth_of(block);
    product.a = run.plan.pack_a ? run.packed_rows_of(block, tile.chunk_row)
                                : offset_by(run.arguments.a, run.arguments.input_type,
                                            tile.row * run.arguments.lda + run.first_of(block));
    product.lda = run.plan.pack_a ? padded_depth : run.arguments.lda;
    product.panel_stride = padded_depth * run.engine.panel_columns;
    product.panels = tile_panels(run, tile, block, product.panel_stride, slot + run.plan.sums_bytes);
    product.sums = sums;
    product.add = block > 0;
    run.engine.multiply(product);
  }
  finish_tile(run.arguments, tile.row, tile.rows, tile.column, tile.columns, sums, columns);
}

// All tiles of the part of C whose operands are packed. Which worker takes a tile is left to chance; nothing depends on it.
void run_chunk(const Run& run, std::int64_t first_row, std::int64_t rows, std::int64_t first_column, std::int64_t columns) {
  const Plan& plan = run.plan;
  const std::int64_t row_tiles = divide_up(rows, plan.tile_rows);
  const std::int64_t tiles = row_tiles * divide_up(columns, plan.tile_columns);
  std::atomic<std::int64_t> next{0};
  for_each(run, plan.workers, [&](std::int64_t worker) {
    for (std::int64_t index; (index = next.fetch_add(1, std::memory_order_relaxed)) < tiles;) {
      const std::int64_t row = index % row_tiles * plan.tile_rows;
      const std::int64_t column = index / row_tiles * plan.tile_columns;
      run_tile(run,
               {first_row + row, std::min(plan.tile_rows, rows - row), first_column + column,
                std::min(plan.tile_columns, columns - column), row, column},
               run.slots + worker * plan.slot_bytes());
    }
  });
}

}  // namespace

std::size_t blocked_workspace_bytes(const TileEngine& engine, const GemmArguments& arguments) {
  if (arguments.m == 0 || arguments.n == 0) return 0;
  return static_cast<std::size_t>(make_plan(engine, arguments).total_bytes());
}

void blocked_product(const TileEngine& engine, const GemmArguments& arguments, void* workspace) {
  if (arguments.m == 0 || arguments.n == 0) return;
  const Plan plan = make_plan(engine, arguments);
  char* const slots = static_cast<char*>(workspace);
  char* const packed_a = slots + plan.workers * plan.slot_bytes();
  const Run run{engine, arguments, plan, slots, packed_a, packed_a + plan.a_bytes};
  for (std::int64_t column = 0; column < arguments.n; column += plan.chunk_columns) {
    const std::int64_t columns = std::min(plan.chunk_columns, arguments.n - column);
    if (!plan.pack_b_by_tile) pack_b_chunk(run, column, columns);
    for (std::int64_t row = 0; row < arguments.m; row += plan.chunk_rows) {
      const std::int64_t rows = std::min(plan.chunk_rows, arguments.m - row);
      // One packing serves all chunks of columns where A fits as a whole.
      if (plan.pack_a && (column == 0 || plan.chunk_rows < arguments.m)) pack_a_chunk(run, row, rows);
      run_chunk(run, row, rows, column, columns);
    }
  }
}

}  // namespace koine
