#pragma once

// As targets.h, for the parser of CoNLL-U, which is a task's.

#include "kernels/common/check.h"
#include "tasks/formats/conllu.h"

namespace koine::fuzz {

/// Whether `text` was accepted; every tag of what was accepted must be one of the known ones.
inline bool conllu(std::string_view text) {
  try {
    for (const TaggedSentence& sentence : parse_conllu(text, "en", "fuzz")) {
      check(!sentence.empty(), "an empty sentence");
      for (const TaggedWord& word : sentence) {
        check(word.tag >= 0 && static_cast<std::size_t>(word.tag) < universal_parts_of_speech().size(),
              "a tag out of range");
      }
    }
    return true;
  } catch (const UserError&) {
    return false;
  }
}

}  // namespace koine::fuzz
