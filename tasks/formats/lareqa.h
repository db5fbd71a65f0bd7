#pragma once

// LAReQA's XQuAD-R (Roy et al. 2020): which sentence, of all languages' contexts, answers a question.
//
//   xquad-r/<lg>.json  SQuAD 1.1's JSON with one answer a question, and in every paragraph "sentence_breaks", [[start, end],
//                      ...] in Unicode code points of the context, the end excluded
//
// The candidates are the sentences of all paragraphs that a question is asked of, called "<lg>_<paragraph, from 1>_<sentence,
// from 0>". A question's targets are, in every language, the sentence its answer begins in (by its id, which the languages
// share), and any of the same paragraph with the same text. A question whose answer begins in no sentence is left out
// (XTREME-R: google-research/xtreme, third_party/utils_lareqa.py).

#include "tasks/formats/candidate_pool.h"
#include "tasks/formats/request.h"

namespace koine {

/// What the encoder reads of a sentence in its context: one behind the other, nothing between them, without line breaks
/// (third_party/evaluate_retrieval.py, and processors/lareqa.py for training).
std::string sentence_in_context(std::string_view sentence, std::string_view context);

/// One language's file, its name the language. UserErrors name file and question, or the place in the structure.
CandidatePool read_lareqa(const FoundFile& file, const ReadRequest& request);

}  // namespace koine
