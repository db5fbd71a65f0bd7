#pragma once

// Question and context to model inputs, as the reference implementations do (transformers' data/processors/squad.py,
// XTREME's and jiant's copies of it).
//
//   * The context is cut into words at space, tab, CR, LF and U+202F; each word is tokenised alone.
//   * Question: its first max_query_length pieces. Sequence: <s> question </s></s> window </s>, so the window's first piece
//   stands at position
//     (pieces of the question) + 3. (transformers from version 4 on computes 2 for XLM-R, which moves every answer by one.)
//   * Window k begins at piece k * doc_stride of the context and holds what fits into max_seq_length; the last one reaches
//   the context's end.
//     Where a window would hold fewer than doc_stride pieces, it advances by what it holds, so that none is skipped.
//   * A piece in several windows belongs to the one in which min(pieces left of it, pieces right of it) + 0.01 * window
//   length is
//     largest (its maximum context), the first of equals.
//   * Training: the first answer's words, narrowed to the first span of pieces equal to the tokenised answer ("improve
//   answer span"). In a
//     window without the whole answer, start and end are position 0. A question that has no answer (SQuAD 2.0) has 0
//     and 0 in all its windows; one whose answer is not found in its words is left out.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/batch/packed_batch.h"
#include "engine/tokenizer/tokenizer.h"
#include "tasks/common/guards.h"
#include "tasks/common/task.h"
#include "tasks/formats/squad.h"

namespace koine {

struct ByteSpan {
  std::int32_t begin = 0;
  std::int32_t end = 0;
};

/// Words of a context: bytes [begin, end).
std::vector<ByteSpan> split_words(std::string_view context);

struct TokenizedContext {
  std::vector<ByteSpan> words;
  std::vector<std::int32_t> first_piece;  ///< [words + 1] of each word; the last entry is the number of pieces
  std::vector<Piece> pieces;              ///< spans in bytes of the context
  std::vector<std::int32_t> piece_words;  ///< [pieces] the word each is of
};
TokenizedContext tokenize_context(std::string_view context, const Tokenizer& tokenizer);

struct PieceSpan {
  std::int32_t first = -1;
  std::int32_t last = -1;  ///< included
};

/// Questions whose first answer's text is not in the words of their context, so that nothing can be learnt from them.
std::int64_t count_unlearnable(const SquadFile& file);

/// Pieces of an answer; {-1, -1} where its words do not hold its text, or its place is unknown.
PieceSpan answer_pieces(const SquadAnswer& answer, std::string_view context, const TokenizedContext& tokens,
                        const Tokenizer& tokenizer);

/// One window of one question: the model input of the same index.
struct SpanWindow {
  std::size_t question = 0;
  std::int32_t start = 0;   ///< first piece of the context
  std::int32_t length = 0;  ///< pieces
  std::int32_t offset = 0;  ///< position in the sequence of the first piece
};

/// The windows over `pieces` pieces for a question of `query` pieces. UserError when max_seq_length leaves no room.
std::vector<SpanWindow> make_windows(const SpecialTokens& special, std::int64_t pieces, std::int64_t query,
                                     std::int64_t max_seq_length, std::int64_t doc_stride);

/// Which of `windows` (of one question) holds the maximum context of a piece.
std::size_t maximum_context_window(const std::vector<SpanWindow>& windows, std::int32_t piece);

struct SpanFeatures {
  std::vector<TokenizedContext> contexts;  ///< as SquadFile::contexts
  std::vector<SpanWindow> windows;         ///< those of one question one behind the other
  std::vector<Example> examples;           ///< [windows]
  std::int64_t left_out = 0;               ///< training questions whose answer was not found
  Truncation truncation;                   ///< of questions, to max_query_length; contexts go on in the next window
};

/// `training`: only questions whose answer is found, with start and end positions as labels. Else every question, for
/// prediction; windows of a labelled file then carry labels too (for the loss on dev), where the answer is found.
SpanFeatures make_span_features(const SquadFile& file, const Tokenizer& tokenizer, const FeatureOptions& options,
                                bool training);

}  // namespace koine
