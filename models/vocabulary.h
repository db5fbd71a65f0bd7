#pragma once

// A model with fewer words: the pieces some texts need, and their rows of the embedding table. A published multilingual model
// spends most of its parameters on words of languages that are not at hand (46 % of XLM-R large's).
//
// The segmentation of those texts stays what it was: the most probable one among all pieces is still there, the others only
// lost competitors, and what an unknown character costs, which is the least score of all pieces less 10, is held by keeping
// the piece of least score. Ids keep their order.

#include <cstdint>
#include <filesystem>
#include <vector>

#include "engine/tokenizer/tokenizer.h"

namespace koine {

/// What was written: rows of the embedding table before and after, and each new id's old one.
struct TrimmedVocabulary {
  std::int64_t rows_before = 0;
  std::vector<std::int32_t> old_ids;  ///< [rows after]
};

/// Writes to `output` the model in `directory` with the pieces of `used` ([ids of its tokenizer] whether texts have it), its
/// special tokens and its piece of least score: config.json, model.safetensors (in the types the file has) and the
/// tokenizer's files. UserError for a tokenizer that is not a unigram model as XLM-R's, and naming file and tensor for
/// weights that do not fit the configuration.
TrimmedVocabulary trim_vocabulary(const std::filesystem::path& directory, const std::filesystem::path& output,
                                  const std::vector<bool>& used);

}  // namespace koine
