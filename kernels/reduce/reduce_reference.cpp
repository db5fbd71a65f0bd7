#include "kernels/reduce/reduce.h"

namespace koine {

void column_sum_reference(const Context&, const ColumnSumArguments& a, void*) {
  for (std::int64_t c = 0; c < a.width; ++c) {
    double sum = 0;
    for (std::int64_t row = 0; row < a.rows; ++row) sum += load_element(a.input, a.type, row * a.stride + c);
    a.output[c] = static_cast<float>(static_cast<double>(a.output[c]) + sum);
  }
}

void sum_of_squares_reference(const Context&, const SumOfSquaresArguments& a, void*) {
  const std::int64_t rows = a.row_list == nullptr ? a.rows : a.listed;
  for (std::int64_t i = 0; i < rows; ++i) {
    const float* row = a.input + (a.row_list == nullptr ? i : a.row_list[i]) * a.width;
    double sum = 0;
    for (std::int64_t c = 0; c < a.width; ++c) sum += static_cast<double>(row[c]) * static_cast<double>(row[c]);
    *a.output += sum;
  }
}

void sum_reference(const Context&, const SumArguments& a, void*) {
  for (std::int64_t i = 0; i < a.count; ++i) *a.output += static_cast<double>(a.input[i]);
}

}  // namespace koine
