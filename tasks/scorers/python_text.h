#pragma once

// The handful of Python's text functions that official scorers are written with, with the same results on any Unicode text.
// Character properties come from ICU.

#include <string>
#include <string_view>
#include <vector>

namespace koine {

/// Code points of UTF-8, and back. What is not valid UTF-8 becomes U+FFFD.
std::u32string decode_utf8(std::string_view text);
std::string encode_utf8(std::u32string_view text);

/// str.lower(): full mappings (one character may become several), the Greek final sigma by its context.
std::u32string python_lower(std::u32string_view text);
/// str.isspace() of one character.
bool python_is_space(char32_t character);
/// str.split() without arguments.
std::vector<std::u32string> python_split(std::u32string_view text);
/// " ".join(parts)
std::u32string join_with_blanks(const std::vector<std::u32string>& parts);
/// The regular expression \w of one character: letters and numbers of any script, and "_"; no combining marks.
bool python_is_word(char32_t character);
/// string.punctuation: the 32 of ASCII.
bool is_ascii_punctuation(char32_t character);
/// Unicode category P*.
bool is_unicode_punctuation(char32_t character);
/// Unicode category C*: control, format, unassigned, private.
bool is_other(char32_t character);
/// Unicode category Zs.
bool is_space_separator(char32_t character);

}  // namespace koine
