#include "tasks/statistics/inference.h"

#include <algorithm>
#include <boost/math/distributions/non_central_t.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <functional>
#include <numeric>
#include <span>

#include "kernels/common/check.h"
#include "kernels/random/philox.h"

namespace koine {
namespace {

using boost::math::complement;
using boost::math::students_t;

/// Values that differ by less, relative to their mean, are the same but for the rounding of the sums they come from: figures in percent have
/// steps of a thousandth at the least.
constexpr double kRounding = 1e-9;

/// Standard error of a mean; nothing where the values do not tell it.
std::optional<double> standard_error(const Spread& spread) {
  if (!spread.deviation.has_value() || *spread.deviation <= kRounding * (1 + std::abs(spread.mean))) return std::nullopt;
  return *spread.deviation / std::sqrt(static_cast<double>(spread.count));
}

/// Places of p values from the smallest to the largest, equal ones as they came.
std::vector<std::size_t> rising(const std::vector<double>& p) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return p[a] < p[b]; });
  return order;
}

/// Four indices below `count` from one call of Philox, by multiplication (bias below count / 2^32).
std::size_t drawn_index(std::uint32_t bits, std::size_t count) {
  return static_cast<std::size_t>((static_cast<std::uint64_t>(bits) * count) >> 32);
}

/// Calls use(index) for each of as many items as there are, drawn with replacement.
template <class Use>
void draw_items(std::size_t items, std::int64_t resample, std::uint32_t seed, std::uint32_t stream, const Use& use) {
  PhiloxCounter block{};
  for (std::size_t i = 0; i < items; ++i) {
    if (i % 4 == 0)
      block = philox({static_cast<std::uint32_t>(i / 4), static_cast<std::uint32_t>(resample), stream, 0}, {seed, 0});
    use(drawn_index(block[i % 4], items));
  }
}

/// resampled_figures() of a part of the series.
std::vector<std::vector<double>> resampled_part(std::span<const ItemSeries> series, std::size_t items,
                                                std::int64_t resamples, std::uint32_t seed, std::uint32_t stream) {
  // Item by item all points, behind them the weights of the series that have any.
  std::vector<const std::vector<float>*> columns;
  for (const ItemSeries& one : series) columns.push_back(&one.points);
  for (const ItemSeries& one : series) {
    if (!one.weights.empty()) columns.push_back(&one.weights);
  }
  std::vector<float> rows(items * columns.size());
  for (std::size_t c = 0; c < columns.size(); ++c) {
    check(columns[c]->size() == items, "a series of ", columns[c]->size(), " items among ", items);
    for (std::size_t i = 0; i < items; ++i) rows[i * columns.size() + c] = (*columns[c])[i];
  }
  std::vector<std::vector<double>> figures(series.size());
  std::vector<float> times(items);
  std::vector<double> sums(columns.size());
  for (std::int64_t resample = 0; resample < resamples; ++resample) {
    std::fill(times.begin(), times.end(), 0.0F);
    draw_items(items, resample, seed, stream, [&](std::size_t i) { times[i] += 1; });
    std::fill(sums.begin(), sums.end(), 0.0);
    for (std::size_t i = 0; i < items; ++i) {
      if (times[i] == 0) continue;
      const float* const row = rows.data() + i * sums.size();
      for (std::size_t c = 0; c < sums.size(); ++c) sums[c] += times[i] * row[c];
    }
    std::size_t weights = series.size();
    for (std::size_t s = 0; s < series.size(); ++s) {
      const double whole = series[s].weights.empty() ? static_cast<double>(items) : sums[weights++];
      figures[s].push_back(whole == 0 ? 0 : 100 * sums[s] / whole);
    }
  }
  return figures;
}

/// A sorted list's quantile, linear between its values (type 7 of Hyndman and Fan, as numpy.percentile).
double quantile_of(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

/// Means over the seeds, by example.
std::vector<double> means_by_example(const std::vector<std::vector<double>>& differences) {
  require(!differences.empty() && !differences.front().empty(), "a bootstrap needs examples");
  std::vector<double> means(differences.front().size(), 0.0);
  for (const std::vector<double>& seed : differences) {
    require(seed.size() == means.size(), "a bootstrap over examples: one seed has ", means.size(), " of them, another ",
            seed.size());
    for (std::size_t i = 0; i < means.size(); ++i) means[i] += seed[i] / static_cast<double>(differences.size());
  }
  return means;
}

}  // namespace

Estimate mean_estimate(const std::vector<double>& values, double confidence) {
  const Spread spread = spread_of(values);
  Estimate estimate{.count = spread.count, .value = spread.mean};
  const std::optional<double> error = standard_error(spread);
  if (!error.has_value()) return estimate;
  const students_t distribution(static_cast<double>(spread.count - 1));
  const double half = quantile(complement(distribution, (1 - confidence) / 2)) * *error;
  estimate.interval = Interval{spread.mean - half, spread.mean + half};
  estimate.p = 2 * cdf(complement(distribution, std::abs(spread.mean / *error)));
  return estimate;
}

std::optional<double> equivalence_p(const std::vector<double>& values, double bound) {
  check(bound > 0, "equivalence needs a bound above 0");
  const Spread spread = spread_of(values);
  const std::optional<double> error = standard_error(spread);
  if (!error.has_value()) return std::nullopt;
  const students_t distribution(static_cast<double>(spread.count - 1));
  const double above_low = cdf(complement(distribution, (spread.mean + bound) / *error));
  const double below_high = cdf(distribution, (spread.mean - bound) / *error);
  return std::max(above_low, below_high);
}

std::vector<double> holm(const std::vector<double>& p) {
  std::vector<double> corrected(p.size());
  double most = 0;
  std::size_t left = p.size();
  for (const std::size_t i : rising(p)) {
    most = std::max(most, std::min(1.0, static_cast<double>(left--) * p[i]));
    corrected[i] = most;
  }
  return corrected;
}

std::vector<double> benjamini_hochberg(const std::vector<double>& p) {
  std::vector<double> corrected(p.size());
  const std::vector<std::size_t> order = rising(p);
  double least = 1;
  for (std::size_t rank = order.size(); rank > 0; --rank) {
    least = std::min(least, p[order[rank - 1]] * static_cast<double>(p.size()) / static_cast<double>(rank));
    corrected[order[rank - 1]] = least;
  }
  return corrected;
}

double paired_power(std::int64_t count, double deviation, double difference, double significance) {
  check(count >= 2 && deviation > 0, "power needs two pairs and a spread");
  const double freedom = static_cast<double>(count - 1);
  const double limit = quantile(complement(students_t(freedom), significance / 2));
  const double shift = std::abs(difference) / deviation * std::sqrt(static_cast<double>(count));
  if (shift > 30) return 1;  // beyond where the series converge; the power there is 1 to the last digit
  const boost::math::non_central_t distribution(freedom, shift);
  return cdf(complement(distribution, limit)) + cdf(distribution, -limit);
}

std::optional<std::int64_t> pairs_needed(double deviation, double difference, double power, double significance) {
  constexpr std::int64_t kMost = 10'000;
  if (difference == 0) return std::nullopt;
  std::int64_t least = 2;
  std::int64_t most = 2;
  while (paired_power(most, deviation, difference, significance) < power) {  // power rises with the pairs
    if (most >= kMost) return std::nullopt;
    least = most + 1;
    most = std::min(kMost, 2 * most);
  }
  while (least < most) {
    const std::int64_t middle = (least + most) / 2;
    (paired_power(middle, deviation, difference, significance) < power ? least = middle + 1 : most = middle);
  }
  return most;
}

Estimate bootstrap_estimate(const std::vector<std::vector<double>>& differences, std::int64_t resamples, std::uint32_t seed,
                            double confidence) {
  const std::vector<double> examples = means_by_example(differences);
  std::vector<double> means;
  for (std::int64_t resample = 0; resample < resamples; ++resample) {
    double sum = 0;
    draw_items(examples.size(), resample, seed, 0, [&](std::size_t i) { sum += examples[i]; });
    means.push_back(sum / static_cast<double>(examples.size()));
  }
  std::sort(means.begin(), means.end());
  Estimate estimate{.count = static_cast<std::int64_t>(examples.size()), .value = spread_of(examples).mean};
  if (resamples > 1 && examples.size() > 1)
    estimate.interval = Interval{quantile_of(means, (1 - confidence) / 2), quantile_of(means, (1 + confidence) / 2)};
  return estimate;
}

std::vector<std::vector<double>> resampled_figures(const std::vector<ItemSeries>& series, std::size_t items,
                                                   std::int64_t resamples, std::uint32_t seed, std::uint32_t stream) {
  constexpr std::size_t kTogether = 64;  // their points at some thousand items stay in a core's cache
  std::vector<std::vector<double>> figures;
  for (std::size_t first = 0; first < series.size(); first += kTogether) {
    const std::size_t count = std::min(kTogether, series.size() - first);
    for (std::vector<double>& one : resampled_part({series.data() + first, count}, items, resamples, seed, stream))
      figures.push_back(std::move(one));
  }
  return figures;
}

Estimate drawn_estimate(double value, std::int64_t count, std::vector<double> drawn, double confidence) {
  Estimate estimate{.count = count, .value = value};
  const Spread spread = spread_of(drawn);
  if (!spread.deviation.has_value() || *spread.deviation <= kRounding * (1 + std::abs(spread.mean))) return estimate;
  std::sort(drawn.begin(), drawn.end());
  estimate.interval = Interval{quantile_of(drawn, (1 - confidence) / 2), quantile_of(drawn, (1 + confidence) / 2)};
  estimate.p = 2 * cdf(complement(boost::math::normal(), std::abs(value) / *spread.deviation));
  return estimate;
}

}  // namespace koine
