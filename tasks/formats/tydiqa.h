#pragma once

// TyDiQA-GoldP: SQuAD 1.1's JSON (squad.h), a file of several languages.
//
//   kOfficial  tydiqa-goldp-v1.1-{train,dev}.json, tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-<language name>.json: a question's
//              id begins with the name of its language, "finnish-..."
//   kXtreme    tydiqa.goldp.<lg>.{train,dev}.json: one language, ids of any kind (dev: blanked)

#include "tasks/formats/squad.h"

namespace koine {

/// The questions of the request's language; none is fine where a file holds others only. UserErrors as read_squad's, and for
/// an id that does not begin with a language.
SquadFile read_tydiqa(const FoundFile& file, const ReadRequest& request);

/// The languages of its questions; empty for kXtreme, and where no id begins with a language.
std::set<std::string> languages_of_tydiqa(const FoundFile& file, const ReadRequest& request);

}  // namespace koine
