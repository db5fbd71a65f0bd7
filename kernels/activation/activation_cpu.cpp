// A task is a range of elements.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activation/activation_cpu.cpp"
#include "kernels/common/vector_targets.h"
#include "kernels/common/vector-inl.h"
// clang-format on

#include "kernels/activation/activation.h"
#include "kernels/common/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace {

template <Activation kActivation, class T>
void forward_range(const ActivationForwardArguments& a, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const T* input = static_cast<const T*>(a.input) + begin;
  T* output = static_cast<T*>(a.output) + begin;
  for_lanes(d, end - begin, [&](std::int64_t i, auto lanes) KOINE_LANES {
    const auto x = lanes.load(d, input + i);
    if constexpr (kActivation == Activation::kGeluErf) lanes.store(d, gelu_erf(d, x), output + i);
    if constexpr (kActivation == Activation::kGeluTanh) lanes.store(d, gelu_tanh(d, x), output + i);
    if constexpr (kActivation == Activation::kTanh) lanes.store(d, tanh(d, x), output + i);
  });
}

template <Activation kActivation, class T>
void backward_range(const ActivationBackwardArguments& a, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const T* saved = static_cast<const T*>(a.saved) + begin;
  const T* d_output = static_cast<const T*>(a.d_output) + begin;
  T* d_input = static_cast<T*>(a.d_input) + begin;
  for_lanes(d, end - begin, [&](std::int64_t i, auto lanes) KOINE_LANES {
    const auto x = lanes.load(d, saved + i);
    const auto gradient = lanes.load(d, d_output + i);
    if constexpr (kActivation == Activation::kGeluErf) {
      lanes.store(d, hn::Mul(gradient, gelu_erf_gradient(d, x)), d_input + i);
    }
    if constexpr (kActivation == Activation::kGeluTanh) {
      lanes.store(d, hn::Mul(gradient, gelu_tanh_gradient(d, x)), d_input + i);
    }
    if constexpr (kActivation == Activation::kTanh) {
      lanes.store(d, hn::Mul(gradient, hn::NegMulAdd(x, x, hn::Set(d, 1.0f))), d_input + i);
    }
  });
}

template <class T>
void forward_of(const ActivationForwardArguments& a, std::int64_t begin, std::int64_t end) {
  switch (a.activation) {
    case Activation::kGeluErf:
      return forward_range<Activation::kGeluErf, T>(a, begin, end);
    case Activation::kGeluTanh:
      return forward_range<Activation::kGeluTanh, T>(a, begin, end);
    case Activation::kTanh:
      return forward_range<Activation::kTanh, T>(a, begin, end);
  }
}

template <class T>
void backward_of(const ActivationBackwardArguments& a, std::int64_t begin, std::int64_t end) {
  switch (a.activation) {
    case Activation::kGeluErf:
      return backward_range<Activation::kGeluErf, T>(a, begin, end);
    case Activation::kGeluTanh:
      return backward_range<Activation::kGeluTanh, T>(a, begin, end);
    case Activation::kTanh:
      return backward_range<Activation::kTanh, T>(a, begin, end);
  }
}

void forward(const ActivationForwardArguments& a, std::int64_t begin, std::int64_t end) {
  a.type == DType::kFloat32 ? forward_of<float>(a, begin, end) : forward_of<BFloat16>(a, begin, end);
}
void backward(const ActivationBackwardArguments& a, std::int64_t begin, std::int64_t end) {
  a.type == DType::kFloat32 ? backward_of<float>(a, begin, end) : backward_of<BFloat16>(a, begin, end);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace koine {
namespace {
HWY_EXPORT(forward);
HWY_EXPORT(backward);
constexpr std::int64_t kElementsOfATask = 16384;
}  // namespace

void activation_forward_cpu(const Context&, const ActivationForwardArguments& a, void*) {
  parallel_ranges(a.count, kElementsOfATask, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(forward)(a, begin, end);
  });
}

void activation_backward_cpu(const Context&, const ActivationBackwardArguments& a, void*) {
  parallel_ranges(a.count, kElementsOfATask, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(backward)(a, begin, end);
  });
}

}  // namespace koine
#endif
