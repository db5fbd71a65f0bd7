// column_sum: a task is a block of rows, summed four rows at a time into its share of the workspace; the shares are added in
// order of the blocks.
// sum_of_squares: each row is cut into pieces of 8,192 elements; a task sums the pieces of a block of rows, in double with
// the vector's lanes in a fixed order; the pieces of a row, then the rows, are added in order.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/reduce/reduce_cpu.cpp"
#include "kernels/common/vector_targets.h"
#include "kernels/common/vector-inl.h"
#include "kernels/reduce/squares-inl.h"
// clang-format on

#include <algorithm>

#include "kernels/common/parallel.h"
#include "kernels/reduce/reduce.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace {

template <class T>
void column_sum_rows(const ColumnSumArguments& a, std::int64_t begin, std::int64_t end, float* share) {
  const hn::ScalableTag<float> d;
  std::fill(share, share + a.width, 0.0f);
  const T* row = static_cast<const T*>(a.input) + begin * a.stride;
  std::int64_t left = end - begin;
  for (; left >= 4; left -= 4, row += 4 * a.stride) {
    for_lanes(d, a.width, [&](std::int64_t i, auto lanes) KOINE_LANES {
      const auto first = hn::Add(lanes.load(d, row + i), lanes.load(d, row + a.stride + i));
      const auto second = hn::Add(lanes.load(d, row + 2 * a.stride + i), lanes.load(d, row + 3 * a.stride + i));
      lanes.store(d, hn::Add(lanes.load(d, share + i), hn::Add(first, second)), share + i);
    });
  }
  for (; left > 0; --left, row += a.stride) {
    for_lanes(d, a.width, [&](std::int64_t i, auto lanes) KOINE_LANES {
      lanes.store(d, hn::Add(lanes.load(d, share + i), lanes.load(d, row + i)), share + i);
    });
  }
}

void column_sum_block(const ColumnSumArguments& a, std::int64_t begin, std::int64_t end, float* share) {
  a.type == DType::kFloat32 ? column_sum_rows<float>(a, begin, end, share) : column_sum_rows<BFloat16>(a, begin, end, share);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace koine {
namespace {

HWY_EXPORT(column_sum_block);
HWY_EXPORT(squares);

// Blocks are larger where there are many rows, so that the shares stay a small part of the traffic.
std::int64_t rows_of_a_block(const ColumnSumArguments& a) { return std::max<std::int64_t>(64, (a.rows + 63) / 64); }
std::int64_t blocks_of(const ColumnSumArguments& a) { return (a.rows + rows_of_a_block(a) - 1) / rows_of_a_block(a); }

constexpr std::int64_t kPiece = 8192;
std::int64_t rows_of(const SumOfSquaresArguments& a) { return a.row_list == nullptr ? a.rows : a.listed; }
std::int64_t pieces_of_a_row(const SumOfSquaresArguments& a) { return (a.width + kPiece - 1) / kPiece; }

}  // namespace

std::size_t column_sum_cpu_workspace(const ColumnSumArguments& a) {
  return static_cast<std::size_t>(blocks_of(a) * a.width) * sizeof(float);
}

void column_sum_cpu(const Context&, const ColumnSumArguments& a, void* workspace) {
  auto* shares = static_cast<float*>(workspace);  // [blocks, width]
  const std::int64_t rows = rows_of_a_block(a);
  parallel_ranges(a.rows, rows, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(column_sum_block)(a, begin, end, shares + begin / rows * a.width);
  });
  parallel_ranges(a.width, 1024, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = 0; block < blocks_of(a); ++block) {
      const float* share = shares + block * a.width;
      for (std::int64_t c = begin; c < end; ++c) a.output[c] += share[c];
    }
  });
}

std::size_t sum_of_squares_cpu_workspace(const SumOfSquaresArguments& a) {
  return static_cast<std::size_t>(rows_of(a) * pieces_of_a_row(a)) * sizeof(double);
}

void sum_of_squares_cpu(const Context&, const SumOfSquaresArguments& a, void* workspace) {
  auto* sums = static_cast<double*>(workspace);  // [rows, pieces]
  const std::int64_t pieces = pieces_of_a_row(a);
  const std::int64_t pieces_of_a_task = std::max<std::int64_t>(1, 4 * kPiece / a.width);
  parallel_ranges(rows_of(a) * pieces, pieces_of_a_task, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t piece = begin; piece < end; ++piece) {
      const std::int64_t row = a.row_list == nullptr ? piece / pieces : a.row_list[piece / pieces];
      const std::int64_t first = piece % pieces * kPiece;
      sums[piece] = HWY_DYNAMIC_DISPATCH(squares)(a.input + row * a.width + first, std::min(kPiece, a.width - first));
    }
  });
  for (std::int64_t row = 0; row < rows_of(a); ++row) {
    double sum = 0;
    for (std::int64_t piece = 0; piece < pieces; ++piece) sum += sums[row * pieces + piece];
    *a.output += sum;
  }
}

void sum_cpu(const Context&, const SumArguments& a, void*) {
  double sum = *a.output;
  for (std::int64_t i = 0; i < a.count; ++i) sum += static_cast<double>(a.input[i]);
  *a.output = sum;
}

}  // namespace koine
#endif
