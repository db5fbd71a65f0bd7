// Exact search on CUDA, the product fused with the choice of the best: scores are never stored whole.
//
// top_k_ranges: a block has 64 queries and a range of candidates, which it goes through 128 at a time. The product of such a
// tile runs in fp32 on the CUDA cores: 128 threads of 8 x 8 scores each in registers, operands through shared memory in
// steps of 16 columns, two steps deep by asynchronous copies. Warp w has queries from (w / 2) * 32 and candidates from
// (w % 2) * 64 on, lane l of it queries l / 8 + 4 i and candidates l % 8 + 8 j (i, j < 8). Rows of 16 columns are kept 20
// floats apart: the 8 rows that neighbouring lanes read 16 bytes of then lie in different banks. Each thread reads 16 times
// 16 bytes for 256 fused multiply-adds.
//
// The scores of the tile then take the operands' place in shared memory (rows 136 apart: the stores of a warp fall into 32
// banks), and each warp takes every fourth query: a lane compares 4 scores with the worst that its query keeps, which
// settles nearly all; a better one is put into its place in the query's list (k <= 32, a rank a lane) by a ballot and a
// shuffle. Of n candidates in random order about k ln(n / k) are.
//
// top_k_merge: a block a query puts the lists of the ranges together.
//
// (score, index) is a total order, so it does not matter in which order candidates are met; each score is one chain of fused
// multiply-adds over the columns in order: the result does not depend on tiles or ranges. Ranges depend on the shape alone.
// Shared memory: 34,816 bytes for operands or scores and 512 k for the lists; 128 registers a thread (64 of them sums), so
// four blocks a multiprocessor (three where rows are not multiples of 16 bytes and copies are of 4). FLOPs 2 * queries *
// candidates * width; neighbouring blocks (x: queries) go through the same candidates at the same time, so that memory sees
// candidates about once and L2 serves the rest: 768 KB a tile of 1,024 columns. Limits: k <= 32.

#include <algorithm>

#include "kernels/cuda/async_copy.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/cuda/warp.h"
#include "kernels/topk/topk.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kMostK = 32;
constexpr int kQueries = 64;      // of a block
constexpr int kCandidates = 128;  // of a tile
constexpr int kDepth = 16;        // columns of a step
constexpr int kThreads = 128;
constexpr int kOperandStride = kDepth + 4;
constexpr int kScoreStride = kCandidates + 8;
constexpr int kMergeWarps = 16;
constexpr std::int64_t kBlocksWanted = 2048;  // several waves of any device

struct Found {
  float score;
  std::int32_t index;
};

/// What an empty place of a list holds: worse than every candidate.
KOINE_DEVICE Found nothing() { return {minus_infinity(), std::numeric_limits<std::int32_t>::max()}; }
KOINE_DEVICE bool better(Found left, Found right) {
  return left.score > right.score || (left.score == right.score && left.index < right.index);
}
KOINE_DEVICE Found shuffle_found(Found value, int lane) { return {shuffle(value.score, lane), shuffle(value.index, lane)}; }

/// A list spread over a warp, the best in lane 0: puts each lane's `candidate` into its place if it is among the best k. All
/// lanes come here.
KOINE_DEVICE void insert(Found& mine, int k, Found candidate) {
  Found worst = shuffle_found(mine, k - 1);
  std::uint32_t waiting = ballot(better(candidate, worst));
  while (waiting != 0) {
    const Found next = shuffle_found(candidate, count_bits((waiting & (~waiting + 1)) - 1));  // the lowest lane that waits
    waiting &= waiting - 1;
    const int place = count_bits(ballot(better(mine, next)));
    const Found before = shuffle_found(mine, lane_index() == 0 ? 0 : lane_index() - 1);
    if (lane_index() >= place) mine = lane_index() == place ? next : before;
    worst = shuffle_found(mine, k - 1);
    waiting &= ballot(better(candidate, worst));
  }
}

struct Params {
  std::int64_t queries_count;
  std::int64_t candidates_count;
  std::int64_t width;
  std::int64_t range;  ///< candidates of a block
  int ranges;
  int k;
  const float* queries;
  const float* candidates;
  Found* found;  ///< [queries, ranges, k]
  std::int32_t* indices;
  float* scores;
};

struct Operands {
  float queries[kQueries][kOperandStride];
  float candidates[kCandidates][kOperandStride];
};
struct RangesShared {
  union {
    Operands operands[2];
    float scores[kQueries][kScoreStride];
  };
  // Behind it: Found lists[kQueries][k].
};

/// Starts the copy of `kRows` rows, 16 columns from `column` on; zeros outside [0, rows) and [0, width).
template <int kRows, int kColumns>
KOINE_DEVICE void copy_rows(float (&to)[kRows][kOperandStride], const float* from, std::int64_t row, std::int64_t rows,
                            std::int64_t column, std::int64_t width) {
  constexpr int kCopiesOfARow = kDepth / kColumns;
  constexpr int kRowsAtOnce = kThreads / kCopiesOfARow;
  const int r = thread_index() / kCopiesOfARow;
  const int c = thread_index() % kCopiesOfARow * kColumns;
  const std::int64_t left = column + c < width ? rows - row - r : 0;
  const float* source = from + (row + r) * width + column + c;
  KOINE_UNROLL
  for (int i = 0; i < kRows; i += kRowsAtOnce, source += kRowsAtOnce * width) {
    async_copy<kColumns * 4>(&to[r + i][c], i < left ? source : from, i < left);
  }
}

template <int kColumns>
KOINE_DEVICE void copy_step(Operands& to, const Params& p, std::int64_t query, std::int64_t candidate, std::int64_t end,
                            std::int64_t column) {
  copy_rows<kQueries, kColumns>(to.queries, p.queries, query, p.queries_count, column, p.width);
  copy_rows<kCandidates, kColumns>(to.candidates, p.candidates, candidate, end, column, p.width);
  async_commit();
}

/// Adds the products of 16 columns to a thread's 8 x 8 scores, in order of the columns. The outer loop stays one: unrolled,
/// the compiler reads ahead into registers that are not there.
KOINE_DEVICE void add_products(float (&sums)[8][8], const Operands& operands, int first_query, int first_candidate) {
  for (int column = 0; column < kDepth; column += 4) {
    float queries[8][4];
    KOINE_UNROLL
    for (int i = 0; i < 8; ++i) load_floats(queries[i], &operands.queries[first_query + 4 * i][column]);
    KOINE_UNROLL
    for (int j = 0; j < 8; ++j) {
      float candidate[4];
      load_floats(candidate, &operands.candidates[first_candidate + 8 * j][column]);
      KOINE_UNROLL
      for (int c = 0; c < 4; ++c) {
        KOINE_UNROLL
        for (int i = 0; i < 8; ++i) sums[i][j] = fused(queries[i][c], candidate[c], sums[i][j]);
      }
    }
  }
}

/// The warp's part of the block's `queries`: puts what is better in this tile's scores (of candidates `first` .. `end` - 1)
/// into their lists.
KOINE_DEVICE void choose(const float (&scores)[kQueries][kScoreStride], Found* lists, int k, int queries, std::int64_t first,
                         std::int64_t end) {
  for (int q = warp_index(); q < queries; q += kThreads / kWarpThreads) {
    Found* const list = lists + q * k;
    const Found worst = list[k - 1];
    Found candidates[kCandidates / kWarpThreads];
    bool any = false;
    KOINE_UNROLL
    for (int j = 0; j < kCandidates / kWarpThreads; ++j) {
      const int c = j * kWarpThreads + lane_index();
      const float score = scores[q][c];
      candidates[j] = {score == score ? score : minus_infinity(), static_cast<std::int32_t>(first + c)};
      if (first + c >= end) candidates[j] = nothing();
      any = any || better(candidates[j], worst);
    }
    if (ballot(any) == 0) continue;  // the same for the whole warp
    Found mine = lane_index() < k ? list[lane_index()] : nothing();
    KOINE_UNROLL
    for (int j = 0; j < kCandidates / kWarpThreads; ++j) insert(mine, k, candidates[j]);
    sync_warp();  // all lanes have read the list
    if (lane_index() < k) list[lane_index()] = mine;
    sync_warp();
  }
}

/// Block (x, y): queries [64 x, ...), candidates [range y, ...). kColumns floats a copy.
template <int kColumns>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads, kColumns == 4 ? 4 : 3) top_k_ranges_kernel(Params p) {
  auto& shared = shared_memory<RangesShared>();
  Found* const lists = reinterpret_cast<Found*>(&shared + 1);
  const std::int64_t query = std::int64_t{block_index().x} * kQueries;
  const std::int64_t begin = block_index().y * p.range;
  const std::int64_t end = begin + p.range < p.candidates_count ? begin + p.range : p.candidates_count;
  const int queries = p.queries_count - query < kQueries ? static_cast<int>(p.queries_count - query) : kQueries;
  const int first_query = warp_index() / 2 * 32 + lane_index() / 8;
  const int first_candidate = warp_index() % 2 * 64 + lane_index() % 8;
  for (int i = thread_index(); i < kQueries * p.k; i += kThreads) lists[i] = nothing();

  for (std::int64_t candidate = begin; candidate < end; candidate += kCandidates) {
    float sums[8][8] = {};
    copy_step<kColumns>(shared.operands[0], p, query, candidate, end, 0);
    int stage = 0;
    for (std::int64_t column = 0; column < p.width; column += kDepth) {
      async_wait<0>();
      sync_block();  // this step's operands are there, and nobody reads the other stage any more
      if (column + kDepth < p.width) {
        copy_step<kColumns>(shared.operands[1 - stage], p, query, candidate, end, column + kDepth);
      }
      add_products(sums, shared.operands[stage], first_query, first_candidate);
      stage = 1 - stage;
    }
    sync_block();  // operands make room for scores
    KOINE_UNROLL
    for (int i = 0; i < 8; ++i) {
      KOINE_UNROLL
      for (int j = 0; j < 8; ++j) shared.scores[first_query + 4 * i][first_candidate + 8 * j] = sums[i][j];
    }
    sync_block();
    choose(shared.scores, lists, p.k, queries, candidate, end);
    sync_block();  // scores make room for operands
  }
  for (int i = thread_index(); i < queries * p.k; i += kThreads) {
    p.found[((query + i / p.k) * p.ranges + block_index().y) * p.k + i % p.k] = lists[i];
  }
}

/// Block x: the lists of query x. Warp w takes 32 entries at a time, w * 32, (w + warps) * 32, ...; then the first warp
/// takes the warps' lists.
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kMergeWarps* kWarpThreads) top_k_merge_kernel(Params p) {
  struct Shared {
    Found lists[kMergeWarps][kWarpThreads];
  };
  auto& shared = shared_memory<Shared>();
  const std::int64_t query = block_index().x;
  const std::int64_t entries = std::int64_t{p.ranges} * p.k;
  const Found* const found = p.found + query * entries;
  Found mine = nothing();
  for (std::int64_t first = warp_index() * kWarpThreads; first < entries; first += block_threads()) {
    insert(mine, p.k, first + lane_index() < entries ? found[first + lane_index()] : nothing());
  }
  shared.lists[warp_index()][lane_index()] = mine;
  sync_block();
  if (warp_index() != 0) return;
  for (int warp = 1; warp < block_threads() / kWarpThreads; ++warp) insert(mine, p.k, shared.lists[warp][lane_index()]);
  if (lane_index() >= p.k) return;
  p.indices[query * p.k + lane_index()] = mine.index;
  p.scores[query * p.k + lane_index()] = mine.score;
}

/// How the candidates are shared out over blocks: enough blocks for any device, in whole tiles.
struct Split {
  std::int64_t ranges;
  std::int64_t range;
};
Split split(const TopKArguments& a) {
  const std::int64_t tiles = divide_up(a.candidates_count, kCandidates);
  const std::int64_t wanted = divide_up(kBlocksWanted, divide_up(a.queries_count, kQueries));
  const std::int64_t tiles_of_a_range = divide_up(tiles, std::min(tiles, wanted));
  return {divide_up(tiles, tiles_of_a_range), tiles_of_a_range * kCandidates};
}

}  // namespace

bool top_k_portable_supports(const TopKArguments& a) { return a.k <= kMostK; }

std::size_t top_k_portable_workspace(const TopKArguments& a) {
  if (a.queries_count == 0) return 0;
  return static_cast<std::size_t>(a.queries_count * split(a).ranges * a.k) * sizeof(Found);
}

void top_k_portable(const Context& context, const TopKArguments& a, void* workspace) {
  if (a.queries_count == 0) return;
  const Split parts = split(a);
  const std::int64_t ranges = parts.ranges;
  const Params params = {a.queries_count,
                         a.candidates_count,
                         a.width,
                         parts.range,
                         static_cast<int>(ranges),
                         static_cast<int>(a.k),
                         a.queries,
                         a.candidates,
                         static_cast<Found*>(workspace),
                         a.indices,
                         a.scores};
  const auto start = [&](auto kernel) {
    launch({.kernel = "top_k_ranges",
            .shape = {a.queries_count, a.candidates_count, a.width, a.k},
            .grid = {grid_extent(divide_up(a.queries_count, kQueries)), grid_extent(ranges)},
            .threads = kThreads,
            .shared_bytes = sizeof(RangesShared) + static_cast<std::size_t>(kQueries * a.k) * sizeof(Found),
            .stream = context.stream},
           kernel, params);
  };
  if (all_aligned(16, a.queries, a.candidates, a.width * 4)) {
    start(top_k_ranges_kernel<4>);
  } else {
    start(top_k_ranges_kernel<1>);
  }
  const std::int64_t warps = std::clamp<std::int64_t>(divide_up(ranges * a.k, 4 * kWarpThreads), 1, kMergeWarps);
  launch({.kernel = "top_k_merge",
          .shape = {a.queries_count, ranges, a.k},
          .grid = {grid_extent(a.queries_count)},
          .threads = static_cast<int>(warps) * kWarpThreads,
          .shared_bytes = kMergeWarps * kWarpThreads * sizeof(Found),
          .stream = context.stream},
         top_k_merge_kernel, params);
}

bool top_k_two_way_portable_supports(const TwoWayTopKArguments& a) { return a.k <= kMostK && a.back_k <= kMostK; }

std::size_t top_k_two_way_portable_workspace(const TwoWayTopKArguments& a) {
  return std::max(top_k_portable_workspace(a.forth()), top_k_portable_workspace(a.back()));
}

/// Two searches: a block keeps the lists of its queries alone, so that the candidates' want the product again.
void top_k_two_way_portable(const Context& context, const TwoWayTopKArguments& a, void* workspace) {
  top_k_portable(context, a.forth(), workspace);
  top_k_portable(context, a.back(), workspace);
}

}  // namespace koine
