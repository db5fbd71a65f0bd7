#include "tasks/scaling/link_fit.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/common/check.h"

namespace koine {
namespace {

/// Of a measurement, divided by its time: step * latency + beta * bytes is to be 1.
struct Equation {
  double steps = 0;
  double bytes = 0;
};

double squared_error(const std::vector<Equation>& equations, double step, double beta) {
  double sum = 0;
  for (const Equation& one : equations) sum += std::pow(one.steps * step + one.bytes * beta - 1, 2);
  return sum;
}

}  // namespace

double median_of(std::vector<double> values) {
  check(!values.empty(), "the median of nothing");
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

LinkFit fit_link(const std::vector<MeasuredAllReduce>& measured) {
  std::vector<Equation> equations;
  for (const MeasuredAllReduce& one : measured) {
    require(one.ranks > 1, "latency and rate need all-reduces of two ranks or more, not of ", one.ranks);
    check(one.seconds > 0 && one.bytes > 0, "an all-reduce of ", one.bytes, " bytes in ", one.seconds, " s");
    const auto ranks = static_cast<double>(one.ranks);
    equations.push_back({2 * (ranks - 1) / one.seconds, 2 * (ranks - 1) / ranks * one.bytes / one.seconds});
  }
  double ss = 0;
  double sb = 0;
  double bb = 0;
  double s = 0;
  double b = 0;
  for (const Equation& one : equations) {
    ss += one.steps * one.steps;
    sb += one.steps * one.bytes;
    bb += one.bytes * one.bytes;
    s += one.steps;
    b += one.bytes;
  }
  const double determinant = ss * bb - sb * sb;
  require(determinant > 1e-9 * ss * bb, "latency and rate need all-reduces of several sizes");
  double step = (s * bb - b * sb) / determinant;
  double beta = (b * ss - s * sb) / determinant;
  if (step < 0 || beta < 0) {  // on the border: one of them alone
    const double only_step = s / ss;
    const double only_beta = b / bb;
    const bool latency = squared_error(equations, only_step, 0) < squared_error(equations, 0, only_beta);
    step = latency ? only_step : 0;
    beta = latency ? 0 : only_beta;
  }
  std::vector<double> errors;
  for (const Equation& one : equations) errors.push_back(std::abs(one.steps * step + one.bytes * beta - 1));
  return {step, beta > 0 ? 1 / beta : std::numeric_limits<double>::infinity(), median_of(errors)};
}

}  // namespace koine
