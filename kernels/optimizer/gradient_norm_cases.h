#pragma once

#include "kernels/common/cases.h"
#include "kernels/optimizer/gradient_norm.h"

namespace koine::cases {

/// A table [rows, width] apart from the segments, whose first element is `offset`.
struct NormTable {
  std::int64_t rows = 0, width = 1, offset = 0;
};

/// The sum of squares is an array, the norm and the factor are operands.
inline Case<GradientNormArguments> gradient_norm_case(std::vector<FlatSegment> segments, const NormTable& table,
                                                      float maximum_norm, Values gradient) {
  using Arguments = GradientNormArguments;
  Case<Arguments> one(concatenate(segments.size(), " segments, table [", table.rows, ", ", table.width, "], ",
                                  gradient.count(), " elements"));
  one.types = {DType::kFloat32};
  Arguments& a = one.arguments;
  a.pieces = number_pieces(segments), a.segments = std::ssize(segments);
  for (const FlatSegment& segment : segments) a.elements += segment.count();
  a.segment_list = one.keep(std::move(segments));
  a.rows = table.rows, a.width = table.width, a.table_offset = table.offset;
  a.maximum_norm = maximum_norm;
  a.sum_of_squares = one.keep(std::vector<double>{0});
  one.input_fp32("gradient", std::move(gradient), &Arguments::gradient);
  one.output_fp32("norm", 1, &Arguments::norm);
  one.output_fp32("factor", 1, &Arguments::factor);
  return one;
}

inline Case<ClipFactorArguments> clip_factor_case(double sum_of_squares, float maximum_norm) {
  using Arguments = ClipFactorArguments;
  Case<Arguments> one(concatenate("norm of ", sum_of_squares, ", at most ", maximum_norm));
  one.types = {DType::kFloat32};
  one.arguments.sum_of_squares = one.keep(std::vector<double>{sum_of_squares});
  one.arguments.maximum_norm = maximum_norm;
  one.output_fp32("norm", 1, &Arguments::norm);
  one.output_fp32("factor", 1, &Arguments::factor);
  return one;
}

}  // namespace koine::cases
