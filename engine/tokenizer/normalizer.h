#pragma once

// The rewriting of text that a SentencePiece model carries with it (nmt_nfkc for XLM-R): Unicode's NFKC, white space and
// zero-width characters to a space, control characters to nothing, as a table of byte strings and what replaces them.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/model_file.h"

namespace koine {

/// Bytes of the UTF-8 character that begins with `first`.
inline std::size_t character_bytes(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

class Normalizer {
 public:
  /// `map.replacements` must outlive the object.
  explicit Normalizer(CharacterMap map);

  /// The normalised text: a space in front, runs of spaces made one, none at the end; empty when nothing but spaces is left.
  /// (SentencePiece spells its spaces ▁; here they stay spaces.) With `origins` also, for each byte and for the end, the
  /// place in `text` (valid UTF-8) of what it came from.
  std::string normalize(std::string_view text, std::vector<std::int32_t>* origins = nullptr) const;

  /// Whether the character at the start of `text` (not empty) becomes white space or nothing.
  bool is_blank(std::string_view text) const;

 private:
  /// What the first `consumed` bytes of a text become.
  struct Match {
    std::string_view replacement;
    std::size_t consumed = 0;
  };
  /// The longest rule that applies at the start of `text`, or its first character as it is.
  Match prefix(std::string_view text) const;
  Match rule(std::string_view text) const;
  /// The node of the map below `node` for a byte, 0 (never a child) without one.
  std::uint32_t child(std::uint32_t node, unsigned char byte) const;
  void find_plain_characters();
  /// Whether the character at text[at] stays as it is whatever follows.
  bool is_plain(std::string_view text, std::size_t at) const;

  CharacterMap map_;
  bool plain_before_ascii_[128] = {};  // characters no rule changes when ASCII or nothing follows
  std::vector<bool> plain_;            // [65536] characters no rule begins with
};

}  // namespace koine
