#include "tasks/families/span_answers.h"

#include <algorithm>
#include <numeric>
#include <unordered_set>

#include "kernels/common/check.h"
#include "tasks/scorers/python_text.h"

namespace koine {
namespace {

constexpr std::string_view kNoAnswer = "empty";
constexpr char32_t kWordBegin = 0x2581;

bool is_chinese_character(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B820 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

bool is_dropped(char32_t c) {
  if (c == U'\t' || c == U'\n' || c == U'\r') return false;
  return c == 0 || c == 0xFFFD || is_other(c);
}

bool is_blank(char32_t c) { return c == U' ' || c == U'\t' || c == U'\n' || c == U'\r' || is_space_separator(c); }

/// BERT's basic tokeniser without lower-casing, its tokens joined by blanks.
std::u32string basic_tokens(std::u32string_view text) {
  std::u32string spaced;
  for (const char32_t c : text) {
    if (is_dropped(c)) continue;
    if (is_blank(c)) {
      spaced += U' ';
    } else if (is_chinese_character(c) || is_ascii_punctuation(c) || is_unicode_punctuation(c)) {
      spaced += {U' ', c, U' '};
    } else {
      spaced += c;
    }
  }
  return join_with_blanks(python_split(spaced));
}

/// Positions of the characters that are not blanks.
std::vector<std::size_t> solid_positions(std::u32string_view text) {
  std::vector<std::size_t> positions;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != U' ') positions.push_back(i);
  }
  return positions;
}

/// The first `count` positions by logit, largest first, of equal ones the earlier.
std::vector<std::int32_t> best_positions(const std::vector<float>& logits, std::size_t column, std::int64_t count) {
  std::vector<std::int32_t> order(logits.size() / 2);
  std::iota(order.begin(), order.end(), 0);
  const auto value = [&](std::int32_t position) { return logits[2 * static_cast<std::size_t>(position) + column]; };
  const auto kept = std::min<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(count), std::ssize(order));
  std::partial_sort(order.begin(), order.begin() + kept, order.end(),
                    [&](std::int32_t a, std::int32_t b) { return value(a) != value(b) ? value(a) > value(b) : a < b; });
  order.resize(static_cast<std::size_t>(kept));
  return order;
}

/// A pair of positions that may be an answer, as pieces of the context.
struct Pair {
  PieceSpan pieces;
  float logit = 0;
};

void add_pairs(const std::vector<SpanWindow>& windows, std::size_t number, const std::vector<float>& logits,
               const AnswerSearch& search, std::vector<Pair>& pairs) {
  const SpanWindow& window = windows[number];
  const auto piece_at = [&](std::int32_t position) { return position - window.offset + window.start; };
  const auto in_context = [&](std::int32_t position) {
    return position >= window.offset && position < window.offset + window.length;
  };
  const std::vector<std::int32_t> ends = best_positions(logits, 1, search.best_positions);
  for (const std::int32_t start : best_positions(logits, 0, search.best_positions)) {
    if (!in_context(start) || maximum_context_window(windows, piece_at(start)) != number) continue;
    for (const std::int32_t end : ends) {
      if (!in_context(end) || end < start || end - start + 1 > search.max_answer_pieces) continue;
      pairs.push_back({{piece_at(start), piece_at(end)},
                       logits[2 * static_cast<std::size_t>(start)] + logits[2 * static_cast<std::size_t>(end) + 1]});
    }
  }
}

/// What transformers' convert_tokens_to_string makes of the pieces, white space tidied.
std::string text_of_pieces(const TokenizedContext& tokens, const PieceSpan& span, const Tokenizer& tokenizer) {
  std::string text;
  for (std::int32_t i = span.first; i <= span.last; ++i)
    text += tokenizer.piece(tokens.pieces[static_cast<std::size_t>(i)].id);
  std::u32string characters = decode_utf8(text);
  std::replace(characters.begin(), characters.end(), kWordBegin, U' ');
  return encode_utf8(join_with_blanks(python_split(characters)));
}

std::string text_of_words(std::string_view context, const TokenizedContext& tokens, const PieceSpan& span) {
  std::string text;
  for (std::int32_t word = tokens.piece_words[static_cast<std::size_t>(span.first)];
       word <= tokens.piece_words[static_cast<std::size_t>(span.last)]; ++word) {
    const ByteSpan& bytes = tokens.words[static_cast<std::size_t>(word)];
    if (!text.empty()) text += ' ';
    text += context.substr(static_cast<std::size_t>(bytes.begin), static_cast<std::size_t>(bytes.end - bytes.begin));
  }
  return text;
}

std::string text_of_bytes(std::string_view context, const TokenizedContext& tokens, const PieceSpan& span) {
  const auto begin = static_cast<std::size_t>(tokens.pieces[static_cast<std::size_t>(span.first)].begin);
  const auto end = static_cast<std::size_t>(tokens.pieces[static_cast<std::size_t>(span.last)].end);
  return std::string(context.substr(begin, end - std::min(begin, end)));
}

}  // namespace

std::string get_final_text(std::string_view pieces, std::string_view words) {
  const std::u32string original = decode_utf8(words);
  const std::u32string wanted = decode_utf8(pieces);
  const std::u32string tokens = basic_tokens(original);
  const std::size_t start = tokens.find(wanted);
  if (start == std::u32string::npos || wanted.empty()) return std::string(words);
  const std::vector<std::size_t> in_original = solid_positions(original);
  const std::vector<std::size_t> in_tokens = solid_positions(tokens);
  if (in_original.size() != in_tokens.size()) return std::string(words);
  const auto original_position = [&](std::size_t position) -> std::size_t {
    const auto found = std::lower_bound(in_tokens.begin(), in_tokens.end(), position);
    if (found == in_tokens.end() || *found != position) return std::u32string::npos;
    return in_original[static_cast<std::size_t>(found - in_tokens.begin())];
  };
  const std::size_t first = original_position(start);
  const std::size_t last = original_position(start + wanted.size() - 1);
  if (first == std::u32string::npos || last == std::u32string::npos) return std::string(words);
  return encode_utf8(std::u32string_view(original).substr(first, last + 1 - first));
}

std::vector<AnswerCandidate> find_answers(const std::vector<SpanWindow>& windows,
                                          const std::vector<const std::vector<float>*>& logits, std::string_view context,
                                          const TokenizedContext& tokens, const Tokenizer& tokenizer,
                                          const AnswerSearch& search) {
  check(windows.size() == logits.size(), "as many logits as windows are needed: ", logits.size(), " for ", windows.size());
  std::vector<Pair> pairs;
  for (std::size_t i = 0; i < windows.size(); ++i) add_pairs(windows, i, *logits[i], search, pairs);
  std::stable_sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) { return a.logit > b.logit; });
  std::vector<AnswerCandidate> answers;
  std::unordered_set<std::string> seen;
  for (const Pair& pair : pairs) {
    if (answers.size() >= search.answers) break;
    std::string text = search.words_have_blanks ? get_final_text(text_of_pieces(tokens, pair.pieces, tokenizer),
                                                                 text_of_words(context, tokens, pair.pieces))
                                                : text_of_bytes(context, tokens, pair.pieces);
    if (seen.insert(text).second) answers.push_back({std::move(text), pair.logit, pair.pieces});
  }
  if (answers.empty()) answers.push_back({std::string(kNoAnswer), 0, {}});
  return answers;
}

}  // namespace koine
