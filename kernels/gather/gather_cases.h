#pragma once

#include "kernels/common/cases.h"
#include "kernels/gather/gather.h"

namespace koine::cases {

template <class Arguments>
Case<Arguments> rows_case(std::vector<std::int32_t> indices, std::int64_t rows, std::int64_t width, std::int64_t read,
                          std::int64_t written) {
  Case<Arguments> one(concatenate(indices.size(), " of [", rows, ", ", width, "]"));
  one.arguments.count = std::ssize(indices), one.arguments.rows = rows, one.arguments.width = width;
  one.arguments.indices = one.keep(std::move(indices));
  one.input("input", random(read * width, 1), &Arguments::input);
  one.output("output", written * width, &Arguments::output);
  return one;
}

inline Case<GatherRowsArguments> gather_rows_case(const std::vector<std::int32_t>& indices, std::int64_t rows,
                                                  std::int64_t width) {
  return rows_case<GatherRowsArguments>(indices, rows, width, rows, std::ssize(indices));
}
inline Case<ScatterRowsArguments> scatter_rows_case(const std::vector<std::int32_t>& indices, std::int64_t rows,
                                                    std::int64_t width) {
  return rows_case<ScatterRowsArguments>(indices, rows, width, std::ssize(indices), rows);
}
/// Into an output whose other rows stay.
inline Case<ScatterRowsArguments> scatter_among_others_case(const std::vector<std::int32_t>& indices, std::int64_t rows,
                                                            std::int64_t width) {
  Case<ScatterRowsArguments> one = scatter_rows_case(indices, rows, width);
  one.name += ", others kept";
  one.arguments.keep_others = true;
  one.operand("output").read = true;
  one.operand("output").values = random(rows * width, 2);
  return one;
}

}  // namespace koine::cases
