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
  const auto add_table = [&] { add_squares(context, squares_of_table(a), a.table_offset, a.range, workspace); };
  bool table_is_left = a.rows > 0;
  for (std::int64_t index = 0; index < a.segments; ++index) {
    const FlatSegment& segment = a.segment_list[index];
    if (table_is_left && segment.offset > a.table_offset) {
      add_table();
      table_is_left = false;
    }
    if (segment.count() > 0) add_squares(context, squares_of_segment(a, index), segment.offset, a.range, workspace);
  }
  if (table_is_left) add_table();
  clip_factor_cpu(context, {a.sum_of_squares, a.maximum_norm, a.norm, a.factor}, nullptr);
}

}  // namespace koine
