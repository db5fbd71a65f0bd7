#pragma once

// CommonsenseQA (Talmor et al. 2019): {train,dev}_rand_split.jsonl and test_rand_split_no_answers.jsonl, one object a line:
//
//   {"answerKey": "A", "id", "question": {"stem", "choices": [{"label": "A", "text"}, ... "E"], "question_concept"}}
//
// answerKey is absent in test. Prompt: the stem; choices: the texts by label (jiant).

#include "tasks/formats/choices.h"
#include "tasks/formats/request.h"

namespace koine {

/// UserError with file, line and member; also where the labels are not A to E, each once.
ChoiceFile read_commonsense_qa(const FoundFile& file, const ReadRequest& request);

}  // namespace koine
