#include <cmath>

#include "kernels/activation/activation.h"

namespace koine {
namespace {

constexpr double kPi = 3.14159265358979323846;

// (1 + tanh u) / 2 of the tanh GELU.
double gate(double x) { return 1 / (1 + std::exp(-2 * std::sqrt(2 / kPi) * (x + 0.044715 * x * x * x))); }

double value(Activation activation, double x) {
  if (activation == Activation::kGeluErf) return x / 2 * std::erfc(-x / std::sqrt(2.0));
  if (activation == Activation::kGeluTanh) return x * gate(x);
  return std::tanh(x);
}

double gradient(Activation activation, double saved) {
  const double x = saved;
  if (activation == Activation::kGeluErf) {
    return std::erfc(-x / std::sqrt(2.0)) / 2 + x * std::exp(-x * x / 2) / std::sqrt(2 * kPi);
  }
  if (activation == Activation::kGeluTanh) {
    const double slope = 2 * std::sqrt(2 / kPi) * (1 + 3 * 0.044715 * x * x);
    return gate(x) + x * gate(x) * (1 - gate(x)) * slope;
  }
  return 1 - saved * saved;
}

}  // namespace

void activation_forward_reference(const Context&, const ActivationForwardArguments& a, void*) {
  for (std::int64_t i = 0; i < a.count; ++i) {
    store_element(a.output, a.type, i, value(a.activation, load_element(a.input, a.type, i)));
  }
}

void activation_backward_reference(const Context&, const ActivationBackwardArguments& a, void*) {
  for (std::int64_t i = 0; i < a.count; ++i) {
    const double slope = gradient(a.activation, load_element(a.saved, a.type, i));
    store_element(a.d_input, a.type, i, load_element(a.d_output, a.type, i) * slope);
  }
}

}  // namespace koine
