#pragma once

// COPA (SuperGLUE's {train,val,test}.jsonl) and XCOPA ({val,test}.<lg>.jsonl): one object a line with premise, choice1,
// choice2, question ("cause" or "effect") and label (0 or 1; absent in SuperGLUE's test).
//
// Prompt: premise, a blank, "What was the cause?" or "What was the effect?"; choices: the two (XTREME-R, for all languages).

#include "tasks/formats/choices.h"
#include "tasks/formats/request.h"

namespace koine {

/// UserError with file, line and member.
ChoiceFile read_copa(const FoundFile& file, const ReadRequest& request);

}  // namespace koine
