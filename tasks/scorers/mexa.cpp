#include "tasks/scorers/mexa.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/common/check.h"

namespace koine {
namespace {

double inner_product(const float* a, const float* b, std::int64_t width) {
  double sum = 0;
  for (std::int64_t i = 0; i < width; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

std::vector<double> lengths_of(std::span<const float> rows, std::int64_t width) {
  std::vector<double> lengths;
  for (const float* row = rows.data(); row != rows.data() + rows.size(); row += width)
    lengths.push_back(std::sqrt(inner_product(row, row, width)));
  return lengths;
}

}  // namespace

double mexa_percent(std::span<const float> english, std::span<const float> foreign, std::int64_t width) {
  check(english.size() == foreign.size() && std::ssize(english) >= 2 * width, "MEXA of ", english.size(), " and ",
        foreign.size(), " numbers");
  const std::vector<double> english_lengths = lengths_of(english, width);
  const std::vector<double> foreign_lengths = lengths_of(foreign, width);
  const std::size_t rows = english_lengths.size();
  constexpr double kNothing = -std::numeric_limits<double>::infinity();
  std::vector<double> own(rows), best_of_row(rows, kNothing), best_of_column(rows, kNothing);
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < rows; ++j) {
      const double lengths = english_lengths[i] * foreign_lengths[j];
      const auto at = [&](std::size_t row) { return static_cast<std::ptrdiff_t>(row) * width; };
      const double cosine =
          lengths > 0 ? inner_product(english.data() + at(i), foreign.data() + at(j), width) / lengths : kNothing;
      if (i == j) {
        own[i] = cosine;
        continue;
      }
      best_of_row[i] = std::max(best_of_row[i], cosine);
      best_of_column[j] = std::max(best_of_column[j], cosine);
    }
  }
  std::size_t aligned = 0;
  for (std::size_t i = 0; i < rows; ++i) aligned += own[i] > best_of_row[i] && own[i] > best_of_column[i] ? 1 : 0;
  return 100.0 * static_cast<double>(aligned) / static_cast<double>(rows);
}

}  // namespace koine
