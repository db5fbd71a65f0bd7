#pragma once

// Mewsli-X (Ruder et al. 2021): which of a million entities, described in 50 languages, a mention in a Wikinews article is.
// The files that its own script makes (google-research/google-research, dense_representations_for_entity_retrieval/mel), or
// XTREME-R's download, which puts each language's mentions into a file of its own and blanks those of test:
//
//   wikipedia_pairs-{train,dev}.jsonl   English: {"contextual_mention": {"context", "mention"}, "entity"}
//   wikinews_mentions-{dev,test}.jsonl, wikinews_mentions/{dev,test}-<lg>.jsonl    {"context", "mentions": [...]}
//   candidate_set_entities.jsonl        beside the mentions or one folder up: an entity a line
//   context  {"language", "text", "sentence_spans": [{"start", "end"}, ...], ...}
//   mention  {"example_id", "mention_span": {"start", "end", "text"}, "entity_id": "Q46930", ...}
//   entity   {"entity_id", "description", "sentence_spans", ...}
//
// Places are in Unicode code points, ends excluded. As XTREME-R's baseline has it (google-research/xtreme,
// third_party/utils_mewslix.py), the encoder reads of a mention "Smith: The verdict came back for { Smith }, who stepped
// down.", the sentence around it with other braces made parentheses, and of an entity the sentences of its description.

#include <set>
#include <string>

#include "tasks/formats/candidate_pool.h"
#include "tasks/formats/request.h"
#include "tasks/formats/text_pairs.h"

namespace koine {

/// The pairs of a wikipedia_pairs file. UserErrors name file, line and field: a place outside its text or not where its text
/// says, a mention in no sentence, something missing or of another kind.
TextPairs read_mewslix_pairs(const FoundFile& file, const ReadRequest& request);

/// The mentions in request.language, and all candidates. Unlabelled where every entity_id is "". UserErrors as above; also
/// for an id twice, and for an entity that is no candidate.
CandidatePool read_mewslix(const FoundFile& file, const ReadRequest& request);
std::set<std::string> languages_of_mewslix(const FoundFile& file, const ReadRequest& request);

}  // namespace koine
