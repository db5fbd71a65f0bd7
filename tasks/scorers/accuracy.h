#pragma once

// Exact-match accuracy in percent, as XTREME's evaluate.py: right predictions / predictions.

#include <cstddef>
#include <vector>

#include "kernels/common/check.h"

namespace koine {

template <class Value>
double accuracy_percent(const std::vector<Value>& gold, const std::vector<Value>& predictions) {
  check(gold.size() == predictions.size() && !gold.empty(), "accuracy of ", predictions.size(), " predictions and ",
        gold.size(), " labels");
  std::size_t right = 0;
  for (std::size_t i = 0; i < gold.size(); ++i) right += gold[i] == predictions[i] ? 1 : 0;
  return static_cast<double>(right) / static_cast<double>(predictions.size()) * 100;
}

}  // namespace koine
