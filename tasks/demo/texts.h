#pragma once

// What the demo's corpora consist of: passages for masked-language training, reading passages with questions.

#include <string>
#include <vector>

#include "tasks/demo/grammar.h"
#include "tasks/demo/world.h"

namespace koine::demo {

/// A line of text for masked-language training. In a language other than the source it may be a word list, as dictionaries
/// have them (each word beside the source's word for it), or a sentence beside its translation, for translation language
/// modelling (Lample and Conneau, arXiv 1901.07291); else it is a passage. A model as small as the demo's does not align
/// languages in minutes without such.
std::string random_line(const Speaker& speaker, const Speaker& source, Split split, Draws& draws);

/// A passage: an event told in full, then retold in part, denied, or asked for and answered, at times in the source language.
/// What is said twice can be predicted from what was said before, which is what a small model learns the meaning of words
/// from. Now and then a word is the source's, as people who know two languages mix them.
std::string random_passage(const Speaker& speaker, const Speaker& source, Split split, Draws& draws);

struct Question {
  Event event;  ///< what the question mentions, and what it asks for
  Asked asked = Asked::kNothing;
  int told = 0;  ///< which event of the passage answers it
};

/// Three events of three people, and two questions about two of them.
struct ReadingPassage {
  std::vector<Event> events;
  std::vector<Question> questions;
};

ReadingPassage random_reading_passage(Split split, Draws& draws);

/// A reading passage in a language, with its answers.
struct ReadingText {
  std::string context;
  struct Item {
    std::string question;
    std::string answer;
    std::int64_t answer_start = 0;  ///< in code points, as SQuAD counts
  };
  std::vector<Item> items;
};

ReadingText say(const Speaker& speaker, const ReadingPassage& passage);

std::int64_t count_code_points(std::string_view utf8);

}  // namespace koine::demo
