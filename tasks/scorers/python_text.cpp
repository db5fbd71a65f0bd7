#include "tasks/scorers/python_text.h"

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

namespace koine {
namespace {

/// Whether `mask` (U_GC_*_MASK) has the character's general category.
bool has_category(char32_t character, std::uint32_t mask) {
  return (U_GET_GC_MASK(static_cast<UChar32>(character)) & mask) != 0;
}

std::u32string to_code_points(const icu::UnicodeString& text) {
  std::u32string result;
  for (std::int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1)) result += static_cast<char32_t>(text.char32At(i));
  return result;
}

}  // namespace

std::u32string decode_utf8(std::string_view text) {
  std::u32string result;
  const auto length = static_cast<std::int32_t>(text.size());
  for (std::int32_t i = 0; i < length;) {
    UChar32 character;
    U8_NEXT_OR_FFFD(text.data(), i, length, character);
    result += static_cast<char32_t>(character);
  }
  return result;
}

std::string encode_utf8(std::u32string_view text) {
  std::string result;
  for (const char32_t character : text) {
    char bytes[U8_MAX_LENGTH];
    std::int32_t length = 0;
    U8_APPEND_UNSAFE(bytes, length, static_cast<UChar32>(character));
    result.append(bytes, static_cast<std::size_t>(length));
  }
  return result;
}

std::u32string python_lower(std::u32string_view text) {
  icu::UnicodeString copy;
  for (const char32_t character : text) copy.append(static_cast<UChar32>(character));
  return to_code_points(copy.toLower(icu::Locale::getRoot()));
}

bool python_is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

std::vector<std::u32string> python_split(std::u32string_view text) {
  std::vector<std::u32string> parts;
  bool in_part = false;
  for (const char32_t character : text) {
    const bool space = python_is_space(character);
    if (!space && !in_part) parts.emplace_back();
    if (!space) parts.back() += character;
    in_part = !space;
  }
  return parts;
}

std::u32string join_with_blanks(const std::vector<std::u32string>& parts) {
  std::u32string text;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) text += U' ';
    text += parts[i];
  }
  return text;
}

bool python_is_word(char32_t c) {
  return c == U'_' || has_category(c, U_GC_L_MASK) ||
         u_getIntPropertyValue(static_cast<UChar32>(c), UCHAR_NUMERIC_TYPE) != U_NT_NONE;
}

bool is_ascii_punctuation(char32_t c) {
  return (c >= 0x21 && c <= 0x2f) || (c >= 0x3a && c <= 0x40) || (c >= 0x5b && c <= 0x60) || (c >= 0x7b && c <= 0x7e);
}

bool is_unicode_punctuation(char32_t c) { return has_category(c, U_GC_P_MASK); }
bool is_other(char32_t c) { return has_category(c, U_GC_C_MASK); }
bool is_space_separator(char32_t c) { return has_category(c, U_GC_ZS_MASK); }

}  // namespace koine
