#pragma once

// Text to ids by a SentencePiece model (Kudo, Richardson, arXiv 1808.06226), and back. Which ids its pieces have, and what
// stands around texts, its numbering says (special_tokens.h). "<s>" and the like in a text are text.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/special_tokens.h"

namespace koine {

/// A piece and the bytes [begin, end) of the original text it came from, white space (and characters that normalisation
/// removes) at both ends left out. A piece that covers no byte of its own (a character that became several pieces) has the
/// span of the next piece that does, at the end of the text that of the last one.
struct Piece {
  std::int32_t id = -1;
  std::int32_t begin = 0;
  std::int32_t end = 0;
};

struct TokenizerTraining {
  std::vector<std::filesystem::path> inputs;  ///< plain text, one sentence a line
  std::int32_t pieces = 8000;                 ///< SentencePiece pieces, its three control pieces included
  double character_coverage = 0.9995;
  SentencePieceNumbering numbering = kFairseqNumbering;  ///< which control pieces it has, and where
  bool byte_fallback = false;                            ///< unknown characters become bytes, 256 pieces for them
  std::int32_t sentinels = 0;                            ///< <extra_id_0> ... of them, the last pieces
};

/// May be shared by threads.
class Tokenizer {
 public:
  /// `path`: a SentencePiece model file, a tokenizer.json (tokenizer_json.h), or a model directory that holds
  /// sentencepiece.bpe.model (or sentencepiece.model, or spiece.model, or else tokenizer.json). Throws UserError naming the file when it is
  /// missing, damaged or not a SentencePiece model with the numbering's pieces first, and for a tokenizer of another kind.
  explicit Tokenizer(const std::filesystem::path& path, const SentencePieceNumbering& numbering = kFairseqNumbering);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  /// Ids without special tokens. Invalid UTF-8 is a UserError: readers check it with the line at hand.
  std::vector<std::int32_t> encode(std::string_view text) const;
  std::vector<Piece> encode_with_spans(std::string_view text) const;
  /// The same by SentencePiece's library, which is several times slower: what the tests hold encode_with_spans to, and what
  /// it does itself for models our segmenter does not cover (byte fallback, user-defined symbols, BPE).
  std::vector<Piece> encode_by_library(std::string_view text) const;
  /// The text of ids, special ones left out.
  std::string decode(const std::vector<std::int32_t>& ids) const;
  /// The piece of an id as the model file spells it ("▁the", "<s>", "<mask>").
  std::string piece(std::int32_t id) const;

  /// The id of the sentinel <extra_id_NUMBER>, which span corruption puts into texts; -1 where the vocabulary has none.
  std::int32_t sentinel(std::int32_t number) const;

  const SpecialTokens& special() const;
  /// Rows an embedding table needs (it may have more).
  std::int32_t vocabulary_size() const;
  const std::filesystem::path& file() const;
  /// The SentencePiece model file's bytes; of a tokenizer.json those that say the same.
  const std::string& sentencepiece_model() const;
  const SentencePieceNumbering& numbering() const;
  /// XXH3 of sentencepiece_model(), in hex.
  const std::string& fingerprint() const;

  /// Trains a unigram model (nmt_nfkc normalisation, as XLM-R's) and writes it to `output`. Same inputs, same bytes.
  static void train(const TokenizerTraining& training, const std::filesystem::path& output);

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace koine
