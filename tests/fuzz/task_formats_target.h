#pragma once

// As targets.h, for the parsers of tasks' files that take text from memory.

#include "kernels/common/check.h"
#include "tasks/formats/ccg.h"
#include "tasks/formats/cosmos_qa.h"
#include "tasks/formats/squad.h"
#include "tasks/formats/wikiann.h"

namespace koine::fuzz {

/// Whether `parse` accepts its input.
template <class Parse>
bool accepted(const Parse& parse) {
  try {
    parse();
    return true;
  } catch (const UserError&) {
    return false;
  }
}

inline bool cosmos_qa(std::string_view text) {
  return accepted([&] {
    for (const ChoiceExample& example : parse_cosmos_qa(text, "fuzz").examples)
      check(example.choices.size() == 4 && example.label >= 0 && example.label < 4, "an example without its right choice");
  });
}

inline bool wikiann(std::string_view text) {
  static const std::vector<std::string> tags = {"B-LOC", "I-LOC", "O"};
  return accepted([&] {
    for (const TaggedSentence& sentence : parse_wikiann(text, "fuzz", tags).sentences) {
      check(!sentence.empty(), "an empty sentence");
      for (const TaggedWord& word : sentence) check(word.tag >= 0 && word.tag < 3, "a tag out of range");
    }
  });
}

inline bool ccg_derivation(std::string_view text) {
  return accepted([&] {
    for (const CcgWord& word : parse_ccg_derivation(text, "fuzz"))
      check(!word.form.empty() && !word.category.empty(), "a word without its form or category");
  });
}

inline bool squad2(std::string_view text) {
  return accepted([&] {
    const SquadFile file = parse_squad(text, "fuzz", {.places = true, .unanswerable = true});
    for (const SquadQuestion& question : file.questions) {
      for (const SquadAnswer& answer : question.answers) {
        check(file.contexts.at(question.paragraph)
                      .compare(static_cast<std::size_t>(answer.begin), answer.text.size(), answer.text) == 0,
              "an answer is not where it is said to be");
      }
    }
  });
}

}  // namespace koine::fuzz
