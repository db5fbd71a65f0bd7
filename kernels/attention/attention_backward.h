#pragma once

// What the backward kernels of attention have in common where they work with the scores transposed: a warp has 16 keys, a
// lane of it the queries 8 n + 2 t and the next of the keys g and g + 8 (g = lane / 4, t = lane % 4).

#include "kernels/attention/attention_tile.h"

namespace koine::cuda {

/// sum + the products of neighbours in a row of output and of d_output: a part of D.
template <int kElements, class T>
KOINE_DEVICE float add_products(float sum, const T* output, const T* d_output) {
  float a[kElements], b[kElements];
  load_floats(a, output);
  load_floats(b, d_output);
  KOINE_UNROLL
  for (int i = 0; i < kElements; ++i) sum = fused(a[i], b[i], sum);
  return sum;
}
/// Neighbouring lanes that have the products of a row, 16 bytes of it each in turn.
inline constexpr int kRowLanes = 8;

/// Which of the elements this lane holds of S^T are kept, 16 keys by kCount / 2 patches of 16 queries: bit 8 patch +
/// 4 (query + 8?) + 2 (key + 8?) + key % 2 of kept[i] is for query 2t + i. A lane needs half of two draws of eight, and so
/// does the one four lanes on: each makes one.
template <int kCount>
KOINE_DEVICE void kept_transposed(std::uint32_t (&kept)[2], const AttentionDraws& draws, int query, int key,
                                  int lane = lane_index()) {
  const int g = lane / 4;
  const int t = lane % 4;
  const std::uint32_t mine = draws.kept<kCount>(query + 2 * t + g % 2, key + g - g % 2, 16, 0);
  const std::uint32_t other = shuffle_xor(mine, 4);
  kept[0] = g % 2 == 0 ? mine : other;
  kept[1] = g % 2 == 0 ? other : mine;
}

/// In place: scores -> weights after dropout (but for its multiplier), d(weights) -> d(scores), both transposed.
template <bool kDropout, int kCount>
KOINE_DEVICE void backward_softmax_transposed(Accumulator (&weights)[kCount], Accumulator (&d_scores)[kCount],
                                              const Pack<float, 2>* statistics, const AttentionParams& p,
                                              const std::uint32_t (&kept)[2]) {
  const int t = lane_index() % 4;
  const int odd = lane_index() / 4 % 2;
  KOINE_UNROLL
  for (int n = 0; n < kCount; ++n) {
    KOINE_UNROLL
    for (int column = 0; column < 2; ++column) {
      const Pack<float, 2> row = statistics[8 * n + 2 * t + column];
      const std::uint32_t bits = kept[column] >> odd;
      KOINE_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int i = 2 * half + column;
        const float weight = exp2_fast(fused(weights[n].x[i], p.scale, -row.values[0]) * kLog2OfE);
        float multiplier = 1;
        weights[n].x[i] = weight;
        if constexpr (kDropout) {
          const bool is_kept = (bits >> (4 * n + 2 * half) & 1) != 0;
          multiplier = is_kept ? p.dropout.scale : 0.0f;
          if (!is_kept) weights[n].x[i] = 0;
        }
        d_scores[n].x[i] = weight * fused(multiplier, d_scores[n].x[i], -row.values[1]);
      }
    }
  }
}

/// d(scores) of this warp's 16 keys and 8 * kCount queries from `query`, for all warps. `keys` of the 16 exist; 0 for the
/// others.
template <int kRows, int kColumns, int kCount>
KOINE_DEVICE void keep_d_scores(AttentionTile<kRows, kColumns>& tile, const Accumulator (&d_scores)[kCount], int key,
                                int query, int keys) {
  const int g = lane_index() / 4;
  const int t = lane_index() % 4;
  KOINE_UNROLL
  for (int n = 0; n < kCount; ++n) {
    KOINE_UNROLL
    for (int half = 0; half < 2; ++half) {
      const std::uint32_t pair = pack_bfloat16(d_scores[n].x[2 * half], d_scores[n].x[2 * half + 1]);
      store_pack(tile.chunk(key + g + 8 * half, query / 8 + n) + 2 * t,
                 __builtin_bit_cast(Pack<BFloat16, 2>, g + 8 * half < keys ? pair : 0u));
    }
  }
}

}  // namespace koine::cuda
