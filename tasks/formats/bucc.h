#pragma once

// BUCC's comparable corpora: sentences of two languages, some of them translations of each other.
//
//   <lg>-en.<split>.<lg>, <lg>-en.<split>.en   "id<TAB>sentence" a line. BUCC 2018 calls the splits sample, training and
//                                              test; XTREME renames sample to dev and training to test
//   <lg>-en.<split>.gold                       "<lg> id<TAB>en id" a line: the pairs that are translations
//
// Ids are unique within a side. A sentence that stands in a side more than once is mined as one (with the vector of its last
// line), and is no candidate in the end: its text does not say which id it has.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tasks/formats/request.h"
#include "tasks/scorers/bitext_mining.h"

namespace koine {

struct BuccSide {
  std::filesystem::path path;
  std::vector<std::string> ids;
  std::vector<std::string> sentences;
};

struct BuccSentences {
  std::vector<std::size_t> lines;  ///< [unique sentences, in order of their first lines] the last line of each
  std::vector<bool> repeated;      ///< [unique sentences]
};

struct BuccFile {
  std::filesystem::path path;  ///< of the foreign side
  BuccSide source;
  BuccSide target;
  IdPairs gold;
  bool labelled = true;  ///< whether the pairs are known
};

/// The foreign side `file`, and beside it the English side and the pairs, where they are. With request.max_examples the
/// first so many sentences of either side, and the pairs among them. UserErrors as below.
BuccFile read_bucc(const FoundFile& file, const ReadRequest& request);

/// UserError with file and line: no tab, an empty id or sentence, an id twice; no line at all.
BuccSide read_bucc_side(const std::filesystem::path& path);

/// UserError with file and line: not two ids, an id that its side does not have; no pair at all.
IdPairs read_bucc_gold(const std::filesystem::path& path, const BuccSide& source, const BuccSide& target);

/// "source id<TAB>target id" a line, as XTREME's predictions and label files have it. UserError with file and line.
IdPairs read_id_pairs(const std::filesystem::path& path);

/// Unique sentences of a side.
BuccSentences unique_sentences(const BuccSide& side);

}  // namespace koine
