#pragma once

// What one pass over a piece of a row of logits gives.

namespace koine {

struct SoftmaxStatistics {
  float largest = 0;
  float sum = 0;  ///< of exp(logit - largest)
};

}  // namespace koine
