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

/// Adds the squares of `tensor`, whose first element is `offset` of the flat buffer, as far as they lie in the range. Rows
/// that it cuts are summed by themselves, so every row that is whole has the bits it has without a range.
void add_squares(const Context& context, const SumOfSquaresArguments& tensor, std::int64_t offset, const ElementRange& range,
                 void* workspace) {
  const ElementRange inside = intersection({0, tensor.rows * tensor.width}, {range.begin - offset, range.end - offset});
  if (inside.count() == 0) return;
  const std::int32_t* list_end = tensor.row_list + (tensor.row_list == nullptr ? 0 : tensor.listed);
  const auto add_part = [&](std::int64_t begin, std::int64_t end) {  // of one row
    const std::int64_t row = begin / tensor.width;
    if (begin == end || (tensor.row_list != nullptr && !std::binary_search(tensor.row_list, list_end, row))) return;
    sum_of_squares_cpu(context, {1, end - begin, tensor.input + begin, nullptr, 0, tensor.output}, workspace);
  };
  const std::int64_t first = (inside.begin + tensor.width - 1) / tensor.width;  // whole rows: first .. last - 1
  const std::int64_t last = inside.end / tensor.width;
  if (first > last) return add_part(inside.begin, inside.end);
  add_part(inside.begin, first * tensor.width);
  SumOfSquaresArguments whole = tensor;
  if (tensor.row_list == nullptr) {
    whole.rows = last - first;
    whole.input += first * tensor.width;
  } else {
    whole.row_list = std::lower_bound(tensor.row_list, list_end, first);
    whole.listed = std::lower_bound(tensor.row_list, list_end, last) - whole.row_list;
  }
  sum_of_squares_cpu(context, whole, workspace);
  add_part(last * tensor.width, inside.end);
}

/// Calls visit(tensor, offset) for the segments and the table, in order of memory.
template <class Visit>
void for_each_tensor(const GradientNormArguments& a, const Visit& visit) {
  bool table_is_left = a.rows > 0;
  for (std::int64_t index = 0; index < a.segments; ++index) {
    const FlatSegment& segment = a.segment_list[index];
    if (table_is_left && segment.offset > a.table_offset) {
      visit(squares_of_table(a), a.table_offset);
      table_is_left = false;
    }
    if (segment.count() > 0) visit(squares_of_segment(a, index), segment.offset);
  }
  if (table_is_left) visit(squares_of_table(a), a.table_offset);
}

/// The sums that sum_of_squares adds up of a row.
std::int64_t cells_of_a_row(const SumOfSquaresArguments& tensor) {
  const auto bytes = static_cast<std::int64_t>(sum_of_squares_cpu_workspace(tensor));
  return bytes / static_cast<std::int64_t>(sizeof(double)) / tensor.rows;
}

void leave_cells(const Context& context, const GradientNormArguments& a) {
  double* cells = a.cells;
  for_each_tensor(a, [&](const SumOfSquaresArguments& tensor, std::int64_t offset) {
    const std::int64_t of_row = cells_of_a_row(tensor);
    std::fill_n(cells, tensor.rows * of_row, 0.0);
    const ElementRange inside =
        intersection({0, tensor.rows * tensor.width}, {a.range.begin - offset, a.range.end - offset});
    const std::int64_t first = (inside.begin + tensor.width - 1) / tensor.width;
    const std::int64_t rows = inside.count() == 0 ? 0 : (inside.end + tensor.width - 1) / tensor.width - first;
    double all = 0;
    if (rows > 0)
      sum_of_squares_cpu(context, {rows, tensor.width, tensor.input + first * tensor.width, nullptr, 0, &all},
                         cells + first * of_row);
    cells += tensor.rows * of_row;
  });
}

/// As sum_of_squares adds them up.
double sum_of_cells(const GradientNormArguments& a) {
  const double* cells = a.cells;
  double sum = 0;
  for_each_tensor(a, [&](const SumOfSquaresArguments& tensor, std::int64_t) {
    const std::int64_t of_row = cells_of_a_row(tensor);
    for (std::int64_t row = 0; row < tensor.rows; ++row, cells += of_row) {
      double of_this = 0;
      for (std::int64_t cell = 0; cell < of_row; ++cell) of_this += cells[cell];
      sum += of_this;
    }
  });
  return sum;
}

}  // namespace

void clip_factor_cpu(const Context&, const ClipFactorArguments& a, void*) {
  const double norm = std::sqrt(*a.sum_of_squares);
  const double maximum = static_cast<double>(a.maximum_norm);
  *a.norm = static_cast<float>(norm);
  *a.factor = maximum > 0 ? std::max(FLT_MIN, static_cast<float>(std::min(1.0, maximum / (norm + 1e-6)))) : 1.0f;
  if (!std::isfinite(*a.norm)) *a.factor = 0;
}

std::int64_t gradient_norm_cpu_cells(const GradientNormArguments& a) {
  std::int64_t cells = 0;
  for_each_tensor(a,
                  [&](const SumOfSquaresArguments& tensor, std::int64_t) { cells += tensor.rows * cells_of_a_row(tensor); });
  return cells;
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
  if (a.stage == NormStage::kCells) return leave_cells(context, a);
  *a.sum_of_squares = a.stage == NormStage::kFinish ? sum_of_cells(a) : 0;
  if (a.stage == NormStage::kWhole) {
    for_each_tensor(a, [&](const SumOfSquaresArguments& tensor, std::int64_t offset) {
      add_squares(context, tensor, offset, a.range, workspace);
    });
  }
  clip_factor_cpu(context, {a.sum_of_squares, a.maximum_norm, a.norm, a.factor}, nullptr);
}

}  // namespace koine
