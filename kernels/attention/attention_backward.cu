// The backward of attention on tensor cores, bf16 with fp32 statistics and sums, without atomics.
//
// Sequences of at most 64 rows on either side are one launch's, a block of four warps for each of them and each head: see
// the kernel for whole sequences. Batches that have longer ones take three launches more, for these. (1) D_i = do_i . o_i
// of every row, put beside its log_sum_exp by head, so that the others read both of 32 rows from one place. (2) d_key and
// d_value: a block of four warps has 64 keys of one head, a warp 16 of them, and walks over the sequence's queries in
// tiles of 32. It computes the scores transposed, S^T = K Q^T and dP^T = V dO^T, so that weights and d(scores) become left
// operands of dV = P^T dO and dK = dS^T Q where they lie, in registers. (3) d_query the other way round: 64 queries, keys
// in tiles of 32, S = Q K^T, dP = dO V^T, dQ = dS K. That is seven products where five would do, in exchange for sums in a
// fixed order and no fp32 partial sums of d_query in global memory. All sums run over 32 rows at a time in ascending order
// in either way, so that a sequence gets the same bits. Under a causal mask (2) begins at the first query that sees one of
// its keys and (3) ends at the last key that one of its queries sees; tiles that the diagonal crosses are masked.
//
// The tiles walked over are in shared memory twice, the next one travelling while this one is worked on; one barrier a tile.
// Rounded are the weights and d(scores), to bf16 before they are multiplied, and the results when stored. The mask of
// dropout is drawn again. In S^T a lane holds half of the elements of two draws of eight: it makes one and gets the other
// from the lane that needs both too.
//
// Traffic of a block: 4 * 64 * head_size bytes of its own rows twice over (read and written), 4 * length * head_size bytes
// of the tiles walked over, from the L2 cache for all but the first block of a head. FLOPs of a block: 8 (keys) or 6
// (queries) * 64 * length * head_size. Shared memory: two tiles of [64, head size] and four of [32, head size], 32 KiB at 64
// and 64 KiB at 128.
// What limits the blocks on a multiprocessor are registers: up to 255 a thread at head sizes over 64, that is two blocks.
// Everything is deterministic: a row's sums depend on its own sequence only.

#include "kernels/attention/attention_backward.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kOwnRows = 64;
constexpr int kOtherRows = 32;
constexpr int kThreads = 128;
constexpr int kOtherTiles = kOtherRows / 8;

// --- D

constexpr int kRowThreads = 256;
constexpr int kRowsPerBlock = kRowThreads / kRowLanes;

struct RowStatisticsParams {
  std::int64_t tokens;  // of queries
  std::int64_t heads;
  std::int64_t head_size;
  std::int64_t stride;
  const void* output;
  const void* d_output;
  const float* log_sum_exp;
  float* row_statistics;
};

/// D of one row of one head, to each of the eight neighbouring lanes that have it, kElements columns at a time; `start`:
/// where the row begins. All lanes of a warp take part, those without a row with `inside` false.
template <class T, int kElements>
KOINE_DEVICE float row_product(const RowStatisticsParams& p, std::int64_t start, bool inside) {
  const int lane = lane_index() % kRowLanes;
  float sum = 0;
  if (inside) {
    for (std::int64_t column = lane * kElements; column < p.head_size; column += kRowLanes * kElements) {
      sum = add_products<kElements>(sum, static_cast<const T*>(p.output) + start + column,
                                    static_cast<const T*>(p.d_output) + start + column);
    }
  }
  return warp_sum<kRowLanes>(sum);
}

/// A block has 32 rows of one head, so that what it writes lies together.
template <class T, int kElements>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kRowThreads) attention_row_statistics_kernel(RowStatisticsParams p) {
  const std::int64_t token = std::int64_t{block_index().x} * kRowsPerBlock + thread_index() / kRowLanes;
  const std::int64_t head = block_index().y;
  const bool inside = token < p.tokens;
  const float sum = row_product<T, kElements>(p, token * p.stride + head * p.head_size, inside);
  if (inside && thread_index() % kRowLanes == 0) {
    const Pack<float, 2> pair = {p.log_sum_exp[token * p.heads + head], sum};
    store_pack(p.row_statistics + 2 * (head * p.tokens + token), pair);
  }
}

template <class T>
RowStatisticsParams row_statistics_params(const AttentionBackwardArguments& a, float* row_statistics, bool* vectors) {
  constexpr int kElements = 16 / sizeof(T);
  const AttentionShape& shape = a.shape;
  *vectors = shape.head_size % kElements == 0 &&
             all_aligned(16, a.output, a.d_output, shape.output_stride * std::int64_t{sizeof(T)});
  return {shape.queries.tokens, shape.heads,   shape.head_size, shape.output_stride, a.output,
          a.d_output,           a.log_sum_exp, row_statistics};
}

template <class T>
void launch_row_statistics(const Context& context, const AttentionBackwardArguments& a, float* row_statistics) {
  const AttentionShape& shape = a.shape;
  bool vectors = false;
  const RowStatisticsParams p = row_statistics_params<T>(a, row_statistics, &vectors);
  launch({.kernel = "attention_row_statistics",
          .shape = {shape.queries.tokens, shape.heads, shape.head_size},
          .grid = {grid_extent(divide_up(shape.queries.tokens, kRowsPerBlock)), grid_extent(shape.heads)},
          .threads = kRowThreads,
          .stream = context.stream},
         vectors ? attention_row_statistics_kernel<T, 16 / sizeof(T)> : attention_row_statistics_kernel<T, 1>, p);
}

// --- d_key and d_value

/// Blocks a multiprocessor holds at once, by registers and shared memory.
constexpr int backward_query_blocks(AttentionKind kind, int head_size) {
  return kind == AttentionKind::kSelf && head_size <= 64 ? 3 : 2;
}
constexpr int backward_key_blocks(AttentionKind kind, int head_size) {
  return kind == AttentionKind::kSelf && head_size <= 32 ? 3 : 2;
}
/// Up to this head size the rows a warp has stay in registers; wider ones are read from shared memory for each tile.
constexpr bool held(int head_size) { return head_size <= 80; }

template <int kHeadSize>
struct KeyShared {
  AttentionTile<kOwnRows, kHeadSize> key;  // at the end: d_key
  AttentionTile<kOwnRows, kHeadSize> value;
  AttentionTile<kOtherRows, kHeadSize> query[2];
  AttentionTile<kOtherRows, kHeadSize> d_output[2];
  Pack<float, 2> statistics[2][kOtherRows];
};

/// log_sum_exp and D of queries begin .. begin+31; behind the sequence's end infinity and 0, with which weights are 0.
KOINE_DEVICE void load_statistics(Pack<float, 2> (&to)[kOtherRows], const AttentionParams& p, const AttentionPlace& at,
                                  int begin) {
  const int i = thread_index();
  if (i >= kOtherRows) return;
  Pack<float, 2> pair = {-minus_infinity(), 0};
  if (begin + i < at.queries) {
    pair = load_pack<float, 2>(p.row_statistics + 2 * (at.head * p.query_tokens + at.first_query + begin + i));
  }
  to[i] = pair;
}

/// Weights and d(scores), transposed, of pairs that do not see each other: 0. `ahead`: how far the warp's key g is ahead of
/// the place of the tile's first query.
template <int kCount>
KOINE_DEVICE void mask_transposed(Accumulator (&weights)[kCount], Accumulator (&d_scores)[kCount], int ahead) {
  const int t = lane_index() % 4;
  KOINE_UNROLL
  for (int n = 0; n < kCount; ++n) {
    KOINE_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (ahead + 8 * (i / 2) > 8 * n + 2 * t + i % 2) {
        weights[n].x[i] = 0;
        d_scores[n].x[i] = 0;
      }
    }
  }
}
/// The same where there is something to mask in a tile of queries from `begin` and 16 keys from `key`.
template <AttentionKind kKind, int kCount>
KOINE_DEVICE void mask_if_causal(Accumulator (&weights)[kCount], Accumulator (&d_scores)[kCount], const AttentionParams& p,
                                 const AttentionPlace& at, int begin, int key) {
  if constexpr (kKind == AttentionKind::kSelf) return;
  const int ahead = key - (begin + at.keys - at.queries);
  if (p.causal && ahead + 15 > 0) mask_transposed(weights, d_scores, ahead + lane_index() / 4);
}

template <AttentionKind kKind, int kHeadSize, bool kDropout>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads, backward_key_blocks(kKind, kHeadSize))
    attention_backward_key_kernel(AttentionParams p) {
  const AttentionPlace at = attention_place<kKind, true>(p, kOwnRows);
  if (at.begin >= at.keys || fits_into(at, p.shorter_rows)) return;  // the whole block
  auto& shared = shared_memory<KeyShared<kHeadSize>>();
  const AttentionRows queries = query_rows(p, at, p.query, p.query_stride);
  const AttentionRows d_outputs = query_rows(p, at, p.d_output, p.output_stride);
  const int start = first_seeing<kKind>(p, at, at.begin, kOtherRows);
  load_tile<kThreads>(shared.key, key_rows<kKind>(p, at, p.key), at.begin);
  load_tile<kThreads>(shared.value, key_rows<kKind>(p, at, p.value), at.begin);
  load_tile<kThreads>(shared.query[0], queries, start);
  load_tile<kThreads>(shared.d_output[0], d_outputs, start);
  async_commit();
  load_statistics(shared.statistics[0], p, at, start);

  const int warp_row = warp_index() * 16;
  const AttentionDraws draws = attention_draws<kDropout>(p, at);
  Accumulator d_key[kHeadSize / 8], d_value[kHeadSize / 8];
  clear(d_key);
  clear(d_value);
  async_wait<0>();
  sync_block();
  FragmentA key[held(kHeadSize) ? kHeadSize / 16 : 1], value[held(kHeadSize) ? kHeadSize / 16 : 1];
  if constexpr (held(kHeadSize)) {
    KOINE_UNROLL
    for (int step = 0; step < kHeadSize / 16; ++step) {
      key[step] = load_a(shared.key, warp_row, step);
      value[step] = load_a(shared.value, warp_row, step);
    }
  }
  const auto key_operand = [&](int step) {
    if constexpr (held(kHeadSize)) return key[step];
    return load_a(shared.key, warp_row, step);
  };
  const auto value_operand = [&](int step) {
    if constexpr (held(kHeadSize)) return value[step];
    return load_a(shared.value, warp_row, step);
  };

  for (int begin = start, stage = 0; begin < at.queries; begin += kOtherRows, stage ^= 1) {
    const bool last = begin + kOtherRows >= at.queries;
    if (!last) {
      load_tile<kThreads>(shared.query[stage ^ 1], queries, begin + kOtherRows);
      load_tile<kThreads>(shared.d_output[stage ^ 1], d_outputs, begin + kOtherRows);
      async_commit();
      load_statistics(shared.statistics[stage ^ 1], p, at, begin + kOtherRows);
    }
    std::uint32_t kept[2] = {};
    if constexpr (kDropout) kept_transposed<kOtherTiles>(kept, draws, begin, at.begin + warp_row);
    Accumulator weights[kOtherTiles], d_scores[kOtherTiles];
    multiply_along_columns<kHeadSize>(weights, shared.query[stage], key_operand);
    multiply_along_columns<kHeadSize>(d_scores, shared.d_output[stage], value_operand);
    backward_softmax_transposed<kDropout>(weights, d_scores, shared.statistics[stage], p, kept);
    mask_if_causal<kKind>(weights, d_scores, p, at, begin, at.begin + warp_row);
    multiply_along_rows<kHeadSize>(d_value, weights, shared.d_output[stage]);
    multiply_along_rows<kHeadSize>(d_key, d_scores, shared.query[stage]);
    if (!last) {
      async_wait<0>();
      sync_block();
    }
  }

  const int first_row = at.begin + warp_row;
  const std::int64_t offset = (at.first_key + first_row) * key_stride<kKind>(p) + at.head * p.head_size;
  const float key_factor[2] = {p.scale, p.scale};
  const float value_factor[2] = {p.dropout.scale, p.dropout.scale};
  store_rows<kHeadSize>(d_key, key_factor, shared.key, warp_row, static_cast<BFloat16*>(p.d_key) + offset,
                        key_stride<kKind>(p), at.keys - first_row, p.head_size, p.vectors);
  store_rows<kHeadSize>(d_value, value_factor, shared.value, warp_row, static_cast<BFloat16*>(p.d_value) + offset,
                        key_stride<kKind>(p), at.keys - first_row, p.head_size, p.vectors);
}

// --- d_query

template <int kHeadSize>
struct QueryShared {
  AttentionTile<kOwnRows, kHeadSize> query;  // at the end: d_query
  AttentionTile<kOwnRows, kHeadSize> d_output;
  AttentionTile<kOtherRows, kHeadSize> key[2];
  AttentionTile<kOtherRows, kHeadSize> value[2];
};

/// In place: d(weights) -> d(scores), from the scores. 0 for keys that a row does not see: rows g and g + 8 see `keys` of
/// this tile.
template <bool kDropout, int kCount>
KOINE_DEVICE void backward_softmax(const Accumulator (&scores)[kCount], Accumulator (&d_scores)[kCount],
                                   const float (&log_sum_exp)[2], const float (&correction)[2], const AttentionParams& p,
                                   std::uint32_t kept, const int (&keys)[2]) {
  const int t = lane_index() % 4;
  KOINE_UNROLL
  for (int n = 0; n < kCount; ++n) {
    KOINE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float weight = exp2_fast(fused(scores[n].x[i], p.scale, -log_sum_exp[i / 2]) * kLog2OfE);
      float multiplier = 1;
      if constexpr (kDropout) {
        multiplier = (kept >> (n / 2 * 8 + i / 2 * 4 + n % 2 * 2 + i % 2) & 1) != 0 ? p.dropout.scale : 0.0f;
      }
      const float d_score = weight * fused(multiplier, d_scores[n].x[i], -correction[i / 2]);
      d_scores[n].x[i] = 8 * n + 2 * t + i % 2 < keys[i / 2] ? d_score : 0.0f;
    }
  }
}

template <AttentionKind kKind, int kHeadSize, bool kDropout>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads, backward_query_blocks(kKind, kHeadSize))
    attention_backward_query_kernel(AttentionParams p) {
  const AttentionPlace at = attention_place<kKind>(p, kOwnRows);
  if (at.begin >= at.queries || fits_into(at, p.shorter_rows)) return;  // the whole block
  auto& shared = shared_memory<QueryShared<kHeadSize>>();
  const AttentionRows keys = key_rows<kKind>(p, at, p.key);
  const AttentionRows values = key_rows<kKind>(p, at, p.value);
  load_tile<kThreads>(shared.query, query_rows(p, at, p.query, p.query_stride), at.begin);
  load_tile<kThreads>(shared.d_output, query_rows(p, at, p.d_output, p.output_stride), at.begin);
  load_tile<kThreads>(shared.key[0], keys, 0);
  load_tile<kThreads>(shared.value[0], values, 0);
  async_commit();

  const int warp_row = warp_index() * 16;
  const int row = at.begin + warp_row + lane_index() / 4;  // and row + 8
  const AttentionDraws draws = attention_draws<kDropout>(p, at);
  float log_sum_exp[2] = {0, 0}, correction[2] = {0, 0};
  KOINE_UNROLL
  for (int half = 0; half < 2; ++half) {
    if (row + 8 * half >= at.queries) continue;
    const auto pair =
        load_pack<float, 2>(p.row_statistics + 2 * (at.head * p.query_tokens + at.first_query + row + 8 * half));
    log_sum_exp[half] = pair.values[0];
    correction[half] = pair.values[1];
  }
  Accumulator d_query[kHeadSize / 8];
  clear(d_query);
  async_wait<0>();
  sync_block();
  FragmentA query[kHeadSize / 16], d_output[kHeadSize / 16];
  KOINE_UNROLL
  for (int step = 0; step < kHeadSize / 16; ++step) {
    query[step] = load_a(shared.query, warp_row, step);
    d_output[step] = load_a(shared.d_output, warp_row, step);
  }

  const int end = visible_keys<kKind>(p, at, at.begin + kOwnRows - 1);
  for (int begin = 0, stage = 0; begin < end; begin += kOtherRows, stage ^= 1) {
    const bool last = begin + kOtherRows >= end;
    if (!last) {
      load_tile<kThreads>(shared.key[stage ^ 1], keys, begin + kOtherRows);
      load_tile<kThreads>(shared.value[stage ^ 1], values, begin + kOtherRows);
      async_commit();
    }
    std::uint32_t kept = 0;
    if constexpr (kDropout) kept = draws.kept<kOtherTiles>(row, begin + lane_index() % 4 * 2, 0, 16);
    Accumulator scores[kOtherTiles], d_scores[kOtherTiles];
    multiply_along_columns<kHeadSize>(scores, shared.key[stage], [&](int step) { return query[step]; });
    multiply_along_columns<kHeadSize>(d_scores, shared.value[stage], [&](int step) { return d_output[step]; });
    const int seen[2] = {visible_keys<kKind>(p, at, row) - begin, visible_keys<kKind>(p, at, row + 8) - begin};
    backward_softmax<kDropout>(scores, d_scores, log_sum_exp, correction, p, kept, seen);
    multiply_along_rows<kHeadSize>(d_query, d_scores, shared.key[stage]);
    if (!last) {
      async_wait<0>();
      sync_block();
    }
  }

  const int first_row = at.begin + warp_row;
  const float factor[2] = {p.scale, p.scale};
  store_rows<kHeadSize>(
      d_query, factor, shared.query, warp_row,
      static_cast<BFloat16*>(p.d_query) + (at.first_query + first_row) * p.query_stride + at.head * p.head_size,
      p.query_stride, at.queries - first_row, p.head_size, p.vectors);
}

template <AttentionKind kKind, int kHeadSize>
void launch_backward(const Context& context, const AttentionShape& shape, const AttentionParams& p) {
  Launch start = {.kernel = "attention_backward_key",
                  .shape = {shape.queries.tokens, shape.keys.tokens, shape.heads, shape.head_size},
                  .grid = {grid_extent(shape.sequences * p.key_tiles), grid_extent(shape.heads)},
                  .threads = kThreads,
                  .shared_bytes = sizeof(KeyShared<kHeadSize>),
                  .stream = context.stream};
  const bool dropout = shape.dropout.active();
  if (shape.keys.tokens > 0) {
    launch(start,
           dropout ? attention_backward_key_kernel<kKind, kHeadSize, true>
                   : attention_backward_key_kernel<kKind, kHeadSize, false>,
           p);
  }
  if (shape.queries.tokens == 0) return;
  start.kernel = "attention_backward_query";
  start.grid.x = grid_extent(shape.sequences * p.query_tiles);
  start.shared_bytes = sizeof(QueryShared<kHeadSize>);
  launch(start,
         dropout ? attention_backward_query_kernel<kKind, kHeadSize, true>
                 : attention_backward_query_kernel<kKind, kHeadSize, false>,
         p);
}

// --- sequences of one tile
//
// Everything a sequence's head needs is in shared memory at once, D included. A warp has 16 keys as in (2); besides, it puts
// its d(scores), rounded to bf16, into shared memory, and after a barrier makes d_query of 16 queries of all warps'
// d(scores). Five products. Traffic: 10 * length * head_size bytes of operands (d_output once more, from the cache) and 6 of
// results; shared memory 40.5 KiB at head size 64, 72.5 KiB at 128. Warps whose 16 rows lie behind the sequence's end, of
// keys first and of queries then, wait at the barriers.

template <int kHeadSize>
struct WholeShared {
  AttentionTile<kOwnRows, kHeadSize> key;
  AttentionTile<kOwnRows, kHeadSize> value;     // at the end: d_value
  AttentionTile<kOwnRows, kHeadSize> query;     // at the end: d_key
  AttentionTile<kOwnRows, kHeadSize> d_output;  // at the end: d_query
  AttentionTile<kOwnRows, kOwnRows> d_scores;   // [keys, queries]
  Pack<float, 2> statistics[kOwnRows];
};

/// log_sum_exp and D of the sequence's rows; behind its end infinity and 0.
KOINE_DEVICE void find_statistics(Pack<float, 2> (&to)[kOwnRows], const RowStatisticsParams& p, const AttentionPlace& at,
                                  bool vectors) {
  constexpr int kStep = kThreads / kRowLanes;
  for (int row = thread_index() / kRowLanes; row < kOwnRows; row += kStep) {
    const bool inside = row < at.queries;
    const std::int64_t start = (at.first_query + row) * p.stride + at.head * p.head_size;
    const float sum = vectors ? row_product<BFloat16, 8>(p, start, inside) : row_product<BFloat16, 1>(p, start, inside);
    if (thread_index() % kRowLanes != 0) continue;
    to[row] = {inside ? p.log_sum_exp[(at.first_query + row) * p.heads + at.head] : -minus_infinity(), sum};
  }
}

template <AttentionKind kKind, int kHeadSize, bool kDropout>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads, backward_key_blocks(kKind, kHeadSize))
    attention_backward_whole_kernel(AttentionParams p, RowStatisticsParams rows, bool row_vectors) {
  const AttentionPlace at = attention_place<kKind>(p, kOwnRows);
  if ((at.queries == 0 && at.keys == 0) || !fits_into(at, kOwnRows)) return;  // the whole block
  auto& shared = shared_memory<WholeShared<kHeadSize>>();
  load_tile<kThreads>(shared.key, key_rows<kKind>(p, at, p.key), 0);
  load_tile<kThreads>(shared.query, query_rows(p, at, p.query, p.query_stride), 0);
  load_tile<kThreads>(shared.value, key_rows<kKind>(p, at, p.value), 0);
  load_tile<kThreads>(shared.d_output, query_rows(p, at, p.d_output, p.output_stride), 0);
  async_commit();
  find_statistics(shared.statistics, rows, at, row_vectors);
  const int warp_row = warp_index() * 16;
  const bool has_keys = warp_row < at.keys;  // the whole warp
  const AttentionDraws draws = attention_draws<kDropout>(p, at);
  Accumulator d_key[kHeadSize / 8], d_value[kHeadSize / 8];
  clear(d_key);
  clear(d_value);
  async_wait<0>();
  sync_block();
  for (int begin = 0; has_keys && begin < at.queries; begin += kOtherRows) {
    std::uint32_t kept[2] = {};
    if constexpr (kDropout) kept_transposed<kOtherTiles>(kept, draws, begin, warp_row);
    Accumulator weights[kOtherTiles], d_scores[kOtherTiles];
    multiply_along_columns<kHeadSize>(
        weights, shared.query, [&](int step) { return load_a(shared.key, warp_row, step); }, begin);
    multiply_along_columns<kHeadSize>(
        d_scores, shared.d_output, [&](int step) { return load_a(shared.value, warp_row, step); }, begin);
    backward_softmax_transposed<kDropout>(weights, d_scores, shared.statistics + begin, p, kept);
    mask_if_causal<kKind>(weights, d_scores, p, at, begin, warp_row);
    keep_d_scores(shared.d_scores, d_scores, warp_row, begin, at.keys - warp_row);
    multiply_along_rows<kHeadSize>(d_value, weights, shared.d_output, begin);
    multiply_along_rows<kHeadSize>(d_key, d_scores, shared.query, begin);
  }
  sync_block();                                            // d(scores) are there; value, query and d_output have been read
  if (kKind == AttentionKind::kSelf && !has_keys) return;  // no barrier follows

  const float key_factor[2] = {p.scale, p.scale};
  const float value_factor[2] = {p.dropout.scale, p.dropout.scale};
  if (kKind == AttentionKind::kSelf || has_keys) {
    const std::int64_t offset = (at.first_key + warp_row) * key_stride<kKind>(p) + at.head * p.head_size;
    const int count = at.keys - warp_row;
    store_rows<kHeadSize>(d_key, key_factor, shared.query, warp_row, static_cast<BFloat16*>(p.d_key) + offset,
                          key_stride<kKind>(p), count, p.head_size, p.vectors);
    store_rows<kHeadSize>(d_value, value_factor, shared.value, warp_row, static_cast<BFloat16*>(p.d_value) + offset,
                          key_stride<kKind>(p), count, p.head_size, p.vectors);
  }
  if (kKind == AttentionKind::kAny && warp_row >= at.queries) return;  // no barrier follows
  Accumulator d_query[kHeadSize / 8];
  clear(d_query);
  for (int key = 0; key < at.keys; key += 16) {
    multiply_rows<kHeadSize>(d_query, load_a_transposed(shared.d_scores, key, warp_index()), shared.key, key);
  }
  store_rows<kHeadSize>(
      d_query, key_factor, shared.d_output, warp_row,
      static_cast<BFloat16*>(p.d_query) + (at.first_query + warp_row) * p.query_stride + at.head * p.head_size,
      p.query_stride, at.queries - warp_row, p.head_size, p.vectors);
}

template <AttentionKind kKind, int kHeadSize>
void launch_whole(const Context& context, const AttentionBackwardArguments& a) {
  const AttentionShape& shape = a.shape;
  bool row_vectors = false;
  const RowStatisticsParams rows = row_statistics_params<BFloat16>(a, nullptr, &row_vectors);
  AttentionParams p = attention_params(a, nullptr, kOwnRows);
  p.query_tiles = 1;  // also where no sequence has a query
  launch({.kernel = "attention_backward_whole",
          .shape = {shape.queries.tokens, shape.keys.tokens, shape.heads, shape.head_size},
          .grid = {grid_extent(shape.sequences), grid_extent(shape.heads)},
          .threads = kThreads,
          .shared_bytes = sizeof(WholeShared<kHeadSize>),
          .stream = context.stream},
         shape.dropout.active() ? attention_backward_whole_kernel<kKind, kHeadSize, true>
                                : attention_backward_whole_kernel<kKind, kHeadSize, false>,
         p, rows, row_vectors);
}

/// Whether no sequence is longer than those of one tile.
bool is_whole(const AttentionShape& shape) {
  return attention_on_tensor_cores(shape) && shape.queries.maximum_length <= kOwnRows &&
         shape.keys.maximum_length <= kOwnRows;
}

/// Floats of row_statistics.
std::int64_t statistics_count(const AttentionShape& shape) { return 2 * shape.heads * shape.queries.tokens; }

}  // namespace

std::size_t attention_backward_portable_workspace(const AttentionBackwardArguments& a) {
  if (is_whole(a.shape)) return 0;
  return static_cast<std::size_t>(statistics_count(a.shape)) * sizeof(float) + attention_bias_workspace(a);
}

void attention_backward_portable(const Context& context, const AttentionBackwardArguments& a, void* workspace) {
  const AttentionShape& shape = a.shape;
  if (shape.queries.tokens == 0 && shape.keys.tokens == 0) return;
  if (attention_on_tensor_cores(shape)) {
    with_kernel(shape,
                [&](auto kind, auto size) { launch_whole<decltype(kind)::value, decltype(size)::value>(context, a); });
    if (is_whole(shape)) return;
  }
  auto* row_statistics = static_cast<float*>(workspace);
  if (shape.queries.tokens > 0) {
    if (shape.type == DType::kFloat32) {
      launch_row_statistics<float>(context, a, row_statistics);
    } else {
      launch_row_statistics<BFloat16>(context, a, row_statistics);
    }
  }
  if (!attention_on_tensor_cores(shape)) {
    attention_backward_plain(context, a, row_statistics, row_statistics + statistics_count(shape));
    return;
  }
  AttentionParams p = attention_params(a, row_statistics, kOwnRows);
  p.shorter_rows = kOwnRows;
  with_kernel(shape, [&](auto kind, auto size) {
    launch_backward<decltype(kind)::value, decltype(size)::value>(context, shape, p);
  });
}

}  // namespace koine
