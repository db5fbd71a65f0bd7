// l2_normalise on CUDA: a block a row, thread t of it columns t, t + 128, ...; the row is read a second time from the cache.
// Rows are as many as a batch has sequences, so the time is that of a launch. d_scale is a kernel of one block, which adds the
// rows' shares from the workspace, thread t those of rows t, t + 256, ... All sums have an order that the shape decides.

#include <cmath>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/cuda/warp.h"
#include "kernels/l2_normalise/l2_normalise.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kThreads = 128;
constexpr int kSumThreads = 256;

template <class T>
struct ForwardParams {
  std::int64_t width;
  std::int64_t stride;
  const T* input;
  const float* scale;
  T* output;
};

template <class T>
struct BackwardParams {
  std::int64_t width;
  std::int64_t stride;
  const T* input;
  const float* scale;
  const T* d_output;
  T* d_input;
  float* dots;  // [rows]
};

struct RowShared {
  float squares[kThreads / kWarpThreads];
  float dots[kThreads / kWarpThreads];
};

/// 1 / sqrt(squares), or 0.
KOINE_DEVICE float reciprocal_of(float squares) { return squares > 0 ? 1.0f / sqrtf(squares) : 0.0f; }

template <class T>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) l2_normalise_forward_kernel(ForwardParams<T> p) {
  auto& shared = shared_memory<RowShared>();
  const std::int64_t row = block_index().x;
  const T* input = p.input + row * p.stride;
  float squares = 0;
  for (std::int64_t c = thread_index(); c < p.width; c += kThreads) squares += to_float(input[c]) * to_float(input[c]);
  const float factor = reciprocal_of(block_sum(squares, shared.squares)) * (p.scale == nullptr ? 1.0f : *p.scale);
  T* output = p.output + row * p.width;
  for (std::int64_t c = thread_index(); c < p.width; c += kThreads) round_into(output[c], factor * to_float(input[c]));
}

template <class T>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) l2_normalise_backward_kernel(BackwardParams<T> p) {
  auto& shared = shared_memory<RowShared>();
  const std::int64_t row = block_index().x;
  const T* input = p.input + row * p.stride;
  const T* d_output = p.d_output + row * p.width;
  float squares = 0;
  float product = 0;
  for (std::int64_t c = thread_index(); c < p.width; c += kThreads) {
    squares += to_float(input[c]) * to_float(input[c]);
    product += to_float(input[c]) * to_float(d_output[c]);
  }
  const float reciprocal = reciprocal_of(block_sum(squares, shared.squares));
  const float dot = block_sum(product, shared.dots) * reciprocal;
  const float factor = reciprocal * (p.scale == nullptr ? 1.0f : *p.scale);
  T* d_input = p.d_input + row * p.stride;
  for (std::int64_t c = thread_index(); c < p.width; c += kThreads) {
    round_into(d_input[c], factor * (to_float(d_output[c]) - to_float(input[c]) * reciprocal * dot));
  }
  if (thread_index() == 0) p.dots[row] = dot;
}

struct SumShared {
  double sums[kSumThreads / kWarpThreads];
};

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kSumThreads)
    l2_normalise_scale_kernel(const float* dots, std::int64_t rows, float* d_scale) {
  double sum = 0;
  for (std::int64_t row = thread_index(); row < rows; row += kSumThreads) sum += static_cast<double>(dots[row]);
  sum = block_sum(sum, shared_memory<SumShared>().sums);
  if (thread_index() == 0) *d_scale = static_cast<float>(static_cast<double>(*d_scale) + sum);
}

template <class Arguments>
Launch launch_of(const Context& context, const Arguments& a, const char* name) {
  return {.kernel = name,
          .shape = {a.rows, a.width},
          .grid = {grid_extent(a.rows)},
          .threads = kThreads,
          .shared_bytes = sizeof(RowShared),
          .stream = context.stream};
}

template <class T>
void launch_forward(const Context& context, const L2NormaliseForwardArguments& a) {
  const ForwardParams<T> params = {a.width, a.stride, static_cast<const T*>(a.input), a.scale, static_cast<T*>(a.output)};
  launch(launch_of(context, a, "l2_normalise_forward"), l2_normalise_forward_kernel<T>, params);
}

template <class T>
void launch_backward(const Context& context, const L2NormaliseBackwardArguments& a, float* dots) {
  const BackwardParams<T> params = {a.width,
                                    a.stride,
                                    static_cast<const T*>(a.input),
                                    a.scale,
                                    static_cast<const T*>(a.d_output),
                                    static_cast<T*>(a.d_input),
                                    dots};
  launch(launch_of(context, a, "l2_normalise_backward"), l2_normalise_backward_kernel<T>, params);
}

}  // namespace

void l2_normalise_forward_portable(const Context& context, const L2NormaliseForwardArguments& a, void*) {
  if (a.rows == 0) return;
  a.type == DType::kFloat32 ? launch_forward<float>(context, a) : launch_forward<BFloat16>(context, a);
}

std::size_t l2_normalise_backward_portable_workspace(const L2NormaliseBackwardArguments& a) {
  return static_cast<std::size_t>(a.rows) * sizeof(float);
}

void l2_normalise_backward_portable(const Context& context, const L2NormaliseBackwardArguments& a, void* workspace) {
  if (a.rows == 0) return;
  auto* dots = static_cast<float*>(workspace);
  a.type == DType::kFloat32 ? launch_backward<float>(context, a, dots) : launch_backward<BFloat16>(context, a, dots);
  if (a.d_scale == nullptr) return;
  launch({.kernel = "l2_normalise_scale",
          .shape = {a.rows},
          .grid = {1},
          .threads = kSumThreads,
          .shared_bytes = sizeof(SumShared),
          .stream = context.stream},
         l2_normalise_scale_kernel, dots, a.rows, a.d_scale);
}

}  // namespace koine
