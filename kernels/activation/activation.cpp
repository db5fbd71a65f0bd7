#include "kernels/activation/activation.h"

namespace koine {

void activation_forward_reference(const Context&, const ActivationForwardArguments&, void*);
void activation_forward_cpu(const Context&, const ActivationForwardArguments&, void*);
void activation_forward_portable(const Context&, const ActivationForwardArguments&, void*);
void activation_backward_reference(const Context&, const ActivationBackwardArguments&, void*);
void activation_backward_cpu(const Context&, const ActivationBackwardArguments&, void*);
void activation_backward_portable(const Context&, const ActivationBackwardArguments&, void*);

namespace {

void validate_forward(const ActivationForwardArguments& a) {
  check(a.count >= 0, "activation_forward: [count ", a.count, "] is not a shape");
}
void validate_backward(const ActivationBackwardArguments& a) {
  check(a.count >= 0, "activation_backward: [count ", a.count, "] is not a shape");
}

// An exponential function counts as 20 operations, a division as one.
double forward_flops(const ActivationForwardArguments& a) { return 30.0 * static_cast<double>(a.count); }
double backward_flops(const ActivationBackwardArguments& a) {
  return (a.activation == Activation::kTanh ? 3.0 : 35.0) * static_cast<double>(a.count);
}
double forward_bytes(const ActivationForwardArguments& a) {
  return 2.0 * static_cast<double>(a.count) * static_cast<double>(size_of(a.type));
}
double backward_bytes(const ActivationBackwardArguments& a) {
  return 3.0 * static_cast<double>(a.count) * static_cast<double>(size_of(a.type));
}

template <class Arguments>
bool not_double(const Arguments& a) {
  return a.type != DType::kFloat64;
}

}  // namespace

template <>
const Operation<ActivationForwardArguments>& operation<ActivationForwardArguments>() {
  static const Operation<ActivationForwardArguments> table = {
      "activation_forward",
      validate_forward,
      forward_flops,
      forward_bytes,
      {{"portable", Device::kCuda, kFrom80, not_double<ActivationForwardArguments>, nullptr, activation_forward_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, not_double<ActivationForwardArguments>, nullptr, activation_forward_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, activation_forward_reference}}};
  return table;
}

template <>
const Operation<ActivationBackwardArguments>& operation<ActivationBackwardArguments>() {
  static const Operation<ActivationBackwardArguments> table = {
      "activation_backward",
      validate_backward,
      backward_flops,
      backward_bytes,
      {{"portable", Device::kCuda, kFrom80, not_double<ActivationBackwardArguments>, nullptr, activation_backward_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, not_double<ActivationBackwardArguments>, nullptr, activation_backward_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, activation_backward_reference}}};
  return table;
}

}  // namespace koine
