#pragma once

// SQuAD 1.1 as retrieval: a question, and the sentence of the context that its first answer begins in, which stands before
// its context (lareqa.h, sentence_in_context). XTREME-R's training data for LAReQA (google-research/xtreme,
// third_party/processors/lareqa.py). Sentences are those of sentence_breaks.h. A question whose answer begins between two of
// them is left out.

#include "tasks/formats/request.h"
#include "tasks/formats/text_pairs.h"

namespace koine {

/// UserErrors as read_squad's (squad.h), of dev files, too: every answer must be where answer_start says.
TextPairs read_squad_sentences(const FoundFile& file, const ReadRequest& request);

}  // namespace koine
