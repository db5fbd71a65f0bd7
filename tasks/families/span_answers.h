#pragma once

// From start and end logits to the text of an answer, as the reference implementations do (transformers'
// data/metrics/squad_metrics.py, compute_predictions_logits).
//
// Of each window the `best_positions` largest start logits and end logits (of equal ones the earlier position) are paired. A
// pair counts when both are pieces of the context, the start has its maximum context in this window, the end is not before
// the start, and it holds at most `max_answer_pieces` pieces. All windows' pairs are sorted by the sum of their logits
// (stable); the first is the answer, "empty" when there is none.
//
// Its text is not that of the pieces (normalisation changed them) but of the original words they are of, cut down by
// get_final_text: the words, joined by blanks, are split at punctuation and around Chinese characters (BERT's basic
// tokeniser without lower-casing); where the pieces' text is found in that, the matching characters of the words are taken,
// else the words whole. In Chinese, which has no blanks, that would return whole clauses; there the original bytes under the
// pieces are taken, where jiant takes the pieces' own text.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/tokenizer.h"
#include "tasks/families/span_features.h"

namespace koine {

struct AnswerSearch {
  std::int64_t best_positions = 20;
  std::int64_t max_answer_pieces = 30;
  std::size_t answers = 1;        ///< how many different texts to give
  bool words_have_blanks = true;  ///< false: cut at the pieces' bytes (Chinese)
};

struct AnswerCandidate {
  std::string text;
  float logit = 0;  ///< start + end
  PieceSpan pieces;
};

/// Best first; at least one. `windows` are the question's, `logits` one [length, 2] matrix (start, end) for each.
std::vector<AnswerCandidate> find_answers(const std::vector<SpanWindow>& windows,
                                          const std::vector<const std::vector<float>*>& logits, std::string_view context,
                                          const TokenizedContext& tokens, const Tokenizer& tokenizer,
                                          const AnswerSearch& search);

/// The part of `words` (joined by single blanks) that `pieces` (text of sub-words) stands for.
std::string get_final_text(std::string_view pieces, std::string_view words);

}  // namespace koine
