#pragma once

// Segments in kernels, and accesses of optimizer state: each byte is used once a step, so it should not push others out of
// the cache.

#include "kernels/cuda/vector.h"
#include "kernels/optimizer/segments.h"

namespace koine::cuda {

/// A block's share of a segment.
struct SegmentPiece {
  std::int64_t begin = 0;  ///< in the flat buffers
  std::int64_t count = 0;
  std::int64_t group = 0;
  std::int64_t apart = -1;  ///< of its first element, where its weights lie apart
};

/// Piece `piece` of a numbered list. All threads of a warp search alike, so that each step is one access.
KOINE_DEVICE SegmentPiece find_piece(const FlatSegment* list, std::int64_t segments, std::int64_t piece) {
  std::int64_t begin = 0;
  std::int64_t end = segments;  // the segment is one of [begin, end)
  while (end - begin > 1) {
    const std::int64_t middle = (begin + end) / 2;
    if (list[middle].first_piece <= piece) {
      begin = middle;
    } else {
      end = middle;
    }
  }
  const FlatSegment& segment = list[begin];
  const std::int64_t first = (piece - segment.first_piece) * kSegmentPiece;
  const std::int64_t left = segment.count() - first;
  return {segment.offset + first, left < kSegmentPiece ? left : kSegmentPiece, segment.group,
          segment.apart < 0 ? -1 : segment.apart + first};
}

/// What of a piece lies in the range.
KOINE_DEVICE SegmentPiece clipped(const SegmentPiece& piece, const ElementRange& range) {
  const ElementRange inside = intersection({piece.begin, piece.begin + piece.count}, range);
  return {inside.begin, inside.count(), piece.group, piece.apart < 0 ? -1 : piece.apart + inside.begin - piece.begin};
}

/// Four neighbouring elements from or to a multiple of 16 bytes, marked as the first to leave the cache.
KOINE_DEVICE void load_streaming(float (&to)[4], const float* from) {
#if KOINE_ON_DEVICE
  const float4 pack = __ldcs(reinterpret_cast<const float4*>(from));
  to[0] = pack.x;
  to[1] = pack.y;
  to[2] = pack.z;
  to[3] = pack.w;
#else
  load_floats(to, from);
#endif
}
KOINE_DEVICE void store_streaming(float* to, const float (&from)[4]) {
#if KOINE_ON_DEVICE
  __stcs(reinterpret_cast<float4*>(to), make_float4(from[0], from[1], from[2], from[3]));
#else
  store_floats(to, from);
#endif
}

}  // namespace koine::cuda
