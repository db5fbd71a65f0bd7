// layernorm_forward. A row is read once and stays in registers from its sum to its output.
//
// Widths that are multiples of 8 on 16-byte addresses:
//   up to 1,024: a warp a row, four rows a block, no barrier; a lane holds up to four groups of 8 columns, group g of lane l
//     being columns 8 (32 g + l) ...;
//   up to 8,192: a block a row, two groups a thread; the two statistics cost a barrier each.
// All loads of input and residual (16 bytes each, up to 8 a thread) are under way before the first is used; weight and bias,
// the same for all rows, come from the first-level cache. Anything else: a block a row, element by element, read again for
// each of the three steps.
//
// Traffic: input, residual, sum and output once; 8 bytes of statistics a row. About 30 operations an element, and ten more
// where it drops, against the ~45 an H200 has time for. Shared memory: 256 bytes, for rows of a block. A sum's order depends
// on the width alone.

#include "kernels/cuda/launch.h"
#include "kernels/cuda/warp.h"
#include "kernels/dropout/hidden_group.h"
#include "kernels/layernorm/layernorm.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kRowsOfABlock = 4;  // where a warp has a row
constexpr int kMostThreads = 512;
constexpr int kLoopThreads = 256;

template <class T>
struct ForwardParams {
  std::int64_t rows;
  int width;
  float epsilon;
  const T* input;
  const T* residual;
  DropoutParams dropout;
  T* sum;
  const float* weight;
  const float* bias;
  T* output;
  float* mean;
  float* rstd;
};

// For the sums of two steps.
struct Scratch {
  float mean[kWarpThreads];
  float variance[kWarpThreads];
};

/// Groups first, first + step, ... of a row of sums, as they are stored. Zeros behind the row.
template <class T, int kGroups>
KOINE_DEVICE void sum_of_row(float (&sums)[kGroups][kGroup], const ForwardParams<T>& p, std::int64_t row, int first,
                             int step) {
  const std::int64_t start = row * p.width;
  HiddenGroup<T> input[kGroups] = {};
  HiddenGroup<T> residual[kGroups] = {};
  KOINE_UNROLL
  for (int g = 0; g < kGroups; ++g) {
    const int column = (first + g * step) * kGroup;
    if (column < p.width) input[g] = load_group(p.input + start + column);
  }
  if (p.residual != nullptr) {
    KOINE_UNROLL
    for (int g = 0; g < kGroups; ++g) {
      const int column = (first + g * step) * kGroup;
      if (column < p.width) residual[g] = load_group(p.residual + start + column);
    }
  }
  const RowDraws draws = row_draws(p.dropout, row);
  KOINE_UNROLL
  for (int g = 0; g < kGroups; ++g) {
    const int group = first + g * step;
    const GroupMask mask = group_mask(p.dropout, draws, group);
    KOINE_UNROLL
    for (int i = 0; i < kGroup; ++i) sums[g][i] = fused(input[g][i], mask[i], residual[g][i]);
    const HiddenGroup<T> stored = rounded_group<T>(sums[g]);
    if (p.sum != nullptr && group * kGroup < p.width) store_group(p.sum + start + group * kGroup, stored);
    KOINE_UNROLL
    for (int i = 0; i < kGroup; ++i) sums[g][i] = stored[i];
  }
}

template <bool kRowOfAWarp>
KOINE_DEVICE float row_sum(float value, float* scratch) {
  if constexpr (kRowOfAWarp) return warp_sum(value);
  return block_sum(value, scratch);
}

template <class T, int kGroups, bool kRowOfAWarp>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kRowOfAWarp ? kRowsOfABlock* kWarpThreads : kMostThreads)
    layernorm_forward_kernel(ForwardParams<T> p) {
  const int first = kRowOfAWarp ? lane_index() : thread_index();
  const int step = kRowOfAWarp ? kWarpThreads : block_threads();
  const std::int64_t block = block_index().x;
  const std::int64_t row = kRowOfAWarp ? block * kRowsOfABlock + warp_index() : block;
  if (row >= p.rows) return;  // whole warps of a block without barriers
  Scratch* const scratch = kRowOfAWarp ? nullptr : &shared_memory<Scratch>();

  float values[kGroups][kGroup];
  sum_of_row(values, p, row, first, step);
  float total = 0;
  KOINE_UNROLL
  for (int g = 0; g < kGroups; ++g) {
    KOINE_UNROLL
    for (int i = 0; i < kGroup; ++i) total += values[g][i];
  }
  const auto width = static_cast<float>(p.width);
  const float mean = row_sum<kRowOfAWarp>(total, kRowOfAWarp ? nullptr : scratch->mean) / width;
  float squares = 0;
  KOINE_UNROLL
  for (int g = 0; g < kGroups; ++g) {
    if ((first + g * step) * kGroup >= p.width) continue;
    KOINE_UNROLL
    for (int i = 0; i < kGroup; ++i) {
      const float centred = values[g][i] - mean;
      squares = fused(centred, centred, squares);
    }
  }
  const float variance = row_sum<kRowOfAWarp>(squares, kRowOfAWarp ? nullptr : scratch->variance) / width;
  const float rstd = 1.0f / sqrtf(variance + p.epsilon);
  if (first == 0) {
    p.mean[row] = mean;
    p.rstd[row] = rstd;
  }
  KOINE_UNROLL
  for (int g = 0; g < kGroups; ++g) {
    const int column = (first + g * step) * kGroup;
    if (column >= p.width) continue;
    float weight[kGroup];
    float bias[kGroup];
    load_floats(weight, p.weight + column);
    load_floats(bias, p.bias + column);
    KOINE_UNROLL
    for (int i = 0; i < kGroup; ++i) values[g][i] = fused((values[g][i] - mean) * rstd, weight[i], bias[i]);
    store_group(p.output + row * p.width + column, rounded_group<T>(values[g]));
  }
}

/// A row a block, for any width and alignment. Each thread reads again only what it wrote itself.
template <class T>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kLoopThreads) layernorm_forward_loop_kernel(ForwardParams<T> p) {
  Scratch& scratch = shared_memory<Scratch>();
  const std::int64_t row = block_index().x;
  const std::int64_t start = row * p.width;
  const T* source = (p.sum == nullptr ? p.input : p.sum) + start;
  const RowDraws draws = row_draws(p.dropout, row);
  constexpr int kStep = kLoopThreads * kGroup;
  float values[kGroup];
  float total = 0;
  for (int column = thread_index() * kGroup; column < p.width; column += kStep) {
    const int count = p.width - column;
    load_some(values, p.input + start + column, count);
    if (p.sum != nullptr) {
      float residual[kGroup] = {};
      if (p.residual != nullptr) load_some(residual, p.residual + start + column, count);
      const GroupMask mask = group_mask(p.dropout, draws, column / kGroup);
      KOINE_UNROLL
      for (int i = 0; i < kGroup; ++i) values[i] = rounded<T>(fused(values[i], mask[i], residual[i]));
      store_some(p.sum + start + column, values, count);
    }
    KOINE_UNROLL
    for (int i = 0; i < kGroup; ++i) total += values[i];
  }
  const auto width = static_cast<float>(p.width);
  const float mean = block_sum(total, scratch.mean) / width;
  float squares = 0;
  for (int column = thread_index() * kGroup; column < p.width; column += kStep) {
    const int count = p.width - column;
    load_some(values, source + column, count);
    KOINE_UNROLL
    for (int i = 0; i < kGroup; ++i) {
      const float centred = i < count ? values[i] - mean : 0.0f;
      squares = fused(centred, centred, squares);
    }
  }
  const float rstd = 1.0f / sqrtf(block_sum(squares, scratch.variance) / width + p.epsilon);
  if (thread_index() == 0) {
    p.mean[row] = mean;
    p.rstd[row] = rstd;
  }
  for (int column = thread_index() * kGroup; column < p.width; column += kStep) {
    const int count = p.width - column;
    float weight[kGroup];
    float bias[kGroup];
    load_some(values, source + column, count);
    load_some(weight, p.weight + column, count);
    load_some(bias, p.bias + column, count);
    KOINE_UNROLL
    for (int i = 0; i < kGroup; ++i) values[i] = fused((values[i] - mean) * rstd, weight[i], bias[i]);
    store_some(p.output + start + column, values, count);
  }
}

template <class T>
void launch_forward(const Context& context, const LayerNormForwardArguments& a) {
  if (a.rows == 0) return;
  const ForwardParams<T> params = {a.rows,
                                   static_cast<int>(a.width),
                                   a.epsilon,
                                   static_cast<const T*>(a.input),
                                   static_cast<const T*>(a.residual),
                                   dropout_params(a.dropout),
                                   static_cast<T*>(a.sum),
                                   a.weight,
                                   a.bias,
                                   static_cast<T*>(a.output),
                                   a.mean,
                                   a.rstd};
  const auto start = [&](auto kernel, const char* name, std::int64_t blocks, int threads, std::size_t shared_bytes) {
    launch({.kernel = name,
            .shape = {a.rows, a.width},
            .grid = {grid_extent(blocks)},
            .threads = threads,
            .shared_bytes = shared_bytes,
            .stream = context.stream},
           kernel, params);
  };
  const auto start_warps = [&](auto kernel) {
    start(kernel, "layernorm_forward_warp", divide_up(a.rows, kRowsOfABlock), kRowsOfABlock * kWarpThreads, 0);
  };
  const std::int64_t groups = a.width / kGroup;
  const bool aligned = a.width % kGroup == 0 && all_aligned(16, a.input, a.residual, a.sum, a.weight, a.bias, a.output);
  if (!aligned || groups > 2 * kMostThreads) {
    start(layernorm_forward_loop_kernel<T>, "layernorm_forward_loop", a.rows, kLoopThreads, sizeof(Scratch));
  } else if (groups > 4 * kWarpThreads) {
    const auto threads = static_cast<int>(divide_up(groups, 2 * kWarpThreads)) * kWarpThreads;
    start(layernorm_forward_kernel<T, 2, false>, "layernorm_forward_block", a.rows, threads, sizeof(Scratch));
  } else if (groups > 3 * kWarpThreads) {
    start_warps(layernorm_forward_kernel<T, 4, true>);
  } else if (groups > kWarpThreads) {
    start_warps(layernorm_forward_kernel<T, 3, true>);
  } else {
    start_warps(layernorm_forward_kernel<T, 1, true>);
  }
}

}  // namespace

void layernorm_forward_portable(const Context& context, const LayerNormForwardArguments& a, void*) {
  a.type == DType::kFloat32 ? launch_forward<float>(context, a) : launch_forward<BFloat16>(context, a);
}

}  // namespace koine
