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
       .phonology = {.changes = {{"h", "", Where::kBetweenVowels}}},
       .grammar = {.order = "SVOCPT",
                   .article = Article::kWord,
                   .plural = true,
                   .plural_after_number = true}},
      {.code = "qag",
       .name = "Case",
       .description = "agglutinating: cases, tense and negation are endings with vowel harmony; subject-verb-place-object",
       .phonology = {.changes = {{"v", "w"}, {"p", "b", Where::kBetweenVowels}, {"o", "u", Where::kFinal}}, .innovation = 0.2},
       .grammar = {.order = "TSVPOC",
                   .adposition = Adposition::kEnding,
                   .plural = true,
                   .object_ending = true,
                   .tense = Tense::kEnding,
                   .negation = Negation::kEnding,
                   .harmony = true}},
      {.code = "qfv",
       .name = "Final",
       .description = "verb-final, postpositions, particles for topic and object, question words stay in place",
       .phonology = {.changes = {{"f", "h"}, {"t", "d", Where::kBetweenVowels}, {"e", "i", Where::kFinal}}, .innovation = 0.2},
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
       .description = "another script (Georgian letters), adjectives after nouns, articles as endings, tense as a prefix",
       .phonology = {.changes = {{"b", "v", Where::kBetweenVowels}, {"g", "k", Where::kInitial}},
                     .innovation = 0.1,
                     .script = kGeorgian},
       .grammar = {.order = "SVOPCT",
                   .adjective_after = true,
                   .article = Article::kEnding,
                   .plural = true,
                   .plural_after_number = true,
                   .tense = Tense::kPrefix}},
      {.code = "qns",
       .name = "Spaceless",
       .description = "no spaces between words, isolating: classifiers, linking particles, no articles, no plural",
       .phonology = {.changes = {{"d", "t", Where::kInitial}, {"u", "o", Where::kFinal}}, .innovation = 0.15},
       .grammar = {.order = "STPCVO",
                   .classifier = true,
                   .linker = true,
                   .copula = true,
                   .question_first = false,
                   .question_particle = true,
                   .spaces = false}},
      {.code = "qlr",
       .name = "Scarce",
       .description = "low-resource sister of qag: cases, adjectives after nouns, time last; very little text",
       .phonology = {.changes = {{"p", "b", Where::kBetweenVowels}, {"k", "g", Where::kBetweenVowels}},
                     .innovation = 0.2,
                     .innovation_of = "qag"},
       .grammar = {.order = "SVOCPT",
                   .adjective_after = true,
                   .adposition = Adposition::kEnding,
                   .plural = true,
                   .object_ending = true,
                   .tense = Tense::kEnding},
       .low_resource = true},
  };
  return the_languages;
}

}  // namespace koine::demo
