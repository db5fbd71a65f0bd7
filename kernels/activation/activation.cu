// The activations and their gradients. Bound by memory traffic, but barely: input and output (forward) or saved, d_output
// and d_input (backward) once, against up to 30 operations an element.
//
// A block takes 512 neighbouring groups of 8 elements; thread t takes groups t and t + 256, both loaded before the first is
// used. On addresses that are no multiple of 16 bytes, and for the last incomplete group, the same by single elements.

#include "kernels/activation/activation.h"
#include "kernels/activation/gelu_tanh.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/numeric.h"
#include "kernels/dropout/hidden_group.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kThreads = 256;
constexpr int kInFlight = 2;

template <class T>
KOINE_DEVICE void activate(float (&x)[kGroup], Activation activation) {
  KOINE_UNROLL
  for (int i = 0; i < kGroup; ++i) {
    if (activation == Activation::kGeluErf) {
      x[i] = gelu_erf(x[i]);
    } else if (activation == Activation::kGeluTanh) {
      x[i] = x[i] / (1.0f + gelu_tanh_decay<T>(x[i]));
    } else {
      x[i] = tanhf(x[i]);
    }
  }
}

template <class T>
KOINE_DEVICE void multiply_by_slope(float (&gradient)[kGroup], const float (&saved)[kGroup], Activation activation) {
  KOINE_UNROLL
  for (int i = 0; i < kGroup; ++i) {
    const float x = saved[i];
    if (activation == Activation::kGeluErf) {
      gradient[i] *= gelu_erf_gradient(x);
    } else if (activation == Activation::kGeluTanh) {
      gradient[i] *= gelu_tanh_gradient<T>(x);
    } else {
      gradient[i] *= fused(-x, x, 1.0f);
    }
  }
}

template <class T>
struct Params {
  Activation activation;
  std::int64_t count;
  const T* saved;  // backward
  const T* input;  // or d_output
  T* output;       // or d_input
};

template <bool kAligned, class T>
KOINE_DEVICE void load_values(float (&values)[kGroup], const T* from, std::int64_t left) {
  if (kAligned && left >= kGroup) {
    load_floats(values, from);
  } else {
    load_some(values, from, static_cast<int>(left < kGroup ? left : kGroup));
  }
}

template <class T, bool kBackward, bool kAligned>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) activation_kernel(Params<T> p) {
  const std::int64_t first = (std::int64_t{block_index().x} * kThreads * kInFlight + thread_index()) * kGroup;
  constexpr std::int64_t kStep = kThreads * kGroup;
  float saved[kInFlight][kGroup];
  float values[kInFlight][kGroup];
  KOINE_UNROLL
  for (int k = 0; k < kInFlight; ++k) {
    const std::int64_t place = first + k * kStep;
    if (place >= p.count) continue;
    if (kBackward) load_values<kAligned>(saved[k], p.saved + place, p.count - place);
    load_values<kAligned>(values[k], p.input + place, p.count - place);
  }
  KOINE_UNROLL
  for (int k = 0; k < kInFlight; ++k) {
    const std::int64_t place = first + k * kStep;
    if (place >= p.count) continue;
    if constexpr (kBackward) {
      multiply_by_slope<T>(values[k], saved[k], p.activation);
    } else {
      activate<T>(values[k], p.activation);
    }
    if (kAligned && p.count - place >= kGroup) {
      store_group(p.output + place, rounded_group<T>(values[k]));
    } else {
      store_some(p.output + place, values[k], static_cast<int>(p.count - place < kGroup ? p.count - place : kGroup));
    }
  }
}

template <class T, bool kBackward>
void launch_activation(const Context& context, const Params<T>& params) {
  if (params.count == 0) return;
  const bool aligned = all_aligned(16, params.saved, params.input, params.output);
  launch({.kernel = kBackward ? "activation_backward" : "activation_forward",
          .shape = {params.count},
          .grid = {grid_extent(divide_up(params.count, std::int64_t{kThreads} * kInFlight * kGroup))},
          .threads = kThreads,
          .stream = context.stream},
         aligned ? activation_kernel<T, kBackward, true> : activation_kernel<T, kBackward, false>, params);
}

template <class T>
void launch_forward(const Context& context, const ActivationForwardArguments& a) {
  launch_activation<T, false>(context,
                              {a.activation, a.count, nullptr, static_cast<const T*>(a.input), static_cast<T*>(a.output)});
}
template <class T>
void launch_backward(const Context& context, const ActivationBackwardArguments& a) {
  launch_activation<T, true>(context, {a.activation, a.count, static_cast<const T*>(a.saved),
                                       static_cast<const T*>(a.d_output), static_cast<T*>(a.d_input)});
}

}  // namespace

void activation_forward_portable(const Context& context, const ActivationForwardArguments& a, void*) {
  a.type == DType::kFloat32 ? launch_forward<float>(context, a) : launch_forward<BFloat16>(context, a);
}

void activation_backward_portable(const Context& context, const ActivationBackwardArguments& a, void*) {
  a.type == DType::kFloat32 ? launch_backward<float>(context, a) : launch_backward<BFloat16>(context, a);
}

}  // namespace koine
