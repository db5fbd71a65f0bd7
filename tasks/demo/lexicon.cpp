#include "tasks/demo/lexicon.h"

#include <set>

namespace koine::demo {

namespace {

constexpr std::string_view kConsonants = "ptkbdgmnlrsvfh";
constexpr std::string_view kVowels = "aeiou";

bool is_vowel(char letter) { return kVowels.find(letter) != std::string_view::npos; }

char letter(std::string_view from, Draws& draws) {
  return from[static_cast<std::size_t>(draws.below(static_cast<int>(from.size())))];
}

std::string syllable(Draws& draws) { return {letter(kConsonants, draws), letter(kVowels, draws)}; }

/// Function words are one syllable; names have a capital; international words are long and end in a letter no other word
/// ends in; all others are two syllables, half of them closed by a consonant.
std::string root(const Concept& meaning, Draws& draws) {
  if (meaning.category == Category::kFunction) return syllable(draws);
  std::string word = syllable(draws) + syllable(draws);
  if (meaning.category == Category::kPerson || meaning.category == Category::kTown) {
    word += meaning.category == Category::kTown ? syllable(draws) : std::string(1, letter("nlrs", draws));
    word[0] = static_cast<char>(word[0] - 'a' + 'A');
    return word;
  }
  if (meaning.international) return word + syllable(draws) + letter("xzq", draws);
  if (draws.chance(0.5)) word += letter("nlrskt", draws);
  return word;
}

/// A root that is not taken; it is then.
std::string new_root(const Concept& meaning, std::set<std::string>& taken, Draws& draws) {
  while (true) {
    std::string word = root(meaning, draws);
    if (taken.insert(word).second) return word;
  }
}

std::vector<std::string> proto_roots(std::uint32_t seed, std::set<std::string>& taken) {
  Draws draws(seed, 1000);
  std::vector<std::string> roots;
  for (const Concept& meaning : concepts()) roots.push_back(new_root(meaning, taken, draws));
  return roots;
}

std::uint32_t stream_of(std::string_view language) {
  std::uint32_t stream = 0;
  for (const char c : language) stream = stream * 256 + static_cast<unsigned char>(c);
  return stream;
}

/// Replaces a share of the content words by the language's own.
void innovate(std::vector<std::string>& roots, std::uint32_t seed, std::string_view language, double share,
              std::set<std::string>& taken) {
  Draws draws(seed, stream_of(language));
  for (std::size_t i = 0; i < roots.size(); ++i) {
    const Concept& meaning = concepts()[i];
    const bool replaced = draws.chance(share);
    if (meaning.international || meaning.category == Category::kFunction || !replaced) continue;
    roots[i] = new_root(meaning, taken, draws);
  }
}

bool applies(const std::string& word, std::size_t at, const SoundChange& change) {
  const std::size_t end = at + change.from.size();
  switch (change.where) {
    case Where::kAnywhere:
      return true;
    case Where::kInitial:
      return at == 0;
    case Where::kFinal:
      return end == word.size();
    case Where::kBetweenVowels:
      return at > 0 && end < word.size() && is_vowel(word[at - 1]) && is_vowel(word[end]);
  }
  return false;
}

}  // namespace

std::string apply_sound_changes(std::string word, const std::vector<SoundChange>& changes) {
  for (const SoundChange& change : changes) {
    std::size_t at = 0;
    while ((at = word.find(change.from, at)) != std::string::npos) {
      if (applies(word, at, change)) {
        word.replace(at, change.from.size(), change.to);
        at += change.to.size();
      } else {
        ++at;
      }
    }
  }
  return word;
}

std::string transliterate(std::string_view latin, std::u32string_view script) {
  if (script.empty()) return std::string(latin);
  check(script.size() == 26, "a script has a letter for each of a to z");
  std::string text;
  for (const char c : latin) {
    if (c < 'a' || c > 'z') {
      text += c;
      continue;
    }
    const char32_t letter = script[static_cast<std::size_t>(c - 'a')];
    check(letter >= 0x800 && letter < 0xd800, "scripts are expected where UTF-8 takes three bytes");
    text += static_cast<char>(0xe0 | letter >> 12);
    text += static_cast<char>(0x80 | (letter >> 6 & 0x3f));
    text += static_cast<char>(0x80 | (letter & 0x3f));
  }
  return text;
}

Lexicon::Lexicon(std::uint32_t seed, std::string_view language, const Phonology& phonology) {
  std::set<std::string> taken;
  latin_ = proto_roots(seed, taken);
  if (!phonology.innovation_of.empty())
    innovate(latin_, seed, phonology.innovation_of, phonology.innovation, taken);
  else
    innovate(latin_, seed, language, phonology.innovation, taken);
  std::set<std::string> used;
  Draws repairs(seed, stream_of(language) + 1);
  for (std::size_t i = 0; i < latin_.size(); ++i) {
    const Concept& meaning = concepts()[i];
    if (!meaning.international) latin_[i] = apply_sound_changes(latin_[i], phonology.changes);
    // Where sound change made two words alike, the later one is replaced.
    while (!used.insert(latin_[i]).second)
      latin_[i] = apply_sound_changes(new_root(meaning, taken, repairs), phonology.changes);
    forms_.push_back(meaning.international ? latin_[i] : transliterate(latin_[i], phonology.script));
  }
}

}  // namespace koine::demo
