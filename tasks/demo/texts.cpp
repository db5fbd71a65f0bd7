#include "tasks/demo/texts.h"

#include <algorithm>

namespace koine::demo {

namespace {

/// Share of the passages that tell of two events. Where there is one, what fills a gap is easy to find; so a model learns
/// from those first, and from the others to tell whose part a word is.
constexpr double kTwoEvents = 0.5;
constexpr double kThirdFollowUp = 0.5;
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
    return speaker_.text(speaker_.mixed(sentence, source_, speaker_.language().mixing, draws_));
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

}  // namespace

std::string random_passage(const Speaker& speaker, const Speaker& source, Split split, Draws& draws) {
  const Narrator narrator(speaker, source, draws);
  const Narrator guest(source, source, draws);
  const auto someone = [&]() -> const Narrator& { return draws.chance(kGuest) ? guest : narrator; };
  std::vector<Event> events = {random_event(split, draws)};
  if (draws.chance(kTwoEvents)) events.push_back(random_event(split, draws));
  std::vector<std::string> rest;
  for (const Event& event : events) rest.push_back(someone().follow_up(event));
  if (draws.chance(kThirdFollowUp)) rest.push_back(someone().follow_up(draws.pick(events)));
  draws.shuffle(rest);
  std::string text;
  for (const Event& event : events) text += narrator.tell(event) + " ";
  for (const std::string& sentence : rest) text += sentence + " ";
  text.pop_back();
  return text;
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
