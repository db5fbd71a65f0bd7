#pragma once

// Greedy and beam search over what a decoder says of the next token (engine/training/generation.h), and what it says of texts
// that are known.

#include <span>
#include <vector>

#include "engine/training/generation.h"
#include "models/runner.h"

namespace koine {

/// One answer for each of `sources` texts that `decoding` has read. Of a text nothing depends on the others. UserError for
/// settings that fit no vocabulary, for answers that hold an id outside of it, are empty or lack the end, and where there are
/// answers of other sources than these.
std::vector<Generation> search(Decoding& decoding, std::int64_t sources, const GenerationSettings& settings);

/// Model::answer_scores of what `decoding` has read. Answers that begin alike are one row as long as they do. UserError for an
/// answer that is empty or holds an id outside of the vocabulary.
using AnswersOfSources = std::vector<std::vector<std::vector<std::int32_t>>>;
std::vector<std::vector<float>> compare(Decoding& decoding, std::int64_t sources, const AnswersOfSources& answers);

/// The largest step that compare() asks for. Throws Error where there are neither as many lists as sources nor one.
struct AnswerRows {
  std::int64_t rows = 1;
  std::int64_t longest = 1;
};
AnswerRows rows_to_compare(std::int64_t sources, const AnswersOfSources& answers);

}  // namespace koine
