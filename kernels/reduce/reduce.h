#pragma once

// Sums in a fixed order.
//
//   column_sum:      output[c] += sum over rows of input[r, c]                        (bias gradients)
//   sum_of_squares:  output[0] += sum over all of input[i]^2, in double               (gradient norm)
//   sum:             output[0] += sum of input[i], in double                          (losses)
//
// column_sum: input of `type`, its rows `stride` elements apart. sum_of_squares: [rows, width] fp32 row by row: doubles
// per row, added up in an order that goes by the rows' places. Rows of zeros change nothing, so the sum over listed rows
// (row_list) is bit for bit the sum over all when the others are zero. sum: in order on the CPU; in an order of its own,
// decided by `count`, on a device.

#include <cstdint>

#include "kernels/common/registry.h"

namespace koine {

struct ColumnSumArguments {
  DType type = DType::kFloat32;
  std::int64_t rows = 0;
  std::int64_t width = 0;
  std::int64_t stride = 0;
  const void* input = nullptr;
  float* output = nullptr;  ///< [width], +=
};

struct SumOfSquaresArguments {
  std::int64_t rows = 0;
  std::int64_t width = 0;
  const float* input = nullptr;            ///< [rows, width]
  const std::int32_t* row_list = nullptr;  ///< [listed] ascending rows that may be non-zero; null: all
  std::int64_t listed = 0;
  double* output = nullptr;  ///< +=
};

struct SumArguments {
  std::int64_t count = 0;
  const float* input = nullptr;
  double* output = nullptr;  ///< +=
};

inline void column_sum(const Context& context, const ColumnSumArguments& arguments) { run(context, arguments); }
inline void sum_of_squares(const Context& context, const SumOfSquaresArguments& arguments) { run(context, arguments); }
inline void sum(const Context& context, const SumArguments& arguments) { run(context, arguments); }

}  // namespace koine
