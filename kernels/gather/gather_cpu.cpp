// Copies of whole rows; a task is a block of rows. No vector code: memcpy and memset already run at memory bandwidth.

#include <algorithm>
#include <cstring>

#include "kernels/common/parallel.h"
#include "kernels/gather/gather.h"

namespace koine {
namespace {

std::int64_t rows_of_a_copy(std::int64_t width) { return std::max<std::int64_t>(1, 32768 / width); }

template <class Arguments>
void check_indices(const Arguments& a, const char* name) {
  for (std::int64_t i = 0; i < a.count; ++i) {
    check(a.indices[i] >= 0 && a.indices[i] < a.rows, name, ": index ", a.indices[i], " at ", i, " of ", a.count,
          " is not a row of [", a.rows, ", ", a.width, "]");
  }
}

}  // namespace

void gather_rows_cpu(const Context&, const GatherRowsArguments& a, void*) {
  check_indices(a, "gather_rows");
  const std::size_t bytes = static_cast<std::size_t>(a.width) * size_of(a.type);
  parallel_ranges(a.count, rows_of_a_copy(a.width), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::memcpy(offset_by(a.output, a.type, i * a.width), offset_by(a.input, a.type, a.indices[i] * a.width), bytes);
    }
  });
}

void scatter_rows_cpu(const Context&, const ScatterRowsArguments& a, void*) {
  check_indices(a, "scatter_rows");
  const std::size_t bytes = static_cast<std::size_t>(a.width) * size_of(a.type);
  parallel_ranges(a.keep_others ? 0 : a.rows, rows_of_a_copy(a.width), [&](std::int64_t begin, std::int64_t end) {
    std::memset(offset_by(a.output, a.type, begin * a.width), 0, static_cast<std::size_t>(end - begin) * bytes);
  });
  parallel_ranges(a.count, rows_of_a_copy(a.width), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::memcpy(offset_by(a.output, a.type, a.indices[i] * a.width), offset_by(a.input, a.type, i * a.width), bytes);
    }
  });
}

}  // namespace koine
