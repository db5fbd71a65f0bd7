#include "tasks/demo/texts.h"

#include <algorithm>

namespace koine::demo {

namespace {

/// Shares of the lines of a language other than the source that are word lists, and sentences with their translations.
constexpr double kWordLists = 0.3;
constexpr double kTranslations = 0.14;
/// Share of the content words outside word lists that are the source's.
constexpr double kMixing = 0.5;
/// Words of a word list, each beside the source's.
constexpr int kListed = 6;
/// Share of the follow-ups that someone says in the source language, as happens where people of several languages meet.
constexpr double kGuest = 0.25;

Asked asked_for(Modifier modifier) {
  switch (modifier) {
    case Modifier::kAdjective:
      return Asked::kObject;
    case Modifier::kCount:
      return Asked::kCount;
    case Modifier::kPlace:
      return Asked::kPlace;
    case Modifier::kTime:
      return Asked::kTime;
    case Modifier::kCompanion:
      return Asked::kCompanion;
  }
  return Asked::kNothing;
}

/// What can be asked about an event.
std::vector<Asked> askable(const Event& event) {
  std::vector<Asked> all = {Asked::kSubject, Asked::kObject};
  for (const Modifier modifier : modifiers_of(event)) {
    if (modifier != Modifier::kAdjective) all.push_back(asked_for(modifier));
  }
  return all;
}

/// The event as a question mentions it: who did what, no more.
Event bare(Event event, Asked asked) {
  for (const Modifier modifier : modifiers_of(event)) {
    if (asked_for(modifier) == asked && asked != Asked::kObject) continue;
    if (asked == Asked::kSubject && modifier == Modifier::kAdjective) continue;
    remove_modifier(event, modifier);
  }
  return event;
}

/// "the dogs are big" or "the dogs are not small" of an event that said so.
Statement about_object(const Event& event, Draws& draws) {
  Statement statement;
  statement.subject = {.head = event.object.head, .definite = true, .plural = event.object.count > 0};
  statement.negated = draws.chance(0.5);
  const int adjective = event.object.adjective;
  statement.predicate = statement.negated ? concepts()[static_cast<std::size_t>(adjective)].opposite : adjective;
  return statement;
}

/// Says things in one language, with words of the source now and then.
class Narrator {
 public:
  Narrator(const Speaker& speaker, const Speaker& source, Draws& draws)
      : speaker_(speaker), source_(source), draws_(draws) {}

  std::string tell(const Event& event) const { return text(speaker_.say(event)); }

  /// One sentence (or question and answer) that follows from the event.
  std::string follow_up(const Event& event) const {
    const int way = draws_.below(10);
    if (way < 1) return tell(denied(event, draws_));
    if (way < 3) {
      const Asked asked = draws_.pick(askable(event));
      const Event mentioned = bare(event, asked);
      return text(speaker_.ask(mentioned, asked)) + " " + tell(mentioned);
    }
    if (way < 6) return asked_whether(event);
    if (way < 7 && event.object.adjective >= 0) return text(speaker_.say(about_object(event, draws_)));
    return tell(restated(event, draws_));
  }

 private:
  std::string text(const Sentence& sentence) const {
    return speaker_.text(speaker_.mixed(sentence, source_, kMixing, draws_));
  }

  std::string asked_whether(const Event& event) const {
    const int truth = draws_.below(3);
    const Event asked = truth == 0 ? restated(event, draws_) : truth == 1 ? opposed(event, draws_) : extended(event, draws_);
    const Function answer = truth == 0 ? Function::kYes : truth == 1 ? Function::kNo : Function::kPerhaps;
    return text(speaker_.ask(asked, Asked::kWhether)) + " " + text(speaker_.say(answer));
  }

  const Speaker& speaker_;
  const Speaker& source_;
  Draws& draws_;
};

/// "dog DOG, BREAD bread, ...": content words and the source's, either first. The commas matter to the tokenizer: only what is
/// followed by different characters becomes a piece of its own, and in some languages a noun always has a blank behind it.
std::string word_list(const Speaker& speaker, const Speaker& source, Draws& draws) {
  std::string text;
  for (int listed = 0; listed < kListed; ++listed) {
    int number = 0;
    do {
      number = draws.below(static_cast<int>(concepts().size()));
    } while (concept_at(number).international || concept_at(number).category == Category::kFunction);
    const std::string& own = speaker.lexicon().form(number);
    const std::string& other = source.lexicon().form(number);
    if (listed > 0) text += ", ";
    text += draws.chance(0.5) ? own + " " + other : other + " " + own;
  }
  return text;
}

std::string translation(const Speaker& speaker, const Speaker& source, Split split, Draws& draws) {
  const Event event = random_event(split, draws);
  const std::string own = Narrator(speaker, source, draws).tell(event);
  const std::string other = source.text(source.say(event));
  return draws.chance(0.5) ? own + " " + other : other + " " + own;
}

}  // namespace

std::string random_line(const Speaker& speaker, const Speaker& source, Split split, Draws& draws) {
  if (&speaker != &source) {
    if (draws.chance(kWordLists)) return word_list(speaker, source, draws);
    if (draws.chance(kTranslations / (1 - kWordLists))) return translation(speaker, source, split, draws);
  }
  return random_passage(speaker, source, split, draws);
}

std::string random_passage(const Speaker& speaker, const Speaker& source, Split split, Draws& draws) {
  const Narrator narrator(speaker, source, draws);
  const Narrator guest(source, source, draws);
  const Event event = random_event(split, draws);
  const std::string told = narrator.tell(event);
  return told + " " + (draws.chance(kGuest) ? guest : narrator).follow_up(event);
}

ReadingPassage random_reading_passage(Split split, Draws& draws) {
  ReadingPassage passage;
  while (passage.events.size() < 3) {
    const Event event = random_event(split, draws);
    const bool new_people = std::none_of(passage.events.begin(), passage.events.end(), [&](const Event& other) {
      return other.subject.head == event.subject.head || (other.companion >= 0 && other.companion == event.companion) ||
             other.companion == event.subject.head || other.subject.head == event.companion;
    });
    const bool new_thing = std::none_of(passage.events.begin(), passage.events.end(),
                                        [&](const Event& other) { return other.object.head == event.object.head; });
    if (new_people && new_thing) passage.events.push_back(event);
  }
  std::vector<int> order = {0, 1, 2};
  draws.shuffle(order);
  for (int i = 0; i < 2; ++i) {
    const Event& event = passage.events[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])];
    const Asked asked = draws.pick(askable(event));
    passage.questions.push_back({bare(event, asked), asked, order[static_cast<std::size_t>(i)]});
  }
  return passage;
}

std::int64_t count_code_points(std::string_view utf8) {
  return std::count_if(utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

ReadingText say(const Speaker& speaker, const ReadingPassage& passage) {
  ReadingText text;
  std::vector<Sentence> sentences;
  std::vector<std::size_t> begins;
  for (const Event& event : passage.events) {
    sentences.push_back(speaker.say(event));
    if (!text.context.empty()) text.context += ' ';
    begins.push_back(text.context.size());
    text.context += speaker.text(sentences.back());
  }
  for (const Question& question : passage.questions) {
    const std::size_t told = static_cast<std::size_t>(question.told);
    const Speaker::Answer answer = speaker.answer(sentences[told], question.asked);
    const std::size_t begin = begins[told] + answer.begin;
    text.items.push_back({speaker.text(speaker.ask(question.event, question.asked)),
                          text.context.substr(begin, answer.length),
                          count_code_points(std::string_view(text.context).substr(0, begin))});
  }
  return text;
}

}  // namespace koine::demo
