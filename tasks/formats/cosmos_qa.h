#pragma once

// Cosmos QA (Huang et al. 2019): train.csv and valid.csv with the header id,context,question,answer0,answer1,answer2,
// answer3,label (csv.h), and test.jsonl with the same members but label. kOfficial: csv; kJsonLines: jsonl.
//
// Prompt: context, a blank, question; choices: the answers (jiant).

#include "tasks/formats/choices.h"
#include "tasks/formats/request.h"

namespace koine {

/// UserError with file, line and field.
ChoiceFile read_cosmos_qa(const FoundFile& file, const ReadRequest& request);
/// csv from memory; `path` is what messages call it.
ChoiceFile parse_cosmos_qa(std::string_view text, const std::filesystem::path& path);

}  // namespace koine
