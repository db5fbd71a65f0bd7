#pragma once

// CoNLL-U (Universal Dependencies), read straight from the treebanks and brought into the shape XTREME gives them:
//
//   * the words of a multiword range "3-4" are replaced by the range's surface form. Its tag is that of the range's head:
//   the one word with
//     the fewest ancestors in the dependency graph (basic and enhanced edges), and among several the one whose tag stands
//     first in VERB NOUN PROPN PRON ADJ NUM ADV INTJ AUX ADP DET PART CCONJ SCONJ X PUNCT (es, fr and it have their own
//     order), then the first in the sentence. A tag outside the order goes behind it.
//   * empty nodes "8.1" are dropped;
//   * U+200C and blanks inside a form are removed;
//   * a sentence is kept when none of its forms is "_", or fewer than its length less one are. Treebanks whose text may not
//   be distributed have nothing but such sentences (UD_English-ESL); they are counted.
//
// UPOS "_" counts as X.

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/formats/tagged.h"

namespace koine {

/// UserError "file:line: ..." for a row without 10 columns, ids out of order, a head or range that is not in the sentence,
/// an unknown tag; and for a file without a single word.
TaggedFile read_conllu(const std::filesystem::path& path, const std::string& language);

/// The same from memory; `name` is what messages call it. No sentence at all is fine here.
std::vector<TaggedSentence> parse_conllu(std::string_view text, const std::string& language, const std::string& name);

}  // namespace koine
