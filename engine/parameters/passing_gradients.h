#pragma once

// Gradients where ranks share them out (ZeRO, stage 2). Backward writes those of a part of the step where they stay only until
// they have been told to the others: a stage of it after the other, two of which have memory at a time. What is left of all
// parts, their sum, a rank has of its range alone, and of the elements behind it that the norm adds up together with the last
// of them.

#include <cstdint>
#include <vector>

#include "engine/parameters/parameter_table.h"
#include "kernels/common/types.h"
#include "kernels/optimizer/segments.h"

namespace koine {

/// Parameters first .. last - 1 of a table, elements begin .. end - 1 of its flat buffers, which lie one behind the other.
struct PassingRun {
  int first = 0;
  int last = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t place = 0;  ///< of `begin`, in elements
  int stage = 0;           ///< of backward, behind which they are final

  std::int64_t count() const { return end - begin; }
};

struct PassingGradients {
  std::vector<PassingRun> runs;  ///< in the table's order
  std::int64_t elements = 0;     ///< of their memory
};

/// Stages share memory with the next but one; what collects from several has its own.
PassingGradients plan_passing_gradients(const ParameterTable& table);

/// The cells of the norm that begin in a range (kernels/optimizer/gradient_norm.h), as a range. Together those of all ranks are
/// all of them.
ElementRange norm_cells_from(const ParameterTable& table, Device device, const ElementRange& range);

/// What a rank keeps of the sums: its range, and those cells to their ends.
ElementRange kept_gradients(const ParameterTable& table, Device device, const ElementRange& range);

}  // namespace koine
