#pragma once

// Inputs to be answered, in forms that are a family's and not a data set's: JSON lines, or tables whose first line names their
// columns. Labels may be there and are not looked at.
//
//   family           JSON lines                              tables
//   classification   {"text"} or {"first", "second"}         the same names
//   choice           {"prompt", "choices": [...]}            prompt, choice0, choice1 ...
//   span             {"question", "context"[, "id"]}         the same names
//   tagging          {"words": [...]}                        (without header) a word a line, an empty line between sentences
//   sentence vectors {"text"}                                (without header) a sentence a line
//
// Of classification and choice the names that the task's own files have will do as well. An id that is missing is the number of
// the row. UserErrors name file and line.

#include "tasks/formats/choices.h"
#include "tasks/formats/labelled_texts.h"
#include "tasks/formats/plain_text.h"
#include "tasks/formats/squad.h"
#include "tasks/formats/tagged.h"

namespace koine {

LabelledTexts read_text_inputs(const FoundFile& file, const ReadRequest& request);
/// `choices`: of each row of a table.
ChoiceFile read_choice_inputs(const FoundFile& file, std::int32_t choices);
SquadFile read_question_inputs(const FoundFile& file);
TaggedFile read_word_inputs(const FoundFile& file);
TextFile read_sentence_inputs(const FoundFile& file);

}  // namespace koine
