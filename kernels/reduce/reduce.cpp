#include "kernels/reduce/reduce.h"

namespace koine {

void column_sum_reference(const Context&, const ColumnSumArguments&, void*);
void column_sum_cpu(const Context&, const ColumnSumArguments&, void*);
std::size_t column_sum_cpu_workspace(const ColumnSumArguments&);
void column_sum_portable(const Context&, const ColumnSumArguments&, void*);
std::size_t column_sum_portable_workspace(const ColumnSumArguments&);
void sum_of_squares_reference(const Context&, const SumOfSquaresArguments&, void*);
void sum_of_squares_cpu(const Context&, const SumOfSquaresArguments&, void*);
std::size_t sum_of_squares_cpu_workspace(const SumOfSquaresArguments&);
void sum_of_squares_portable(const Context&, const SumOfSquaresArguments&, void*);
std::size_t sum_of_squares_portable_workspace(const SumOfSquaresArguments&);
void sum_reference(const Context&, const SumArguments&, void*);
void sum_cpu(const Context&, const SumArguments&, void*);
void sum_portable(const Context&, const SumArguments&, void*);

namespace {

void validate_column_sum(const ColumnSumArguments& a) {
  check(a.rows >= 0 && a.width > 0 && a.stride >= a.width, "column_sum: [rows ", a.rows, ", width ", a.width,
        "] with row stride ", a.stride, " is not a shape");
}
void validate_sum_of_squares(const SumOfSquaresArguments& a) {
  check(a.rows >= 0 && a.width > 0 && a.listed >= 0, "sum_of_squares: [rows ", a.rows, ", width ", a.width, "], ", a.listed,
        " rows listed, is not a shape");
}
void validate_sum(const SumArguments& a) { check(a.count >= 0, "sum: [count ", a.count, "] is not a shape"); }

double column_sum_flops(const ColumnSumArguments& a) { return static_cast<double>(a.rows) * static_cast<double>(a.width); }
double column_sum_bytes(const ColumnSumArguments& a) {
  return column_sum_flops(a) * static_cast<double>(size_of(a.type)) + 8.0 * static_cast<double>(a.width);
}
double elements(const SumOfSquaresArguments& a) {
  return static_cast<double>(a.row_list == nullptr ? a.rows : a.listed) * static_cast<double>(a.width);
}
double sum_of_squares_flops(const SumOfSquaresArguments& a) { return 2 * elements(a); }
double sum_of_squares_bytes(const SumOfSquaresArguments& a) { return 4 * elements(a) + 8; }
double sum_flops(const SumArguments& a) { return static_cast<double>(a.count); }
double sum_bytes(const SumArguments& a) { return 4.0 * static_cast<double>(a.count) + 8; }

bool not_double(const ColumnSumArguments& a) { return a.type != DType::kFloat64; }

}  // namespace

template <>
const Operation<ColumnSumArguments>& operation<ColumnSumArguments>() {
  static const Operation<ColumnSumArguments> table = {
      "column_sum",
      validate_column_sum,
      column_sum_flops,
      column_sum_bytes,
      {{"portable", Device::kCuda, kFrom80, not_double, column_sum_portable_workspace, column_sum_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, not_double, column_sum_cpu_workspace, column_sum_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, column_sum_reference}}};
  return table;
}

template <>
const Operation<SumOfSquaresArguments>& operation<SumOfSquaresArguments>() {
  static const Operation<SumOfSquaresArguments> table = {
      "sum_of_squares",
      validate_sum_of_squares,
      sum_of_squares_flops,
      sum_of_squares_bytes,
      {{"portable", Device::kCuda, kFrom80, nullptr, sum_of_squares_portable_workspace, sum_of_squares_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, nullptr, sum_of_squares_cpu_workspace, sum_of_squares_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, sum_of_squares_reference}}};
  return table;
}

template <>
const Operation<SumArguments>& operation<SumArguments>() {
  static const Operation<SumArguments> table = {
      "sum",
      validate_sum,
      sum_flops,
      sum_bytes,
      {{"portable", Device::kCuda, kFrom80, nullptr, nullptr, sum_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, nullptr, nullptr, sum_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, sum_reference}}};
  return table;
}

}  // namespace koine
