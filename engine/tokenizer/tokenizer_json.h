#pragma once

// tokenizer.json, in which the `tokenizers` library keeps a tokenizer, and transformers from version 5 on nothing besides. One
// kind of it is read and written: a unigram vocabulary with the normalisation rules of a SentencePiece model.
//
//   "model"           {"type": "Unigram", "unk_id", "vocab": [[piece, score] in the order of ids]}
//   "normalizer"      {"type": "Precompiled", "precompiled_charsmap": the rules in base64}, or a "Sequence" of it and what
//                     it implies (NFC; several spaces to one)
//   "pre_tokenizer"   words at white space, "▁" in front of each ("Metaspace")
//   "post_processor"  <s> a </s>, <s> a </s></s> b </s>
//   "added_tokens"    <s> <pad> </s> <unk> <mask>
//
// Written, NFC stands before the rules: the library applies them to one grapheme at a time, so that the letters of decomposed
// Hangul and marks above marks are not composed, as SentencePiece does. What the two still do differently: "<s>" in a text is a
// special token there, and of segmentations of the same score either may take another.

#include <string>
#include <string_view>

#include "engine/tokenizer/special_tokens.h"

namespace koine {

/// The tokenizer as a SentencePiece model file. UserError (`where` names the file) for one that is damaged, of another kind,
/// numbered in another way, with another normalisation or with tokens of its own: what it has, and what to give instead.
std::string sentencepiece_of_tokenizer_json(std::string_view text, const SentencePieceNumbering& numbering,
                                            const std::string& where);

/// The tokenizer.json of a SentencePiece model that UnigramSegmenter::supports.
std::string tokenizer_json_of_sentencepiece(std::string_view model, const SentencePieceNumbering& numbering,
                                            const std::string& where);

}  // namespace koine
