// rmsnorm on CUDA. Bound by memory traffic: forward reads a row once, backward its operands once.
//
// Widths that are multiples of 8 up to 4,096 on 16-byte addresses: thread t of a block holds columns 8 t ... 8 t + 7 of a
// row in registers from the sum to the output; the sum costs a barrier. Anything else: element by element, thread t columns
// t, t + 256, ..., read again for the second step. Forward: a block a row. Backward: a block has neighbouring rows one after
// the other, so that each thread adds up its columns of d_weight; a second kernel adds the blocks' shares from the workspace
// in order. The two halves of shared memory take turns, so that a row's sum needs no second barrier. A sum's order depends on
// the shape alone.

#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/warp.h"
#include "kernels/dropout/hidden_group.h"
#include "kernels/reduce/ordered_rows.h"
#include "kernels/rmsnorm/rmsnorm.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kMostThreads = 512;
constexpr int kLoopThreads = 256;

struct Scratch {
  float sums[2][kWarpThreads];
};

template <class T>
struct ForwardParams {
  int width;
  float epsilon;
  const T* input;
  const float* weight;
  T* output;
  float* rstd;
};

template <class T>
struct BackwardParams {
  std::int64_t rows;
  int width;
  int block_rows;
  const T* d_output;
  const T* d_residual_stream;
  const T* input;
  const float* rstd;
  const float* weight;
  T* d_input;
  float* shares;  // [blocks, width] of d_weight
};

template <class T>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kMostThreads) rmsnorm_forward_kernel(ForwardParams<T> p) {
  Scratch& scratch = shared_memory<Scratch>();
  const std::int64_t row = block_index().x;
  const int column = thread_index() * kGroup;
  const bool inside = column < p.width;
  HiddenGroup<T> input = {};
  if (inside) input = load_group(p.input + row * p.width + column);
  float values[kGroup];
  float squares = 0;
  KOINE_UNROLL
  for (int i = 0; i < kGroup; ++i) {
    values[i] = input[i];
    squares = fused(values[i], values[i], squares);
  }
  const float rstd = 1.0f / sqrtf(block_sum(squares, scratch.sums[0]) / static_cast<float>(p.width) + p.epsilon);
  if (thread_index() == 0) p.rstd[row] = rstd;
  if (!inside) return;
  float weight[kGroup];
  load_floats(weight, p.weight + column);
  KOINE_UNROLL
  for (int i = 0; i < kGroup; ++i) values[i] = values[i] * rstd * weight[i];
  store_group(p.output + row * p.width + column, rounded_group<T>(values));
}

template <class T>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kLoopThreads) rmsnorm_forward_loop_kernel(ForwardParams<T> p) {
  Scratch& scratch = shared_memory<Scratch>();
  const std::int64_t row = block_index().x;
  const T* input = p.input + row * p.width;
  float squares = 0;
  for (int c = thread_index(); c < p.width; c += kLoopThreads) {
    squares = fused(to_float(input[c]), to_float(input[c]), squares);
  }
  const float rstd = 1.0f / sqrtf(block_sum(squares, scratch.sums[0]) / static_cast<float>(p.width) + p.epsilon);
  if (thread_index() == 0) p.rstd[row] = rstd;
  T* output = p.output + row * p.width;
  for (int c = thread_index(); c < p.width; c += kLoopThreads) {
    round_into(output[c], to_float(input[c]) * rstd * p.weight[c]);
  }
}

template <class T>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kMostThreads) rmsnorm_backward_kernel(BackwardParams<T> p) {
  Scratch& scratch = shared_memory<Scratch>();
  const std::int64_t first = std::int64_t{block_index().x} * p.block_rows;
  const std::int64_t last = first + p.block_rows < p.rows ? first + p.block_rows : p.rows;
  const int column = thread_index() * kGroup;
  const bool inside = column < p.width;
  float weight[kGroup] = {};
  if (inside) load_floats(weight, p.weight + column);
  float d_weight[kGroup] = {};
  for (std::int64_t row = first; row < last; ++row) {
    const std::int64_t start = row * p.width + column;
    HiddenGroup<T> d_output = {};
    HiddenGroup<T> input = {};
    HiddenGroup<T> stream = {};
    if (inside) {
      d_output = load_group(p.d_output + start);
      input = load_group(p.input + start);
      if (p.d_residual_stream != nullptr) stream = load_group(p.d_residual_stream + start);
    }
    const float rstd = p.rstd[row];
    float normalised[kGroup];
    float sum = 0;
    KOINE_UNROLL
    for (int i = 0; i < kGroup; ++i) {
      normalised[i] = input[i] * rstd;
      d_weight[i] = fused(d_output[i], normalised[i], d_weight[i]);
      sum = fused(d_output[i] * weight[i], normalised[i], sum);
    }
    const float average = block_sum(sum, scratch.sums[(row - first) & 1]) / static_cast<float>(p.width);
    float values[kGroup];
    KOINE_UNROLL
    for (int i = 0; i < kGroup; ++i) {
      values[i] = fused(rstd, fused(-normalised[i], average, d_output[i] * weight[i]), stream[i]);
    }
    if (inside) store_group(p.d_input + start, rounded_group<T>(values));
  }
  if (inside) store_floats(p.shares + std::int64_t{block_index().x} * p.width + column, d_weight);
}

template <class T>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kLoopThreads) rmsnorm_backward_loop_kernel(BackwardParams<T> p) {
  Scratch& scratch = shared_memory<Scratch>();
  const std::int64_t first = std::int64_t{block_index().x} * p.block_rows;
  const std::int64_t last = first + p.block_rows < p.rows ? first + p.block_rows : p.rows;
  float* d_weight = p.shares + std::int64_t{block_index().x} * p.width;
  for (int c = thread_index(); c < p.width; c += kLoopThreads) d_weight[c] = 0;
  for (std::int64_t row = first; row < last; ++row) {
    const std::int64_t start = row * p.width;
    const float rstd = p.rstd[row];
    float sum = 0;
    for (int c = thread_index(); c < p.width; c += kLoopThreads) {
      const float gradient = to_float(p.d_output[start + c]);
      const float normalised = to_float(p.input[start + c]) * rstd;
      d_weight[c] = fused(gradient, normalised, d_weight[c]);
      sum = fused(gradient * p.weight[c], normalised, sum);
    }
    const float average = block_sum(sum, scratch.sums[(row - first) & 1]) / static_cast<float>(p.width);
    for (int c = thread_index(); c < p.width; c += kLoopThreads) {
      const float normalised = to_float(p.input[start + c]) * rstd;
      const float stream = p.d_residual_stream == nullptr ? 0.0f : to_float(p.d_residual_stream[start + c]);
      const float g = to_float(p.d_output[start + c]) * p.weight[c];
      round_into(p.d_input[start + c], fused(rstd, fused(-normalised, average, g), stream));
    }
  }
}

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kRowsThreads)
    rmsnorm_weight_kernel(const float* shares, std::int64_t blocks, std::int64_t width, float* d_weight) {
  const float sum = sum_of_ordered_rows(shares, blocks, width, block_index().x, shared_memory<RowsShared>());
  const std::int64_t column = std::int64_t{block_index().x} * kWarpThreads + lane_index();
  if (warp_index() == 0 && column < width) d_weight[column] += sum;
}

/// Threads that hold a row in registers; 0: none do.
int threads_of_a_row(std::int64_t width, bool aligned) {
  if (!aligned || width % kGroup != 0 || width > std::int64_t{kMostThreads} * kGroup) return 0;
  return static_cast<int>(divide_up(width / kGroup, std::int64_t{kWarpThreads})) * kWarpThreads;
}

template <class Arguments>
Launch launch_of(const Context& context, const Arguments& a, const char* name, std::int64_t blocks, int threads) {
  return {.kernel = name,
          .shape = {a.rows, a.width},
          .grid = {grid_extent(blocks)},
          .threads = threads,
          .shared_bytes = sizeof(Scratch),
          .stream = context.stream};
}

template <class T>
void launch_forward(const Context& context, const RmsNormForwardArguments& a) {
  const ForwardParams<T> params = {static_cast<int>(a.width), a.epsilon, static_cast<const T*>(a.input), a.weight,
                                   static_cast<T*>(a.output), a.rstd};
  const int threads = threads_of_a_row(a.width, all_aligned(16, a.input, a.weight, a.output));
  if (threads == 0) {
    launch(launch_of(context, a, "rmsnorm_forward_loop", a.rows, kLoopThreads), rmsnorm_forward_loop_kernel<T>, params);
  } else {
    launch(launch_of(context, a, "rmsnorm_forward", a.rows, threads), rmsnorm_forward_kernel<T>, params);
  }
}

// Of a few rows, so that they fill a device, but no more than some hundred blocks' shares for the second kernel.
std::int64_t rows_of_a_block(const RmsNormBackwardArguments& a) {
  return std::max<std::int64_t>(8, divide_up(a.rows, std::int64_t{512}));
}
std::int64_t blocks_of(const RmsNormBackwardArguments& a) { return divide_up(a.rows, rows_of_a_block(a)); }

template <class T>
void launch_backward(const Context& context, const RmsNormBackwardArguments& a, float* shares) {
  const BackwardParams<T> params = {a.rows,
                                    static_cast<int>(a.width),
                                    static_cast<int>(rows_of_a_block(a)),
                                    static_cast<const T*>(a.d_output),
                                    static_cast<const T*>(a.d_residual_stream),
                                    static_cast<const T*>(a.input),
                                    a.rstd,
                                    a.weight,
                                    static_cast<T*>(a.d_input),
                                    shares};
  const bool aligned = all_aligned(16, a.d_output, a.d_residual_stream, a.input, a.weight, a.d_input, shares);
  const int threads = threads_of_a_row(a.width, aligned);
  if (threads == 0) {
    launch(launch_of(context, a, "rmsnorm_backward_loop", blocks_of(a), kLoopThreads), rmsnorm_backward_loop_kernel<T>,
           params);
  } else {
    launch(launch_of(context, a, "rmsnorm_backward", blocks_of(a), threads), rmsnorm_backward_kernel<T>, params);
  }
}

}  // namespace

void rmsnorm_forward_portable(const Context& context, const RmsNormForwardArguments& a, void*) {
  if (a.rows == 0) return;
  a.type == DType::kFloat32 ? launch_forward<float>(context, a) : launch_forward<BFloat16>(context, a);
}

std::size_t rmsnorm_backward_portable_workspace(const RmsNormBackwardArguments& a) {
  return static_cast<std::size_t>(blocks_of(a) * a.width) * sizeof(float);
}

void rmsnorm_backward_portable(const Context& context, const RmsNormBackwardArguments& a, void* workspace) {
  if (a.rows == 0) return;
  auto* shares = static_cast<float*>(workspace);
  a.type == DType::kFloat32 ? launch_backward<float>(context, a, shares) : launch_backward<BFloat16>(context, a, shares);
  if (a.d_weight == nullptr) return;
  launch({.kernel = "rmsnorm_weight",
          .shape = {a.rows, a.width},
          .grid = {grid_extent(ordered_rows_blocks(a.width))},
          .threads = kRowsThreads,
          .shared_bytes = sizeof(RowsShared),
          .stream = context.stream},
         rmsnorm_weight_kernel, shares, blocks_of(a), a.width, a.d_weight);
}

}  // namespace koine
