#pragma once

// How much morphology a language shows, measured from a treebank of Universal Dependencies, and how many pieces a tokenizer makes of its words.
//
//     features per word     mean number of features in the FEATS column (Case=Gen|Number=Plur: 2) of words that are no
//                           punctuation or symbols. It also depends on how richly a treebank is annotated
//     types per token       different forms, in lower case, among the first `counted` such words: the type-token ratio, which
//                           falls with the length of a text, so languages are compared at equal `counted` alone
//     pieces per word       fertility: pieces of each such word by itself, as it is written, as SentencePiece segments it
//                           behind a blank, summed over all of them and divided by their number
//
// Words are syntactic words (UD's integer ids): what multiword tokens and empty nodes stand for is counted by its parts.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/tokenizer/tokenizer.h"

namespace koine {

struct Morphology {
  std::string language;
  std::int64_t words = 0;    ///< that were read
  std::int64_t counted = 0;  ///< of which types were counted; fewer than asked for where the files are shorter
  double features_per_word = 0;
  double types_per_token = 0;
  std::optional<double> pieces_per_word = std::nullopt;
};

/// The first `most` words (0: all) of CoNLL-U files, types among the first `type_words` of them. UserErrors name file and line;
/// files without words are one.
Morphology measure_morphology(const std::string& language, const std::vector<std::filesystem::path>& files,
                              const Tokenizer* tokenizer, std::int64_t type_words, std::int64_t most = 0);

/// JSON: {"fi": {"words": ..., "counted": ..., "features_per_word": ..., "types_per_token": ..., "pieces_per_word": ...}}.
void write_morphology(const std::filesystem::path& file, const std::vector<Morphology>& all);
/// UserError naming the file and the language for what is missing, unknown or no number.
std::map<std::string, Morphology> read_morphology(const std::filesystem::path& file);

}  // namespace koine
