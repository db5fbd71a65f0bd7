#pragma once

// The softmax of attention over tiles of scores as the forward kernels hold them: a warp has 16 rows, a lane of it the
// columns 8 n + 2 t and the next of rows g and g + 8 (g = lane / 4, t = lane % 4). The four lanes of a row agree on its
// maximum at every tile and add up their sums once, at the end (Milakov and Gimelshein, arXiv 1805.02867).

#include "kernels/attention/attention_cuda.h"
#include "kernels/cuda/matrix.h"
#include "kernels/cuda/warp.h"

namespace koine::cuda {

/// The statistics of the rows g and g + 8 of a warp. `sum` is over this lane's columns only.
struct RowState {
  float shift[2];  // running maximum of score * scale / log(2)
  float sum[2];
};

/// Scores -> weights exp(score - running maximum), not divided by their sum; the output so far follows the maximum.
template <int kCount, int kOutputs>
KOINE_DEVICE void softmax_step(Accumulator (&scores)[kCount], Accumulator (&output)[kOutputs], RowState& state,
                               float factor) {
  KOINE_UNROLL
  for (int half = 0; half < 2; ++half) {
    float maximum = minus_infinity();
    KOINE_UNROLL
    for (int n = 0; n < kCount; ++n) {
      maximum = fmaxf(maximum, fmaxf(scores[n].x[2 * half], scores[n].x[2 * half + 1]));
    }
    const float shift = fmaxf(state.shift[half], warp_max<4>(maximum) * factor);
    const float correction = exp2_fast(state.shift[half] - shift);
    state.shift[half] = shift;
    float sum = 0;
    KOINE_UNROLL
    for (int n = 0; n < kCount; ++n) {
      KOINE_UNROLL
      for (int i = 2 * half; i < 2 * half + 2; ++i) {
        scores[n].x[i] = exp2_fast(fused(scores[n].x[i], factor, -shift));
        sum += scores[n].x[i];
      }
    }
    state.sum[half] = fused(state.sum[half], correction, sum);
    KOINE_UNROLL
    for (int n = 0; n < kOutputs; ++n) {
      output[n].x[2 * half] *= correction;
      output[n].x[2 * half + 1] *= correction;
    }
  }
}

/// No key that a row does not see has a weight: the rows g and g + 8 see that many of this tile.
template <int kCount>
KOINE_DEVICE void mask_scores(Accumulator (&scores)[kCount], int upper, int lower) {
  const int t = lane_index() % 4;
  KOINE_UNROLL
  for (int n = 0; n < kCount; ++n) {
    KOINE_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (8 * n + 2 * t + i % 2 >= (i < 2 ? upper : lower)) scores[n].x[i] = minus_infinity();
    }
  }
}

/// The results of row g (half 0) or g + 8: 0.
template <int kCount>
KOINE_DEVICE void clear_rows(Accumulator (&results)[kCount], int half) {
  KOINE_UNROLL
  for (int n = 0; n < kCount; ++n) {
    results[n].x[2 * half] = 0;
    results[n].x[2 * half + 1] = 0;
  }
}

/// Eight bits a patch of 16 columns, as kept_attention orders them.
template <int kCount>
KOINE_DEVICE void drop_weights(Accumulator (&weights)[kCount], std::uint32_t kept) {
  KOINE_UNROLL
  for (int i = 0; i < 4 * kCount; ++i) {
    float& weight = weights[i / 8 * 2 + i / 2 % 2].x[i / 4 % 2 * 2 + i % 2];
    if ((kept >> i & 1) == 0) weight = 0;
  }
}

}  // namespace koine::cuda
