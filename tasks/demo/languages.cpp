#include "tasks/demo/languages.h"

namespace koine::demo {

namespace {

/// Georgian letters by their usual Latin transcription: a script without upper case that shares no letter with Latin.
constexpr std::u32string_view kGeorgian = U"აბცდეფგჰიჯკლმნოპქრსტუვწხყზ";

}  // namespace

const std::vector<Language>& languages() {
  static const std::vector<Language> the_languages = {
      {.code = "en",
       .name = "Source",
       .description = "plays English: analytic, subject-verb-object, articles, prepositions",
       .phonology = {},
       .grammar = {.order = "SVOCPT", .article = Article::kWord}},
      {.code = "qag",
       .name = "Case",
       .description = "agglutinating: cases, tense and negation are endings with vowel harmony; time first",
       .phonology = {.changes = {{"v", "w"}, {"p", "b", Where::kBetweenVowels}}, .innovation = 0.9},
       .grammar = {.order = "TSVOCP",
                   .adposition = Adposition::kEnding,
                   .object_ending = true,
                   .tense = Tense::kEnding,
                   .negation = Negation::kEnding,
                   .harmony = true}},
      {.code = "qfv",
       .name = "Final",
       .description = "verb-final, postpositions, particles for topic and object, question words stay in place",
       .phonology = {.changes = {{"f", "h", Where::kInitial}, {"t", "d", Where::kBetweenVowels}}, .innovation = 0.9},
       .grammar = {.order = "STPCOV",
                   .adposition = Adposition::kAfter,
                   .topic = true,
                   .object_particle = true,
                   .tense = Tense::kAuxiliaryAfter,
                   .negation = Negation::kAfterVerb,
                   .question_first = false,
                   .question_particle = true}},
      {.code = "qsc",
       .name = "Script",
       .description = "another script (Georgian letters), adjectives after nouns",
       .phonology = {.changes = {{"b", "v", Where::kBetweenVowels}}, .innovation = 0.9, .script = kGeorgian},
       .grammar = {.order = "SVOCPT", .adjective_after = true, .article = Article::kWord}},
      {.code = "qns",
       .name = "Spaceless",
       .description = "no spaces between words, isolating: classifiers, linking particles, no articles",
       .phonology = {.changes = {{"d", "t", Where::kInitial}}, .innovation = 0.9},
       .grammar = {.order = "STVOCP",
                   .classifier = true,
                   .linker = true,
                   .question_first = false,
                   .question_particle = true,
                   .spaces = false}},
      {.code = "qlr",
       .name = "Scarce",
       .description = "low-resource sister of qag: cases, adjectives after nouns; very little text",
       .phonology = {.changes = {{"p", "b", Where::kBetweenVowels}}, .innovation = 0.9, .innovation_of = "qag"},
       .grammar = {.order = "SVOCPT",
                   .adjective_after = true,
                   .adposition = Adposition::kEnding,
                   .object_ending = true,
                   .tense = Tense::kEnding},
       .low_resource = true},
  };
  return the_languages;
}

}  // namespace koine::demo
