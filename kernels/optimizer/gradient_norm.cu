// gradient_norm in two launches. The first gives each piece of a segment (8,192 elements) a block of 256 threads, thread t
// takes groups t, t + 256, ... of four elements; behind the pieces come the blocks of the table (kernels/reduce/squares.h).
// Each block leaves a double in the workspace. The second, one block, adds them up and makes norm and factor. clip_factor is
// one thread.
//
// Traffic: 4 bytes an element and of listed rows, its 16-byte loads four to eight at a time in flight in each thread; 8
// bytes per block. Per element one conversion to double and one multiply-add in it: below the memory's time where fp64 runs
// at half the fp32 rate (compute capability 8.0, 9.0), above it where it runs at a 64th. Shared memory: 2.3 KB. The order of
// all additions is fixed by the shapes.

#include <cfloat>

#include "kernels/optimizer/gradient_norm.h"
#include "kernels/optimizer/segments_device.h"
#include "kernels/reduce/squares.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kThreads = kSquaresThreads;
constexpr int kTotalThreads = 1024;
constexpr int kGroups = static_cast<int>(kSegmentPiece / (4 * kThreads));

struct Params {
  std::int64_t segments;
  std::int64_t pieces;
  const FlatSegment* segment_list;
  const float* gradient;
  ElementRange range;
  SquaresTable table;
  double* partials;
};

Params params_of(const GradientNormArguments& a, void* workspace) {
  Params params = {a.segments, a.pieces, a.segment_list, a.gradient, a.range, {}, static_cast<double*>(workspace)};
  params.table = squares_table(a.gradient + a.table_offset, a.rows, a.width);
  params.table.row_list = a.row_list;
  params.table.listed = a.listed;
  params.table.listed_from = a.listed_from;
  params.table.begin = a.range.begin - a.table_offset;
  params.table.end = a.range.end - a.table_offset;
  return params;
}

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) squares_kernel(Params p) {
  SquaresShared& shared = shared_memory<SquaresShared>();
  const std::int64_t block = block_index().x;
  double sum = 0;
  if (block < p.pieces) {
    const SegmentPiece piece = clipped(find_piece(p.segment_list, p.segments, block), p.range);
    sum = squares_of_groups<kGroups>(p.gradient + piece.begin, piece.count, thread_index(), kThreads);
    sum = block_sum(sum, shared.sums);
  } else {
    sum = squares_of_block(p.table, block - p.pieces, shared);
  }
  if (thread_index() == 0) p.partials[block] = sum;
}

KOINE_DEVICE void write_norm_and_factor(double sum_of_squares, float maximum_norm, float* norm, float* factor) {
  const double root = sqrt(sum_of_squares);
  *norm = static_cast<float>(root);
  float clip = 1;
  if (maximum_norm > 0) {
    const double ratio = static_cast<double>(maximum_norm) / (root + 1e-6);
    clip = ratio < 1 ? static_cast<float>(ratio) : 1.0f;
    clip = clip < FLT_MIN ? FLT_MIN : clip;
  }
  *factor = *norm <= FLT_MAX ? clip : 0.0f;  // NaN is not either
}

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kTotalThreads) norm_kernel(const double* partials, std::int64_t count, float maximum_norm,
                                                            double* sum_of_squares, float* norm, float* factor) {
  const double sum = sum_of_partials(partials, count, shared_memory<SquaresShared>().sums);
  if (thread_index() != 0) return;
  *sum_of_squares = sum;
  write_norm_and_factor(sum, maximum_norm, norm, factor);
}

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kWarpThreads) clip_factor_kernel(ClipFactorArguments a) {
  if (thread_index() == 0) write_norm_and_factor(*a.sum_of_squares, a.maximum_norm, a.norm, a.factor);
}

}  // namespace

std::int64_t gradient_norm_portable_cells(const GradientNormArguments& a) {
  return a.pieces + squares_blocks(squares_table(nullptr, a.rows, a.width));
}

std::int64_t gradient_norm_portable_next_cell(bool table, std::int64_t rows, std::int64_t width, std::int64_t element) {
  if (!table) return std::min(divide_up(element, kSegmentPiece) * kSegmentPiece, rows * width);
  const SquaresTable shape = squares_table(nullptr, rows, width);
  const std::int64_t before = element / width * shape.row_cells + divide_up(element % width, kCell);
  const std::int64_t cell = divide_up(before, shape.block_cells) * shape.block_cells;
  return std::min(cell / shape.row_cells * width + cell % shape.row_cells * kCell, rows * width);
}

std::size_t gradient_norm_portable_workspace(const GradientNormArguments& a) {
  return static_cast<std::size_t>(gradient_norm_portable_cells(a)) * sizeof(double);
}

void gradient_norm_portable(const Context& context, const GradientNormArguments& a, void* workspace) {
  const Params params = params_of(a, a.cells == nullptr ? workspace : a.cells);
  const std::int64_t blocks = params.pieces + squares_blocks(params.table);
  if (blocks > 0 && a.stage != NormStage::kFinish) {
    launch({.kernel = "gradient_norm",
            .shape = {a.elements, a.rows, a.width},
            .grid = {grid_extent(blocks)},
            .threads = kThreads,
            .shared_bytes = sizeof(SquaresShared),
            .stream = context.stream},
           squares_kernel, params);
  }
  if (a.stage == NormStage::kCells) return;
  launch({.kernel = "gradient_norm_total",
          .shape = {blocks},
          .grid = {1},
          .threads = kTotalThreads,
          .shared_bytes = sizeof(SquaresShared),
          .stream = context.stream},
         norm_kernel, params.partials, blocks, a.maximum_norm, a.sum_of_squares, a.norm, a.factor);
}

void clip_factor_portable(const Context& context, const ClipFactorArguments& a, void*) {
  launch({.kernel = "clip_factor", .grid = {1}, .threads = kWarpThreads, .stream = context.stream}, clip_factor_kernel, a);
}

}  // namespace koine
