#include <cmath>

#include "kernels/gated_activation/gated_activation.h"

namespace koine {
namespace {

const double kScale = std::sqrt(2 / 3.14159265358979323846);
constexpr double kCube = 0.044715;

/// (1 + tanh(u)) / 2 without cancellation.
double sigmoid_of(double x) { return 1 / (1 + std::exp(-2 * kScale * (x + kCube * x * x * x))); }

double gelu_gradient(double x) {
  const double s = sigmoid_of(x);
  return s + x * s * (1 - s) * 2 * kScale * (1 + 3 * kCube * x * x);
}

}  // namespace

void gated_activation_forward_reference(const Context&, const GatedActivationForwardArguments& a, void*) {
  for (std::int64_t i = 0; i < a.rows * a.width; ++i) {
    const std::int64_t at = i / a.width * 2 * a.width + i % a.width;
    const double gate = load_element(a.input, a.type, at);
    store_element(a.output, a.type, i, gate * sigmoid_of(gate) * load_element(a.input, a.type, at + a.width));
  }
}

void gated_activation_backward_reference(const Context&, const GatedActivationBackwardArguments& a, void*) {
  for (std::int64_t i = 0; i < a.rows * a.width; ++i) {
    const std::int64_t at = i / a.width * 2 * a.width + i % a.width;
    const double gate = load_element(a.input, a.type, at);
    const double value = load_element(a.input, a.type, at + a.width);
    const double d_output = load_element(a.d_output, a.type, i);
    store_element(a.d_input, a.type, at, d_output * value * gelu_gradient(gate));
    store_element(a.d_input, a.type, at + a.width, d_output * gate * sigmoid_of(gate));
  }
}

}  // namespace koine
