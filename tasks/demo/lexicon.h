#pragma once

// The words of the demo's languages. All descend from one proto-language: a root per concept, drawn at random; each daughter
// language applies its own regular sound changes (so cognates differ as real ones do), has replaced some words by words of
// its own, and may write in a script of its own. Names, digits and international words are spelled alike everywhere.

#include <string>
#include <string_view>
#include <vector>

#include "tasks/demo/world.h"

namespace koine::demo {

enum class Where { kAnywhere, kInitial, kFinal, kBetweenVowels };

/// Every `from` in that place of a word becomes `to`; rules apply one after the other.
struct SoundChange {
  std::string_view from;
  std::string_view to;
  Where where = Where::kAnywhere;
};

struct Phonology {
  std::vector<SoundChange> changes;
  double innovation = 0;  ///< share of the content words that the language replaced by its own
  /// Shares the innovations of this other language (code), before the sound changes; empty: none.
  std::string_view innovation_of = {};
  std::u32string_view script = {};  ///< the 26 letters of its script in the place of a to z; empty: Latin
};

/// The forms of all concepts in one language.
class Lexicon {
 public:
  /// `language` names the stream of the language's own words.
  Lexicon(std::uint32_t seed, std::string_view language, const Phonology& phonology);

  const std::string& form(int concept_number) const { return forms_[static_cast<std::size_t>(concept_number)]; }
  const std::string& form(Function function) const { return form(concept_of(function)); }
  /// The root before it was put in the language's script.
  const std::string& latin(int concept_number) const { return latin_[static_cast<std::size_t>(concept_number)]; }

 private:
  std::vector<std::string> latin_;
  std::vector<std::string> forms_;
};

/// Letters a to z in a script; other characters stay.
std::string transliterate(std::string_view latin, std::u32string_view script);

std::string apply_sound_changes(std::string word, const std::vector<SoundChange>& changes);

}  // namespace koine::demo
