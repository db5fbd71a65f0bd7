#include "engine/tokenizer/tokenizer.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <optional>

#include "engine/files/text_file.h"
#include "engine/tokenizer/model_file.h"
#include "engine/tokenizer/normalizer.h"
#include "engine/tokenizer/tokenizer_json.h"
#include "engine/tokenizer/unigram.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

std::filesystem::path model_file_at(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return path;
  for (const char* name : {"sentencepiece.bpe.model", "sentencepiece.model", "spiece.model", "tokenizer.json"}) {
    if (std::filesystem::exists(path / name)) return path / name;
  }
  require(!std::filesystem::exists(path / "vocab.txt"), (path / "vocab.txt").string(),
          ": a WordPiece vocabulary; koine's tokenizers read sentencepiece.bpe.model, which this directory has not");
  fail_user(path.string(),
            ": holds no tokenizer: neither sentencepiece.bpe.model nor tokenizer.json; put one there, or name ",
            "one with --tokenizer");
}

void check_text(std::string_view text) {
  require(invalid_utf8(text) == std::string_view::npos, "a text to be tokenized is not valid UTF-8");
  require(text.size() < std::numeric_limits<std::int32_t>::max() / 4, "a text of ", text.size(),
          " bytes is too long to be tokenized");
}

/// Takes characters that are white space, or that normalisation removes, off both ends of a piece's span.
void trim(std::string_view text, const Normalizer& normalizer, Piece& piece) {
  const auto begin = [&] { return static_cast<std::size_t>(piece.begin); };
  while (piece.begin < piece.end && normalizer.is_blank(text.substr(begin()))) {
    piece.begin = std::min(piece.end, piece.begin + static_cast<std::int32_t>(character_bytes(text[begin()])));
  }
  while (piece.begin < piece.end) {
    std::size_t last = static_cast<std::size_t>(piece.end) - 1;
    while (last > begin() && (text[last] & 0xC0) == 0x80) --last;
    if (!normalizer.is_blank(text.substr(last))) break;
    piece.end = static_cast<std::int32_t>(last);
  }
}

/// Trims spans, and gives pieces with an empty one that of the next piece that has one, the last ones that of the piece
/// before.
void tidy_spans(std::string_view text, const Normalizer& normalizer, std::vector<Piece>& pieces) {
  for (Piece& piece : pieces) trim(text, normalizer, piece);
  const auto take = [](Piece& piece, const Piece& other) {
    if (piece.begin != piece.end) return;
    piece.begin = other.begin;
    piece.end = other.end;
  };
  for (std::size_t i = pieces.size(); i-- > 1;) take(pieces[i - 1], pieces[i]);
  for (std::size_t i = 1; i < pieces.size(); ++i) take(pieces[i], pieces[i - 1]);
}

}  // namespace

struct Tokenizer::Implementation {
  std::filesystem::path file;
  std::string bytes;
  std::string fingerprint;
  std::int32_t pieces = 0;
  SentencePieceNumbering numbering;
  std::int32_t shift = 0;
  std::int32_t unknown_piece = 0;
  SpecialTokens special;
  std::optional<Normalizer> normalizer;
  std::optional<UnigramSegmenter> segmenter;  ///< absent: a kind of model that is left to the library

  std::int32_t from_sentencepiece(int id) const { return id == unknown_piece ? special.unknown : id + shift; }

  /// SentencePiece's own reading of the model, made when first wanted: it takes as long as all the rest.
  const sentencepiece::SentencePieceProcessor& sentencepiece_processor() const {
    std::call_once(processor_is_made_, [this] {
      const auto status = processor_.LoadFromSerializedProto(bytes);
      require(status.ok(), file.string(), ": not a usable SentencePiece model: ", status.message());
      check(processor_.GetPieceSize() == pieces, "SentencePiece read ", processor_.GetPieceSize(), " of ", pieces,
            " pieces of ", file.string());
    });
    return processor_;
  }

 private:
  mutable std::once_flag processor_is_made_;
  mutable sentencepiece::SentencePieceProcessor processor_;
};

Tokenizer::Tokenizer(const std::filesystem::path& path, const SentencePieceNumbering& numbering)
    : implementation_(std::make_unique<Implementation>()) {
  Implementation& own = *implementation_;
  own.file = model_file_at(path);
  own.bytes = read_file(own.file);
  if (own.file.extension() == ".json") own.bytes = sentencepiece_of_tokenizer_json(own.bytes, numbering, own.file.string());
  own.fingerprint = xxh3_hex(own.bytes);
  const TokenizerModel model = parse_tokenizer_model(own.bytes, own.file.string(), numbering);
  own.pieces = static_cast<std::int32_t>(model.pieces.size());
  own.numbering = numbering;
  own.shift = numbering.shift;
  own.unknown_piece = numbering.unknown_piece();
  own.special = numbering.special;
  if (numbering.mask_behind) own.special.mask = own.pieces + own.shift;
  if (UnigramSegmenter::supports(model)) {
    own.segmenter.emplace(model.pieces);
  } else {
    own.sentencepiece_processor();
  }
  own.normalizer.emplace(model.character_map);
}

Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  check_text(text);
  std::vector<std::int32_t> ids;
  if (implementation_->segmenter) {
    const auto segments = implementation_->segmenter->segment(implementation_->normalizer->normalize(text));
    ids.reserve(segments.size());
    for (const auto& segment : segments) ids.push_back(implementation_->from_sentencepiece(segment.id));
    return ids;
  }
  const auto status = implementation_->sentencepiece_processor().Encode(text, &ids);
  check(status.ok(), "SentencePiece: ", status.message());
  for (std::int32_t& id : ids) id = implementation_->from_sentencepiece(id);
  return ids;
}

std::vector<Piece> Tokenizer::encode_with_spans(std::string_view text) const {
  if (!implementation_->segmenter) return encode_by_library(text);
  check_text(text);
  std::vector<std::int32_t> origins;
  const std::string normal = implementation_->normalizer->normalize(text, &origins);
  std::vector<Piece> pieces;
  std::size_t begin = 0;
  for (const UnigramSegmenter::Segment& segment : implementation_->segmenter->segment(normal)) {
    const auto end = static_cast<std::size_t>(segment.end);
    pieces.push_back({implementation_->from_sentencepiece(segment.id), origins[begin], origins[end]});
    begin = end;
  }
  tidy_spans(text, *implementation_->normalizer, pieces);
  return pieces;
}

std::vector<Piece> Tokenizer::encode_by_library(std::string_view text) const {
  check_text(text);
  const auto encoded = implementation_->sentencepiece_processor().EncodeAsImmutableProto(text);
  std::vector<Piece> pieces;
  for (const auto& piece : encoded.pieces()) {
    pieces.push_back({implementation_->from_sentencepiece(static_cast<int>(piece.id())),
                      static_cast<std::int32_t>(piece.begin()), static_cast<std::int32_t>(piece.end())});
  }
  tidy_spans(text, *implementation_->normalizer, pieces);
  return pieces;
}

std::string Tokenizer::decode(const std::vector<std::int32_t>& ids) const {
  std::vector<int> plain;
  for (const std::int32_t id : ids) {
    check(id >= 0 && id < vocabulary_size(), "token id ", id, " is outside the vocabulary of ", vocabulary_size());
    if (!special().is_special(id)) plain.push_back(id - implementation_->shift);
  }
  std::string text;
  const auto status = implementation_->sentencepiece_processor().Decode(plain, &text);
  check(status.ok(), "SentencePiece: ", status.message());
  return text;
}

std::int32_t Tokenizer::sentinel(std::int32_t number) const {
  const auto& processor = implementation_->sentencepiece_processor();
  for (const char* space : {"\u2581", ""}) {
    const int piece = processor.PieceToId(concatenate(space, "<extra_id_", number, ">"));
    if (!processor.IsUnknown(piece)) return implementation_->from_sentencepiece(piece);
  }
  return -1;
}

std::string Tokenizer::piece(std::int32_t id) const {
  check(id >= 0 && id < vocabulary_size(), "token id ", id, " is outside the vocabulary of ", vocabulary_size());
  if (id == special().begin) return "<s>";
  if (id == special().pad) return "<pad>";
  if (id == special().end) return "</s>";
  if (id == special().unknown) return "<unk>";
  if (id == special().mask) return "<mask>";
  return implementation_->sentencepiece_processor().IdToPiece(id - implementation_->shift);
}

const SpecialTokens& Tokenizer::special() const { return implementation_->special; }
std::int32_t Tokenizer::vocabulary_size() const {
  const Implementation& own = *implementation_;
  return own.pieces + own.shift + (own.special.mask < 0 ? 0 : 1);
}
const std::filesystem::path& Tokenizer::file() const { return implementation_->file; }
const std::string& Tokenizer::sentencepiece_model() const { return implementation_->bytes; }
const SentencePieceNumbering& Tokenizer::numbering() const { return implementation_->numbering; }
const std::string& Tokenizer::fingerprint() const { return implementation_->fingerprint; }

}  // namespace koine
