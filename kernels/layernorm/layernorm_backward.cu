// layernorm_backward: a kernel that reads each row once, writes its gradients, and keeps the sums for d_weight and d_bias in
// registers over a range of rows; and a second one that adds up the ranges' sums, rows of fp32 in the workspace, in order.
//
// Up to 264 or 396 blocks (two or three for each multiprocessor of an H100 or H200) take a range of neighbouring rows each.
// For widths that are multiples of 8 on 16-byte addresses:
//   up to 1,024: each warp works on rows of its own, every eighth (fp32: fourth) of the range, and meets no barrier in the
//     loop. A lane holds up to four groups of 8 columns and, for them, 64 sums;
//   up to 4,096: the block has a row at a time and a thread two groups and their 32 sums; a barrier a row.
// The next rows are under way to shared memory (cp.async) while one is worked on, and cost no registers there. A thread
// reads there only what it asked for itself, so waiting for its own copies is all the ordering needed. Anything else: a
// block a range, element by element, the sums in the workspace itself.
//
// Traffic: d_output, sum, d_residual_stream, d_sum, d_input once, 8 bytes a row, and 8 bytes a column and range written and
// read again (3 % each at 16,384 rows of 1,024). About 30 operations an element and 13 more where it drops, of the 36 (with
// d_input 48) that an H200 has time for. Shared memory: 2 or 3 stages of a block's rows, in
// bf16 30 to 96 KB at widths from 768. All sums have an order that the
// shape decides.

#include <algorithm>

#include "kernels/cuda/async_copy.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/warp.h"
#include "kernels/dropout/hidden_group.h"
#include "kernels/layernorm/layernorm.h"
#include "kernels/reduce/ordered_rows.h"

namespace koine {
namespace {

using namespace cuda;

constexpr std::int64_t kLeastRows = 8;  // of a range, so that its sums stay a small part of the traffic
constexpr int kBlockGroups = 2;         // of a thread, where a block has a row
constexpr int kMostThreads = 256;
constexpr int kLoopThreads = 256;
constexpr int kMostWarps = kMostThreads / kWarpThreads;

std::int64_t rows_of_a_range(const LayerNormBackwardArguments& a) {
  const bool small_blocks = a.width > 1024 && a.width <= 3072;  // of up to 192 threads: three fit a multiprocessor well
  return std::max(kLeastRows, divide_up(a.rows, small_blocks ? 396 : 264));
}
std::int64_t ranges_of(const LayerNormBackwardArguments& a) { return divide_up(a.rows, rows_of_a_range(a)); }

/// How a block works. fp32 rows are twice as large: half as many in shared memory.
template <class T, bool kRowOfAWarp>
struct Plan {
  static constexpr int kThreads = !kRowOfAWarp ? kMostThreads : sizeof(T) == 2 ? 256 : 128;  // at most, for a block a row
  static constexpr int kRows = kRowOfAWarp ? kThreads / kWarpThreads : 1;                    // at a time
  static constexpr int kStages = kRowOfAWarp || sizeof(T) == 4 ? 2 : 3;                      // rows on their way
};

template <class T>
struct BackwardParams {
  std::int64_t rows;
  std::int64_t range;  // rows of one
  int width;
  const T* d_output;
  const T* stream;
  const T* sum;
  const float* mean;
  const float* rstd;
  const float* weight;
  DropoutParams dropout;
  T* d_sum;
  T* d_input;
  float* partials;  // [ranges][d_weight, d_bias][width]; null: not wanted
};

struct Statistics {
  float mean = 0;
  float rstd = 0;
};

/// A thread's part of the rows on their way: 16 bytes of every operand's every pack in each stage.
template <class T, int kGroups>
struct RowQueue {
  static constexpr int kPack = HiddenGroup<T>::kPack;
  static constexpr int kPacks = HiddenGroup<T>::kPacks;

  unsigned char* memory;  // this thread's first 16 bytes
  int threads;            // of the block
  int operands;           // 3 with d_residual_stream
  int first;              // group of this thread
  int step;

  KOINE_DEVICE T* slot(int stage, int operand, int g, int pack) const {
    const int place = ((stage * operands + operand) * kGroups + g) * kPacks + pack;
    return reinterpret_cast<T*>(memory + 16 * place * threads);
  }
  /// Zeros behind the row.
  KOINE_DEVICE void ask_for(int stage, int operand, const T* row, int width) const {
    KOINE_UNROLL
    for (int g = 0; g < kGroups; ++g) {
      const int column = (first + g * step) * kGroup;
      KOINE_UNROLL
      for (int i = 0; i < kPacks; ++i) {
        async_copy<16>(slot(stage, operand, g, i), row + column + i * kPack, column < width);
      }
    }
  }
  KOINE_DEVICE HiddenGroup<T> take(int stage, int operand, int g) const {
    HiddenGroup<T> group;
    KOINE_UNROLL
    for (int i = 0; i < kPacks; ++i) group.packs[i] = load_pack<T, kPack>(slot(stage, operand, g, i));
    return group;
  }
};

/// Puts a row's operands on their way. Commits once, row or no row, so that waiting can count.
template <class T, int kGroups>
KOINE_DEVICE void ask_for_row(const RowQueue<T, kGroups>& queue, int stage, const BackwardParams<T>& p, std::int64_t row,
                              bool exists) {
  if (exists) {
    queue.ask_for(stage, 0, p.sum + row * p.width, p.width);
    queue.ask_for(stage, 1, p.d_output + row * p.width, p.width);
    if (p.stream != nullptr) queue.ask_for(stage, 2, p.stream + row * p.width, p.width);
  }
  async_commit();
}

/// Sums of two numbers over the warp, or the block by way of `scratch`, which is free again at the barrier after next.
struct Two {
  float first;
  float second;
};
template <bool kRowOfAWarp>
KOINE_DEVICE Two row_sums(Two values, Two* scratch) {
  values = {warp_sum(values.first), warp_sum(values.second)};
  if constexpr (!kRowOfAWarp) {
    if (lane_index() == 0) scratch[warp_index()] = values;
    sync_block();
    const int lane = lane_index() % kMostWarps;
    values = lane < block_threads() / kWarpThreads ? scratch[lane] : Two{0, 0};
    values = {warp_sum<kMostWarps>(values.first), warp_sum<kMostWarps>(values.second)};
  }
  return values;
}

template <class T>
KOINE_DEVICE void store_gradients(const BackwardParams<T>& p, std::int64_t row, int column, float (&gradient)[kGroup],
                                  const RowDraws& draws) {
  const std::int64_t place = row * p.width + column;
  store_group(p.d_sum + place, rounded_group<T>(gradient));
  if (p.d_input == nullptr) return;
  const GroupMask mask = group_mask(p.dropout, draws, column / kGroup);
  KOINE_UNROLL
  for (int i = 0; i < kGroup; ++i) gradient[i] *= mask[i];
  store_group(p.d_input + place, rounded_group<T>(gradient));
}

/// A thread's sums for its columns over the rows it has seen.
template <int kGroups>
struct ParameterSums {
  float weight[kGroups][kGroup];
  float bias[kGroups][kGroup];
};

/// The averages of g and g xhat over a row that has arrived in `stage`; its share of the parameters' gradients is added.
template <class T, int kGroups, bool kRowOfAWarp>
KOINE_DEVICE Two average_row(const BackwardParams<T>& p, const RowQueue<T, kGroups>& queue, int stage,
                             const Statistics& statistics, Two* scratch, ParameterSums<kGroups>& sums) {
  Two totals = {0, 0};
  KOINE_UNROLL
  for (int g = 0; g < kGroups; ++g) {
    const int column = (queue.first + g * queue.step) * kGroup;
    if (column < p.width) {
      const HiddenGroup<T> sum = queue.take(stage, 0, g);
      const HiddenGroup<T> d_output = queue.take(stage, 1, g);
      float weight[kGroup];
      load_floats(weight, p.weight + column);
      KOINE_UNROLL
      for (int i = 0; i < kGroup; ++i) {
        const float normalised = (sum[i] - statistics.mean) * statistics.rstd;
        const float scaled = d_output[i] * weight[i];
        sums.weight[g][i] = fused(d_output[i], normalised, sums.weight[g][i]);
        sums.bias[g][i] += d_output[i];
        totals.first += scaled;
        totals.second = fused(scaled, normalised, totals.second);
      }
    }
    // For the compiler: it is not to hold all groups in registers there are not, nor to keep them for gradient_row.
    sync_warp();
  }
  totals = row_sums<kRowOfAWarp>(totals, scratch);
  const auto width = static_cast<float>(p.width);
  return {totals.first / width, totals.second / width};
}

template <class T, int kGroups>
KOINE_DEVICE void gradient_row(const BackwardParams<T>& p, const RowQueue<T, kGroups>& queue, int stage, std::int64_t row,
                               const Statistics& statistics, const Two& averages) {
  const RowDraws draws = row_draws(p.dropout, row);
  // rstd (g - average - xhat average(g xhat)) = rstd g + slope (sum - mean) + shift
  const float slope = -statistics.rstd * statistics.rstd * averages.second;
  const float shift = -statistics.rstd * averages.first;
  KOINE_UNROLL
  for (int g = 0; g < kGroups; ++g) {
    const int column = (queue.first + g * queue.step) * kGroup;
    if (column >= p.width) continue;
    const HiddenGroup<T> sum = queue.take(stage, 0, g);
    const HiddenGroup<T> d_output = queue.take(stage, 1, g);
    float weight[kGroup];
    load_floats(weight, p.weight + column);
    float gradient[kGroup];
    KOINE_UNROLL
    for (int i = 0; i < kGroup; ++i) {
      const float centred = sum[i] - statistics.mean;
      gradient[i] = fused(statistics.rstd, d_output[i] * weight[i], fused(slope, centred, shift));
    }
    if (p.stream != nullptr) {
      const HiddenGroup<T> stream = queue.take(stage, 2, g);
      KOINE_UNROLL
      for (int i = 0; i < kGroup; ++i) gradient[i] += stream[i];
    }
    store_gradients(p, row, column, gradient, draws);
  }
}

template <class T>
KOINE_DEVICE Statistics statistics_of(const BackwardParams<T>& p, std::int64_t row, bool exists) {
  if (!exists) return {};
  return {p.mean[row], p.rstd[row]};
}

template <int kGroups>
KOINE_DEVICE void store_sums(float* to, const float (&sums)[kGroups][kGroup], int first, int step, int width) {
  KOINE_UNROLL
  for (int g = 0; g < kGroups; ++g) {
    const int column = (first + g * step) * kGroup;
    if (column < width) store_floats(to + column, sums[g]);
  }
}

/// Adds up the warps' sums in order, by way of shared memory for a row of each.
template <int kWarps, int kGroups>
KOINE_DEVICE void combine_warps(float* to, const float (&sums)[kGroups][kGroup], float* shared, int width) {
  sync_block();  // nobody needs what lies there any more
  store_sums(shared + warp_index() * width, sums, lane_index(), kWarpThreads, width);
  sync_block();
  for (int column = thread_index(); column < width; column += kWarps * kWarpThreads) {
    float total = shared[column];
    KOINE_UNROLL
    for (int warp = 1; warp < kWarps; ++warp) total += shared[warp * width + column];
    to[column] = total;
  }
}

struct Shared {
  Two scratch[2][kMostWarps];
  alignas(16) unsigned char queue[16];  // as much as the launch asked for
};

template <class T, int kGroups, bool kRowOfAWarp>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(Plan<T, kRowOfAWarp>::kThreads, 2) layernorm_backward_kernel(BackwardParams<T> p) {
  using P = Plan<T, kRowOfAWarp>;
  Shared& shared = shared_memory<Shared>();
  const int threads = kRowOfAWarp ? P::kThreads : block_threads();
  const RowQueue<T, kGroups> queue = {shared.queue + 16 * thread_index(), threads, p.stream == nullptr ? 2 : 3,
                                      kRowOfAWarp ? lane_index() : thread_index(), kRowOfAWarp ? kWarpThreads : threads};
  const std::int64_t begin = block_index().x * p.range;
  const int rows = static_cast<int>(begin + p.range < p.rows ? p.range : p.rows - begin);
  const int first = kRowOfAWarp ? warp_index() : 0;
  KOINE_UNROLL
  for (int stage = 0; stage < P::kStages; ++stage) {
    const int row = first + stage * P::kRows;
    ask_for_row(queue, stage, p, begin + row, row < rows);
  }
  ParameterSums<kGroups> sums = {};
  Statistics next = statistics_of(p, begin + first, first < rows);
  int stage = 0;
  int parity = 0;
  for (int row = first; row < rows; row += P::kRows) {
    const Statistics statistics = next;
    next = statistics_of(p, begin + row + P::kRows, row + P::kRows < rows);
    async_wait<P::kStages - 1>();
    const Two averages = average_row<T, kGroups, kRowOfAWarp>(p, queue, stage, statistics, shared.scratch[parity], sums);
    gradient_row(p, queue, stage, begin + row, statistics, averages);
    const int later = row + P::kStages * P::kRows;
    ask_for_row(queue, stage, p, begin + later, later < rows);
    stage = stage + 1 == P::kStages ? 0 : stage + 1;
    parity ^= 1;
  }
  if (p.partials == nullptr) return;
  async_wait<0>();
  float* const partials = p.partials + std::int64_t{block_index().x} * 2 * p.width;
  if constexpr (kRowOfAWarp) {
    auto* rows = reinterpret_cast<float*>(shared.queue);
    combine_warps<P::kRows>(partials, sums.weight, rows, p.width);
    combine_warps<P::kRows>(partials + p.width, sums.bias, rows, p.width);
  } else {
    store_sums(partials, sums.weight, queue.first, queue.step, p.width);
    store_sums(partials + p.width, sums.bias, queue.first, queue.step, p.width);
  }
}

/// A range of rows a block, for any width and alignment; the range's row of partial sums is added to in the workspace.
template <class T>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kLoopThreads) layernorm_backward_loop_kernel(BackwardParams<T> p) {
  Shared& shared = shared_memory<Shared>();
  const std::int64_t begin = block_index().x * p.range;
  const std::int64_t end = begin + p.range < p.rows ? begin + p.range : p.rows;
  float* const d_weight = p.partials == nullptr ? nullptr : p.partials + std::int64_t{block_index().x} * 2 * p.width;
  const auto width = static_cast<float>(p.width);
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t start = row * p.width;
    const Statistics statistics = {p.mean[row], p.rstd[row]};
    const RowDraws draws = row_draws(p.dropout, row);
    Two totals = {0, 0};
    for (int column = thread_index(); column < p.width; column += kLoopThreads) {
      const float gradient = to_float(p.d_output[start + column]);
      const float normalised = (to_float(p.sum[start + column]) - statistics.mean) * statistics.rstd;
      const float scaled = gradient * p.weight[column];
      totals.first += scaled;
      totals.second = fused(scaled, normalised, totals.second);
      if (d_weight == nullptr) continue;
      const bool opens = row == begin;
      d_weight[column] = fused(gradient, normalised, opens ? 0.0f : d_weight[column]);
      d_weight[p.width + column] = gradient + (opens ? 0.0f : d_weight[p.width + column]);
    }
    totals = row_sums<false>(totals, shared.scratch[row & 1]);
    const float average = totals.first / width;
    const float average_normalised = totals.second / width;
    for (int column = thread_index(); column < p.width; column += kLoopThreads) {
      const std::int64_t i = start + column;
      const float normalised = (to_float(p.sum[i]) - statistics.mean) * statistics.rstd;
      const float centred = fused(-normalised, average_normalised, to_float(p.d_output[i]) * p.weight[column] - average);
      const float gradient = fused(statistics.rstd, centred, p.stream == nullptr ? 0.0f : to_float(p.stream[i]));
      round_into(p.d_sum[i], gradient);
      if (p.d_input == nullptr) continue;
      round_into(p.d_input[i], gradient * group_mask(p.dropout, draws, column / kGroup)[column % kGroup]);
    }
  }
}

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kRowsThreads)
    layernorm_parameters_kernel(const float* partials, std::int64_t ranges, std::int64_t width, float* d_weight,
                                float* d_bias) {
  const std::int64_t block = block_index().x;
  const float sum = sum_of_ordered_rows(partials, ranges, 2 * width, block, shared_memory<RowsShared>());
  const std::int64_t column = block * kWarpThreads + lane_index();
  if (warp_index() != 0 || column >= 2 * width) return;
  if (column < width && d_weight != nullptr) d_weight[column] += sum;
  if (column >= width && d_bias != nullptr) d_bias[column - width] += sum;
}

template <class T>
class BackwardLaunch {
 public:
  BackwardLaunch(const Context& context, const LayerNormBackwardArguments& a, float* partials)
      : context_(context),
        ranges_(ranges_of(a)),
        params_{a.rows,
                rows_of_a_range(a),
                static_cast<int>(a.width),
                static_cast<const T*>(a.d_output),
                static_cast<const T*>(a.d_residual_stream),
                static_cast<const T*>(a.sum),
                a.mean,
                a.rstd,
                a.weight,
                dropout_params(a.dropout),
                static_cast<T*>(a.d_sum),
                static_cast<T*>(a.d_input),
                partials} {}

  void run() const {
    const BackwardParams<T>& p = params_;
    const std::int64_t groups = p.width / kGroup;
    const bool aligned =
        p.width % kGroup == 0 && all_aligned(16, p.d_output, p.stream, p.sum, p.weight, p.d_sum, p.d_input, p.partials);
    if (!aligned || groups > kBlockGroups * kMostThreads) {
      start(layernorm_backward_loop_kernel<T>, "layernorm_backward_loop", kLoopThreads, sizeof(Shared));
    } else if (groups > 4 * kWarpThreads) {
      const auto threads = static_cast<int>(divide_up(groups, kBlockGroups * kWarpThreads)) * kWarpThreads;
      start_queued<kBlockGroups, false>("layernorm_backward_block", threads);
    } else if (groups > 3 * kWarpThreads) {
      start_queued<4, true>("layernorm_backward_warp", Plan<T, true>::kThreads);
    } else if (groups > kWarpThreads) {
      start_queued<3, true>("layernorm_backward_warp", Plan<T, true>::kThreads);
    } else {
      start_queued<1, true>("layernorm_backward_warp", Plan<T, true>::kThreads);
    }
  }

 private:
  template <int kGroups, bool kRowOfAWarp>
  void start_queued(const char* name, int threads) const {
    using P = Plan<T, kRowOfAWarp>;
    const int operands = params_.stream == nullptr ? 2 : 3;
    const std::size_t queue = static_cast<std::size_t>(P::kStages * operands * kGroups * kGroup * threads) * sizeof(T);
    const std::size_t combined = kRowOfAWarp ? static_cast<std::size_t>(P::kRows * params_.width) * sizeof(float) : 0;
    start(layernorm_backward_kernel<T, kGroups, kRowOfAWarp>, name, threads, sizeof(Shared) + std::max(queue, combined));
  }
  void start(void (*kernel)(BackwardParams<T>), const char* name, int threads, std::size_t shared_bytes) const {
    launch({.kernel = name,
            .shape = {params_.rows, params_.width},
            .grid = {grid_extent(ranges_)},
            .threads = threads,
            .shared_bytes = shared_bytes,
            .stream = context_.stream},
           kernel, params_);
  }

  const Context& context_;
  std::int64_t ranges_;
  BackwardParams<T> params_;
};

bool wants_parameters(const LayerNormBackwardArguments& a) { return a.d_weight != nullptr || a.d_bias != nullptr; }

}  // namespace

std::size_t layernorm_backward_portable_workspace(const LayerNormBackwardArguments& a) {
  return wants_parameters(a) ? static_cast<std::size_t>(ranges_of(a) * 2 * a.width) * sizeof(float) : 0;
}

void layernorm_backward_portable(const Context& context, const LayerNormBackwardArguments& a, void* workspace) {
  if (a.rows == 0) return;
  auto* partials = wants_parameters(a) ? static_cast<float*>(workspace) : nullptr;
  a.type == DType::kFloat32 ? BackwardLaunch<float>(context, a, partials).run()
                            : BackwardLaunch<BFloat16>(context, a, partials).run();
  if (partials == nullptr) return;
  launch({.kernel = "layernorm_parameters",
          .shape = {ranges_of(a), 2 * a.width},
          .grid = {grid_extent(ordered_rows_blocks(2 * a.width))},
          .threads = kRowsThreads,
          .shared_bytes = sizeof(RowsShared),
          .stream = context.stream},
         layernorm_parameters_kernel, partials, ranges_of(a), a.width, a.d_weight, a.d_bias);
}

}  // namespace koine
