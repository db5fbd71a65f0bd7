// adafactor in six launches, over tiles of 128 rows and 256 columns (adafactor_tiles.h), a block of 256 threads each:
//
//   sums      what the tile adds to R and C, in double, into the workspace; or V itself and the sum of x^2. Where
//             scale_parameter the sum of the parameter's squares, too
//   factors   R and C, a thread each, from the sums of the tiles in order
//   means     mean(R), a block for each tensor
//   squares   the sum of x^2 of a factored tensor's tile
//   scales    what each tensor's update is multiplied by, a block for each tensor
//   update    parameter, working copy, gradients
//
// A warp takes rows w, w + 8, ... of a tile, a lane columns l, l + 32, ...: loads of 128 neighbouring bytes, eight in flight in
// each thread. Sums over a warp by shuffles, over warps in order through shared memory (16 KiB). Traffic: adafactor.h. Per
// element some additions in double: below the memory's time where fp64 runs at half the fp32 rate.

#include <cmath>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/cuda/warp.h"
#include "kernels/optimizer/adafactor.h"
#include "kernels/optimizer/adafactor_tiles.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpThreads;
constexpr int kColumns = static_cast<int>(kAdafactorTileColumns) / kWarpThreads;  // of a lane
constexpr int kTotalThreads = 256;

struct Params {
  AdafactorArguments a;
  AdafactorWorkspace arrays;
};

struct SumsShared {
  double columns[kWarps][kAdafactorTileColumns];
  double sums[32];
};
struct TotalShared {
  double sums[2][32];
};

KOINE_DEVICE float factor_of(const AdafactorArguments& a) {
  return a.gradient_factor == nullptr ? 1.0f : *a.gradient_factor;
}

KOINE_DEVICE float square_of(float gradient) { return fused(gradient, gradient, kAdafactorSquareEpsilon); }

KOINE_DEVICE double add_square(double sum, float value) {
  const auto wide = static_cast<double>(value);
  return fused(wide, wide, sum);
}

/// The columns of a row of the tile that this lane has; 0 outside.
KOINE_DEVICE void load_row(float (&to)[kColumns], const float* row, int columns) {
  KOINE_UNROLL
  for (int k = 0; k < kColumns; ++k) {
    const int column = lane_index() + k * kWarpThreads;
    to[k] = column < columns ? row[column] : 0.0f;
  }
}

KOINE_DEVICE double parameter_squares(const AdafactorArguments& a, const AdafactorTensor& t, const AdafactorTile& tile) {
  double sum = 0;
  for (int r = warp_index(); r < tile.rows; r += kWarps) {
    float values[kColumns];
    load_row(values, a.parameter + t.offset + (tile.first_row + r) * t.width + tile.first_column, tile.columns);
    KOINE_UNROLL
    for (int k = 0; k < kColumns; ++k) sum = add_square(sum, values[k]);
  }
  return sum;
}

/// What the tile adds to R and C.
KOINE_DEVICE void tile_sums(const Params& p, const AdafactorTensor& t, const AdafactorTile& tile, float factor,
                            SumsShared& shared) {
  double* rows = p.arrays.row_partials + t.first_row_partial + tile.column_tile * t.rows + tile.first_row;
  double* columns = p.arrays.column_partials + t.first_column_partial + tile.row_tile * t.width + tile.first_column;
  double of_columns[kColumns] = {};
  for (int r = warp_index(); r < tile.rows; r += kWarps) {
    float gradient[kColumns];
    load_row(gradient, p.a.gradient + t.offset + (tile.first_row + r) * t.width + tile.first_column, tile.columns);
    double of_row = 0;
    KOINE_UNROLL
    for (int k = 0; k < kColumns; ++k) {
      const bool inside = lane_index() + k * kWarpThreads < tile.columns;
      const double square = inside ? static_cast<double>(square_of(factor * gradient[k])) : 0.0;
      of_row += square;
      of_columns[k] += square;
    }
    of_row = warp_sum(of_row);
    if (lane_index() == 0) rows[r] = of_row;
  }
  KOINE_UNROLL
  for (int k = 0; k < kColumns; ++k) shared.columns[warp_index()][lane_index() + k * kWarpThreads] = of_columns[k];
  sync_block();
  const int column = thread_index();
  if (column < tile.columns) {
    double sum = 0;
    KOINE_UNROLL
    for (int w = 0; w < kWarps; ++w) sum += shared.columns[w][column];
    columns[column] = sum;
  }
}

/// V behind the step; this thread's sum of x^2.
KOINE_DEVICE double tile_moments(const AdafactorArguments& a, const AdafactorTensor& t, const AdafactorTile& tile,
                                 float factor) {
  const AdafactorStep step = a.steps[t.group];
  double sum = 0;
  for (int r = warp_index(); r < tile.rows; r += kWarps) {
    const std::int64_t begin = (tile.first_row + r) * t.width + tile.first_column;
    float* moments = a.state + t.state + begin;
    float gradient[kColumns];
    float before[kColumns];
    load_row(gradient, a.gradient + t.offset + begin, tile.columns);
    load_row(before, moments, tile.columns);
    KOINE_UNROLL
    for (int k = 0; k < kColumns; ++k) {
      const int column = lane_index() + k * kWarpThreads;
      if (column >= tile.columns) continue;
      const float g = factor * gradient[k];
      const float v = fused(step.one_minus_rho, square_of(g), step.rho * before[k]);
      moments[column] = v;
      sum = add_square(sum, g / sqrtf(v));
    }
  }
  return sum;
}

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) adafactor_sums_kernel(Params p) {
  const float factor = factor_of(p.a);
  if (factor == 0) return;  // the whole block, here and below
  SumsShared& shared = shared_memory<SumsShared>();
  const std::int64_t number = block_index().x;
  const AdafactorTile tile = adafactor_tile(p.a.tensor_list, p.a.sizes.tensors, number);
  const AdafactorTensor t = p.a.tensor_list[tile.tensor];
  const double of_parameter = block_sum(p.a.scale_parameter ? parameter_squares(p.a, t, tile) : 0.0, shared.sums);
  if (thread_index() == 0) p.arrays.parameter_squares[number] = of_parameter;
  sync_block();
  if (t.factored != 0) {
    tile_sums(p, t, tile, factor, shared);
    return;
  }
  const double of_update = block_sum(tile_moments(p.a, t, tile, factor), shared.sums);
  if (thread_index() == 0) p.arrays.update_squares[number] = of_update;
}

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) adafactor_factors_kernel(Params p) {
  const std::int64_t number = std::int64_t{block_index().x} * kThreads + thread_index();
  if (factor_of(p.a) == 0 || number >= p.a.sizes.factors) return;
  const AdafactorTensor t =
      p.a.tensor_list[adafactor_find(p.a.tensor_list, p.a.sizes.tensors, &AdafactorTensor::first_factor, number)];
  const std::int64_t inside = number - t.first_factor;
  const bool row = inside < t.rows;
  const double* partials = row ? p.arrays.row_partials + t.first_row_partial + inside
                               : p.arrays.column_partials + t.first_column_partial + inside - t.rows;
  const std::int64_t stride = row ? t.rows : t.width;
  const std::int64_t terms = row ? adafactor_column_tiles(t) : adafactor_row_tiles(t);
  double sum = 0;
  for (std::int64_t i = 0; i < terms; ++i) sum += partials[i * stride];
  const AdafactorStep step = p.a.steps[t.group];
  float* state = p.a.state + t.state + inside;
  const auto mean = static_cast<float>(sum / static_cast<double>(row ? t.width : t.rows));
  *state = fused(step.one_minus_rho, mean, step.rho * *state);
}

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kTotalThreads) adafactor_means_kernel(Params p) {
  const AdafactorTensor t = p.a.tensor_list[block_index().x];
  if (factor_of(p.a) == 0 || t.factored == 0) return;
  double sum = 0;
  for (std::int64_t row = thread_index(); row < t.rows; row += kTotalThreads) {
    sum += static_cast<double>(p.a.state[t.state + row]);
  }
  sum = block_sum(sum, shared_memory<TotalShared>().sums[0]);
  if (thread_index() == 0) p.arrays.row_means[block_index().x] = static_cast<float>(sum / static_cast<double>(t.rows));
}

/// x of the columns of row `r` of the tile that this lane has, not clipped; 0 outside.
KOINE_DEVICE void updates_of_row(float (&x)[kColumns], const Params& p, const AdafactorTensor& t, const AdafactorTile& tile,
                                 int r, float factor, const float (&of_columns)[kColumns], float row_mean) {
  const std::int64_t row = tile.first_row + r;
  const std::int64_t begin = row * t.width + tile.first_column;
  const float* state = p.a.state + t.state;
  load_row(x, p.a.gradient + t.offset + begin, tile.columns);
  if (t.factored != 0) {
    const float of_row = 1.0f / sqrtf(state[row] / row_mean);
    KOINE_UNROLL
    for (int k = 0; k < kColumns; ++k) x[k] = factor * x[k] * of_row * of_columns[k];
    return;
  }
  float moments[kColumns];
  load_row(moments, state + begin, tile.columns);
  KOINE_UNROLL
  for (int k = 0; k < kColumns; ++k) {
    const bool inside = lane_index() + k * kWarpThreads < tile.columns;
    x[k] = inside ? factor * x[k] / sqrtf(moments[k]) : 0.0f;
  }
}

/// 1 / sqrt(C) of the columns that this lane has.
KOINE_DEVICE void load_columns(float (&to)[kColumns], const Params& p, const AdafactorTensor& t, const AdafactorTile& tile) {
  KOINE_UNROLL
  for (int k = 0; k < kColumns; ++k) {
    const int column = lane_index() + k * kWarpThreads;
    const bool there = t.factored != 0 && column < tile.columns;
    to[k] = there ? 1.0f / sqrtf(p.a.state[t.state + t.rows + tile.first_column + column]) : 0.0f;
  }
}

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) adafactor_squares_kernel(Params p) {
  const float factor = factor_of(p.a);
  const AdafactorTile tile = adafactor_tile(p.a.tensor_list, p.a.sizes.tensors, block_index().x);
  const AdafactorTensor t = p.a.tensor_list[tile.tensor];
  if (factor == 0 || t.factored == 0) return;
  const float row_mean = p.arrays.row_means[tile.tensor];
  float of_columns[kColumns];
  load_columns(of_columns, p, t, tile);
  double sum = 0;
  for (int r = warp_index(); r < tile.rows; r += kWarps) {
    float x[kColumns];
    updates_of_row(x, p, t, tile, r, factor, of_columns, row_mean);
    KOINE_UNROLL
    for (int k = 0; k < kColumns; ++k) sum = add_square(sum, x[k]);
  }
  sum = block_sum(sum, shared_memory<TotalShared>().sums[0]);
  if (thread_index() == 0) p.arrays.update_squares[block_index().x] = sum;
}

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kTotalThreads) adafactor_scales_kernel(Params p) {
  if (factor_of(p.a) == 0) return;
  TotalShared& shared = shared_memory<TotalShared>();
  const AdafactorTensor t = p.a.tensor_list[block_index().x];
  double updates = 0;
  double parameters = 0;
  for (std::int64_t tile = thread_index(); tile < adafactor_tiles_of(t); tile += kTotalThreads) {
    updates += p.arrays.update_squares[t.first_tile + tile];
    parameters += p.arrays.parameter_squares[t.first_tile + tile];
  }
  updates = block_sum(updates, shared.sums[0]);
  parameters = block_sum(parameters, shared.sums[1]);
  if (thread_index() != 0) return;
  const auto count = static_cast<double>(t.count());
  const AdafactorStep step = p.a.steps[t.group];
  auto rate = static_cast<double>(step.rate);
  if (p.a.scale_parameter) {
    const double root = sqrt(parameters / count);
    rate *= root > kAdafactorLeastScale ? root : kAdafactorLeastScale;
  }
  const double excess = sqrt(updates / count) / static_cast<double>(p.a.clip_threshold);
  p.arrays.scales[block_index().x] = {static_cast<float>(1 - rate * static_cast<double>(step.decay)),
                                      static_cast<float>(rate / (excess > 1 ? excess : 1.0))};
}

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) adafactor_update_kernel(Params p) {
  const float factor = factor_of(p.a);
  if (factor == 0) return;
  const AdafactorTile tile = adafactor_tile(p.a.tensor_list, p.a.sizes.tensors, block_index().x);
  const AdafactorTensor t = p.a.tensor_list[tile.tensor];
  const float row_mean = t.factored != 0 ? p.arrays.row_means[tile.tensor] : 1.0f;
  const AdafactorScale scale = p.arrays.scales[tile.tensor];
  float of_columns[kColumns];
  load_columns(of_columns, p, t, tile);
  for (int r = warp_index(); r < tile.rows; r += kWarps) {
    const std::int64_t begin = t.offset + (tile.first_row + r) * t.width + tile.first_column;
    float x[kColumns];
    float parameter[kColumns];
    updates_of_row(x, p, t, tile, r, factor, of_columns, row_mean);
    load_row(parameter, p.a.parameter + begin, tile.columns);
    KOINE_UNROLL
    for (int k = 0; k < kColumns; ++k) {
      const int column = lane_index() + k * kWarpThreads;
      if (column >= tile.columns) continue;
      const float value = fused(parameter[k], scale.keep, -(scale.step * x[k]));
      p.a.parameter[begin + column] = value;
      if (p.a.working != nullptr) round_into(p.a.working[begin + column], value);
      if (p.a.zero_gradient) p.a.gradient[begin + column] = 0;
    }
  }
}

}  // namespace

void adafactor_portable(const Context& context, const AdafactorArguments& a, void* workspace) {
  if (a.sizes.tiles == 0) return;
  const Params params = {a, adafactor_arrays(a.sizes, workspace)};
  const auto start = [&](const char* name, std::int64_t blocks, int threads, std::size_t shared, void (*kernel)(Params)) {
    launch({.kernel = name,
            .shape = {a.sizes.elements, a.sizes.tensors},
            .grid = {grid_extent(blocks)},
            .threads = threads,
            .shared_bytes = shared,
            .stream = context.stream},
           kernel, params);
  };
  start("adafactor_sums", a.sizes.tiles, kThreads, sizeof(SumsShared), adafactor_sums_kernel);
  if (a.sizes.factors > 0) {
    start("adafactor_factors", divide_up(a.sizes.factors, kThreads), kThreads, 0, adafactor_factors_kernel);
    start("adafactor_means", a.sizes.tensors, kTotalThreads, sizeof(TotalShared), adafactor_means_kernel);
    start("adafactor_squares", a.sizes.tiles, kThreads, sizeof(TotalShared), adafactor_squares_kernel);
  }
  start("adafactor_scales", a.sizes.tensors, kTotalThreads, sizeof(TotalShared), adafactor_scales_kernel);
  start("adafactor_update", a.sizes.tiles, kThreads, 0, adafactor_update_kernel);
}

}  // namespace koine
