#pragma once

// The most probable segmentation of a normalised text into pieces (Kudo, arXiv 1804.10959): Viterbi's algorithm over the
// matches of a trie, with SentencePiece's order of comparison and rounding, so that ties fall as they do there.
//
//   best[end] = max over pieces p that end there of best[end - |p|] + score(p)
//
// A character that is no piece by itself may also be the unknown piece, with the least score of all minus 10.

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/tokenizer/model_file.h"

namespace koine {

class UnigramSegmenter {
 public:
  /// Whether the class covers such a model: unigram, without byte fallback and user-defined symbols.
  static bool supports(const TokenizerModel& model);

  /// Pieces of a model that supports() accepts: no two of the same text.
  explicit UnigramSegmenter(const std::vector<ModelPiece>& pieces);

  struct Segment {
    std::int32_t id = 0;   ///< SentencePiece's, 0 for unknown; runs of unknown characters are one segment
    std::int32_t end = 0;  ///< byte of the text at which it ends
  };
  /// `normal` is UTF-8 with ' ' for SentencePiece's ▁.
  std::vector<Segment> segment(std::string_view normal) const;

 private:
  // A double array: the child of a node for a byte is unit[base ^ byte], if that unit says so. No two nodes share a base, so
  // the label alone tells whose child a unit is. The first 256 units stay empty: base 0 means "no children".
  struct Unit {
    std::uint32_t word = 0;  // base << 9 | 0x100 when in use | label
    std::int32_t id = -1;    // piece that ends here
  };
  class Builder;

  std::vector<Unit> units_;
  std::vector<float> scores_;
  float unknown_score_ = 0;
};

}  // namespace koine
