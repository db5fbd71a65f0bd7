#pragma once

// Social IQa (Sap et al. 2019): one object a line with context, question, answerA, answerB, answerC. Which is right:
//
//   socialIQa_v1.4_{trn,dev,tst}.jsonl   the member correct, "A" to "C" (XTREME-R's and jiant's files)
//   {train,dev}.jsonl                    the same line of {train,dev}-labels.lst beside it, 1 to 3
//
// Prompt: context, a blank, question; choices: the answers (jiant, XTREME-R).

#include "tasks/formats/choices.h"
#include "tasks/formats/request.h"

namespace koine {

/// UserError with file, line and member; also where the labels' file has another number of lines.
ChoiceFile read_social_iqa(const FoundFile& file, const ReadRequest& request);

}  // namespace koine
