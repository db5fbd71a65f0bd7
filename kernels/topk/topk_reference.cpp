#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/topk/topk.h"

namespace koine {

void top_k_reference(const Context&, const TopKArguments& arguments, void*) {
  std::vector<double> scores(static_cast<std::size_t>(arguments.candidates_count));
  std::vector<std::int32_t> order(scores.size());
  for (std::int64_t q = 0; q < arguments.queries_count; ++q) {
    for (std::int64_t c = 0; c < arguments.candidates_count; ++c) {
      double sum = 0;
      for (std::int64_t i = 0; i < arguments.width; ++i) {
        sum +=
            static_cast<double>(arguments.queries[q * arguments.width + i]) * arguments.candidates[c * arguments.width + i];
      }
      scores[c] = std::isnan(sum) ? -INFINITY : sum;
    }
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int32_t left, std::int32_t right) { return scores[left] > scores[right]; });
    for (std::int64_t rank = 0; rank < arguments.k; ++rank) {
      arguments.indices[q * arguments.k + rank] = order[rank];
      arguments.scores[q * arguments.k + rank] = static_cast<float>(scores[order[rank]]);
    }
  }
}

void top_k_two_way_reference(const Context& context, const TwoWayTopKArguments& arguments, void*) {
  top_k_reference(context, arguments.forth(), nullptr);
  top_k_reference(context, arguments.back(), nullptr);
}

}  // namespace koine
