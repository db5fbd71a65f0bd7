#pragma once

// What a few repeated measurements allow to say: intervals, tests, corrections for many of them, and how many more are needed.
//
// The values are differences of two arms that share seeds (or test examples), so every function here is of paired designs.
// Quantiles and distribution functions are Boost.Math's. Sources of the formulas:
//
//     t interval, paired t test      Student, Biometrika 6 (1908): mean -+ t(1 - a/2; n-1) s / sqrt(n)
//     two one-sided tests            Schuirmann, J. Pharmacokinetics and Biopharmaceutics 15 (1987)
//     step-down correction           Holm, Scandinavian Journal of Statistics 6 (1979)
//     false discovery rate           Benjamini and Hochberg, J. Royal Statistical Society B 57 (1995)
//     percentile bootstrap           Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13
//     p of drawn figures             normal, by their standard deviation; ibidem, chapter 12
//     power                          of the t test by the noncentral t distribution; Cohen, Statistical Power Analysis (1988)

#include <cstdint>
#include <optional>
#include <vector>

#include "tasks/statistics/spread.h"

namespace koine {

struct Interval {
  double low = 0;
  double high = 0;
};

/// A number with what is known of it. Without an interval nothing may be claimed: there were too few values, or they did not
/// differ at all, so that their spread says nothing.
struct Estimate {
  std::int64_t count = 0;  ///< values it is made of; 0: it could not be formed
  double value = 0;
  std::optional<Interval> interval = std::nullopt;
  std::optional<double> p = std::nullopt;  ///< two-sided, of the value 0
};

inline constexpr double kConfidence = 0.95;

/// The mean with its t interval.
Estimate mean_estimate(const std::vector<double>& values, double confidence = kConfidence);

/// p of "the mean lies at or beyond -bound or +bound": where it is small no effect as large as `bound` (> 0) is left. Nothing
/// for fewer than two values, or values that do not differ.
std::optional<double> equivalence_p(const std::vector<double>& values, double bound);

/// p values corrected for their number, in the order given: an arm holds at level a where its corrected p is at most a.
std::vector<double> holm(const std::vector<double>& p);
std::vector<double> benjamini_hochberg(const std::vector<double>& p);

/// Probability that the two-sided paired t test over `count` (>= 2) pairs finds a true `difference`, where the pairs' differences
/// have this standard deviation (> 0).
double paired_power(std::int64_t count, double deviation, double difference, double significance = 0.05);
/// The fewest pairs with which it finds it with this probability; nothing where 10,000 do not suffice.
std::optional<std::int64_t> pairs_needed(double deviation, double difference, double power = 0.8,
                                         double significance = 0.05);

/// Percentile interval of the mean over seeds of the mean over examples of `differences[seed][example]`, the same examples in
/// the same order for every seed. Examples are drawn with replacement, one draw for all seeds (they are the same test items);
/// the seeds stay, so that the interval is about other test items, not about other seeds. Draws are Philox's, keyed by `seed`:
/// the same arguments give the same bits. UserError where there are no examples or their numbers differ.
Estimate bootstrap_estimate(const std::vector<std::vector<double>>& differences, std::int64_t resamples = 2000,
                            std::uint32_t seed = 1, double confidence = kConfidence);

/// A figure of items (test examples): 100 * sum of points / sum of weights. Accuracy, means of scores and F1 are such quotients.
struct ItemSeries {
  std::vector<float> points;
  std::vector<float> weights;  ///< empty: 1 each
};

/// The figures of series of the same `items`, of so many draws of them with replacement, [series][resample]: a draw is the same for all
/// series, so that differences of series are paired by item. `stream` numbers sets of items that are drawn independently. 0 where no
/// weight is drawn. items * series * resamples multiplications. Draws as bootstrap_estimate's, whose are stream 0. Errors: check()
/// where a series has another number of items.
std::vector<std::vector<double>> resampled_figures(const std::vector<ItemSeries>& series, std::size_t items,
                                                   std::int64_t resamples, std::uint32_t seed, std::uint32_t stream);

/// A figure with the percentile interval of what the draws gave, and p of the value 0; neither where the draws do not differ. `count`: items.
Estimate drawn_estimate(double value, std::int64_t count, std::vector<double> drawn, double confidence = kConfidence);

}  // namespace koine
