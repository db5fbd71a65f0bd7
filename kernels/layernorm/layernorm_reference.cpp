#include <cmath>
#include <vector>

#include "kernels/layernorm/layernorm.h"

namespace koine {
namespace {

double multiplier(const Dropout& dropout, std::int64_t row, std::int64_t column) {
  if (!dropout.active()) return 1;
  const bool kept = keeps_hidden(dropout, dropout.examples[row], static_cast<std::uint32_t>(dropout.positions[row]),
                                 static_cast<std::uint32_t>(column));
  return kept ? static_cast<double>(dropout.scale()) : 0;
}

}  // namespace

void layernorm_forward_reference(const Context&, const LayerNormForwardArguments& a, void*) {
  const auto width = static_cast<double>(a.width);
  for (std::int64_t row = 0; row < a.rows; ++row) {
    const std::int64_t first = row * a.width;
    const void* source = a.sum == nullptr ? a.input : a.sum;
    for (std::int64_t c = 0; c < a.width && a.sum != nullptr; ++c) {
      double sum = multiplier(a.dropout, row, c) * load_element(a.input, a.type, first + c);
      if (a.residual != nullptr) sum += load_element(a.residual, a.type, first + c);
      store_element(a.sum, a.type, first + c, sum);
    }
    double mean = 0;
    for (std::int64_t c = 0; c < a.width; ++c) mean += load_element(source, a.type, first + c) / width;
    double variance = 0;
    for (std::int64_t c = 0; c < a.width; ++c) {
      variance += std::pow(load_element(source, a.type, first + c) - mean, 2) / width;
    }
    const double rstd = 1 / std::sqrt(variance + static_cast<double>(a.epsilon));
    a.mean[row] = static_cast<float>(mean);
    a.rstd[row] = static_cast<float>(rstd);
    for (std::int64_t c = 0; c < a.width; ++c) {
      const double normalised = (load_element(source, a.type, first + c) - mean) * rstd;
      store_element(a.output, a.type, first + c,
                    normalised * static_cast<double>(a.weight[c]) + static_cast<double>(a.bias[c]));
    }
  }
}

void layernorm_backward_reference(const Context&, const LayerNormBackwardArguments& a, void*) {
  const auto width = static_cast<double>(a.width);
  std::vector<double> d_weight(static_cast<std::size_t>(a.width));
  std::vector<double> d_bias(static_cast<std::size_t>(a.width));
  for (std::int64_t row = 0; row < a.rows; ++row) {
    const std::int64_t first = row * a.width;
    const auto d_output = [&](std::int64_t c) { return load_element(a.d_output, a.type, first + c); };
    const auto normalised = [&](std::int64_t c) {
      return (load_element(a.sum, a.type, first + c) - static_cast<double>(a.mean[row])) * static_cast<double>(a.rstd[row]);
    };
    double average = 0;
    double average_normalised = 0;
    for (std::int64_t c = 0; c < a.width; ++c) {
      const double g = d_output(c) * static_cast<double>(a.weight[c]);
      average += g / width;
      average_normalised += g * normalised(c) / width;
      d_weight[static_cast<std::size_t>(c)] += d_output(c) * normalised(c);
      d_bias[static_cast<std::size_t>(c)] += d_output(c);
    }
    for (std::int64_t c = 0; c < a.width; ++c) {
      const double g = d_output(c) * static_cast<double>(a.weight[c]);
      double d_sum = static_cast<double>(a.rstd[row]) * (g - average - normalised(c) * average_normalised);
      if (a.d_residual_stream != nullptr) d_sum += load_element(a.d_residual_stream, a.type, first + c);
      store_element(a.d_sum, a.type, first + c, d_sum);
      if (a.d_input != nullptr) store_element(a.d_input, a.type, first + c, multiplier(a.dropout, row, c) * d_sum);
    }
  }
  for (std::int64_t c = 0; c < a.width; ++c) {
    const auto column = static_cast<std::size_t>(c);
    if (a.d_weight != nullptr) a.d_weight[c] = static_cast<float>(static_cast<double>(a.d_weight[c]) + d_weight[column]);
    if (a.d_bias != nullptr) a.d_bias[c] = static_cast<float>(static_cast<double>(a.d_bias[c]) + d_bias[column]);
  }
}

}  // namespace koine
