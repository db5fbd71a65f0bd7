#pragma once

// The machine's own ceilings, measured once in this run.

#include <string>

#include "kernels/common/types.h"

namespace koine::bench {

struct Ceiling {
  double rate = 0;  ///< FLOP/s
  std::string variant;
};
/// Of a large matrix product in this type, by the fastest variant there is.
const Ceiling& product_ceiling(DType type);
/// Bytes per second read and written by a large copy.
double copy_ceiling();

}  // namespace koine::bench
