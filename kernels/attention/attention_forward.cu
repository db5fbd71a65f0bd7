// The forward of attention on tensor cores: flash attention (Dao et al., arXiv 2205.14135) in bf16 with fp32 statistics.
//
// A block of four warps has 64 query rows of one head, a warp 16 of them, and walks over the sequence's keys in tiles of 64
// in ascending order, under a causal mask as far as its last query sees; tiles that the diagonal crosses are masked. Keys
// and values are in shared memory twice, so that the next tile travels while this one is worked on; one barrier a tile. A
// warp's scores [16, 64], its output [16, head size] and its query rows stay in registers; the weights become the left
// operand of the second product where they lie, no shared memory in between.
//
// Softmax: the running maximum and sum of each row are kept by the four lanes that hold its columns (the maximum agreed on
// each tile, the sums added up once at the end), exponentials are powers of two with scale / log(2) folded into one fused
// multiply-add. What is rounded: weights to bf16 before the second product (their sum is of the unrounded ones), output to
// bf16 when stored; all else is fp32. The dropout multiplier of what is kept is part of the final division.
// A score beyond 2^24 * 100 in size is beyond this arithmetic (its rounding error alone would overflow the exponential).
//
// Traffic: 2 * 64 * head_size bytes of query and output a block, and 4 * length * head_size bytes of keys and values, from
// the L2 cache for all but the first of a head's tiles. FLOPs: 4 * 64 * length * head_size a block. Shared memory: 5 tiles
// of [64, head size], 40 KiB at 64 and 80 KiB at 128. Everything is deterministic: a row's sums depend on its own sequence
// only.
//
// Head sizes are padded with zeros in shared memory to 32, 64, 80, 96 or, in plain self-attention, 128; larger ones, fp32,
// and scores with a relative bias go to attention_plain.cu.

#include "kernels/attention/attention_softmax.h"
#include "kernels/attention/attention_tile.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kTileRows = 64;
constexpr int kThreads = 128;

template <int kHeadSize>
struct ForwardShared {
  AttentionTile<kTileRows, kHeadSize> query;  // at the end: the output
  AttentionTile<kTileRows, kHeadSize> key[2];
  AttentionTile<kTileRows, kHeadSize> value[2];
};

/// Blocks a multiprocessor holds at once: by shared memory (164 KiB at 8.0) and registers.
constexpr int forward_blocks(AttentionKind kind, int head_size, bool dropout) {
  return kind == AttentionKind::kSelf && head_size + 16 * dropout <= 64 ? 3 : 2;
}

template <AttentionKind kKind, int kHeadSize, bool kDropout>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads, forward_blocks(kKind, kHeadSize, kDropout))
    attention_forward_kernel(AttentionParams p) {
  const AttentionPlace at = attention_place<kKind>(p, kTileRows);
  if (at.begin >= at.queries) return;  // the whole block
  auto& shared = shared_memory<ForwardShared<kHeadSize>>();
  const AttentionRows keys = key_rows<kKind>(p, at, p.key);
  const AttentionRows values = key_rows<kKind>(p, at, p.value);
  load_tile<kThreads>(shared.query, query_rows(p, at, p.query, p.query_stride), at.begin);
  load_tile<kThreads>(shared.key[0], keys, 0);
  load_tile<kThreads>(shared.value[0], values, 0);
  async_commit();

  const int warp_row = warp_index() * 16;
  const int row = at.begin + warp_row + lane_index() / 4;  // and row + 8
  const float factor = p.scale * kLog2OfE;
  const int end = visible_keys<kKind>(p, at, at.begin + kTileRows - 1);
  const int all_see = visible_keys<kKind>(p, at, at.begin + warp_row);  // rows of the warp
  const AttentionDraws draws = attention_draws<kDropout>(p, at);
  RowState state = {{minus_infinity(), minus_infinity()}, {0, 0}};
  Accumulator output[kHeadSize / 8];
  clear(output);
  async_wait<0>();
  sync_block();
  FragmentA query[kHeadSize / 16];
  KOINE_UNROLL
  for (int step = 0; step < kHeadSize / 16; ++step) query[step] = load_a(shared.query, warp_row, step);

  for (int begin = 0, stage = 0; begin < end; begin += kTileRows, stage ^= 1) {
    const bool last = begin + kTileRows >= end;
    if (!last) {
      load_tile<kThreads>(shared.key[stage ^ 1], keys, begin + kTileRows);
      load_tile<kThreads>(shared.value[stage ^ 1], values, begin + kTileRows);
      async_commit();
    }
    Accumulator scores[kTileRows / 8];
    multiply_along_columns<kHeadSize>(scores, shared.key[stage], [&](int step) { return query[step]; });
    if (begin + kTileRows > all_see) {
      mask_scores(scores, visible_keys<kKind>(p, at, row) - begin, visible_keys<kKind>(p, at, row + 8) - begin);
    }
    softmax_step(scores, output, state, factor);
    if constexpr (kDropout) drop_weights(scores, draws.kept<kTileRows / 8>(row, begin + lane_index() % 4 * 2, 0, 16));
    multiply_along_rows<kHeadSize>(output, scores, shared.value[stage]);
    if (!last) {
      async_wait<0>();
      sync_block();
    }
  }

  float multiplier[2];
  KOINE_UNROLL
  for (int half = 0; half < 2; ++half) {
    const bool sees_none = kKind == AttentionKind::kAny && visible_keys<kKind>(p, at, row + 8 * half) == 0;
    const float sum = warp_sum<4>(state.sum[half]);
    multiplier[half] = p.dropout.scale / sum;
    if (lane_index() % 4 == 0 && row + 8 * half < at.queries) {
      p.log_sum_exp[(at.first_query + row + 8 * half) * p.heads + at.head] =
          sees_none ? minus_infinity() : fused(state.shift[half], kLogOf2, logf(sum));
    }
    if (sees_none) clear_rows(output, half), multiplier[half] = 0;
  }
  const int first_row = at.begin + warp_row;
  store_rows<kHeadSize>(
      output, multiplier, shared.query, warp_row,
      static_cast<BFloat16*>(p.output) + (at.first_query + first_row) * p.output_stride + at.head * p.head_size,
      p.output_stride, at.queries - first_row, p.head_size, p.vectors);
}

}  // namespace

std::size_t attention_forward_portable_workspace(const AttentionForwardArguments& a) { return attention_bias_workspace(a); }

void attention_forward_portable(const Context& context, const AttentionForwardArguments& a, void* workspace) {
  const AttentionShape& shape = a.shape;
  if (shape.queries.tokens == 0) return;
  if (!attention_on_tensor_cores(shape)) {
    attention_forward_plain(context, a, static_cast<float*>(workspace));
    return;
  }
  const AttentionParams p = attention_params(a, kTileRows);
  with_kernel(shape, [&](auto kind, auto size) {
    constexpr AttentionKind kKind = decltype(kind)::value;
    constexpr int kHeadSize = decltype(size)::value;
    launch({.kernel = "attention_forward",
            .shape = {shape.queries.tokens, shape.keys.tokens, shape.heads, shape.head_size},
            .grid = {grid_extent(shape.sequences * p.query_tiles), grid_extent(shape.heads)},
            .threads = kThreads,
            .shared_bytes = sizeof(ForwardShared<kHeadSize>),
            .stream = context.stream},
           shape.dropout.active() ? attention_forward_kernel<kKind, kHeadSize, true>
                                  : attention_forward_kernel<kKind, kHeadSize, false>,
           p);
  });
}

}  // namespace koine
