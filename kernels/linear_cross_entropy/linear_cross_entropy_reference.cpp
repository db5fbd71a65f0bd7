#include <cmath>
#include <vector>

#include "kernels/linear_cross_entropy/linear_cross_entropy.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace koine {
namespace {

using Arguments = LinearCrossEntropyArguments;

/// Writes a row's loss, and the gradients of its logits into d [classes].
void row_reference(const Arguments& a, std::int64_t row, double* d) {
  const std::int32_t label = a.labels[row];
  const bool counted = label != kIgnoredLabel;
  check(!counted || (label >= 0 && label < a.classes), "linear cross-entropy: label ", label, " of row ", row,
        " is outside [0, ", a.classes, ")");
  double maximum = -INFINITY;
  for (std::int64_t c = 0; c < a.classes; ++c) {
    d[c] = a.bias == nullptr ? 0 : a.bias[c];
    for (std::int64_t i = 0; i < a.in; ++i) {
      d[c] += load_element(a.hidden, a.type, row * a.in + i) * load_element(a.weight, a.type, c * a.in + i);
    }
    maximum = std::fmax(maximum, d[c]);
  }
  double sum = 0;
  for (std::int64_t c = 0; c < a.classes; ++c) sum += std::exp(d[c] - maximum);
  a.loss[row] = counted ? static_cast<float>(std::log(sum) - (d[label] - maximum)) : 0.0f;
  const double scale = a.gradient_scale_from == nullptr ? a.gradient_scale : *a.gradient_scale_from;
  for (std::int64_t c = 0; c < a.classes; ++c) {
    d[c] = counted ? scale * (std::exp(d[c] - maximum) / sum - (c == label ? 1 : 0)) : 0;
  }
}

void add_to(float& to, double value) { to = static_cast<float>(static_cast<double>(to) + value); }

void gradients_reference(const Arguments& a, const std::vector<double>& d) {
  const auto at = [&](std::int64_t row, std::int64_t c) { return d[static_cast<std::size_t>(row * a.classes + c)]; };
  for (std::int64_t row = 0; row < a.rows; ++row) {
    for (std::int64_t i = 0; i < a.in; ++i) {
      double sum = 0;
      for (std::int64_t c = 0; c < a.classes; ++c) sum += at(row, c) * load_element(a.weight, a.type, c * a.in + i);
      store_element(a.d_hidden, a.type, row * a.in + i, sum);
    }
  }
  for (std::int64_t c = 0; c < a.classes; ++c) {
    for (std::int64_t i = 0; i < a.in; ++i) {
      double sum = 0;
      for (std::int64_t row = 0; row < a.rows; ++row) sum += at(row, c) * load_element(a.hidden, a.type, row * a.in + i);
      add_to(a.d_weight[c * a.in + i], sum);
    }
    if (a.d_bias == nullptr) continue;
    double sum = 0;
    for (std::int64_t row = 0; row < a.rows; ++row) sum += at(row, c);
    add_to(a.d_bias[c], sum);
  }
}

}  // namespace

void linear_cross_entropy_reference(const Context&, const Arguments& a, void*) {
  std::vector<double> d(static_cast<std::size_t>(a.rows * a.classes));
  for (std::int64_t row = 0; row < a.rows; ++row) row_reference(a, row, d.data() + row * a.classes);
  if (a.d_hidden != nullptr) gradients_reference(a, d);
}

}  // namespace koine
