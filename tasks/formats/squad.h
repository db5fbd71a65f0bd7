#pragma once

// SQuAD's JSON, versions 1.1 and 2.0; XQuAD, MLQA and TyDiQA-GoldP share 1.1's:
//
//   {"data": [{"paragraphs": [{"context", "qas": [{"id", "question", "answers": [{"text", "answer_start"}]}]}]}]}
//
// answer_start counts Unicode code points of the context; here it becomes a byte offset. For training the context must hold
// the answer's text there; a file that is only evaluated is scored by the answers' texts, and a wrong place is no fault.
// Questions of 2.0 may have no answer: "is_impossible" is true, "answers" empty. Benchmarks that keep their gold hidden
// blank every answer (text "", answer_start 0): such a file is read as unlabelled.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/formats/request.h"

namespace koine {

struct SquadAnswer {
  std::string text;
  std::int32_t begin = 0;  ///< byte offset into the context; -1: not where answer_start says
};

struct SquadQuestion {
  std::string id;
  std::string question;
  std::size_t paragraph = 0;         ///< index into SquadFile::contexts
  std::vector<SquadAnswer> answers;  ///< empty where the file is unlabelled, or the question has no answer
};

struct SquadFile {
  std::filesystem::path path;
  std::vector<std::string> contexts;
  std::vector<SquadQuestion> questions;
  bool labelled = true;

  void append(SquadFile&& more);
};

struct SquadRules {
  bool places = true;         ///< every answer must be where answer_start says
  bool unanswerable = false;  ///< a question may have no answer (2.0)
  bool answers = true;        ///< false: they are not looked at
};

/// UserError with file and question id (where there is one yet, else the place in the structure): missing keys, in training
/// data an answer that is not where it should be, a question without an answer, an id twice, no question at all.
SquadFile read_squad(const FoundFile& file, const ReadRequest& request);
/// The same of SQuAD 2.0, where a question need not have an answer.
SquadFile read_squad2(const FoundFile& file, const ReadRequest& request);
/// The same from memory; `path` is what messages call it.
SquadFile parse_squad(std::string_view text, const std::filesystem::path& path, const SquadRules& rules);

/// Question id and gold texts, for scoring: as read_squad, but an answer need not be found in its context.
struct SquadGold {
  std::string id;
  std::vector<std::string> texts;  ///< empty: the question has no answer
};
std::vector<SquadGold> read_squad_gold(const std::filesystem::path& path, bool unanswerable);

}  // namespace koine
