#pragma once

// The k candidates with the largest inner product, for each query (exact search; bitext retrieval as in Tatoeba and BUCC).
//
//   score(q, c) = queries[q] . candidates[c];   indices[q] = the k candidates of largest score, best first
//
// Equal scores: the lower index first; a score that is not a number counts as minus infinity. queries [queries_count,
// width], candidates [candidates_count, width] fp32, contiguous; indices [queries_count, k] int32, scores [queries_count, k]
// fp32; 1 <= k <= candidates_count. The product is formed block by block and never stored whole. Deterministic. The CUDA
// variants take k up to 32. FLOPs 2 * queries * candidates * width.

#include <cstdint>

#include "kernels/common/registry.h"

namespace koine {

struct TopKArguments {
  std::int64_t queries_count = 0;
  std::int64_t candidates_count = 0;
  std::int64_t width = 0;
  std::int64_t k = 1;
  const float* queries = nullptr;
  const float* candidates = nullptr;
  std::int32_t* indices = nullptr;
  float* scores = nullptr;
};

/// Both ways at once: of each query the k best candidates, and of each candidate the back_k best queries, as two calls of
/// top_k would give them, from one product where the variant can ("cpu"): 2 * queries * candidates * width FLOPs. Besides the
/// operands "cpu" has in memory one block of scores (4 MiB), what a product of that size takes, and for each candidate
/// 8 * back_k + 4 bytes. 1 <= k <= candidates_count, 1 <= back_k <= queries_count.
struct TwoWayTopKArguments {
  std::int64_t queries_count = 0;
  std::int64_t candidates_count = 0;
  std::int64_t width = 0;
  std::int64_t k = 1;
  std::int64_t back_k = 1;
  const float* queries = nullptr;
  const float* candidates = nullptr;
  std::int32_t* indices = nullptr;       ///< [queries_count, k] of candidates
  float* scores = nullptr;               ///< [queries_count, k]
  std::int32_t* back_indices = nullptr;  ///< [candidates_count, back_k] of queries
  float* back_scores = nullptr;          ///< [candidates_count, back_k]

  /// One way as a search of its own.
  TopKArguments forth() const { return {queries_count, candidates_count, width, k, queries, candidates, indices, scores}; }
  TopKArguments back() const {
    return {candidates_count, queries_count, width, back_k, candidates, queries, back_indices, back_scores};
  }
};

inline void top_k(const Context& context, const TopKArguments& arguments) { run(context, arguments); }
inline void top_k_two_way(const Context& context, const TwoWayTopKArguments& arguments) { run(context, arguments); }

}  // namespace koine
