#pragma once

// Average precision of a ranked list, cut at k (LAReQA's and Mewsli-X's mAP@20 in XTREME-R: utils_lareqa.py and
// utils_mewslix.py):
//
//   AP@k = 1 / min(|targets|, k) * sum over ranks i <= k of a target's first occurrence: (targets found up to i) / i
//
// With one target (Mewsli-X) it is the reciprocal rank.

#include <algorithm>
#include <cstddef>
#include <set>
#include <vector>

#include "kernels/common/check.h"

namespace koine {

template <class Item>
double average_precision(const std::set<Item>& targets, const std::vector<Item>& ranked, std::size_t k) {
  check(!targets.empty() && k > 0, "average precision without targets");
  std::set<Item> found;
  double sum = 0;
  for (std::size_t i = 0; i < std::min(k, ranked.size()); ++i) {
    if (targets.contains(ranked[i]) && found.insert(ranked[i]).second)
      sum += static_cast<double>(found.size()) / static_cast<double>(i + 1);
  }
  return sum / static_cast<double>(std::min(targets.size(), k));
}

}  // namespace koine
