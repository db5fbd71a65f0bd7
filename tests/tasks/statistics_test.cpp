// Intervals, tests and fits against scipy 1.17 and statsmodels 0.15, and their coverage in simulations.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/common/check.h"
#include "tasks/statistics/association.h"
#include "tasks/statistics/inference.h"
#include "tests/tasks/normal_draws.h"

namespace koine {
namespace {

// Both sides are double arithmetic on a handful of numbers; quantiles are good to about 1e-12 relative.
constexpr double kSame = 1e-9;

const std::vector<double> kDifferences = {1.2, -0.4, 2.1, 0.9, 1.6};

void expect_interval(const Estimate& estimate, double low, double high, double tolerance = kSame) {
  ASSERT_TRUE(estimate.interval.has_value());
  EXPECT_NEAR(estimate.interval->low, low, tolerance);
  EXPECT_NEAR(estimate.interval->high, high, tolerance);
}

void expect_values(const std::vector<double>& values, const std::vector<double>& expected) {
  ASSERT_EQ(values.size(), expected.size());
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], expected[i], kSame) << i;
}

// r = scipy.stats.ttest_1samp([1.2, -.4, 2.1, .9, 1.6], 0); r.pvalue, r.confidence_interval(.95), r.confidence_interval(.9)
TEST(Statistics, MeanWithItsInterval) {
  const Estimate estimate = mean_estimate(kDifferences);
  EXPECT_EQ(estimate.count, 5);
  EXPECT_NEAR(estimate.value, 1.08, kSame);
  expect_interval(estimate, -0.08940756483535783, 2.2494075648353578);
  EXPECT_NEAR(estimate.p.value(), 0.06236212867789666, kSame);
  expect_interval(mean_estimate(kDifferences, 0.9), 0.182090023558117, 1.9779099764418826);
}

TEST(Statistics, NoIntervalWithoutASpread) {
  EXPECT_EQ(mean_estimate({}).count, 0);
  for (const std::vector<double>& values : {std::vector<double>{3}, {3, 3, 3}, {3, 3, 3 + 1e-14}}) {
    const Estimate estimate = mean_estimate(values);
    EXPECT_NEAR(estimate.value, 3, 1e-12);
    EXPECT_FALSE(estimate.interval.has_value() || estimate.p.has_value());
    EXPECT_FALSE(equivalence_p(values, 1).has_value());
  }
}

// statsmodels.stats.weightstats.ttost_paired(d, zeros(5), -bound, bound)[0]
TEST(Statistics, Equivalence) {
  EXPECT_NEAR(equivalence_p(kDifferences, 3).value(), 0.005175202947004434, kSame);
  EXPECT_NEAR(equivalence_p(kDifferences, 1.5).value(), 0.18755721757782695, kSame);
}

// statsmodels.stats.multitest.multipletests(p, method='holm')[1], method='fdr_bh'
TEST(Statistics, CorrectionsForManyTests) {
  const std::vector<double> p = {0.01, 0.04, 0.03, 0.005, 0.2, 0.03};
  expect_values(holm(p), {0.05, 0.12, 0.12, 0.03, 0.2, 0.12});
  expect_values(benjamini_hochberg(p), {0.03, 0.048, 0.045, 0.03, 0.2, 0.045});
  EXPECT_TRUE(holm({}).empty());
}

// statsmodels.stats.power.TTestPower().power(difference / deviation, count, .05); solve_power(..., power=.8) says 7.17, 33.37,
// 786.8 pairs; 2.72 where 3 are needed.
TEST(Statistics, Power) {
  EXPECT_NEAR(paired_power(3, 0.8, 1), 0.24407182912568626, 1e-7);  // statsmodels leaves out the far tail
  EXPECT_NEAR(paired_power(5, 0.8, 1), 0.5621718247176101, 1e-7);
  EXPECT_NEAR(paired_power(10, 2, -1), 0.2931756065140767, 1e-7);
  EXPECT_EQ(pairs_needed(0.8, 1), 8);
  EXPECT_EQ(pairs_needed(2, 1), 34);
  EXPECT_EQ(pairs_needed(0.5, 2), 3);
  EXPECT_EQ(pairs_needed(1, 0.1), 787);
  EXPECT_EQ(pairs_needed(0.001, 1), 2);
  EXPECT_FALSE(pairs_needed(1, 0.001).has_value());
  EXPECT_FALSE(pairs_needed(1, 0).has_value());
}

const std::vector<double> kX = {0.3, 1.7, 2.2, 3.9, 3.9, 5.1, 6.4, 8.0};
const std::vector<double> kY = {2.1, 1.9, 3.3, 2.7, 4.4, 4.0, 6.2, 5.1};

// scipy.stats.pearsonr(x, y), .confidence_interval(.95); spearmanr(x, y) and Bonett and Wright's interval in numpy
TEST(Statistics, Correlations) {
  const Estimate linear = pearson(kX, kY);
  EXPECT_NEAR(linear.value, 0.8527459358317165, kSame);
  EXPECT_NEAR(linear.p.value(), 0.007126920351442463, kSame);
  expect_interval(linear, 0.3710237925053643, 0.9728353288456348);
  const Estimate ranks = spearman(kX, kY);
  EXPECT_NEAR(ranks.value, 0.8742671711966791, kSame);
  EXPECT_NEAR(ranks.p.value(), 0.004512385603651025, kSame);
  expect_interval(ranks, 0.309883220195595, 0.9830612833266208);
}

// statsmodels.api.OLS(y, add_constant(x)).fit(): params, conf_int(), pvalues
TEST(Statistics, LineThroughPoints) {
  const Line line = fit_line(kX, kY);
  EXPECT_NEAR(line.intercept, 1.730077746728, kSame);
  EXPECT_NEAR(line.slope.value, 0.503472318291, kSame);
  expect_interval(line.slope, 0.195408837673, 0.811535798909);
  EXPECT_NEAR(line.slope.p.value(), 0.007126920351442475, kSame);
}

// statsmodels.formula.api.mixedlm('y ~ x', data, groups='g').fit(reml=True, method='lbfgs'); its optimizer stops where the
// likelihood changes by about 1e-8 of itself, which leaves the variances some five digits.
TEST(Statistics, LineWithRandomIntercepts) {
  const GroupedLine line =
      fit_grouped_line({1, 2, 3, 1.5, 2.5, 3.5, 0.5, 2, 4, 4, 0.2, 1.1},
                       {2.2, 2.9, 4.1, 6.0, 6.4, 7.3, 0.4, 1.2, 3.3, 4.6, 5.1, 0.9}, {0, 0, 0, 1, 1, 1, 2, 2, 2, 0, 1, 2});
  EXPECT_NEAR(line.intercept, 2.0827622104518215, 1e-6);
  EXPECT_NEAR(line.slope.value, 0.7670693072955931, 1e-6);
  expect_interval(line.slope, 0.6621193880182832, 0.872019226572903, 1e-5);
  EXPECT_NEAR(line.group_variance, 5.809769802793, 1e-3);
  EXPECT_NEAR(line.residual_variance, 0.051580425035835334, 1e-5);
}

TEST(Statistics, NothingIsFittedToTooLittle) {
  EXPECT_EQ(pearson({1, 2}, {1, 2}).count, 0);
  EXPECT_EQ(pearson({1, 1, 1}, {1, 2, 3}).count, 0);
  EXPECT_FALSE(pearson({1, 2, 3, 4}, {2, 4, 6, 8}).interval.has_value());
  EXPECT_EQ(fit_line({1, 2}, {1, 2}).slope.count, 0);
  EXPECT_FALSE(fit_line({1, 2, 3}, {2, 4, 6}).slope.interval.has_value());
  EXPECT_EQ(fit_grouped_line({1, 2, 3, 4}, {1, 3, 2, 4}, {0, 0, 0, 0}).slope.count, 0);
}

TEST(Statistics, BootstrapOverExamples) {
  const std::vector<std::vector<double>> outcomes = {{1, 0, 0, -1, 1, 0, 1, 0}, {1, 0, 1, -1, 0, 0, 1, 0}};
  const Estimate estimate = bootstrap_estimate(outcomes, 4000);
  EXPECT_NEAR(estimate.value, 0.25, kSame);
  EXPECT_EQ(estimate.count, 8);
  const Estimate again = bootstrap_estimate(outcomes, 4000);
  EXPECT_EQ(estimate.interval->low, again.interval->low);
  EXPECT_EQ(estimate.interval->high, again.interval->high);
  EXPECT_NE(bootstrap_estimate(outcomes, 300, 2).interval->low, bootstrap_estimate(outcomes, 300, 3).interval->low);
  EXPECT_THROW(bootstrap_estimate({{1, 2}, {1}}), UserError);
  EXPECT_THROW(bootstrap_estimate({}), UserError);
  // Many examples: nearly the normal interval, whose half length is 1.96 sd / sqrt(n); the bootstrap's own error over 4,000
  // resamples is some 3 % of it.
  NormalDraws draw(1);
  std::vector<std::vector<double>> many(1);
  for (int i = 0; i < 400; ++i) many[0].push_back(draw());
  const Estimate normal = bootstrap_estimate(many, 4000);
  const double half = 1.96 * spread_of(many[0]).deviation.value() / 20;
  EXPECT_NEAR(normal.interval->low, normal.value - half, 0.1 * half);
  EXPECT_NEAR(normal.interval->high, normal.value + half, 0.1 * half);
}

// Of 1,000 simulations a share with probability p is p -+ sqrt(p (1 - p) / 1,000); the bounds below are 4 of that.
constexpr int kSimulations = 1000;
double share_of(int count) { return static_cast<double>(count) / kSimulations; }

TEST(Statistics, IntervalsCoverWhatIsPlanted) {
  for (const double planted : {0.0, 1.5}) {
    NormalDraws draw(planted == 0 ? 3 : 4);
    int covered = 0;
    int found = 0;
    for (int i = 0; i < kSimulations; ++i) {
      std::vector<double> values;
      for (int seed = 0; seed < 5; ++seed) values.push_back(planted + 0.8 * draw());
      const Estimate estimate = mean_estimate(values);
      covered += estimate.interval->low <= planted && planted <= estimate.interval->high ? 1 : 0;
      found += *estimate.p <= 0.05 ? 1 : 0;
    }
    EXPECT_NEAR(share_of(covered), 0.95, 0.028);
    EXPECT_NEAR(share_of(found), planted == 0 ? 0.05 : paired_power(5, 0.8, planted), 0.045);
  }
}

TEST(Statistics, HolmHoldsTheFamilyAtItsLevel) {
  NormalDraws draw(5);
  int any = 0;
  for (int i = 0; i < kSimulations; ++i) {
    std::vector<double> p;
    for (int arm = 0; arm < 10; ++arm) p.push_back(*mean_estimate({draw(), draw(), draw(), draw()}).p);
    const std::vector<double> corrected = holm(p);
    any += std::any_of(corrected.begin(), corrected.end(), [](double one) { return one <= 0.05; }) ? 1 : 0;
  }
  EXPECT_NEAR(share_of(any), 0.05, 0.028);
}

TEST(Statistics, SlopesCoverWhatIsPlanted) {
  NormalDraws draw(6);
  int line = 0;
  int grouped = 0;
  int correlated = 0;
  const auto covers = [](const Estimate& estimate) { return estimate.interval->low <= 2 && 2 <= estimate.interval->high; };
  for (int i = 0; i < kSimulations; ++i) {
    std::vector<double> x, y, levels;
    std::vector<std::size_t> group;
    for (std::size_t task = 0; task < 4; ++task) {
      const double level = 3 * draw();
      for (int language = 0; language < 12; ++language) {
        x.push_back(draw());
        group.push_back(task);
        y.push_back(2 * x.back() + draw());
        levels.push_back(y.back() + level);
      }
    }
    line += covers(fit_line(x, y).slope) ? 1 : 0;
    grouped += covers(fit_grouped_line(x, levels, group).slope) ? 1 : 0;
    const double truth = 2 / std::sqrt(5.0);  // of x and 2 x + e
    const Estimate r = pearson(x, y);
    correlated += r.interval->low <= truth && truth <= r.interval->high ? 1 : 0;
  }
  EXPECT_NEAR(share_of(line), 0.95, 0.028);
  EXPECT_NEAR(share_of(grouped), 0.95, 0.028);
  EXPECT_NEAR(share_of(correlated), 0.95, 0.028);
}

}  // namespace
}  // namespace koine
