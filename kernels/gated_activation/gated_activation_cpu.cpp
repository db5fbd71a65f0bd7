// A task is a block of rows.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gated_activation/gated_activation_cpu.cpp"
#include "kernels/common/vector_targets.h"
#include "kernels/common/vector-inl.h"
// clang-format on

#include <algorithm>

#include "kernels/common/parallel.h"
#include "kernels/gated_activation/gated_activation.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace {

template <class T>
void forward_rows(const GatedActivationForwardArguments& a, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  for (std::int64_t row = begin; row < end; ++row) {
    const T* gates = static_cast<const T*>(a.input) + row * 2 * a.width;
    T* output = static_cast<T*>(a.output) + row * a.width;
    for_lanes(d, a.width, [&](std::int64_t i, auto lanes) KOINE_LANES {
      const auto activated = gelu_tanh(d, lanes.load(d, gates + i));
      lanes.store(d, hn::Mul(activated, lanes.load(d, gates + a.width + i)), output + i);
    });
  }
}

template <class T>
void backward_rows(const GatedActivationBackwardArguments& a, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  for (std::int64_t row = begin; row < end; ++row) {
    const T* gates = static_cast<const T*>(a.input) + row * 2 * a.width;
    const T* d_output = static_cast<const T*>(a.d_output) + row * a.width;
    T* d_gates = static_cast<T*>(a.d_input) + row * 2 * a.width;
    for_lanes(d, a.width, [&](std::int64_t i, auto lanes) KOINE_LANES {
      const auto gate = lanes.load(d, gates + i);
      const auto value = lanes.load(d, gates + a.width + i);
      const auto gradient = lanes.load(d, d_output + i);
      lanes.store(d, hn::Mul(hn::Mul(gradient, value), gelu_tanh_gradient(d, gate)), d_gates + i);
      lanes.store(d, hn::Mul(gradient, gelu_tanh(d, gate)), d_gates + a.width + i);
    });
  }
}

void forward(const GatedActivationForwardArguments& a, std::int64_t begin, std::int64_t end) {
  a.type == DType::kFloat32 ? forward_rows<float>(a, begin, end) : forward_rows<BFloat16>(a, begin, end);
}
void backward(const GatedActivationBackwardArguments& a, std::int64_t begin, std::int64_t end) {
  a.type == DType::kFloat32 ? backward_rows<float>(a, begin, end) : backward_rows<BFloat16>(a, begin, end);
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
}  // namespace

void gated_activation_forward_cpu(const Context&, const GatedActivationForwardArguments& a, void*) {
  parallel_ranges(a.rows, rows_of_a_task(a.width), [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(forward)(a, begin, end);
  });
}

void gated_activation_backward_cpu(const Context&, const GatedActivationBackwardArguments& a, void*) {
  parallel_ranges(a.rows, rows_of_a_task(a.width), [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(backward)(a, begin, end);
  });
}

}  // namespace koine
#endif
