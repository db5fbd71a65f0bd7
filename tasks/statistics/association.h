#pragma once

// How two measured things go together: correlations, a line, and a line over groups that have levels of their own.
//
//     Pearson's correlation      interval by Fisher's z: tanh(atanh r -+ q / sqrt(n - 3)); Fisher, Metron 1 (1921)
//     Spearman's correlation     Pearson's of mid-ranks; interval tanh(atanh r -+ q sqrt((1 + r^2 / 2) / (n - 3))); Bonett and
//                                Wright, Psychometrika 65 (2000)
//     both p values              t = r sqrt((n - 2) / (1 - r^2)) on n - 2 degrees of freedom (for Spearman's an approximation)
//     line                       least squares; interval of the slope by t on n - 2 degrees of freedom
//     line with random intercepts    y = a + b x + u(group) + e, u and e normal: Laird and Ware, Biometrics 38 (1982), fitted
//                                by restricted likelihood, profiled to the one variance ratio; Wald interval by the normal
//                                distribution, as R's lme4 and statsmodels show it. The groups share one slope; where the same
//                                x stands in several groups (a language in several tasks) its deviations must be taken to be
//                                independent between them, which makes the interval too narrow if they are not.
//
// A result of count 0 could not be formed: too few pairs, or x or y does not vary.

#include <vector>

#include "tasks/statistics/inference.h"

namespace koine {

/// From 3 pairs on; the interval from 4. Errors: check() where x and y differ in length, here and below.
Estimate pearson(const std::vector<double>& x, const std::vector<double>& y, double confidence = kConfidence);
Estimate spearman(const std::vector<double>& x, const std::vector<double>& y, double confidence = kConfidence);

struct Line {
  double intercept = 0;
  Estimate slope;
};
/// From 3 pairs on.
Line fit_line(const std::vector<double>& x, const std::vector<double>& y, double confidence = kConfidence);

struct GroupedLine {
  double intercept = 0;
  Estimate slope;
  double group_variance = 0;
  double residual_variance = 0;
};
/// `group[i]` numbers the group of pair i, from 0. At least two groups and 4 pairs.
GroupedLine fit_grouped_line(const std::vector<double>& x, const std::vector<double>& y,
                             const std::vector<std::size_t>& group, double confidence = kConfidence);

}  // namespace koine
