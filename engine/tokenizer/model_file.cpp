#include "engine/tokenizer/model_file.h"

#include <cstring>
#include <unordered_set>

#include "kernels/common/check.h"

namespace koine {
namespace {

/// SentencePiece's trainer makes pieces of at most 512 characters (max_sentencepiece_length).
constexpr std::size_t kMaximumPieceBytes = std::size_t{512} * 4;

/// One field of a protocol buffer message: a number (varint, fixed 32 or 64) or bytes.
struct Field {
  std::uint64_t number = 0;
  int wire_type = 0;
  std::uint64_t value = 0;
  std::string_view bytes;
};

/// Steps through the fields of a message (protobuf.dev/programming-guides/encoding).
class MessageReader {
 public:
  MessageReader(std::string_view message, const std::string& where) : rest_(message), where_(where) {}

  std::size_t rest() const { return rest_.size(); }

  bool next(Field& field) {
    if (rest_.empty()) return false;
    const std::uint64_t tag = varint();
    field = {tag >> 3, static_cast<int>(tag & 7), 0, {}};
    switch (field.wire_type) {
      case 0:
        field.value = varint();
        break;
      case 1:
        field.value = fixed<std::uint64_t>();
        break;
      case 2:
        field.bytes = take(varint());
        break;
      case 5:
        field.value = fixed<std::uint32_t>();
        break;
      default:
        damaged();
    }
    if (field.number == 0) damaged();
    return true;
  }

 private:
  [[noreturn]] void damaged() const { fail_user(where_, ": truncated or damaged: not a SentencePiece model file"); }

  std::string_view take(std::uint64_t bytes) {
    if (bytes > rest_.size()) damaged();
    const std::string_view taken = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return taken;
  }

  template <class Number>
  Number fixed() {
    Number value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    damaged();
  }

  std::string_view rest_;
  const std::string& where_;
};

ModelPiece parse_piece(std::string_view message, std::size_t number, const std::string& where) {
  ModelPiece piece;
  MessageReader reader(message, where);
  for (Field field; reader.next(field);) {
    if (field.number == 1 && field.wire_type == 2) {
      piece.text = field.bytes;
    } else if (field.number == 2 && field.wire_type == 5) {
      const auto bits = static_cast<std::uint32_t>(field.value);
      std::memcpy(&piece.score, &bits, sizeof bits);
    } else if (field.number == 3 && field.wire_type == 0) {
      require(field.value >= 1 && field.value <= 6, where, ": piece ", number, " has the unknown type ", field.value);
      piece.type = static_cast<ModelPiece::Type>(field.value);
    }
  }
  require(!piece.text.empty() && piece.text.size() <= kMaximumPieceBytes, where, ": piece ", number, " has ",
          piece.text.size(), " bytes");
  require(piece.score - piece.score == 0, where, ": piece ", number, " has a score that is not finite");
  return piece;
}

void parse_trainer_spec(std::string_view message, const std::string& where, TokenizerModel& model) {
  MessageReader reader(message, where);
  for (Field field; reader.next(field);) {
    if (field.wire_type != 0) continue;
    if (field.number == 3) model.unigram = field.value == 1;
    if (field.number == 24) model.whitespace_as_suffix = field.value != 0;
    if (field.number == 35) model.byte_fallback = field.value != 0;
  }
}

/// The unit of the double array that node `at` leads to by the byte 0 (its value) or another; see darts-clone's
/// DoubleArrayUnit.
std::uint32_t unit_offset(std::uint32_t unit) { return (unit >> 10) << ((unit & 0x200u) >> 6); }

/// The trie's bytes, the length of which the first four give, then the replacements. Every step that a walk through the trie
/// can take must stay inside it, so that walking needs no check.
CharacterMap parse_character_map(std::string_view blob, const std::string& where) {
  constexpr std::size_t kBlockUnits = 256;  // a node's children differ from each other in the last 8 bits of their index
  if (blob.empty()) return {};
  const auto sound = [&](bool ok) { require(ok, where, ": the normalisation rules are damaged"); };
  std::uint32_t trie_bytes = 0;
  sound(blob.size() > sizeof trie_bytes);
  std::memcpy(&trie_bytes, blob.data(), sizeof trie_bytes);
  blob.remove_prefix(sizeof trie_bytes);
  sound(trie_bytes < blob.size() && trie_bytes > 0 && trie_bytes % (kBlockUnits * sizeof(std::uint32_t)) == 0);

  CharacterMap map;
  map.units.resize(trie_bytes / sizeof(std::uint32_t));
  std::memcpy(map.units.data(), blob.data(), trie_bytes);
  map.replacements = blob.substr(trie_bytes);
  sound(map.replacements.back() == '\0');
  for (std::uint32_t i = 0; i < map.units.size(); ++i) {
    const std::uint32_t unit = map.units[i];
    if ((unit & 0x80000000u) != 0 && i != 0) continue;  // a value, which no walk goes through; walks begin at unit 0
    const std::uint32_t child = i ^ unit_offset(unit);
    sound(child < map.units.size());
    if ((unit & 0x100u) != 0) sound((map.units[child] & 0x7fffffffu) < map.replacements.size());
  }
  return map;
}

void parse_normalizer_spec(std::string_view message, const std::string& where, TokenizerModel& model) {
  MessageReader reader(message, where);
  for (Field field; reader.next(field);) {
    if (field.number == 2 && field.wire_type == 2) {
      model.character_map = parse_character_map(field.bytes, where);
      model.rules = field.bytes;
    }
    if (field.wire_type != 0) continue;
    if (field.number == 3) model.add_dummy_prefix = field.value != 0;
    if (field.number == 4) model.remove_extra_whitespaces = field.value != 0;
    if (field.number == 5) model.escape_whitespaces = field.value != 0;
  }
}

/// Appends fields to a message, the other way round than MessageReader.
class MessageWriter {
 public:
  MessageWriter& number(std::uint64_t field, std::uint64_t value) {
    varint(field << 3);
    varint(value);
    return *this;
  }
  MessageWriter& bytes(std::uint64_t field, std::string_view value) {
    varint(field << 3 | 2);
    varint(value.size());
    message_ += value;
    return *this;
  }
  MessageWriter& fixed(std::uint64_t field, float value) {
    varint(field << 3 | 5);
    char raw[sizeof value];
    std::memcpy(raw, &value, sizeof value);
    message_.append(raw, sizeof raw);
    return *this;
  }
  const std::string& message() const { return message_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) message_ += static_cast<char>((value & 0x7f) | 0x80);
    message_ += static_cast<char>(value);
  }

  std::string message_;
};

}  // namespace

std::string write_tokenizer_model(const TokenizerModel& model) {
  constexpr std::uint64_t kUnigram = 1;
  MessageWriter file;
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    const auto type = i == 0 ? ModelPiece::Type::kUnknown : i < 3 ? ModelPiece::Type::kControl : ModelPiece::Type::kNormal;
    MessageWriter piece;
    piece.bytes(1, model.pieces[i].text).fixed(2, i < 3 ? 0 : model.pieces[i].score);
    if (type != ModelPiece::Type::kNormal) piece.number(3, static_cast<std::uint64_t>(type));
    file.bytes(1, piece.message());
  }
  file.bytes(2, MessageWriter().number(3, kUnigram).number(4, model.pieces.size()).message());
  file.bytes(3, MessageWriter().bytes(1, "nmt_nfkc").bytes(2, model.rules).number(3, 1).number(4, 1).number(5, 1).message());
  return file.message();
}

TokenizerModel parse_tokenizer_model(std::string_view bytes, const std::string& where,
                                     const SentencePieceNumbering& numbering) {
  TokenizerModel model;
  bool trainer_spec = false;
  bool normalizer_spec = false;
  MessageReader reader(bytes, where);
  for (Field field; reader.next(field);) {
    if (field.wire_type != 2) continue;
    if (field.number == 1) model.pieces.push_back(parse_piece(field.bytes, model.pieces.size(), where));
    if (field.number == 2) parse_trainer_spec(field.bytes, where, model), trainer_spec = true;
    if (field.number == 3) parse_normalizer_spec(field.bytes, where, model), normalizer_spec = true;
  }
  // The specifications stand behind the pieces: a file cut between two fields lacks them.
  require(trainer_spec && normalizer_spec, where, ": truncated or damaged: not a whole SentencePiece model file");
  const auto& first = numbering.first;
  bool as_numbered = model.pieces.size() > first.size();
  for (std::size_t i = 0; i < first.size() && as_numbered; ++i) as_numbered = model.pieces[i].text == first[i];
  require(as_numbered, where, ": its first pieces are not ", first[0], " ", first[1], " ", first[2], ": not ",
          first[0] == "<unk>" ? "an XLM-R tokenizer" : "an mT5 tokenizer");
  std::unordered_set<std::string_view> texts;
  for (const ModelPiece& piece : model.pieces) {
    require(texts.insert(piece.text).second, where, ": damaged: two of its pieces have the same text");
  }
  return model;
}

std::string keep_pieces(std::string_view bytes, const std::vector<bool>& keep, const std::string& where) {
  std::string kept;
  std::size_t piece = 0;
  MessageReader reader(bytes, where);
  std::size_t begin = 0;
  for (Field field; reader.next(field);) {
    const std::size_t end = bytes.size() - reader.rest();
    const bool is_piece = field.number == 1 && field.wire_type == 2;
    check(!is_piece || piece < keep.size(), "keep_pieces: ", where, " has more pieces than the ", keep.size(),
          " asked about");
    if (!is_piece || keep[piece]) kept += bytes.substr(begin, end - begin);
    piece += is_piece ? 1 : 0;
    begin = end;
  }
  check(piece == keep.size(), "keep_pieces: ", where, " has ", piece, " pieces, not ", keep.size());
  return kept;
}

}  // namespace koine
