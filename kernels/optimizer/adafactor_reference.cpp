#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/optimizer/adafactor.h"

namespace koine {
namespace {

constexpr double kSquareEpsilon = 1e-30;
constexpr double kLeastScale = 1e-3;

double root_mean_square(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum / static_cast<double>(values.size()));
}

/// moment = rho moment + (1 - rho) mean, stored in fp32; what it was before rounding.
double decayed(float& moment, const AdafactorStep& step, double mean) {
  const double result =
      static_cast<double>(step.rho) * static_cast<double>(moment) + static_cast<double>(step.one_minus_rho) * mean;
  moment = static_cast<float>(result);
  return result;
}

/// x of a tensor, not clipped, and its state behind the step.
std::vector<double> update_of(const AdafactorTensor& t, const AdafactorStep& step, const std::vector<double>& gradient,
                              float* state) {
  std::vector<double> x = gradient;
  const auto square = [&](std::int64_t i) { return std::pow(gradient[static_cast<std::size_t>(i)], 2) + kSquareEpsilon; };
  if (t.factored == 0) {
    for (std::int64_t i = 0; i < t.count(); ++i) {
      x[static_cast<std::size_t>(i)] /= std::sqrt(decayed(state[i], step, square(i)));
    }
    return x;
  }
  std::vector<double> rows(static_cast<std::size_t>(t.rows), 0.0);
  std::vector<double> columns(static_cast<std::size_t>(t.width), 0.0);
  for (std::int64_t i = 0; i < t.count(); ++i) {
    rows[static_cast<std::size_t>(i / t.width)] += square(i) / static_cast<double>(t.width);
    columns[static_cast<std::size_t>(i % t.width)] += square(i) / static_cast<double>(t.rows);
  }
  double mean = 0;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    rows[r] = decayed(state[r], step, rows[r]);
    mean += rows[r] / static_cast<double>(t.rows);
  }
  for (std::size_t c = 0; c < columns.size(); ++c) columns[c] = decayed(state[rows.size() + c], step, columns[c]);
  for (std::int64_t i = 0; i < t.count(); ++i) {
    x[static_cast<std::size_t>(i)] /= std::sqrt(rows[static_cast<std::size_t>(i / t.width)] / mean) *
                                      std::sqrt(columns[static_cast<std::size_t>(i % t.width)]);
  }
  return x;
}

}  // namespace

void adafactor_reference(const Context&, const AdafactorArguments& a, void*) {
  const double factor = a.gradient_factor == nullptr ? 1 : static_cast<double>(*a.gradient_factor);
  if (factor == 0) return;
  for (std::int64_t index = 0; index < a.sizes.tensors; ++index) {
    const AdafactorTensor& t = a.tensor_list[index];
    const AdafactorStep& step = a.steps[t.group];
    if (t.count() == 0) continue;
    float* parameter = a.parameter + t.offset;
    float* gradient = a.gradient + t.offset;
    std::vector<double> scaled(gradient, gradient + t.count());
    for (double& value : scaled) value *= factor;
    const std::vector<double> x = update_of(t, step, scaled, a.state + t.state);
    const double clip = std::max(1.0, root_mean_square(x) / static_cast<double>(a.clip_threshold));
    double rate = static_cast<double>(step.rate);
    if (a.scale_parameter) rate *= std::max(kLeastScale, root_mean_square({parameter, parameter + t.count()}));
    for (std::int64_t i = 0; i < t.count(); ++i) {
      const double kept = static_cast<double>(parameter[i]) * (1 - rate * static_cast<double>(step.decay));
      parameter[i] = static_cast<float>(kept - rate * x[static_cast<std::size_t>(i)] / clip);
      if (a.working != nullptr) a.working[t.offset + i] = to_bfloat16(parameter[i]);
      if (a.zero_gradient) gradient[i] = 0;
    }
  }
}

}  // namespace koine
