#pragma once

// A model's answer to one example as a JSON object on one line. Probabilities are softmax of the logits, to six decimals.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/families/span_answers.h"
#include "tasks/formats/tagged.h"

namespace koine {

/// {"label": "neutral", "probabilities": {"entailment": 0.1, ...}}, in the order of the labels. `logits` [labels].
std::string label_record(const std::vector<std::string>& labels, const float* logits);
/// Of a label that a model wrote: {"label": "neutral", "text": "1"}; null for a text that is none ("").
std::string written_label_record(const std::string& label, const std::string& text);
/// The same of a choice, {"choice": 1, "text": "..."}; null below 0.
std::string written_choice_record(std::int32_t choice, const std::string& text);
/// {"words": [...], "tags": [...], "text": "..."}; "readable" false where the text could not be read.
std::string written_tag_record(const TaggedSentence& words, const std::vector<std::string>& tags, const std::string& text,
                               bool readable);
/// {"id", "answer", "text"}: the answer as it stands in its context, and as it was written.
std::string written_span_record(const std::string& id, const std::string& answer, const std::string& text);
/// {"choice": 1, "probabilities": [...]}, choices counted from 0.
std::string choice_record(const std::vector<float>& scores);
/// {"words": [...], "tags": [...], "probabilities": [...]} of each word's tag. `logits`: of each word [labels].
std::string tag_record(const TaggedSentence& words, const std::vector<std::string>& labels,
                       const std::vector<const float*>& logits);
/// {"id", "answer", "start", "end", "probability"}: Unicode characters of the context from start to before end, which are left
/// out where its words do not hold the text so; the probability among `candidates`, best first (as run_squad.py's
/// nbest_predictions.json). `refused`: the answer is that there is none, an empty text.
std::string span_record(const std::string& id, const std::vector<AnswerCandidate>& candidates, std::string_view context,
                        const TokenizedContext& tokens, bool refused);
/// {"vector": [...]}
std::string vector_record(const float* vector, std::int64_t width);

}  // namespace koine
