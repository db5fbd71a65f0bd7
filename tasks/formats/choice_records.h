#pragma once

// Multiple choice as records (records.h): each holds the parts of its prompt, a text for each choice, and which is right.

#include <set>
#include <string>

#include "tasks/formats/choices.h"
#include "tasks/formats/request.h"

namespace koine {

/// The request's choice fields name the parts. UserError with file and line, as for_each_record and for a label that is
/// none of the answers; rows without a label are unlabelled, all or none.
ChoiceFile read_choice_records(const FoundFile& file, const ReadRequest& request);
/// Languages in the file's language field; empty where it has none.
std::set<std::string> languages_of_choice_records(const FoundFile& file, const ReadRequest& request);

}  // namespace koine
