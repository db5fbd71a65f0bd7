#include <cmath>
#include <vector>

#include "kernels/rmsnorm/rmsnorm.h"

namespace koine {

void rmsnorm_forward_reference(const Context&, const RmsNormForwardArguments& a, void*) {
  for (std::int64_t row = 0; row < a.rows; ++row) {
    const std::int64_t first = row * a.width;
    double squares = 0;
    for (std::int64_t c = 0; c < a.width; ++c) squares += std::pow(load_element(a.input, a.type, first + c), 2);
    const double rstd = 1 / std::sqrt(squares / static_cast<double>(a.width) + static_cast<double>(a.epsilon));
    a.rstd[row] = static_cast<float>(rstd);
    for (std::int64_t c = 0; c < a.width; ++c) {
      const double normalised = load_element(a.input, a.type, first + c) * rstd;
      store_element(a.output, a.type, first + c, normalised * static_cast<double>(a.weight[c]));
    }
  }
}

void rmsnorm_backward_reference(const Context&, const RmsNormBackwardArguments& a, void*) {
  std::vector<double> d_weight(static_cast<std::size_t>(a.width));
  for (std::int64_t row = 0; row < a.rows; ++row) {
    const std::int64_t first = row * a.width;
    const auto rstd = static_cast<double>(a.rstd[row]);
    const auto normalised = [&](std::int64_t c) { return load_element(a.input, a.type, first + c) * rstd; };
    double average = 0;
    for (std::int64_t c = 0; c < a.width; ++c) {
      const double d_output = load_element(a.d_output, a.type, first + c);
      average += d_output * static_cast<double>(a.weight[c]) * normalised(c) / static_cast<double>(a.width);
      d_weight[static_cast<std::size_t>(c)] += d_output * normalised(c);
    }
    for (std::int64_t c = 0; c < a.width; ++c) {
      const double g = load_element(a.d_output, a.type, first + c) * static_cast<double>(a.weight[c]);
      double d_input = rstd * (g - normalised(c) * average);
      if (a.d_residual_stream != nullptr) d_input += load_element(a.d_residual_stream, a.type, first + c);
      store_element(a.d_input, a.type, first + c, d_input);
    }
  }
  if (a.d_weight == nullptr) return;
  for (std::int64_t c = 0; c < a.width; ++c) {
    a.d_weight[c] = static_cast<float>(static_cast<double>(a.d_weight[c]) + d_weight[static_cast<std::size_t>(c)]);
  }
}

}  // namespace koine
