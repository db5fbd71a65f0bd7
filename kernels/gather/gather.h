#pragma once

// Rows picked out of a matrix, and put back.
//
//   gather:   output[i] = input[indices[i]]
//   scatter:  output = 0 everywhere, then output[indices[i]] = input[i]     (the gradient of gather for distinct indices);
//             with keep_others output is left as it is elsewhere
//
// [count, width] and [rows, width] of `type`, contiguous; indices [count] in [0, rows), distinct for scatter. Exact copies.
// Indices outside throw on the CPU; on a device nobody looks.

#include <cstdint>

#include "kernels/common/registry.h"

namespace koine {

struct GatherRowsArguments {
  DType type = DType::kFloat32;
  std::int64_t count = 0;
  std::int64_t width = 0;
  std::int64_t rows = 0;
  const std::int32_t* indices = nullptr;
  const void* input = nullptr;
  void* output = nullptr;
};

struct ScatterRowsArguments {
  DType type = DType::kFloat32;
  std::int64_t count = 0;
  std::int64_t width = 0;
  std::int64_t rows = 0;
  const std::int32_t* indices = nullptr;
  const void* input = nullptr;
  void* output = nullptr;
  bool keep_others = false;
};

inline void gather_rows(const Context& context, const GatherRowsArguments& arguments) { run(context, arguments); }
inline void scatter_rows(const Context& context, const ScatterRowsArguments& arguments) { run(context, arguments); }

}  // namespace koine
