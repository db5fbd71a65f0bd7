#pragma once

// A dropout over rows, for the cases of operations that have one.

#include "kernels/common/cases.h"
#include "kernels/random/dropout_mask.h"

namespace koine::cases {

/// Rows of examples with `length` rows each: neither their numbers nor their positions follow the order of the batch. The
/// arrays belong to the case. Rate 0: none.
inline Dropout row_dropout(Arrays& arrays, std::int64_t rows, float rate, std::int64_t length = 3) {
  Dropout dropout;
  if (rate == 0) return dropout;
  std::vector<std::uint32_t> examples;
  std::vector<std::int32_t> positions;
  for (std::int64_t row = 0; row < rows; ++row) {
    examples.push_back(static_cast<std::uint32_t>(row / length + 1) * 1000003u);
    positions.push_back(static_cast<std::int32_t>(row % length * 37 % 512));
  }
  dropout.rate = rate, dropout.seed = 11, dropout.step = 5, dropout.site = 9;
  dropout.examples = arrays.keep(std::move(examples));
  dropout.positions = arrays.keep(std::move(positions));
  return dropout;
}

}  // namespace koine::cases
