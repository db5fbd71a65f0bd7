#pragma once

// Names in a sentence as one text, "PER: x $$ LOC: y", and back to tags.

#include <string>
#include <string_view>
#include <vector>

#include "tasks/scorers/span_f1.h"

namespace koine {

/// Whether tags are B-, I- and O: names, whose text form this is.
bool are_name_tags(const std::vector<std::string>& labels);

/// The names of a sentence, in their order; where one is begun by I-, as old files have it, it is begun there too.
std::vector<NamedSpan> names_of_tags(const std::vector<std::string>& words, const std::vector<std::string>& tags);

/// "PER: x $$ LOC: y"
std::string names_text(const std::vector<NamedSpan>& names);

/// What a text says, and whether all of it was read: parts between " $$ " of the form "TYPE: name" with a type of `types`.
struct ReadNames {
  std::vector<NamedSpan> names;
  bool readable = true;
};
ReadNames read_names(std::string_view text, const std::vector<std::string>& types);

/// The tags of words, of which each name takes the first ones, not yet taken, that it consists of but for white space. A name that
/// the words do not hold has none.
std::vector<std::string> tags_of_names(const std::vector<std::string>& words, const std::vector<NamedSpan>& names);

/// "LOC", "PER" of B-LOC, I-LOC, B-PER ..., each once.
std::vector<std::string> name_types(const std::vector<std::string>& labels);

}  // namespace koine
