// sum_of_squares: a launch of squares.h's blocks, whose sums go to the workspace, and one block that adds those up.
//
// Traffic: every element once, four to eight 16-byte loads in flight in a thread; the sums are a double per 32 KiB to 1 MiB.
// A listed row costs its own bytes and each block a search in the list. Shared memory: 2.3 KB. The order of all additions is
// fixed.

#include "kernels/reduce/reduce.h"
#include "kernels/reduce/squares.h"

namespace koine {
namespace {

using namespace cuda;

SquaresTable table_of(const SumOfSquaresArguments& a) {
  SquaresTable table = squares_table(a.input, a.rows, a.width);
  table.row_list = a.row_list;
  table.listed = a.listed;
  return table;
}

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kSquaresThreads) sum_of_squares_kernel(SquaresTable table, double* partials) {
  const double sum = squares_of_block(table, block_index().x, shared_memory<SquaresShared>());
  if (thread_index() == 0) partials[block_index().x] = sum;
}

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kSquaresThreads)
    add_partials_kernel(const double* partials, std::int64_t count, double* output) {
  const double sum = sum_of_partials(partials, count, shared_memory<SquaresShared>().sums);
  if (thread_index() == 0) *output += sum;
}

}  // namespace

std::size_t sum_of_squares_portable_workspace(const SumOfSquaresArguments& a) {
  return static_cast<std::size_t>(squares_blocks(table_of(a))) * sizeof(double);
}

void sum_of_squares_portable(const Context& context, const SumOfSquaresArguments& a, void* workspace) {
  const SquaresTable table = table_of(a);
  const std::int64_t blocks = squares_blocks(table);
  if (blocks == 0) return;
  auto* partials = static_cast<double*>(workspace);
  launch({.kernel = "sum_of_squares",
          .shape = {a.rows, a.width},
          .grid = {grid_extent(blocks)},
          .threads = kSquaresThreads,
          .shared_bytes = sizeof(SquaresShared),
          .stream = context.stream},
         sum_of_squares_kernel, table, partials);
  launch({.kernel = "sum_of_squares_total",
          .shape = {blocks},
          .grid = {1},
          .threads = kSquaresThreads,
          .shared_bytes = sizeof(SquaresShared),
          .stream = context.stream},
         add_partials_kernel, partials, blocks, a.output);
}

}  // namespace koine
