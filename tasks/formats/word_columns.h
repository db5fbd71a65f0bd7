#pragma once

// Words with a tag each in columns, an empty line between sentences, as CoNLL's shared tasks lay them out:
//
//   kBlanks   columns between blanks or tabs (CoNLL-2003, MasakhaNER)
//   kTsv      columns between tabs; a word may have blanks in it
//   kXtreme   read_xtreme_tags (tagged.h)
//
// Lines that begin with -DOCSTART- stand between documents (CoNLL-2003) and are left out.

#include "tasks/formats/tagged.h"

namespace koine {

/// The request's tags say which columns. UserError with file and line for a row without them or with an unknown tag, and for
/// a file without sentences.
TaggedFile read_word_columns(const FoundFile& file, const ReadRequest& request);

}  // namespace koine
