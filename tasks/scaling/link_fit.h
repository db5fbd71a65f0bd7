#pragma once

// Latency and rate of links from measured all-reduces.

#include <cstdint>
#include <vector>

namespace koine {

/// An all-reduce of `bytes` over `ranks`, by ring, took `seconds` (the median of several).
struct MeasuredAllReduce {
  std::int64_t ranks = 0;
  double bytes = 0;
  double seconds = 0;
};

struct LinkFit {
  double step = 0;   ///< alpha: seconds of a step of the ring
  double rate = 0;   ///< 1 / beta: bytes a second
  double error = 0;  ///< the median of |fitted / measured - 1|
};

/// The step and rate with which 2 (n - 1) step + 2 (n - 1) / n bytes / rate is nearest to what was measured, by the least squares of relative
/// errors, so that small messages count as much as large ones; neither is below zero. UserError where all have one size, or one rank.
LinkFit fit_link(const std::vector<MeasuredAllReduce>& measured);

double median_of(std::vector<double> values);

}  // namespace koine
