#pragma once

// Relative positions by bucket, as T5 has them (Raffel et al., arXiv 1910.10683, section 2.1; the function of
// `transformers`' T5Attention._relative_position_bucket): a number for each bucket and head is added to the scores of keys
// whose distance from the query falls into the bucket. Near distances have a bucket each, farther ones share buckets that
// widen logarithmically, and the last has everything from max_distance on.
//
// Of a key r ahead of the query (behind it where r is negative):
//   bidirectional: the buckets' upper half is for r > 0, the lower for r <= 0; within its `size` = buckets / 2, by d = |r|
//   unidirectional: all `size` = buckets, by d = max(-r, 0): keys ahead share bucket 0 with the query's own place
//   d < e = size / 2:  bucket d;  else min(size - 1, e + floor(log(d / e) / log(max_distance / e) * (size - e)))
// `transformers` computes the logarithms in fp32, which gives the same whole numbers (tested).

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "kernels/common/types.h"

namespace koine {

struct RelativeBias {
  /// [buckets, heads] fp32, finite: T5's relative_attention_bias.weight. Null: no bias, nothing below is read.
  const float* table = nullptr;
  std::int32_t buckets = 32;        ///< at least 4, even; at most kMostRelativeBuckets
  std::int32_t max_distance = 128;  ///< above a quarter of `buckets` (bidirectional) or half of them
  bool bidirectional = true;        ///< encoders; decoders look back only
};

inline constexpr int kMostRelativeBuckets = 128;

/// The function, ready to be asked on the host or on a device.
struct RelativeBuckets {
  std::int32_t size = 0;   ///< of one direction
  std::int32_t exact = 0;  ///< distances below have a bucket each
  std::int32_t ahead = 0;  ///< added for keys ahead
  bool bidirectional = true;
  /// The least distance in bucket exact + 1, exact + 2, ... size - 1.
  std::array<std::int32_t, kMostRelativeBuckets> least{};

  KOINE_HOST_DEVICE int operator()(int relative) const {
    const int direction = bidirectional && relative > 0 ? ahead : 0;
    const int behind = relative < 0 ? -relative : 0;
    const int distance = bidirectional && relative > 0 ? relative : behind;
    if (distance < exact) return direction + distance;
    int bucket = exact;
    while (bucket < size - 1 && distance >= least[static_cast<std::size_t>(bucket - exact)]) ++bucket;
    return direction + bucket;
  }
};

inline RelativeBuckets relative_buckets(const RelativeBias& bias) {
  RelativeBuckets result;
  result.bidirectional = bias.bidirectional;
  result.size = bias.bidirectional ? bias.buckets / 2 : bias.buckets;
  result.exact = result.size / 2;
  result.ahead = bias.bidirectional ? result.size : 0;
  // floor(log(d / e) / log(m / e) * (size - e)) >= k from d = e (m / e)^(k / (size - e)) on, which may be a whole number.
  const double exact = result.exact;
  const double steps = result.size - result.exact;
  for (int k = 1; k < result.size - result.exact; ++k) {
    const double from = exact * std::pow(bias.max_distance / exact, k / steps);
    result.least[static_cast<std::size_t>(k - 1)] = static_cast<std::int32_t>(std::ceil(from - 1e-9 * from));
  }
  return result;
}

}  // namespace koine
