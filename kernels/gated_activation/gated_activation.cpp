#include "kernels/gated_activation/gated_activation.h"

namespace koine {

void gated_activation_forward_reference(const Context&, const GatedActivationForwardArguments&, void*);
void gated_activation_forward_cpu(const Context&, const GatedActivationForwardArguments&, void*);
void gated_activation_forward_portable(const Context&, const GatedActivationForwardArguments&, void*);
void gated_activation_backward_reference(const Context&, const GatedActivationBackwardArguments&, void*);
void gated_activation_backward_cpu(const Context&, const GatedActivationBackwardArguments&, void*);
void gated_activation_backward_portable(const Context&, const GatedActivationBackwardArguments&, void*);

namespace {

template <class Arguments>
void validate(const Arguments& a) {
  check(a.rows >= 0 && a.width > 0, "gated_activation: [rows ", a.rows, ", width ", a.width, "] is not a shape");
}

// An exponential function counts as 20 operations, a division as one.
template <class Arguments>
double elements(const Arguments& a) {
  return static_cast<double>(a.rows) * static_cast<double>(a.width);
}

template <class Arguments>
bool not_double(const Arguments& a) {
  return a.type != DType::kFloat64;
}

}  // namespace

template <>
const Operation<GatedActivationForwardArguments>& operation<GatedActivationForwardArguments>() {
  using Arguments = GatedActivationForwardArguments;
  static const Operation<Arguments> table = {
      "gated_activation_forward",
      validate<Arguments>,
      [](const Arguments& a) { return 31 * elements(a); },
      [](const Arguments& a) { return 3 * elements(a) * static_cast<double>(size_of(a.type)); },
      {{"portable", Device::kCuda, kFrom80, not_double<Arguments>, nullptr, gated_activation_forward_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, not_double<Arguments>, nullptr, gated_activation_forward_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, gated_activation_forward_reference}}};
  return table;
}

template <>
const Operation<GatedActivationBackwardArguments>& operation<GatedActivationBackwardArguments>() {
  using Arguments = GatedActivationBackwardArguments;
  static const Operation<Arguments> table = {
      "gated_activation_backward",
      validate<Arguments>,
      [](const Arguments& a) { return 38 * elements(a); },
      [](const Arguments& a) { return 5 * elements(a) * static_cast<double>(size_of(a.type)); },
      {{"portable", Device::kCuda, kFrom80, not_double<Arguments>, nullptr, gated_activation_backward_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, not_double<Arguments>, nullptr, gated_activation_backward_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, gated_activation_backward_reference}}};
  return table;
}

}  // namespace koine
