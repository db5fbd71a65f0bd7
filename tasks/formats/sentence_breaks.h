#pragma once

// Where the sentences of an English paragraph of Wikipedia are: the rules that XTREME-R makes retrieval pairs of SQuAD with
// (google-research/xtreme at 838c13b6, third_party/processors/sb_sed.py, Apache License 2.0), the same regular expressions
// in the same order. They put a line break in place of the white space between two sentences, take some back ("Dr.",
// initials, "et al. (2005)") and put in others.

#include <string_view>
#include <utility>
#include <vector>

namespace koine {

/// [begin, end) in bytes of each sentence, without the white space around it. `text` is valid UTF-8.
std::vector<std::pair<std::size_t, std::size_t>> sentence_breaks(std::string_view text);

}  // namespace koine
