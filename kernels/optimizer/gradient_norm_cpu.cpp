// gradient_norm: sum_of_squares of one tensor after the other, the table among them at its place in memory.

#include <algorithm>
#include <cfloat>
#include <cmath>

#include "kernels/optimizer/gradient_norm.h"
#include "kernels/reduce/reduce.h"

namespace koine {

void sum_of_squares_cpu(const Context&, const SumOfSquaresArguments&, void*);
std::size_t sum_of_squares_cpu_workspace(const SumOfSquaresArguments&);

namespace {

SumOfSquaresArguments squares_of_segment(const GradientNormArguments& a, std::int64_t index) {
  const FlatSegment& segment = a.segment_list[index];
  return {segment.rows, segment.width, a.gradient + segment.offset, nullptr, 0, a.sum_of_squares};
}

SumOfSquaresArguments squares_of_table(const GradientNormArguments& a) {
  const std::int64_t listed = a.listed_from == nullptr ? a.listed : *a.listed_from;
  return {a.rows, a.width, a.gradient + a.table_offset, a.row_list, listed, a.sum_of_squares};
}

}  // namespace

void clip_factor_cpu(const Context&, const ClipFactorArguments& a, void*) {
  const double norm = std::sqrt(*a.sum_of_squares);
  const double maximum = static_cast<double>(a.maximum_norm);
  *a.norm = static_cast<float>(norm);
  *a.factor = maximum > 0 ? std::max(FLT_MIN, static_cast<float>(std::min(1.0, maximum / (norm + 1e-6)))) : 1.0f;
  if (!std::isfinite(*a.norm)) *a.factor = 0;
}

std::size_t gradient_norm_cpu_workspace(const GradientNormArguments& a) {
  GradientNormArguments all = a;
  all.row_list = nullptr;  // as many as there may be
  all.listed_from = nullptr;
  std::size_t most = sum_of_squares_cpu_workspace(squares_of_table(all));
  for (std::int64_t index = 0; index < a.segments; ++index) {
    if (a.segment_list[index].count() == 0) continue;
    most = std::max(most, sum_of_squares_cpu_workspace(squares_of_segment(a, index)));
  }
  return most;
}

void gradient_norm_cpu(const Context& context, const GradientNormArguments& a, void* workspace) {
  *a.sum_of_squares = 0;
  bool table_is_left = a.rows > 0;
  for (std::int64_t index = 0; index < a.segments; ++index) {
    if (table_is_left && a.segment_list[index].offset > a.table_offset) {
      sum_of_squares_cpu(context, squares_of_table(a), workspace);
      table_is_left = false;
    }
    if (a.segment_list[index].count() > 0) sum_of_squares_cpu(context, squares_of_segment(a, index), workspace);
  }
  if (table_is_left) sum_of_squares_cpu(context, squares_of_table(a), workspace);
  clip_factor_cpu(context, {a.sum_of_squares, a.maximum_norm, a.norm, a.factor}, nullptr);
}

}  // namespace koine
