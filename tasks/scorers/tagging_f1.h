#pragma once

// Micro-averaged F1 over chunks as seqeval 0.0.12 computes it, which is XTREME's score of POS and NER.
//
// A tag's prefix is its first character, its type what follows its last "-" (the whole tag where there is none). All
// sentences are one long list with "O" between and behind them. A chunk ends where the prefix before was E or S, or was B or
// I and is now B, S or O, or where the tag before is neither O nor "." and the type changes; it begins at prefix B or S, at
// E or I after E, S or O, or where the tag is neither O nor "." and the type changes. An entity is (type, first, last);
// precision, recall and F1 are over the sets of entities.
//
// On parts of speech this means: a run of equal tags is one entity, except tags that begin with B or S (SCONJ, SYM), each of
// which is its own. Later versions of seqeval take the type from the second character on, and give other figures.

#include <cstddef>
#include <string>
#include <vector>

namespace koine {

struct TaggingScore {
  double precision = 0;  ///< in percent, as all of them
  double recall = 0;
  double f1 = 0;
  double accuracy = 0;  ///< of single tags; not XTREME's figure
};

using TagSequences = std::vector<std::vector<std::string>>;

/// Both lists of the same sentences with the same lengths.
TaggingScore tagging_score(const TagSequences& gold, const TagSequences& predictions);

/// Entities of one sentence: F1 of a list of sentences is 2 right / (predicted + gold) of their sums, for no entity reaches over a
/// sentence's end.
struct ChunkCounts {
  std::size_t right = 0;
  std::size_t predicted = 0;
  std::size_t gold = 0;
};
ChunkCounts chunk_counts(const std::vector<std::string>& gold, const std::vector<std::string>& predictions);

}  // namespace koine
