#pragma once

// Exact-match accuracy in percent, as XTREME's evaluate.py: right predictions / predictions; F1 of classes.

#include <cstddef>
#include <cstdint>
#include <set>
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

/// F1 of one class in percent: 2PR / (P + R); 0 where none of its predictions is right.
inline double class_f1_percent(const std::vector<std::int32_t>& gold, const std::vector<std::int32_t>& predictions,
                               std::int32_t wanted) {
  check(gold.size() == predictions.size() && !gold.empty(), "F1 of ", predictions.size(), " predictions and ", gold.size(),
        " labels");
  std::size_t right = 0;
  std::size_t predicted = 0;
  std::size_t positive = 0;
  for (std::size_t i = 0; i < gold.size(); ++i) {
    right += gold[i] == wanted && predictions[i] == wanted ? 1 : 0;
    predicted += predictions[i] == wanted ? 1 : 0;
    positive += gold[i] == wanted ? 1 : 0;
  }
  return right == 0 ? 0 : 2 * static_cast<double>(right) / static_cast<double>(predicted + positive) * 100;
}

inline double binary_f1_percent(const std::vector<std::int32_t>& gold, const std::vector<std::int32_t>& predictions) {
  return class_f1_percent(gold, predictions, 1);
}

/// The mean of the classes' F1, of those that occur among gold or predictions (scikit-learn's f1_score(average="macro")); below
/// 0 is no class, but an answer that could not be read.
inline double macro_f1_percent(const std::vector<std::int32_t>& gold, const std::vector<std::int32_t>& predictions) {
  std::set<std::int32_t> classes(gold.begin(), gold.end());
  classes.insert(predictions.begin(), predictions.end());
  classes.erase(-1);
  double sum = 0;
  for (const std::int32_t one : classes) sum += class_f1_percent(gold, predictions, one);
  return sum / static_cast<double>(classes.size());
}

}  // namespace koine
