#pragma once

// The SentencePiece model file, read far enough to know what is in it before the library is trusted with it.
//
// The file is a protocol buffer message (sentencepiece_model.proto): pieces (field 1), trainer_spec (2), normalizer_spec
// (3). The library loads some truncated files without a word and follows a damaged character map out of its memory; here the
// framing, the pieces and the character map are checked.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/special_tokens.h"

namespace koine {

struct ModelPiece {
  enum class Type { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };
  std::string_view text;
  float score = 0;
  Type type = Type::kNormal;
};

/// The model's precompiled normalisation rules (nmt_nfkc for XLM-R): a double-array trie of the byte strings to be replaced,
/// in darts-clone's layout, whose values are places in `replacements`, a sequence of NUL-terminated strings.
struct CharacterMap {
  std::vector<std::uint32_t> units;  ///< empty: no rules
  std::string_view replacements;
};

struct TokenizerModel {
  std::vector<ModelPiece> pieces;
  CharacterMap character_map;
  std::string_view rules;  ///< the character map's bytes as the file has them
  bool unigram = true;
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

/// Reads a model file in memory; views point into `bytes`. UserError (`where` names the file) when it is truncated, no
/// SentencePiece model, without the numbering's first pieces, or with a damaged character map.
TokenizerModel parse_tokenizer_model(std::string_view bytes, const std::string& where,
                                     const SentencePieceNumbering& numbering = kFairseqNumbering);

/// A model file of these pieces and rules: unigram, with the settings XLM-R's has. The first piece is unknown, the two behind it
/// are control pieces, the others are text, whatever types they say; the scores of those three are 0.
std::string write_tokenizer_model(const TokenizerModel& model);

/// The model file with those of its pieces that `keep` [pieces] says, everything else byte for byte.
std::string keep_pieces(std::string_view bytes, const std::vector<bool>& keep, const std::string& where);

}  // namespace koine
