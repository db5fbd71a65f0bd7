#pragma once

// The maximum of many numbers and the sum of their exponentials in one pass over them, by threads, warps and blocks of a
// CUDA kernel. Numbers of minus infinity are allowed.

#include "kernels/cuda/numeric.h"
#include "kernels/cuda/platform.h"
#include "kernels/cuda/warp.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"
#include "kernels/softmax_cross_entropy/softmax_statistics.h"

namespace koine::cuda {

/// e^x, as exact as the storage type makes worth while.
template <class T>
KOINE_DEVICE float exp_of(float x) {
  if constexpr (sizeof(T) == 2) {
    return exp_fast(x);
  } else {
    return expf(x);
  }
}

/// Statistics of no numbers. The lowest finite number instead of minus infinity: differences with it are never NaN.
KOINE_DEVICE SoftmaxStatistics no_statistics() { return {-std::numeric_limits<float>::max(), 0}; }

/// Adds `kCount` numbers, minus infinity where there is none.
template <class T, int kCount>
KOINE_DEVICE void add_numbers(SoftmaxStatistics& statistics, const float (&numbers)[kCount]) {
  float largest = statistics.largest;
  KOINE_UNROLL
  for (int i = 0; i < kCount; ++i) largest = numbers[i] > largest ? numbers[i] : largest;
  float sum = 0;
  KOINE_UNROLL
  for (int i = 0; i < kCount; ++i) sum += exp_of<T>(numbers[i] - largest);
  statistics.sum = fused(statistics.sum, exp_of<T>(statistics.largest - largest), sum);
  statistics.largest = largest;
}

/// The warp's together; every lane gets them.
template <class T>
KOINE_DEVICE SoftmaxStatistics warp_statistics(SoftmaxStatistics statistics) {
  const float largest = warp_max(statistics.largest);
  return {largest, warp_sum(statistics.sum * exp_of<T>(statistics.largest - largest))};
}

/// The block's together, its warps' in order; every thread gets them. `scratch`: shared memory for one each warp, free again
/// when all threads have passed the next barrier.
template <class T>
KOINE_DEVICE SoftmaxStatistics block_statistics(SoftmaxStatistics statistics, SoftmaxStatistics* scratch) {
  statistics = warp_statistics<T>(statistics);
  if (lane_index() == 0) scratch[warp_index()] = statistics;
  sync_block();
  const bool warp_is_there = lane_index() < block_threads() / kWarpThreads;
  return warp_statistics<T>(warp_is_there ? scratch[lane_index()] : no_statistics());
}

/// The loss of a row that is not counted. A label that is none of the classes is a mistake nobody can be told of from here:
/// its loss is NaN, so that it shows.
KOINE_DEVICE float loss_of_uncounted(std::int32_t label) {
  return label == kIgnoredLabel ? 0.0f : std::numeric_limits<float>::quiet_NaN();
}

}  // namespace koine::cuda
