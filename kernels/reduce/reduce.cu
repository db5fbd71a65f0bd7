// column_sum: a kernel that sums ranges of rows, and one that adds the ranges' sums, rows of fp32 in the workspace, to the
// output in order. A block has up to 256 columns, 8 a thread (one where rows are no multiple of 16 bytes), of a range of
// rows; warp w takes its rows w, w + 8, ..., eight of them (fp32: four) loaded at a time, and the warps' sums are added in
// order. About a thousand blocks for large matrices, ranges of 64 rows at least. Traffic: the matrix once, and 4 bytes a
// column and range written and read again (3 % at 16,384 rows of 1,024). Shared memory: 8 KB.
//
// sum: one block, for losses: thousands of numbers. Thread t adds up the numbers t, t + 512, ... in double.
//
// All sums have an order that the shape decides.

#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/cuda/warp.h"
#include "kernels/reduce/ordered_rows.h"
#include "kernels/reduce/reduce.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpThreads;
constexpr int kColumns = 8;              // of a thread
constexpr std::int64_t kLeastRows = 64;  // of a range: what a block has under way in bf16
constexpr int kSumThreads = 512;

std::int64_t rows_of_a_range(const ColumnSumArguments& a) {
  const std::int64_t column_blocks = divide_up(a.width, kWarpThreads * kColumns);
  const std::int64_t ranges = std::max<std::int64_t>(1056 / column_blocks, 1);  // 8 blocks for each of 132 multiprocessors
  return std::max<std::int64_t>(divide_up(divide_up(a.rows, ranges), kLeastRows), 1) * kLeastRows;
}
std::int64_t ranges_of(const ColumnSumArguments& a) { return divide_up(a.rows, rows_of_a_range(a)); }

template <class T>
struct ColumnParams {
  std::int64_t rows;
  std::int64_t range;
  std::int64_t width;
  std::int64_t stride;
  const T* input;
  float* partials;
};

template <int kCount>
struct ColumnShared {
  alignas(16) float sums[kWarps][kWarpThreads * kCount];
};

/// Block (columns, range).
template <class T, int kCount>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) column_sum_kernel(ColumnParams<T> p) {
  constexpr int kInFlight = sizeof(T) == 2 ? 8 : 4;
  constexpr int kPack = kPackSize<T, kCount>;
  auto& shared = shared_memory<ColumnShared<kCount>>();
  const std::int64_t first_column = std::int64_t{block_index().x} * kWarpThreads * kCount;
  const std::int64_t column = first_column + lane_index() * kCount;
  const std::int64_t begin = std::int64_t{block_index().y} * p.range;
  const std::int64_t end = column >= p.width ? 0 : begin + p.range < p.rows ? begin + p.range : p.rows;
  float sums[kCount] = {};
  for (std::int64_t row = begin + warp_index(); row < end; row += kWarps * kInFlight) {
    Pack<T, kPack> values[kInFlight][kCount / kPack];
    KOINE_UNROLL
    for (int k = 0; k < kInFlight; ++k) {
      KOINE_UNROLL
      for (int i = 0; i < kCount / kPack; ++i) {
        // Behind the range its last row again, so that no load waits for a branch.
        const std::int64_t one = row + k * kWarps < end ? row + k * kWarps : end - 1;
        values[k][i] = load_pack<T, kPack>(p.input + one * p.stride + column + i * kPack);
      }
    }
    KOINE_UNROLL
    for (int k = 0; k < kInFlight; ++k) {
      KOINE_UNROLL
      for (int i = 0; i < kCount; ++i) {
        if (row + k * kWarps < end) sums[i] += to_float(values[k][i / kPack].values[i % kPack]);
      }
    }
  }
  store_floats(&shared.sums[warp_index()][lane_index() * kCount], sums);
  sync_block();
  const int mine = thread_index();
  if (mine >= kWarpThreads * kCount || first_column + mine >= p.width) return;
  float total = shared.sums[0][mine];
  KOINE_UNROLL
  for (int warp = 1; warp < kWarps; ++warp) total += shared.sums[warp][mine];
  p.partials[block_index().y * p.width + first_column + mine] = total;
}

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kRowsThreads)
    column_sum_total_kernel(const float* partials, std::int64_t ranges, std::int64_t width, float* output) {
  const std::int64_t block = block_index().x;
  const float sum = sum_of_ordered_rows(partials, ranges, width, block, shared_memory<RowsShared>());
  const std::int64_t column = block * kWarpThreads + lane_index();
  if (warp_index() == 0 && column < width) output[column] += sum;
}

template <class T>
void launch_column_sum(const Context& context, const ColumnSumArguments& a, float* partials) {
  const ColumnParams<T> params = {a.rows, rows_of_a_range(a), a.width, a.stride, static_cast<const T*>(a.input), partials};
  const bool aligned = a.width % kColumns == 0 && all_aligned(16, a.input, static_cast<std::size_t>(a.stride) * sizeof(T));
  const int count = aligned ? kColumns : 1;
  launch({.kernel = "column_sum",
          .shape = {a.rows, a.width},
          .grid = {grid_extent(divide_up(a.width, kWarpThreads * count)), grid_extent(ranges_of(a))},
          .threads = kThreads,
          .shared_bytes = aligned ? sizeof(ColumnShared<kColumns>) : sizeof(ColumnShared<1>),
          .stream = context.stream},
         aligned ? column_sum_kernel<T, kColumns> : column_sum_kernel<T, 1>, params);
}

struct SumShared {
  double sums[kSumThreads / kWarpThreads];
};

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kSumThreads) sum_kernel(const float* input, std::int64_t count, double* output) {
  constexpr int kInFlight = 4;
  double sum = 0;
  for (std::int64_t first = thread_index(); first < count; first += kSumThreads * kInFlight) {
    float values[kInFlight];
    KOINE_UNROLL
    for (int k = 0; k < kInFlight; ++k) {
      const std::int64_t i = first + k * kSumThreads;
      values[k] = i < count ? input[i] : 0.0f;
    }
    KOINE_UNROLL
    for (int k = 0; k < kInFlight; ++k) sum += static_cast<double>(values[k]);
  }
  sum = block_sum(sum, shared_memory<SumShared>().sums);
  if (thread_index() == 0) *output += sum;
}

}  // namespace

std::size_t column_sum_portable_workspace(const ColumnSumArguments& a) {
  return static_cast<std::size_t>(ranges_of(a) * a.width) * sizeof(float);
}

void column_sum_portable(const Context& context, const ColumnSumArguments& a, void* workspace) {
  if (a.rows == 0) return;
  auto* partials = static_cast<float*>(workspace);
  a.type == DType::kFloat32 ? launch_column_sum<float>(context, a, partials)
                            : launch_column_sum<BFloat16>(context, a, partials);
  launch({.kernel = "column_sum_total",
          .shape = {ranges_of(a), a.width},
          .grid = {grid_extent(ordered_rows_blocks(a.width))},
          .threads = kRowsThreads,
          .shared_bytes = sizeof(RowsShared),
          .stream = context.stream},
         column_sum_total_kernel, partials, ranges_of(a), a.width, a.output);
}

void sum_portable(const Context& context, const SumArguments& a, void*) {
  if (a.count == 0) return;
  launch({.kernel = "sum",
          .shape = {a.count},
          .grid = {1},
          .threads = kSumThreads,
          .shared_bytes = sizeof(SumShared),
          .stream = context.stream},
         sum_kernel, a.input, a.count, a.output);
}

}  // namespace koine
