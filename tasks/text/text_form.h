#pragma once

// Tasks as texts: how an example is written for a model that answers with a text, and what its labels are called. T5's and
// mT5's own forms where they have one:
//
//   MNLI, XNLI, SNLI, ANLI   "xnli: premise: P hypothesis: H" -> "0", "1" or "2"; one form for all of them, for XNLI's head is
//                            trained on MNLI            google-research/multilingual-t5, preprocessors.py, process_mnli
//   PAWS-X                   "paws sentence1: A sentence2: B" -> "different_meaning", "paraphrase"   its tasks.py, "paws"
//   QQP, other labelled      "qqp question1: A question2: B" -> "not_duplicate", "duplicate"; the task's name, each text behind the
//   texts                    name of its field, labels as they are called      google-research/text-to-text-transfer-transformer,
//                            t5/data/preprocessors.py, glue
//   question answering       "question: Q context: C" -> the answer, blanks around punctuation (pad_punctuation)
//                            multilingual-t5, preprocessors.py, xquad. SQuAD 2.0's questions without an answer: "unanswerable", ours
//   names (tags B-, I-, O)   "tag: WORDS" -> "PER: x $$ LOC: y"; of a sentence without names the end alone    mT5's NER
//                            (arXiv 2010.11934); its score is multilingual-t5's evaluation/metrics.py, span_f1
//   choices                  "TASK: PROMPT (a) FIRST (b) SECOND" -> the right one's text       UnifiedQA (arXiv 2005.00700)
//   other tags               "TASK: WORDS" -> a tag for each word, a blank between them; ours: there is no public recipe

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/common/task_row.h"

namespace koine {

struct TextForm {
  std::string name;                ///< what inputs begin with: that of the task a head is trained on
  std::string input;               ///< of labelled texts; "{first}" and "{second}" stand for the texts
  std::vector<std::string> words;  ///< what the row's labels are called, in their order

  std::string labelled_text(std::string_view first, std::string_view second) const;
  std::string choice(std::string_view prompt, const std::vector<std::string>& choices) const;
  std::string words_to_tag(std::string_view sentence) const;
};
TextForm text_form_of(const TaskRow& row);

/// Tokens of an answer at most, its end included, where nothing else is asked for: as mT5 was tuned, and of tags one for each
/// piece of a sentence, ours. Labels need no limit: what is longer than all of them is none.
inline constexpr std::int64_t kAnswerLength = 512;
inline constexpr std::int64_t kNamesLength = 128;
inline constexpr std::int64_t kChoiceLength = 128;
inline constexpr std::int64_t kTagsLength = 512;
/// Tokens of a question with its context, as mT5 was tuned. In training what is longer loses its end; else it is read in windows
/// (text_answers.h).
inline constexpr std::int64_t kContextLength = 1024;

inline constexpr const char* kUnanswerable = "unanswerable";
/// What stands in prediction files for an answer that could not be read. It scores as wrong.
inline constexpr const char* kUnreadable = "unreadable";

std::string question_text(std::string_view question, std::string_view context);
/// Its two parts: what stands before the context, and the context.
std::string question_beginning(std::string_view question);
std::string padded_context(std::string_view context);
/// Blanks around all but letters, marks, numbers, "_" and white space; white space becomes one blank.
std::string pad_punctuation(std::string_view text);
/// The first stretch of a context that is an answer but for white space: what a padded answer was before. `answer` itself where
/// there is none.
std::string unpadded(std::string_view answer, std::string_view context);
/// Whether a text holds another, white space aside.
bool holds(std::string_view text, std::string_view part);

/// Without white space at both ends.
std::string trimmed(std::string_view text);

}  // namespace koine
