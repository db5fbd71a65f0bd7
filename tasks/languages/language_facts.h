#pragma once

// What is known of languages besides their figures: one table, for filters (`languages = "uralic"`) and for what reports group by.
//
//     code             ISO 639-1, as XTREME and XTREME-R name languages
//     flores           ISO 639-3 as FLORES-200 and SIB-200 name them ("fin_Latn": the part before the script)
//     name             English name
//     family, branch   family and genus of the World Atlas of Language Structures (WALS Online, wals.info), in lower case with hyphens;
//                      but what WALS calls Altaic stands under its genera (turkic, mongolic), creoles and constructed languages
//                      under those words; Latin and Sanskrit, which WALS has not, as commonly classified
//     script           of the language's text in the benchmarks (UD, WikiANN, XQuAD), by its name in lower case; Uzbek, Kurdish and
//                      Azerbaijani in Latin letters, Serbian in Cyrillic ones
//     cc100_gib        GiB of text in CC-100, which XLM-R was trained on: table 6 of Conneau et al. (arXiv 1911.02116), sv and uk
//                      with the authors' later corrections as github.com/mayhewsw/multilingual-data-stats gives them. Romanized text
//                      is left out; Chinese is simplified and traditional, Burmese Unicode and Zawgyi. 0: none (ht, qu, wo, yo)
//     word_order       dominant order of subject, object and verb: WALS feature 81A (Dryer). "none": no dominant order; "": WALS
//                      says nothing of the language
//
// All languages of XTREME and XTREME-R, and those of CC-100 besides.

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace koine {

struct LanguageFacts {
  std::string_view code;
  std::string_view flores;
  std::string_view name;
  std::string_view family;
  std::string_view branch;
  std::string_view script;
  double cc100_gib = 0;
  std::string_view word_order;
};

std::span<const LanguageFacts> all_language_facts();

/// Of a code as data sets write it: "fi", "fin", "fin_Latn", Tatoeba's "cmn". Null where the table has none such.
const LanguageFacts* language_facts(std::string_view code);

/// Families, branches and scripts, each once, sorted.
std::vector<std::string> language_groups();
/// Whether a name is one of them, in any case, spaces for hyphens.
bool is_language_group(const std::string& name);

/// What a list of languages stands for: a language of `there` for itself, the name of a family, a branch or a script (as
/// is_language_group() has it) for those of `there` that belong to it, in their order. Other entries stay, for the
/// caller to refuse. A group adds none that stands before it. UserError, beginning with `where`, for a group of which none is there.
std::vector<std::string> expand_languages(const std::vector<std::string>& wanted, const std::vector<std::string>& there,
                                          const std::string& where);

/// "; did you mean ...?" for an entry that is neither a language nor a group: the group or the language whose name is near.
/// Empty where none is, and for codes of two letters.
std::string language_hint(const std::string& name);

}  // namespace koine
