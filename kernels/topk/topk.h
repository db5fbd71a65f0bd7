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

inline void top_k(const Context& context, const TopKArguments& arguments) { run(context, arguments); }

}  // namespace koine
