#pragma once

// SQuAD 1.1's JSON, which XQuAD, MLQA and TyDiQA-GoldP share:
//
//   {"data": [{"paragraphs": [{"context", "qas": [{"id", "question", "answers": [{"text", "answer_start"}]}]}]}]}
//
// answer_start counts Unicode code points of the context; here it becomes a byte offset, and the context must hold the
// answer's text there. Benchmarks that keep their gold hidden blank every answer (text "", answer_start 0): such a file is
// read as unlabelled.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/formats/request.h"

namespace koine {

struct SquadAnswer {
  std::string text;
  std::int32_t begin = 0;  ///< byte offset into the context
};

struct SquadQuestion {
  std::string id;
  std::string question;
  std::size_t paragraph = 0;         ///< index into SquadFile::contexts
  std::vector<SquadAnswer> answers;  ///< empty where the file is unlabelled
};

struct SquadFile {
  std::filesystem::path path;
  std::vector<std::string> contexts;
  std::vector<SquadQuestion> questions;
  bool labelled = true;

  void append(SquadFile&& more);
};

/// UserError with file and question id (where there is one yet, else the place in the structure): missing keys, an answer
/// that is not where it should be, a question without an answer (SQuAD 2.0), an id twice, no question at all.
SquadFile read_squad(const FoundFile& file, const ReadRequest& request);
/// The same from memory; `path` is what messages call it.
SquadFile parse_squad(std::string_view text, const std::filesystem::path& path);

/// Question id and gold texts, for scoring: as read_squad, but an answer need not be found in its context.
struct SquadGold {
  std::string id;
  std::vector<std::string> texts;
};
std::vector<SquadGold> read_squad_gold(const std::filesystem::path& path);

}  // namespace koine
