#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace koine {

/// Mean and sample standard deviation (n - 1 below the line) of values; the deviation of fewer than two values is unknown.
struct Spread {
  std::int64_t count = 0;
  double mean = 0;
  std::optional<double> deviation = std::nullopt;
};
Spread spread_of(const std::vector<double>& values);

}  // namespace koine
