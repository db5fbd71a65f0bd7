#pragma once

// Ids that stand for no text, and how the texts of a sequence stand between them.

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace koine {

/// -1: the vocabulary has no such id.
struct SpecialTokens {
  std::int32_t begin = -1;  ///< before the first text
  std::int32_t pad = -1;
  std::int32_t end = -1;  ///< behind every text
  std::int32_t unknown = -1;
  std::int32_t mask = -1;
  std::int32_t ends_between = 1;  ///< ends between the two texts of a pair

  bool is_special(std::int32_t id) const;
  std::vector<std::int32_t> all() const;
  /// How many stand before the first text, around one text, and around a pair.
  std::int64_t before() const { return begin < 0 ? 0 : 1; }
  std::int64_t around_single() const { return before() + 1; }
  std::int64_t around_pair() const { return before() + ends_between + 1; }

  /// [begin] a end.
  std::vector<std::int32_t> single(std::vector<std::int32_t> a) const;
  /// [begin] a end ... b end.
  std::vector<std::int32_t> pair(const std::vector<std::int32_t>& a, const std::vector<std::int32_t>& b) const;
  /// single(), cut to `maximum_length` ids in all at the end of `a`. UserError where the special ones alone are more.
  std::vector<std::int32_t> frame_single(std::vector<std::int32_t> a, std::int64_t maximum_length) const;
  /// pair(), the longer of the two losing its last token, one at a time, until all fits in `maximum_length` ids (in a tie
  /// `b`; jiant's truncate_sequences takes `a`). UserError where the special ones alone are more.
  std::vector<std::int32_t> frame_pair(std::vector<std::int32_t> a, std::vector<std::int32_t> b,
                                       std::int64_t maximum_length) const;
};

/// How the pieces of a SentencePiece file become ids: piece n, its <unk> aside, is n + shift.
struct SentencePieceNumbering {
  std::int32_t shift = 0;
  bool mask_behind = false;                                          ///< a <mask> behind the last piece
  SpecialTokens special;                                             ///< but the mask
  std::array<std::string_view, 3> first = {"<unk>", "<s>", "</s>"};  ///< the file's first pieces
  std::string_view file = "sentencepiece.bpe.model";                 ///< as transformers looks for it in a directory

  /// Which piece is <unk>.
  std::int32_t unknown_piece() const {
    return static_cast<std::int32_t>(std::find(first.begin(), first.end(), "<unk>") - first.begin());
  }
};

/// fairseq's, which XLM-R has: <s> 0, <pad> 1, </s> 2, <unk> 3, every other piece its number + 1, <mask> last (250001 for
/// XLM-R). One text is <s> a </s>, a pair <s> a </s></s> b </s>.
inline constexpr SentencePieceNumbering kFairseqNumbering = {
    1, true, {.begin = 0, .pad = 1, .end = 2, .unknown = 3, .ends_between = 2}};

/// T5's and mT5's: pieces have the numbers of the file, <pad> 0, </s> 1, <unk> 2; a text is a </s>, a pair a </s> b </s>.
inline constexpr SentencePieceNumbering kT5Numbering = {
    0, false, {.pad = 0, .end = 1, .unknown = 2, .ends_between = 1}, {"<pad>", "</s>", "<unk>"}, "spiece.model"};

}  // namespace koine
