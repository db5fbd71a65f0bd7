#include "engine/tokenizer/normalizer.h"

#include <algorithm>
#include <utility>

#include "kernels/common/check.h"

namespace koine {
namespace {

// A unit of darts-clone's double array: bits 0-7 label, bit 8 "has a value", bits 10-30 (with bit 9: times 256) the distance
// to the children; a unit that holds a value has bit 31 set.
bool has_value(std::uint32_t unit) { return (unit & 0x100u) != 0; }
std::uint32_t label_of(std::uint32_t unit) { return unit & 0x800000ffu; }
std::uint32_t value_of(std::uint32_t unit) { return unit & 0x7fffffffu; }
std::uint32_t distance_of(std::uint32_t unit) { return (unit >> 10) << ((unit & 0x200u) >> 6); }

bool is_ascii(char byte) { return static_cast<unsigned char>(byte) < 0x80; }

/// Code point of the two or three byte character at the start of `text`.
std::uint32_t short_code_point(std::string_view text, std::size_t bytes) {
  const auto low = [&](std::size_t i) { return static_cast<std::uint32_t>(text[i]) & 0x3fu; };
  if (bytes == 2) return (static_cast<std::uint32_t>(text[0]) & 0x1fu) << 6 | low(1);
  return (static_cast<std::uint32_t>(text[0]) & 0x0fu) << 12 | low(1) << 6 | low(2);
}

}  // namespace

Normalizer::Normalizer(CharacterMap map) : map_(std::move(map)) { find_plain_characters(); }

std::uint32_t Normalizer::child(std::uint32_t node, unsigned char byte) const {
  const std::uint32_t next = node ^ distance_of(map_.units[node]) ^ byte;
  return byte != 0 && label_of(map_.units[next]) == byte ? next : 0;
}

void Normalizer::find_plain_characters() {
  plain_.assign(65536, true);
  std::fill(std::begin(plain_before_ascii_), std::end(plain_before_ascii_), true);
  if (map_.units.empty()) return;
  for (unsigned first = 1; first < 128; ++first) {
    const std::uint32_t node = child(0, static_cast<unsigned char>(first));
    if (node == 0) continue;
    bool changed = has_value(map_.units[node]);
    for (unsigned second = 1; second < 128; ++second) {
      changed = changed || child(node, static_cast<unsigned char>(second)) != 0;
    }
    plain_before_ascii_[first] = !changed;
  }
  for (unsigned first = 0xC0; first < 0xF0; ++first) {
    const std::uint32_t node = child(0, static_cast<unsigned char>(first));
    if (node == 0) continue;
    for (unsigned second = 0x80; second < 0xC0; ++second) {
      const std::uint32_t below = child(node, static_cast<unsigned char>(second));
      if (below == 0) continue;
      if (first < 0xE0) {
        plain_[(first & 0x1f) << 6 | (second & 0x3f)] = false;
        continue;
      }
      for (unsigned third = 0x80; third < 0xC0; ++third) {
        if (child(below, static_cast<unsigned char>(third)) == 0) continue;
        plain_[(first & 0x0f) << 12 | (second & 0x3f) << 6 | (third & 0x3f)] = false;
      }
    }
  }
}

bool Normalizer::is_plain(std::string_view text, std::size_t at) const {
  const std::size_t bytes = character_bytes(text[at]);
  if (bytes == 1) {
    return plain_before_ascii_[static_cast<unsigned char>(text[at])] && (at + 1 == text.size() || is_ascii(text[at + 1]));
  }
  return bytes < 4 && bytes <= text.size() - at && plain_[short_code_point(text.substr(at), bytes)];
}

Normalizer::Match Normalizer::rule(std::string_view text) const {
  Match longest;
  if (map_.units.empty()) return longest;
  std::uint32_t node = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    node = child(node, static_cast<unsigned char>(text[i]));
    if (node == 0) break;
    const std::uint32_t unit = map_.units[node];
    if (has_value(unit)) {
      longest.replacement = map_.replacements.data() + value_of(map_.units[node ^ distance_of(unit)]);
      longest.consumed = i + 1;
    }
  }
  return longest;
}

Normalizer::Match Normalizer::prefix(std::string_view text) const {
  const Match match = rule(text);
  if (match.consumed > 0) return match;
  const std::size_t bytes = std::min(character_bytes(text.front()), text.size());
  return {text.substr(0, bytes), bytes};
}

bool Normalizer::is_blank(std::string_view text) const {
  const std::string_view character = text.substr(0, character_bytes(text.front()));
  if (is_plain(character, 0)) return character.front() == ' ';
  const std::string_view replacement = prefix(character).replacement;
  return replacement.find_first_not_of(' ') == std::string_view::npos;
}

std::string Normalizer::normalize(std::string_view text, std::vector<std::int32_t>* origins) const {
  std::string normal;
  normal.reserve(text.size() + text.size() / 8 + 16);
  if (origins != nullptr) origins->reserve(normal.capacity() + 1);
  const auto append = [&](std::string_view bytes, std::size_t origin) {
    normal.append(bytes);
    if (origins != nullptr) origins->insert(origins->end(), bytes.size(), static_cast<std::int32_t>(origin));
  };
  // The space in front comes from where the first character does that is more than a space.
  std::size_t at = 0;
  for (Match match; at < text.size() && (match = prefix(text.substr(at))).replacement == " ";) at += match.consumed;
  if (at == text.size()) return normal;
  append(" ", at);
  while (at < text.size()) {
    if (is_plain(text, at) && text[at] != ' ') {
      const std::size_t bytes = character_bytes(text[at]);
      append(text.substr(at, bytes), at);
      at += bytes;
      continue;
    }
    Match match = prefix(text.substr(at));
    if (normal.back() == ' ')
      match.replacement.remove_prefix(std::min(match.replacement.find_first_not_of(' '), match.replacement.size()));
    append(match.replacement, at);
    at += match.consumed;
  }
  std::size_t end = at;
  while (normal.ends_with(' ')) {
    normal.pop_back();
    if (origins == nullptr) continue;
    end = static_cast<std::size_t>(origins->back());
    origins->pop_back();
  }
  if (origins != nullptr) origins->push_back(static_cast<std::int32_t>(end));
  return normal;
}

}  // namespace koine
