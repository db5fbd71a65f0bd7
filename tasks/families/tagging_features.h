#pragma once

// Tagged sentences to model inputs and back.
//
// Each word is tokenised alone; its label stands on its first piece, the others are not counted. A word that tokenises to
// nothing, or to more pieces than a row holds, becomes <unk>. A sentence of more pieces than fit becomes several rows, cut
// between words, whose predictions are joined again. A row is <s> pieces </s>, and holds at most max_seq_length - 3 pieces:
// XTREME and jiant reserve three positions (the former writes a second </s>), and with the same number the rows are the
// same.

#include <cstdint>
#include <vector>

#include "engine/batch/packed_batch.h"
#include "engine/tokenizer/tokenizer.h"
#include "tasks/common/guards.h"
#include "tasks/formats/tagged.h"

namespace koine {

inline constexpr std::int64_t kReservedPositions = 3;

/// One row: which words of which sentence, and where their first pieces stand in the sequence.
struct TaggedRow {
  std::size_t sentence = 0;
  std::size_t first_word = 0;
  std::vector<std::int32_t> positions;  ///< [words of the row]
};

struct TaggingFeatures {
  std::vector<TaggedRow> rows;
  std::vector<Example> examples;  ///< [rows]
  Truncation truncation;          ///< of sentences: words longer than a row, which became <unk>
};

/// UserError when max_seq_length leaves no room for a piece.
TaggingFeatures make_tagging_features(const std::vector<TaggedSentence>& sentences, const Tokenizer& tokenizer,
                                      std::int64_t max_seq_length);

}  // namespace koine
