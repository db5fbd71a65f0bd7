#pragma once

// WikiANN / PAN-X (Pan et al. 2017; Rahimi et al. 2019), named entities of PER, ORG and LOC as B-, I- and O.
//
//   kOfficial  <lg>-<split> (out of <lg>.tar.gz): "<lg>:form<TAB>TAG" a line, an empty line between sentences
//   kXtreme    panx/<split>-<lg>.tsv: the same without "<lg>:" (test: the form alone)
//
// The form is what follows the first ":", blanks at its ends dropped (XTREME's panx_preprocess).

#include "tasks/formats/tagged.h"

namespace koine {

/// UserError with file and line: not two columns, no ":", an unknown tag.
TaggedFile read_wikiann(const FoundFile& file, const ReadRequest& request);

/// kOfficial from memory; `name` is what messages call it.
TaggedFile parse_wikiann(std::string_view text, const std::string& name, const std::vector<std::string>& tags);

}  // namespace koine
