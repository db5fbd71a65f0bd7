#include "tasks/demo/world.h"

#include <algorithm>
#include <array>
#include <initializer_list>

namespace koine::demo {

namespace {

using enum Category;

/// Collects the concepts; words with a star are international.
class Inventory {
 public:
  Inventory() {
    names(kPerson, 16);
    names(kTown, 8);
    kind("person", kRole, {"farmer", "teacher", "king", "baker", "singer", "doctor*"});
    kind("animal", kAnimal, {"dog", "cat", "horse", "bird", "zebra*"});
    kind("food", kFood, {"bread", "apple", "cheese", "egg", "pizza*"});
    kind("tool", kTool, {"knife", "hammer", "rope", "lamp", "radio*"});
    kind("vehicle", kVehicle, {"boat", "cart", "taxi*"});
    kind("clothing", kClothing, {"hat", "coat", "shirt", "shoe", "kimono*"});
    plain(kLandmark, {"river", "bridge", "tower", "market", "forest", "hotel*"});
    pairs(kAdjective, {"big", "small", "old", "new", "good", "bad", "clean", "dirty", "heavy", "light"});
    const std::vector<Category> things = {kFood, kTool, kVehicle, kClothing};
    std::vector<Category> all = things;
    all.push_back(kAnimal);
    verbs({"buy", "sell", "find", "lose", "love", "hate", "praise", "blame"}, all);
    verbs({"take", "bring", "hide", "show"}, things);
    verbs({"catch", "free"}, {kAnimal});
    kind("day", kTime, {"monday", "tuesday", "wednesday", "thursday", "friday"});
    kind("season", kTime, {"spring", "summer", "autumn", "winter"});
    plain(kNumber, {"two", "three", "four", "five", "six", "seven", "eight", "nine"});
    plain(kFunction, {"the",   "a",      "in",       "near",     "with",   "PAST",       "FUTURE", "not",
                      "is",    "PLURAL", "OBJECT",   "TOPIC",    "LINKER", "CLASSIFIER", "who",    "what",
                      "where", "when",   "how many", "QUESTION", "yes",    "no",         "perhaps"});
  }

  std::vector<Concept> list;
  std::array<std::vector<int>, kCategories> by_category;

 private:
  int add(std::string gloss, Category category) {
    const bool international = gloss.back() == '*';
    if (international) gloss.pop_back();
    const int number = static_cast<int>(list.size());
    list.push_back({.gloss = std::move(gloss), .category = category, .international = international});
    by_category[static_cast<std::size_t>(category)].push_back(number);
    return number;
  }
  void names(Category category, int count) {
    for (int i = 0; i < count; ++i) {
      const int number = add(std::string(category == kPerson ? "person " : "town ") + std::to_string(i + 1), category);
      list[static_cast<std::size_t>(number)].international = true;
    }
  }
  void plain(Category category, std::initializer_list<const char*> glosses) {
    for (const char* gloss : glosses) add(gloss, category);
  }
  void kind(const char* name, Category category, std::initializer_list<const char*> members) {
    const int parent = add(name, kKind);
    for (const char* gloss : members) list[static_cast<std::size_t>(add(gloss, category))].kind = parent;
  }
  void pairs(Category category, std::initializer_list<const char*> glosses) {
    int previous = -1;
    for (const char* gloss : glosses) {
      const int number = add(gloss, category);
      if (previous < 0) {
        previous = number;
        continue;
      }
      list[static_cast<std::size_t>(previous)].opposite = number;
      list[static_cast<std::size_t>(number)].opposite = previous;
      previous = -1;
    }
  }
  void verbs(std::initializer_list<const char*> glosses, const std::vector<Category>& objects) {
    const std::size_t first = list.size();
    pairs(kVerb, glosses);
    for (std::size_t i = first; i < list.size(); ++i) list[i].objects = objects;
  }
};

const Inventory& inventory() {
  static const Inventory the_inventory;
  return the_inventory;
}

int random_place(Draws& draws) { return draws.pick(concepts_of(draws.chance(0.6) ? kTown : kLandmark)); }

/// Sets a modifier to a random value.
void set_modifier(Event& event, Modifier modifier, Draws& draws) {
  switch (modifier) {
    case Modifier::kAdjective:
      event.object.adjective = draws.pick(concepts_of(kAdjective));
      break;
    case Modifier::kCount:
      event.object.count = 2 + draws.below(8);
      event.object.number_word = draws.chance(0.5);
      break;
    case Modifier::kPlace:
      event.place = random_place(draws);
      break;
    case Modifier::kTime:
      event.time = draws.pick(concepts_of(kTime));
      break;
    case Modifier::kCompanion:
      do {
        event.companion = draws.pick(concepts_of(kPerson));
      } while (event.companion == event.subject.head);
      break;
  }
}

std::vector<Modifier> missing_modifiers(const Event& event) {
  std::vector<Modifier> missing;
  for (int i = 0; i < kModifiers; ++i) {
    if (!has_modifier(event, static_cast<Modifier>(i))) missing.push_back(static_cast<Modifier>(i));
  }
  return missing;
}

/// A thing for a kind: "dog" for "animal".
void specialise(Event& event, Draws& draws) {
  if (concept_at(event.object.head).category != kKind) return;
  std::vector<int> members;
  for (int number = 0; number < static_cast<int>(concepts().size()); ++number) {
    if (concept_at(number).kind == event.object.head) members.push_back(number);
  }
  event.object.head = draws.pick(members);
}

/// An event with three modifiers that stands in this relation to the hypothesis.
Event premise_for(const Event& hypothesis, Label relation, Draws& draws) {
  Event premise = hypothesis;
  specialise(premise, draws);
  const std::vector<Modifier> said = modifiers_of(hypothesis);
  if (relation == Label::kNeutral) {
    const Modifier withheld = draws.pick(said);
    // Takes part in the choice of the others as if it were present, so that it stays away.
    premise = with_modifiers(premise, 4, draws);
    remove_modifier(premise, withheld);
    return premise;
  }
  if (relation == Label::kContradiction) {
    if (draws.chance(0.5)) {
      premise.verb = concept_at(premise.verb).opposite;
    } else {
      change_modifier(premise, draws.pick(said), draws);
    }
  }
  return with_modifiers(premise, 3, draws);
}

}  // namespace

const std::vector<Concept>& concepts() { return inventory().list; }

const std::vector<int>& concepts_of(Category category) {
  return inventory().by_category[static_cast<std::size_t>(category)];
}

int concept_of(Function function) { return concepts_of(kFunction)[static_cast<std::size_t>(function)]; }

int value_of_number(int number_concept) { return number_concept - concepts_of(kNumber).front() + 2; }

bool has_modifier(const Event& event, Modifier modifier) {
  switch (modifier) {
    case Modifier::kAdjective:
      return event.object.adjective >= 0;
    case Modifier::kCount:
      return event.object.count > 0;
    case Modifier::kPlace:
      return event.place >= 0;
    case Modifier::kTime:
      return event.time >= 0;
    case Modifier::kCompanion:
      return event.companion >= 0;
  }
  return false;
}

void remove_modifier(Event& event, Modifier modifier) {
  switch (modifier) {
    case Modifier::kAdjective:
      event.object.adjective = -1;
      break;
    case Modifier::kCount:
      event.object.count = 0;
      event.object.number_word = false;
      break;
    case Modifier::kPlace:
      event.place = -1;
      break;
    case Modifier::kTime:
      event.time = -1;
      break;
    case Modifier::kCompanion:
      event.companion = -1;
      break;
  }
}

void change_modifier(Event& event, Modifier modifier, Draws& draws) {
  if (modifier == Modifier::kAdjective) {
    event.object.adjective = concept_at(event.object.adjective).opposite;
    return;
  }
  const auto kind_or_category = [](int number) {
    return number < 0                     ? -1
           : concept_at(number).kind >= 0 ? concept_at(number).kind
                                          : -2 - static_cast<int>(concept_at(number).category);
  };
  const Event before = event;
  const auto unchanged = [&] {
    return event.object.count == before.object.count && event.place == before.place && event.time == before.time &&
           event.companion == before.companion;
  };
  const auto compatible = [&] {
    return kind_or_category(event.place) != kind_or_category(before.place) ||
           kind_or_category(event.time) != kind_or_category(before.time);
  };
  do {
    set_modifier(event, modifier, draws);
  } while (unchanged() || compatible());
}

std::vector<Modifier> modifiers_of(const Event& event) {
  std::vector<Modifier> present;
  for (int i = 0; i < kModifiers; ++i) {
    if (has_modifier(event, static_cast<Modifier>(i))) present.push_back(static_cast<Modifier>(i));
  }
  return present;
}

Split split_of(const Event& event) {
  const auto field = [](int a, int b) {
    return static_cast<std::uint32_t>(a + 1) << 16 | static_cast<std::uint32_t>(b + 1);
  };
  PhiloxCounter hash = philox({field(event.verb, event.subject.head), field(event.object.head, event.object.adjective),
                               field(event.object.count, event.place), field(event.time, event.companion)},
                              {0x6b6f696eu, event.future ? 1u : 0u});
  const std::uint32_t tenth = hash[0] % 10;
  return tenth == 0 ? Split::kDev : tenth <= 2 ? Split::kTest : Split::kTrain;
}

Event bare_event(Draws& draws) {
  Event event;
  event.verb = draws.pick(concepts_of(kVerb));
  event.future = draws.chance(0.4);
  const bool named = draws.chance(0.6);
  event.subject.head = draws.pick(concepts_of(named ? kPerson : kRole));
  event.subject.definite = !named;
  event.object.head = draws.pick(concepts_of(draws.pick(concept_at(event.verb).objects)));
  return event;
}

Event with_modifiers(Event event, int count, Draws& draws) {
  std::vector<Modifier> missing = missing_modifiers(event);
  draws.shuffle(missing);
  int present = kModifiers - static_cast<int>(missing.size());
  for (const Modifier modifier : missing) {
    if (present++ >= count) break;
    set_modifier(event, modifier, draws);
  }
  return event;
}

Event random_event(Split split, Draws& draws) {
  Event event;
  do {
    event = with_modifiers(bare_event(draws), 3, draws);
  } while (split_of(event) != split);
  return event;
}

Inference random_inference(Label label, Split split, Draws& draws) {
  while (true) {
    Inference inference;
    inference.label = label;
    Event& hypothesis = inference.hypothesis;
    hypothesis = with_modifiers(bare_event(draws), draws.chance(0.8) ? 1 : 2, draws);
    if (draws.chance(0.1)) hypothesis.object.head = concept_at(hypothesis.object.head).kind;
    const bool negated = draws.chance(0.05);
    // What is true of the hypothesis without its negation.
    Label relation = label;
    if (negated && label == Label::kEntailment) relation = Label::kContradiction;
    if (negated && label == Label::kContradiction) relation = Label::kEntailment;
    // One hypothesis in thousands has no premise in the split; it is dropped.
    for (int attempt = 0; attempt < 200; ++attempt) {
      inference.premise = premise_for(hypothesis, relation, draws);
      if (split_of(inference.premise) != split) continue;
      hypothesis.negated = negated;
      return inference;
    }
  }
}

Event restated(const Event& event, Draws& draws) {
  Event told = event;
  std::vector<Modifier> modifiers = modifiers_of(event);
  draws.shuffle(modifiers);
  const std::size_t kept = 1 + static_cast<std::size_t>(draws.below(2));
  for (std::size_t i = kept; i < modifiers.size(); ++i) remove_modifier(told, modifiers[i]);
  if (told.object.count == 0) {
    told.object.definite = true;
    told.object.plural = event.object.count > 0;
  }
  if (draws.chance(0.2)) told.object.head = concept_at(told.object.head).kind;
  return told;
}

Event opposed(const Event& event, Draws& draws) {
  Event told = restated(event, draws);
  if (draws.chance(0.5)) {
    told.verb = concept_at(told.verb).opposite;
  } else {
    change_modifier(told, draws.pick(modifiers_of(told)), draws);
  }
  return told;
}

Event extended(const Event& event, Draws& draws) {
  Event told = restated(event, draws);
  set_modifier(told, draws.pick(missing_modifiers(event)), draws);
  return told;
}

Event denied(const Event& event, Draws& draws) {
  Event told = opposed(event, draws);
  told.negated = true;
  return told;
}

}  // namespace koine::demo
