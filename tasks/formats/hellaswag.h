#pragma once

// HellaSwag (Zellers et al. 2019): hellaswag_{train,val,test}.jsonl, one object a line with ctx_a, ctx_b, endings (4) and
// label (0 to 3; absent in test), other members ignored.
//
// Prompt: ctx_a; choice: ctx_b, a blank, the ending (jiant).

#include "tasks/formats/choices.h"
#include "tasks/formats/request.h"

namespace koine {

/// UserError with file, line and member for what is missing or of another kind.
ChoiceFile read_hellaswag(const FoundFile& file, const ReadRequest& request);

}  // namespace koine
