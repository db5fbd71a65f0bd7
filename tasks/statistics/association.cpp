#include "tasks/statistics/association.h"

#include <algorithm>
#include <array>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <boost/math/tools/minima.hpp>
#include <cmath>
#include <numeric>

#include "kernels/common/check.h"

namespace koine {
namespace {

using boost::math::complement;
using boost::math::students_t;

double normal_quantile(double confidence) { return quantile(complement(boost::math::normal(), (1 - confidence) / 2)); }

/// Sums of products of deviations from the means.
struct Moments {
  double mean_x = 0;
  double mean_y = 0;
  double xx = 0;
  double xy = 0;
  double yy = 0;
};
Moments moments_of(const std::vector<double>& x, const std::vector<double>& y) {
  check(x.size() == y.size(), "pairs of ", x.size(), " and ", y.size(), " values");
  Moments m{.mean_x = spread_of(x).mean, .mean_y = spread_of(y).mean};
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double dx = x[i] - m.mean_x;
    const double dy = y[i] - m.mean_y;
    m.xx += dx * dx;
    m.xy += dx * dy;
    m.yy += dy * dy;
  }
  return m;
}

bool varies(const std::vector<double>& values) {
  return std::any_of(values.begin(), values.end(), [&](double value) { return value != values.front(); });
}

/// A correlation with the interval tanh(atanh r -+ q sqrt(variance / (n - 3))).
Estimate correlation(const std::vector<double>& x, const std::vector<double>& y, double confidence, bool ranks) {
  const Moments m = moments_of(x, y);
  if (x.size() < 3 || !varies(x) || !varies(y)) return {};
  const double r = std::clamp(m.xy / std::sqrt(m.xx * m.yy), -1.0, 1.0);
  const auto n = static_cast<double>(x.size());
  Estimate estimate{.count = static_cast<std::int64_t>(x.size()), .value = r};
  if (std::abs(r) > 1 - 1e-12) return estimate;  // all on a line: the formulas below have nothing to say
  estimate.p = 2 * cdf(complement(students_t(n - 2), std::abs(r) * std::sqrt((n - 2) / (1 - r * r))));
  if (x.size() < 4) return estimate;
  const double variance = ranks ? 1 + r * r / 2 : 1;
  const double half = normal_quantile(confidence) * std::sqrt(variance / (n - 3));
  estimate.interval = Interval{std::tanh(std::atanh(r) - half), std::tanh(std::atanh(r) + half)};
  return estimate;
}

/// Ranks from 1; equal values share the mean of theirs.
std::vector<double> mid_ranks(const std::vector<double>& values) {
  std::vector<double> ranks;
  for (const double value : values) {
    const auto below = std::count_if(values.begin(), values.end(), [&](double other) { return other < value; });
    const auto equal = std::count(values.begin(), values.end(), value);
    ranks.push_back(static_cast<double>(below) + static_cast<double>(equal + 1) / 2);
  }
  return ranks;
}

/// y = a + b x + u(group) + e at one ratio of the variances of u and e.
class GroupedFit {
 public:
  GroupedFit(const std::vector<double>& x, const std::vector<double>& y, const std::vector<std::size_t>& group) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (group[i] >= sums_.size()) sums_.resize(group[i] + 1);
      Sums& sums = sums_[group[i]];
      sums.n += 1, sums.x += x[i], sums.y += y[i];
      sums.xx += x[i] * x[i], sums.xy += x[i] * y[i], sums.yy += y[i] * y[i];
      count_ += 1;
    }
  }

  std::size_t groups() const {
    return static_cast<std::size_t>(std::count_if(sums_.begin(), sums_.end(), [](const Sums& sums) { return sums.n > 0; }));
  }

  /// Generalised least squares: the inverse of a group's covariance is I - ratio / (1 + n ratio) * ones.
  void solve(double ratio) {
    double a11 = 0, a12 = 0, a22 = 0, b1 = 0, b2 = 0, yy = 0;
    log_determinant_ = 0;
    for (const Sums& sums : sums_) {
      const double part = ratio / (1 + sums.n * ratio);
      a11 += sums.n - part * sums.n * sums.n;
      a12 += sums.x - part * sums.n * sums.x;
      a22 += sums.xx - part * sums.x * sums.x;
      b1 += sums.y - part * sums.n * sums.y;
      b2 += sums.xy - part * sums.x * sums.y;
      yy += sums.yy - part * sums.y * sums.y;
      log_determinant_ += std::log1p(sums.n * ratio);
    }
    const double determinant = a11 * a22 - a12 * a12;
    log_determinant_ += std::log(determinant);
    intercept = (a22 * b1 - a12 * b2) / determinant;
    slope = (a11 * b2 - a12 * b1) / determinant;
    residual_variance = std::max(0.0, yy - intercept * b1 - slope * b2) / (count_ - 2);
    slope_variance = residual_variance * a11 / determinant;
    group_variance = ratio * residual_variance;
  }

  /// -2 log of the restricted likelihood, but for constants.
  double deviance(double ratio) {
    solve(ratio);
    return (count_ - 2) * std::log(residual_variance) + log_determinant_;
  }

  double intercept = 0;
  double slope = 0;
  double slope_variance = 0;
  double residual_variance = 0;
  double group_variance = 0;

 private:
  struct Sums {
    double n = 0, x = 0, y = 0, xx = 0, xy = 0, yy = 0;
  };
  std::vector<Sums> sums_;
  double count_ = 0;
  double log_determinant_ = 0;
};

std::vector<double> centred(std::vector<double> values) {
  const double mean = spread_of(values).mean;
  for (double& value : values) value -= mean;
  return values;
}

}  // namespace

Estimate pearson(const std::vector<double>& x, const std::vector<double>& y, double confidence) {
  return correlation(x, y, confidence, false);
}

Estimate spearman(const std::vector<double>& x, const std::vector<double>& y, double confidence) {
  return correlation(mid_ranks(x), mid_ranks(y), confidence, true);
}

Line fit_line(const std::vector<double>& x, const std::vector<double>& y, double confidence) {
  const Moments m = moments_of(x, y);
  if (x.size() < 3 || !varies(x)) return {};
  const double slope = m.xy / m.xx;
  Line line{.intercept = m.mean_y - slope * m.mean_x, .slope = {}};
  line.slope = {.count = static_cast<std::int64_t>(x.size()), .value = slope};
  const double freedom = static_cast<double>(x.size() - 2);
  const double residual = m.yy - slope * m.xy;
  if (residual <= 1e-14 * m.yy) return line;  // all on a line: no spread to judge by
  const double error = std::sqrt(residual / freedom / m.xx);
  const double half = quantile(complement(students_t(freedom), (1 - confidence) / 2)) * error;
  line.slope.interval = Interval{slope - half, slope + half};
  line.slope.p = 2 * cdf(complement(students_t(freedom), std::abs(slope) / error));
  return line;
}

GroupedLine fit_grouped_line(const std::vector<double>& x, const std::vector<double>& y,
                             const std::vector<std::size_t>& group, double confidence) {
  check(x.size() == y.size() && x.size() == group.size(), "pairs of ", x.size(), " and ", y.size(), " values in ",
        group.size(), " groups");
  GroupedFit fit(centred(x), centred(y), group);  // far from zero the sums of squares would cancel
  if (x.size() < 4 || fit.groups() < 2 || !varies(x) || !varies(y)) return {};
  // The variance ratio by the share of the groups, ratio / (1 + ratio), in [0, 1).
  constexpr int kBits = 24;  // of the share: a minimum is known to half the digits of a double at best
  const auto deviance = [&](double share) { return fit.deviance(share / (1 - share)); };
  const double share = boost::math::tools::brent_find_minima(deviance, 0.0, 1 - 1e-9, kBits).first;
  const double best = deviance(0) <= deviance(share) ? 0 : share;
  fit.solve(best / (1 - best));
  GroupedLine line{.intercept = spread_of(y).mean + fit.intercept - fit.slope * spread_of(x).mean,
                   .slope = {.count = static_cast<std::int64_t>(x.size()), .value = fit.slope},
                   .group_variance = fit.group_variance,
                   .residual_variance = fit.residual_variance};
  if (!(fit.slope_variance > 0)) return line;
  const double error = std::sqrt(fit.slope_variance);
  const double half = normal_quantile(confidence) * error;
  line.slope.interval = Interval{fit.slope - half, fit.slope + half};
  line.slope.p = 2 * cdf(complement(boost::math::normal(), std::abs(fit.slope) / error));
  return line;
}

}  // namespace koine
