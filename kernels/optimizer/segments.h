#pragma once

// Tensors in flat buffers, listed in memory, so that one launch goes over all of them.

#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/common/types.h"

namespace koine {

/// rows * width neighbouring elements that begin at the same place of every flat buffer.
struct FlatSegment {
  std::int64_t offset = 0;
  std::int64_t rows = 1;
  std::int64_t width = 0;
  std::int64_t first_piece = 0;  ///< pieces of all segments before; set by number_pieces
  std::int64_t group = 0;        ///< adamw_segments: which of the steps is applied
  std::int64_t apart = -1;       ///< adamw_segments: where its weights begin in MasterWeights::apart; -1: they are not there

  KOINE_HOST_DEVICE std::int64_t count() const { return rows * width; }
};

/// Elements begin .. end - 1 of flat buffers, or of one table among them: what a shard of the state belongs to. All of them
/// unless it says otherwise.
struct ElementRange {
  std::int64_t begin = 0;
  std::int64_t end = std::numeric_limits<std::int64_t>::max();

  KOINE_HOST_DEVICE std::int64_t count() const { return end > begin ? end - begin : 0; }
};

KOINE_HOST_DEVICE ElementRange intersection(const ElementRange& a, const ElementRange& b) {
  return {a.begin > b.begin ? a.begin : b.begin, a.end < b.end ? a.end : b.end};
}

/// The elements one block of threads handles.
inline constexpr std::int64_t kSegmentPiece = 8192;

KOINE_HOST_DEVICE std::int64_t pieces_of(const FlatSegment& segment) {
  return (segment.count() + kSegmentPiece - 1) / kSegmentPiece;
}

/// Numbers the pieces of a list of segments, in order, and returns how many they are.
inline std::int64_t number_pieces(std::vector<FlatSegment>& segments) {
  std::int64_t pieces = 0;
  for (FlatSegment& segment : segments) {
    segment.first_piece = pieces;
    pieces += pieces_of(segment);
  }
  return pieces;
}

}  // namespace koine
