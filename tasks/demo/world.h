#pragma once

// The small world all demo texts speak about: concepts, and meanings built of them. A meaning belongs to no language;
// grammar.h says it in each. Because every label is computed from meanings, gold data are exact in all languages.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tasks/demo/draws.h"

namespace koine::demo {

enum class Category {
  kPerson,  ///< names of people; spelled alike in all languages
  kTown,    ///< names of towns; spelled alike in all languages
  kRole,    ///< farmer, teacher ...
  kAnimal,
  kFood,
  kTool,
  kVehicle,
  kClothing,
  kKind,      ///< what the five categories before have in common: animal, food ...
  kLandmark,  ///< river, bridge ...
  kAdjective,
  kVerb,
  kTime,      ///< days and seasons
  kNumber,    ///< number words, from two on
  kFunction,  ///< articles, prepositions, endings ... (Function)
};
inline constexpr int kCategories = static_cast<int>(Category::kFunction) + 1;

/// What grammars build with. A language uses those its grammar asks for, as words or as endings.
enum class Function {
  kThe,
  kA,
  kIn,
  kNear,
  kWith,
  kPast,
  kFuture,
  kNot,
  kIs,
  kPlural,
  kObject,
  kTopic,
  kLinker,
  kClassifier,
  kWho,
  kWhat,
  kWhere,
  kWhen,
  kHowMany,
  kQuestion,
  kYes,
  kNo,
  kPerhaps,
};

struct Concept {
  std::string gloss;  ///< in English, for readers of lexicon.tsv
  Category category;
  int kind = -1;                       ///< the concept that includes it (dog: animal), or -1
  int opposite = -1;                   ///< antonym (big: small; buy: sell), or -1
  bool international = false;          ///< a loanword spelled alike in all languages
  std::vector<Category> objects = {};  ///< verbs: what can be done so to
};

/// All concepts; their numbers are positions in this list.
const std::vector<Concept>& concepts();
inline const Concept& concept_at(int number) { return concepts()[static_cast<std::size_t>(number)]; }
/// Numbers of the concepts of a category.
const std::vector<int>& concepts_of(Category category);
int concept_of(Function function);
/// The number word's value: 2 for the first.
int value_of_number(int number_concept);

/// "Mira", "the old farmer", "3 dogs", "a red hat".
struct Phrase {
  int head = -1;
  int adjective = -1;        ///< or -1
  int count = 0;             ///< 2 ... 9; 0: one
  bool number_word = false;  ///< say the count as a word, not in digits
  bool definite = false;
  bool plural = false;  ///< several, without saying how many: "the dogs"
  auto operator<=>(const Phrase&) const = default;
};

/// Someone did or will do something to something, perhaps somewhere, some time, with someone.
struct Event {
  int verb = -1;
  Phrase subject;
  Phrase object;
  int place = -1;      ///< town or landmark, or -1
  int time = -1;       ///< or -1
  int companion = -1;  ///< person, or -1
  bool future = false;
  bool negated = false;
  auto operator<=>(const Event&) const = default;
};

/// "Mira is a farmer", "the dogs are not big".
struct Statement {
  Phrase subject;
  int predicate = -1;  ///< an adjective, a role or a kind
  bool negated = false;
};

/// The optional parts of an event.
enum class Modifier { kAdjective, kCount, kPlace, kTime, kCompanion };
inline constexpr int kModifiers = 5;

bool has_modifier(const Event& event, Modifier modifier);
void remove_modifier(Event& event, Modifier modifier);
/// Makes it say something that cannot be true beside the present value: the opposite adjective, another number, another town
/// for a town, another landmark for a landmark, another day for a day, another season for a season, another companion.
void change_modifier(Event& event, Modifier modifier, Draws& draws);
std::vector<Modifier> modifiers_of(const Event& event);

enum class Split { kTrain, kDev, kTest };
/// Every event belongs to one split by a hash of its meaning: 70 % train, 10 % dev, 20 % test. Text and training sets only
/// tell training events, so no event of a test set is ever seen before.
Split split_of(const Event& event);

/// A random event without modifiers: a person or a role does something to something.
Event bare_event(Draws& draws);
/// `event` with `count` modifiers in all.
Event with_modifiers(Event event, int count, Draws& draws);
/// A random event of that split, with three modifiers.
Event random_event(Split split, Draws& draws);

enum class Label { kEntailment, kNeutral, kContradiction };

struct Inference {
  Event premise;
  Event hypothesis;
  Label label;
};

/// A premise of that split and a hypothesis about the same event.
///
/// The hypothesis is drawn first and without regard to the label (one or two modifiers; sometimes the kind instead of the
/// thing; sometimes negated), the premise then made to fit, always with three modifiers: it has the hypothesis's modifiers
/// (entailment), one of them otherwise or, half the time, the opposite verb (contradiction), or lacks one (neutral).
/// Negation swaps entailment and contradiction. So neither the hypothesis alone nor the length of the premise tells the
/// label.
Inference random_inference(Label label, Split split, Draws& draws);

/// A true report of less: one or two of the modifiers, the thing as known ("the dog"), sometimes only its kind.
Event restated(const Event& event, Draws& draws);
/// What cannot be true beside the event: restated with one modifier changed or with the opposite verb.
Event opposed(const Event& event, Draws& draws);
/// What may be true beside it: restated with a modifier that the event does not tell.
Event extended(const Event& event, Draws& draws);
/// A true denial: opposed and negated.
Event denied(const Event& event, Draws& draws);

/// What a question asks for; the answer is that part of the event, or (kWhether) yes, no or perhaps.
enum class Asked { kNothing, kWhether, kSubject, kObject, kCount, kPlace, kTime, kCompanion };

}  // namespace koine::demo
