#include "tasks/scorers/span_f1.h"

#include <algorithm>
#include <cstddef>

#include "kernels/common/check.h"

namespace koine {

ChunkCounts name_counts(const std::vector<NamedSpan>& gold, const std::vector<NamedSpan>& predictions) {
  std::vector<NamedSpan> left = gold;
  ChunkCounts counts{0, predictions.size(), gold.size()};
  for (const NamedSpan& name : predictions) {
    const auto found = std::find(left.begin(), left.end(), name);
    if (found == left.end()) continue;
    ++counts.right;
    left.erase(found);
  }
  return counts;
}

SpanF1 span_f1(const std::vector<std::vector<NamedSpan>>& gold, const std::vector<std::vector<NamedSpan>>& predictions) {
  check(gold.size() == predictions.size(), "F1 of the names of ", predictions.size(), " and ", gold.size(), " sentences");
  std::size_t right = 0;
  std::size_t predicted = 0;
  std::size_t wanted = 0;
  for (std::size_t i = 0; i < gold.size(); ++i) {
    const ChunkCounts counts = name_counts(gold[i], predictions[i]);
    right += counts.right;
    predicted += counts.predicted;
    wanted += counts.gold;
  }
  const auto percent = [](std::size_t part, std::size_t all) {
    return all == 0 ? 0 : 100 * static_cast<double>(part) / static_cast<double>(all);
  };
  return {percent(right, predicted), percent(right, wanted), percent(2 * right, predicted + wanted)};
}

}  // namespace koine
