#include "tasks/families/span_features.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "kernels/common/check.h"
#include "tasks/scorers/python_text.h"

namespace koine {
namespace {

constexpr std::string_view kNarrowNoBreakSpace = "\xE2\x80\xAF";  // U+202F

/// Bytes of the blank at text[at], 0 when there is none.
std::size_t blank_length(std::string_view text, std::size_t at) {
  const char c = text[at];
  if (c == ' ' || c == '\t' || c == '\r' || c == '\n') return 1;
  return text.substr(at).starts_with(kNarrowNoBreakSpace) ? kNarrowNoBreakSpace.size() : 0;
}

/// The word that the character at `byte` is of; a blank is of the word before it (the first word where there is none).
std::size_t word_at(const std::vector<ByteSpan>& words, std::int32_t byte) {
  const auto behind = std::upper_bound(words.begin(), words.end(), byte,
                                       [](std::int32_t at, const ByteSpan& word) { return at < word.begin; });
  return behind == words.begin() ? 0 : static_cast<std::size_t>(behind - words.begin()) - 1;
}

struct WordSpan {
  std::size_t first = 0;
  std::size_t last = 0;  ///< included
};

/// Whether the words, joined by blanks, hold the answer's words, joined by blanks.
bool words_hold_answer(std::string_view context, const std::vector<ByteSpan>& words, const WordSpan& range,
                       const std::string& answer) {
  std::string text;
  for (std::size_t word = range.first; word <= range.last; ++word) {
    const ByteSpan& span = words[word];
    if (word > range.first) text += ' ';
    text += context.substr(static_cast<std::size_t>(span.begin), static_cast<std::size_t>(span.end - span.begin));
  }
  return text.find(encode_utf8(join_with_blanks(python_split(decode_utf8(answer))))) != std::string::npos;
}

/// The words an answer is in; nothing where they do not hold its text, or its place is unknown.
std::optional<WordSpan> answer_words(const SquadAnswer& answer, std::string_view context,
                                     const std::vector<ByteSpan>& words) {
  if (words.empty() || answer.begin < 0) return std::nullopt;
  const WordSpan range{word_at(words, answer.begin),
                       word_at(words, answer.begin + static_cast<std::int32_t>(answer.text.size()) - 1)};
  if (!words_hold_answer(context, words, range, answer.text)) return std::nullopt;
  return range;
}

/// The first span within [first, last] whose pieces are those of the answer tokenised by itself; else all of it.
PieceSpan improve_answer_span(const TokenizedContext& tokens, PieceSpan span, const std::vector<std::int32_t>& answer) {
  const auto length = static_cast<std::int32_t>(answer.size());
  for (std::int32_t begin = span.first; length > 0 && begin + length - 1 <= span.last; ++begin) {
    const auto at = tokens.pieces.begin() + begin;
    if (std::equal(answer.begin(), answer.end(), at, [](std::int32_t id, const Piece& piece) { return id == piece.id; })) {
      return {begin, begin + length - 1};
    }
  }
  return span;
}

Example window_example(const SpecialTokens& special, const std::vector<std::int32_t>& query, const TokenizedContext& tokens,
                       const SpanWindow& window) {
  std::vector<std::int32_t> context;
  for (std::int32_t i = 0; i < window.length; ++i)
    context.push_back(tokens.pieces[static_cast<std::size_t>(window.start + i)].id);
  return {special.pair(query, context), {}, 0};
}

/// Positions of the answer in the window, 0 and 0 when it is not wholly inside.
std::vector<std::int32_t> span_labels(const SpanWindow& window, const PieceSpan& answer) {
  const bool inside = answer.first >= window.start && answer.last < window.start + window.length;
  if (!inside) return {0, 0};
  return {answer.first - window.start + window.offset, answer.last - window.start + window.offset};
}

}  // namespace

std::vector<ByteSpan> split_words(std::string_view context) {
  check(context.size() <= static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()), "context too long");
  std::vector<ByteSpan> words;
  bool in_word = false;
  for (std::size_t at = 0; at < context.size();) {
    const std::size_t blank = blank_length(context, at);
    if (blank == 0 && !in_word) words.push_back({static_cast<std::int32_t>(at), 0});
    in_word = blank == 0;
    at += std::max<std::size_t>(blank, 1);
    if (in_word) words.back().end = static_cast<std::int32_t>(at);
  }
  return words;
}

TokenizedContext tokenize_context(std::string_view context, const Tokenizer& tokenizer) {
  TokenizedContext tokens;
  tokens.words = split_words(context);
  for (const ByteSpan& word : tokens.words) {
    tokens.first_piece.push_back(static_cast<std::int32_t>(tokens.pieces.size()));
    const auto text = context.substr(static_cast<std::size_t>(word.begin), static_cast<std::size_t>(word.end - word.begin));
    for (const Piece& piece : tokenizer.encode_with_spans(text)) {
      tokens.pieces.push_back({piece.id, word.begin + piece.begin, word.begin + piece.end});
      tokens.piece_words.push_back(static_cast<std::int32_t>(tokens.first_piece.size()) - 1);
    }
  }
  tokens.first_piece.push_back(static_cast<std::int32_t>(tokens.pieces.size()));
  return tokens;
}

std::int64_t count_unlearnable(const SquadFile& file) {
  std::vector<std::vector<ByteSpan>> words;
  for (const std::string& context : file.contexts) words.push_back(split_words(context));
  return std::count_if(file.questions.begin(), file.questions.end(), [&](const SquadQuestion& question) {
    if (question.answers.empty()) return !file.labelled;
    return !answer_words(question.answers.front(), file.contexts[question.paragraph], words[question.paragraph]);
  });
}

PieceSpan answer_pieces(const SquadAnswer& answer, std::string_view context, const TokenizedContext& tokens,
                        const Tokenizer& tokenizer) {
  const std::optional<WordSpan> found = answer_words(answer, context, tokens.words);
  if (!found) return {};
  const PieceSpan words{tokens.first_piece[found->first], tokens.first_piece[found->last + 1] - 1};
  if (words.first > words.last) return {};  // words that tokenise to nothing
  return improve_answer_span(tokens, words, tokenizer.encode(answer.text));
}

std::vector<SpanWindow> make_windows(const SpecialTokens& special, std::int64_t pieces, std::int64_t query,
                                     std::int64_t max_seq_length, std::int64_t doc_stride) {
  const std::int64_t room = max_seq_length - query - special.around_pair();
  require(room > 0, "max_seq_length ", max_seq_length, " leaves no room for the context beside a question of ", query,
          " pieces; raise it or lower max_query_length");
  require(doc_stride > 0, "doc_stride must be at least 1, not ", doc_stride);
  const std::int64_t advance = std::min(doc_stride, room);
  std::vector<SpanWindow> windows;
  for (std::int64_t start = 0; start < pieces; start += advance) {
    windows.push_back({0, static_cast<std::int32_t>(start), static_cast<std::int32_t>(std::min(room, pieces - start)),
                       static_cast<std::int32_t>(special.before() + query + special.ends_between)});
    if (start + room >= pieces) break;
  }
  return windows;
}

std::size_t maximum_context_window(const std::vector<SpanWindow>& windows, std::int32_t piece) {
  std::size_t best = windows.size();
  double best_score = 0;
  for (std::size_t i = 0; i < windows.size(); ++i) {
    const std::int32_t left = piece - windows[i].start;
    const std::int32_t right = windows[i].start + windows[i].length - 1 - piece;
    if (left < 0 || right < 0) continue;
    const double score = std::min(left, right) + 0.01 * windows[i].length;
    if (best == windows.size() || score > best_score) {
      best = i;
      best_score = score;
    }
  }
  check(best < windows.size(), "piece ", piece, " is in no window");
  return best;
}

SpanFeatures make_span_features(const SquadFile& file, const Tokenizer& tokenizer, const FeatureOptions& options,
                                bool training) {
  SpanFeatures features;
  features.truncation.maximum_length = options.max_query_length;
  for (const std::string& context : file.contexts) features.contexts.push_back(tokenize_context(context, tokenizer));
  for (std::size_t number = 0; number < file.questions.size(); ++number) {
    const SquadQuestion& question = file.questions[number];
    const TokenizedContext& tokens = features.contexts[question.paragraph];
    PieceSpan answer;
    if (!question.answers.empty()) {
      answer = answer_pieces(question.answers.front(), file.contexts[question.paragraph], tokens, tokenizer);
    }
    const bool unanswerable = file.labelled && question.answers.empty();
    if (training && answer.first < 0 && !unanswerable) {
      ++features.left_out;
      continue;
    }
    std::vector<std::int32_t> query = tokenizer.encode(question.question);
    const std::int64_t kept = std::min(std::ssize(query), std::max<std::int64_t>(0, options.max_query_length));
    features.truncation.add(std::ssize(query) - kept);
    query.resize(static_cast<std::size_t>(kept));
    for (SpanWindow window :
         make_windows(tokenizer.special(), static_cast<std::int64_t>(tokens.pieces.size()),
                      static_cast<std::int64_t>(query.size()), options.max_seq_length, options.doc_stride)) {
      window.question = number;
      Example example = window_example(tokenizer.special(), query, tokens, window);
      if (file.labelled) example.labels = span_labels(window, answer);
      example.number = static_cast<std::uint32_t>(features.examples.size());
      features.windows.push_back(window);
      features.examples.push_back(std::move(example));
    }
  }
  return features;
}

}  // namespace koine
