#pragma once

// Says meanings in a language: words in its order, with its articles, prepositions, endings, particles.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/demo/lexicon.h"
#include "tasks/demo/world.h"

namespace koine::demo {

enum class Adposition { kBefore, kAfter, kEnding };
enum class Article { kNone, kWord, kEnding };
enum class Tense { kAuxiliaryBefore, kAuxiliaryAfter, kEnding, kPrefix };
enum class Negation { kBeforeVerb, kAfterVerb, kEnding };

/// What sets a language's grammar apart.
struct Grammar {
  /// The parts of a clause in order: S subject, V verb with its tense and negation, O object, P place, C companion, T time.
  std::string_view order = "SVOCPT";
  bool adjective_after = false;
  Adposition adposition = Adposition::kBefore;
  Article article = Article::kNone;
  bool plural = false;               ///< nouns take a plural ending
  bool plural_after_number = false;  ///< also behind a number
  bool classifier = false;           ///< a word between number and noun
  bool linker = false;               ///< a word between adjective and noun
  bool topic = false;                ///< a particle behind the subject
  bool object_particle = false;      ///< a particle behind the object
  bool object_ending = false;        ///< an accusative
  Tense tense = Tense::kAuxiliaryBefore;
  Negation negation = Negation::kBeforeVerb;
  bool copula = true;              ///< a word for "is"
  bool question_first = true;      ///< the question word comes first; else it stays in its place
  bool question_particle = false;  ///< at the end of questions
  bool harmony = false;            ///< endings take a, o, u behind back vowels and e, i behind front vowels
  bool spaces = true;              ///< blanks between words; else only around names, digits and international words
};

/// A word of a sentence.
struct Word {
  std::string form;
  std::string lemma;
  const char* upos = "X";        ///< the Universal Dependencies part of speech
  const char* relation = "dep";  ///< and its relation to the head of its part, or of the part to the verb
  char part = 'V';               ///< which part of the clause it is in: S V O P C T; '.' punctuation
  bool head = false;             ///< of its part
  bool isolated = false;         ///< has blanks around it even where other words have none
  int stem_bytes = 0;            ///< bytes of the form before an ending that an apostrophe sets off; else all
  int root = -1;                 ///< the concept whose form is in the word, or -1
  int root_begin = 0;            ///< and at which byte of the form
};

using Sentence = std::vector<Word>;

struct Language {
  std::string_view code;
  std::string_view name;
  std::string_view description;
  Phonology phonology;
  Grammar grammar;
  bool low_resource = false;
};

/// One language ready to speak.
class Speaker {
 public:
  Speaker(std::uint32_t seed, const Language& language);

  /// The sentence with the roots of some content words (each with this probability) in their form of `source`, as speakers
  /// of several languages mix them.
  Sentence mixed(Sentence sentence, const Speaker& source, double probability, Draws& draws) const;

  const Language& language() const { return *language_; }
  const Lexicon& lexicon() const { return lexicon_; }

  Sentence say(const Event& event) const { return ask(event, Asked::kNothing); }
  /// The event as a question for one of its parts.
  Sentence ask(const Event& event, Asked asked) const;
  Sentence say(const Statement& statement) const;
  /// One word: yes, no, perhaps.
  Sentence say(Function interjection) const;

  /// The running text of a sentence; where given, `begins` gets the byte at which each word begins.
  std::string text(const Sentence& sentence, std::vector<std::size_t>* begins = nullptr) const;
  /// Whether a blank follows word `index`.
  bool blank_after(const Sentence& sentence, std::size_t index) const;

  /// The part of a sentence that answers a question: words [first, last] of the event's sentence, its first byte and its
  /// length within text(). Articles, adpositions, particles and endings behind an apostrophe do not belong to an answer.
  struct Answer {
    std::size_t begin = 0;
    std::size_t length = 0;
  };
  Answer answer(const Sentence& sentence, Asked asked) const;

 private:
  Sentence phrase(const Phrase& phrase, char part) const;
  Sentence adverbial(int concept_number, Function function, char part) const;
  Sentence verb(const Event& event) const;
  Sentence question_word(Asked asked, char part) const;
  Word word(int concept_number, const char* upos, const char* relation, char part) const;
  Word word(Function function, const char* upos, const char* relation, char part) const;
  void add_ending(Word& word, Function function) const;

  const Language* language_;
  Lexicon lexicon_;
};

}  // namespace koine::demo
