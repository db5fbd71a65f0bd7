// gated_activation on CUDA: eight columns of a row a thread, or, on addresses and widths that are no multiple of 16 bytes, one.
// Bound by memory traffic: about 40 operations an element.

#include "kernels/activation/gelu_tanh.h"
#include "kernels/cuda/launch.h"
#include "kernels/dropout/hidden_group.h"
#include "kernels/gated_activation/gated_activation.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kThreads = 256;

template <class T>
struct Params {
  std::int64_t items;      // groups, or single elements
  std::int64_t row_items;  // of a row
  const T* input;
  const T* d_output;  // backward
  T* output;          // or d_input
};

template <class T>
KOINE_DEVICE float gelu(float x) {
  return x / (1.0f + gelu_tanh_decay<T>(x));
}

template <class T, int kCount>
struct Values {
  float x[kCount];
  KOINE_DEVICE void load(const T* from) {
    if constexpr (kCount == 1) {
      x[0] = to_float(*from);
    } else {
      const HiddenGroup<T> group = load_group(from);
      KOINE_UNROLL
      for (int i = 0; i < kCount; ++i) x[i] = group[i];
    }
  }
  KOINE_DEVICE void store(T* to) const {
    if constexpr (kCount == 1) {
      round_into(*to, x[0]);
    } else {
      store_group(to, rounded_group<T>(x));
    }
  }
};

template <class T, bool kBackward, int kCount>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) gated_activation_kernel(Params<T> p) {
  const std::int64_t item = std::int64_t{block_index().x} * kThreads + thread_index();
  if (item >= p.items) return;
  const std::int64_t row = item / p.row_items;
  const std::int64_t width = p.row_items * kCount;
  const std::int64_t at = (row * 2 * p.row_items + (item - row * p.row_items)) * kCount;
  Values<T, kCount> gate;
  Values<T, kCount> value;
  gate.load(p.input + at);
  value.load(p.input + at + width);
  if constexpr (kBackward) {
    Values<T, kCount> gradient;
    gradient.load(p.d_output + item * kCount);
    KOINE_UNROLL
    for (int i = 0; i < kCount; ++i) {
      const float d_gate = gradient.x[i] * value.x[i] * gelu_tanh_gradient<T>(gate.x[i]);
      value.x[i] = gradient.x[i] * gelu<T>(gate.x[i]);
      gate.x[i] = d_gate;
    }
    gate.store(p.output + at);
    value.store(p.output + at + width);
  } else {
    KOINE_UNROLL
    for (int i = 0; i < kCount; ++i) gate.x[i] = gelu<T>(gate.x[i]) * value.x[i];
    gate.store(p.output + item * kCount);
  }
}

template <class T, bool kBackward>
void launch_gated(const Context& context, std::int64_t rows, std::int64_t width, Params<T> params) {
  if (rows == 0) return;
  const bool aligned = width % kGroup == 0 && all_aligned(16, params.input, params.d_output, params.output);
  params.row_items = aligned ? width / kGroup : width;
  params.items = rows * params.row_items;
  launch({.kernel = kBackward ? "gated_activation_backward" : "gated_activation_forward",
          .shape = {rows, width},
          .grid = {grid_extent(divide_up(params.items, std::int64_t{kThreads}))},
          .threads = kThreads,
          .stream = context.stream},
         aligned ? gated_activation_kernel<T, kBackward, kGroup> : gated_activation_kernel<T, kBackward, 1>, params);
}

template <class T>
void launch_forward(const Context& context, const GatedActivationForwardArguments& a) {
  launch_gated<T, false>(context, a.rows, a.width,
                         {0, 0, static_cast<const T*>(a.input), nullptr, static_cast<T*>(a.output)});
}
template <class T>
void launch_backward(const Context& context, const GatedActivationBackwardArguments& a) {
  launch_gated<T, true>(
      context, a.rows, a.width,
      {0, 0, static_cast<const T*>(a.input), static_cast<const T*>(a.d_output), static_cast<T*>(a.d_input)});
}

}  // namespace

void gated_activation_forward_portable(const Context& context, const GatedActivationForwardArguments& a, void*) {
  a.type == DType::kFloat32 ? launch_forward<float>(context, a) : launch_forward<BFloat16>(context, a);
}

void gated_activation_backward_portable(const Context& context, const GatedActivationBackwardArguments& a, void*) {
  a.type == DType::kFloat32 ? launch_backward<float>(context, a) : launch_backward<BFloat16>(context, a);
}

}  // namespace koine
