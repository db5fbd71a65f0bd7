// Exact search on the CPU: gemm() forms the scores of kQueryBlock x kCandidateBlock pairs in the workspace, then each query
// of the block keeps its k best in a heap with the worst at the root, so that most scores cost one comparison with it.
// Queries are independent and block borders fixed: deterministic whatever the number of threads.
//
// Both ways at once: each candidate keeps a heap of queries besides, and the worst of each stands in a row of bounds that a
// row of scores is compared with. Blocks come in order of queries, so that a heap meets them in order of their indices.

#include "kernels/topk/topk.h"

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/topk/topk_cpu.cpp"
#include "kernels/common/vector_targets.h"
#include "kernels/common/vector-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace {

// The first place from `begin` on whose score is above `bound`, or `count`.
std::int64_t find_above(const float* scores, std::int64_t begin, std::int64_t count, float bound) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto limit = hn::Set(d, bound);
  std::int64_t c = begin;
  for (; c + lanes <= count; c += lanes) {
    const std::intptr_t lane = hn::FindFirstTrue(d, hn::Gt(hn::LoadU(d, scores + c), limit));
    if (lane >= 0) return c + lane;
  }
  while (c < count && !(scores[c] > bound)) ++c;
  return c;
}

// The first place from `begin` on whose score is above its own bound, or `count`.
std::int64_t find_above_own(const float* scores, std::int64_t begin, std::int64_t count, const float* bounds) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t c = begin;
  for (; c + lanes <= count; c += lanes) {
    const std::intptr_t lane = hn::FindFirstTrue(d, hn::Gt(hn::LoadU(d, scores + c), hn::LoadU(d, bounds + c)));
    if (lane >= 0) return c + lane;
  }
  while (c < count && !(scores[c] > bounds[c])) ++c;
  return c;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <cmath>

#include "kernels/common/parallel.h"
#include "kernels/gemm/gemm.h"

namespace koine {
namespace {

HWY_EXPORT(find_above);
HWY_EXPORT(find_above_own);

// 4 MiB of scores: large enough for the product to run at its speed, small enough to stay in the last-level cache.
constexpr std::int64_t kQueryBlock = 512;
constexpr std::int64_t kCandidateBlock = 2048;

struct Found {
  float score;
  std::int32_t index;
};

// A heap by this order has the worst at its root, and sorting by it puts the best first.
bool better(const Found& left, const Found& right) {
  return left.score > right.score || (left.score == right.score && left.index < right.index);
}

std::int64_t query_block(const TopKArguments& arguments) { return std::min(kQueryBlock, arguments.queries_count); }
std::int64_t candidate_block(const TopKArguments& arguments) {
  return std::min(kCandidateBlock, arguments.candidates_count);
}

constexpr std::size_t align(std::size_t bytes) {
  return (bytes + StackMemory::kAlignment - 1) / StackMemory::kAlignment * StackMemory::kAlignment;
}
std::size_t scores_bytes(const TopKArguments& arguments) {
  return align(static_cast<std::size_t>(query_block(arguments) * candidate_block(arguments)) * sizeof(float));
}
std::size_t found_bytes(const TopKArguments& arguments) {
  return align(static_cast<std::size_t>(query_block(arguments) * arguments.k) * sizeof(Found));
}

// The product of one block of queries with one of candidates. Operands may be null where only its workspace is asked for.
GemmArguments product(const TopKArguments& arguments, std::int64_t query, std::int64_t candidate, float* scores) {
  GemmArguments gemm;
  gemm.m = std::min(query_block(arguments), arguments.queries_count - query);
  gemm.n = std::min(candidate_block(arguments), arguments.candidates_count - candidate);
  gemm.k = arguments.width;
  gemm.a = offset_by(arguments.queries, DType::kFloat32, query * arguments.width);
  gemm.lda = arguments.width;
  gemm.b = offset_by(arguments.candidates, DType::kFloat32, candidate * arguments.width);
  gemm.ldb = arguments.width;
  gemm.transpose_b = true;
  gemm.c = scores;
  gemm.ldc = candidate_block(arguments);
  return gemm;
}

// What the product may take from its scratch, whichever variant is chosen and wherever the last, smaller blocks fall.
std::size_t product_bytes(const TopKArguments& arguments) {
  const std::int64_t last_query = (arguments.queries_count - 1) / kQueryBlock * kQueryBlock;
  const std::int64_t last_candidate = (arguments.candidates_count - 1) / kCandidateBlock * kCandidateBlock;
  std::size_t most = 0;
  for (const std::int64_t query : {std::int64_t{0}, last_query}) {
    for (const std::int64_t candidate : {std::int64_t{0}, last_candidate}) {
      const GemmArguments gemm = product(arguments, query, candidate, nullptr);
      for (const Variant<GemmArguments>& variant : operation<GemmArguments>().variants) {
        if (variant.device != Device::kCpu || variant.workspace_bytes == nullptr) continue;
        if (variant.supports != nullptr && !variant.supports(gemm)) continue;
        most = std::max(most, variant.workspace_bytes(gemm));
      }
    }
  }
  // The guard that a debug build puts behind an allocation lies in the same scratch.
  return most == 0 ? 0 : align(most) + StackMemory::kAlignment;
}

// Puts a score into a heap that holds the scores of all indices below `index`, fewer than it has room for.
void fill(Found* heap, float score, std::int64_t index) {
  heap[index] = {std::isnan(score) ? -INFINITY : score, static_cast<std::int32_t>(index)};
  std::push_heap(heap, heap + index + 1, better);
}

// A better score in place of the worst.
void replace_worst(Found* heap, std::int64_t k, float score, std::int64_t index) {
  std::pop_heap(heap, heap + k, better);
  heap[k - 1] = {score, static_cast<std::int32_t>(index)};
  std::push_heap(heap, heap + k, better);
}

// Merges the scores of candidates first .. first + count - 1 into a query's heap.
void select(const float* scores, std::int64_t first, std::int64_t count, std::int64_t k, Found* heap) {
  std::int64_t c = 0;
  for (; c < count && first + c < k; ++c) fill(heap, scores[c], first + c);
  // A later candidate has a higher index: it enters only by a better score, and never ousts an equal one.
  while ((c = HWY_DYNAMIC_DISPATCH(find_above)(scores, c, count, heap[0].score)) < count) {
    replace_worst(heap, k, scores[c], first + c);
    ++c;
  }
}

// Merges a query's scores with candidates begin .. end - 1 into their heaps, whose worst scores are the bounds.
void select_back(const float* scores, std::int64_t query, std::int64_t begin, std::int64_t end, std::int64_t k, Found* heaps,
                 float* bounds) {
  std::int64_t c = begin;
  if (query < k) {
    for (; c < end; ++c) {
      fill(heaps + c * k, scores[c], query);
      bounds[c] = heaps[c * k].score;
    }
    return;
  }
  while ((c = HWY_DYNAMIC_DISPATCH(find_above_own)(scores, c, end, bounds)) < end) {
    replace_worst(heaps + c * k, k, scores[c], query);
    bounds[c] = heaps[c * k].score;
    ++c;
  }
}

// The k best in order.
void write_sorted(Found* heap, std::int64_t k, std::int32_t* indices, float* scores) {
  std::sort_heap(heap, heap + k, better);
  for (std::int64_t rank = 0; rank < k; ++rank) {
    indices[rank] = heap[rank].index;
    scores[rank] = heap[rank].score;
  }
}

// Candidates whose heaps one task looks after: a row of scores is read in pieces of a kilobyte.
constexpr std::int64_t kBackStripe = 256;

// What a search keeps of the candidates, where it goes both ways; null heaps: it does not.
struct BackHeaps {
  std::int64_t k = 0;
  Found* heaps = nullptr;   // [candidates, k]
  float* bounds = nullptr;  // [candidates]

  // The block of scores of queries query .. query + queries - 1 with the product's candidates from `candidate` on.
  void take(const GemmArguments& block, const float* scores, std::int64_t query, std::int64_t queries,
            std::int64_t candidate) const {
    if (heaps == nullptr) return;
    parallel_for((block.n + kBackStripe - 1) / kBackStripe, [&](std::int64_t stripe) {
      const std::int64_t begin = stripe * kBackStripe;
      const std::int64_t end = std::min(begin + kBackStripe, block.n);
      for (std::int64_t q = 0; q < queries; ++q)
        select_back(scores + q * block.ldc, query + q, begin, end, k, heaps + candidate * k, bounds + candidate);
    });
  }
};

std::size_t search_bytes(const TopKArguments& arguments) {
  return scores_bytes(arguments) + found_bytes(arguments) + product_bytes(arguments);
}

void search(const Context& context, const TopKArguments& arguments, void* workspace, const BackHeaps& back) {
  auto* scores = static_cast<float*>(workspace);
  auto* found = reinterpret_cast<Found*>(static_cast<std::byte*>(workspace) + scores_bytes(arguments));
  StackMemory product_scratch("top_k product", reinterpret_cast<std::byte*>(found) + found_bytes(arguments),
                              product_bytes(arguments));
  Context inner = context;
  inner.scratch = &product_scratch;
  inner.profile = nullptr;  // its work is counted as this operation's
  for (std::int64_t query = 0; query < arguments.queries_count; query += kQueryBlock) {
    const std::int64_t queries = std::min(kQueryBlock, arguments.queries_count - query);
    for (std::int64_t candidate = 0; candidate < arguments.candidates_count; candidate += kCandidateBlock) {
      const GemmArguments block = product(arguments, query, candidate, scores);
      gemm(inner, block);
      parallel_for(queries, [&](std::int64_t q) {
        select(scores + q * block.ldc, candidate, block.n, arguments.k, found + q * arguments.k);
      });
      back.take(block, scores, query, queries, candidate);
    }
    parallel_for(queries, [&](std::int64_t q) {
      const std::int64_t at = (query + q) * arguments.k;
      write_sorted(found + q * arguments.k, arguments.k, arguments.indices + at, arguments.scores + at);
    });
  }
}

std::size_t back_heaps_bytes(const TwoWayTopKArguments& arguments) {
  return align(static_cast<std::size_t>(arguments.candidates_count * arguments.back_k) * sizeof(Found));
}
std::size_t back_bounds_bytes(const TwoWayTopKArguments& arguments) {
  return align(static_cast<std::size_t>(arguments.candidates_count) * sizeof(float));
}

}  // namespace

std::size_t top_k_cpu_workspace(const TopKArguments& arguments) {
  return arguments.queries_count == 0 ? 0 : search_bytes(arguments);
}

void top_k_cpu(const Context& context, const TopKArguments& arguments, void* workspace) {
  if (arguments.queries_count > 0) search(context, arguments, workspace, {});
}

std::size_t top_k_two_way_cpu_workspace(const TwoWayTopKArguments& arguments) {
  return back_heaps_bytes(arguments) + back_bounds_bytes(arguments) + search_bytes(arguments.forth());
}

void top_k_two_way_cpu(const Context& context, const TwoWayTopKArguments& arguments, void* workspace) {
  auto* place = static_cast<std::byte*>(workspace);
  BackHeaps back;
  back.k = arguments.back_k;
  back.heaps = reinterpret_cast<Found*>(place);
  back.bounds = reinterpret_cast<float*>(place + back_heaps_bytes(arguments));
  search(context, arguments.forth(), place + back_heaps_bytes(arguments) + back_bounds_bytes(arguments), back);
  parallel_for(arguments.candidates_count, [&](std::int64_t c) {
    const std::int64_t at = c * back.k;
    write_sorted(back.heaps + at, back.k, arguments.back_indices + at, arguments.back_scores + at);
  });
}

}  // namespace koine
#endif
