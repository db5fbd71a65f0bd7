#include "tasks/demo/grammar.h"

#include <algorithm>

namespace koine::demo {

namespace {

bool is_name(int number) {
  return concept_at(number).category == Category::kPerson || concept_at(number).category == Category::kTown;
}

bool front_vowels(std::string_view latin) {
  const std::size_t last = latin.find_last_of("aeiou");
  return last != std::string_view::npos && (latin[last] == 'e' || latin[last] == 'i');
}

/// The ending as it sounds behind `stem`: back vowels become front ones, or the reverse.
std::string harmonise(std::string ending, std::string_view stem) {
  const bool front = front_vowels(stem);
  for (char& c : ending) {
    if (front && (c == 'a' || c == 'o')) c = 'e';
    if (front && c == 'u') c = 'i';
    if (!front && c == 'e') c = 'a';
    if (!front && c == 'i') c = 'u';
  }
  return ending;
}

void append(Sentence& to, const Sentence& from) { to.insert(to.end(), from.begin(), from.end()); }

char part_of(Asked asked) {
  switch (asked) {
    case Asked::kNothing:
    case Asked::kWhether:
      break;
    case Asked::kSubject:
      return 'S';
    case Asked::kObject:
    case Asked::kCount:
      return 'O';
    case Asked::kPlace:
      return 'P';
    case Asked::kTime:
      return 'T';
    case Asked::kCompanion:
      return 'C';
  }
  return ' ';
}

Function place_function(int place) {
  return concept_at(place).category == Category::kTown ? Function::kIn : Function::kNear;
}

Word punctuation(const char* mark) {
  return {.form = mark, .lemma = mark, .upos = "PUNCT", .relation = "punct", .part = '.', .stem_bytes = 1};
}

}  // namespace

Speaker::Speaker(std::uint32_t seed, const Language& language)
    : language_(&language), lexicon_(seed, language.code, language.phonology) {}

Word Speaker::word(int number, const char* upos, const char* relation, char part) const {
  const std::string& form = lexicon_.form(number);
  Word word{.form = form, .lemma = form, .upos = upos, .relation = relation, .part = part};
  word.isolated = concept_at(number).international;
  word.root = number;
  word.stem_bytes = static_cast<int>(word.form.size());
  return word;
}

Word Speaker::word(Function function, const char* upos, const char* relation, char part) const {
  return word(concept_of(function), upos, relation, part);
}

void Speaker::add_ending(Word& word, Function function) const {
  std::string ending = lexicon_.latin(concept_of(function));
  if (language_->grammar.harmony) ending = harmonise(ending, word.form);
  ending = transliterate(ending, language_->phonology.script);
  // Words spelled alike in all languages keep their shape: "Tarno'na".
  const bool first = word.stem_bytes == static_cast<int>(word.form.size());
  if (word.isolated && first) word.form += "'";
  word.form += ending;
  if (!word.isolated) word.stem_bytes = static_cast<int>(word.form.size());
}

Sentence Speaker::phrase(const Phrase& phrase, char part) const {
  const Grammar& grammar = language_->grammar;
  Word noun = word(phrase.head, is_name(phrase.head) ? "PROPN" : "NOUN", "dep", part);
  noun.head = true;
  const bool plural = phrase.plural || (phrase.count > 0 && grammar.plural_after_number);
  if (plural && grammar.plural) add_ending(noun, Function::kPlural);
  if (phrase.definite && grammar.article == Article::kEnding) add_ending(noun, Function::kThe);
  if (part == 'O' && grammar.object_ending) add_ending(noun, Function::kObject);

  Sentence words;
  if (grammar.article == Article::kWord && !is_name(phrase.head) && (phrase.definite || phrase.count == 0)) {
    words.push_back(word(phrase.definite ? Function::kThe : Function::kA, "DET", "det", part));
  }
  if (phrase.count > 0) {
    if (phrase.number_word) {
      words.push_back(
          word(concepts_of(Category::kNumber)[static_cast<std::size_t>(phrase.count - 2)], "NUM", "nummod", part));
    } else {
      const std::string digits = std::to_string(phrase.count);
      words.push_back({.form = digits,
                       .lemma = digits,
                       .upos = "NUM",
                       .relation = "nummod",
                       .part = part,
                       .isolated = true,
                       .stem_bytes = static_cast<int>(digits.size())});
    }
    if (grammar.classifier) words.push_back(word(Function::kClassifier, "NOUN", "clf", part));
  }
  Sentence adjective;
  if (phrase.adjective >= 0) adjective.push_back(word(phrase.adjective, "ADJ", "amod", part));
  if (phrase.adjective >= 0 && grammar.linker) {
    const auto where = grammar.adjective_after ? adjective.begin() : adjective.end();
    adjective.insert(where, word(Function::kLinker, "PART", "mark", part));
  }
  if (!grammar.adjective_after) append(words, adjective);
  words.push_back(noun);
  if (grammar.adjective_after) append(words, adjective);
  if (part == 'S' && grammar.topic) words.push_back(word(Function::kTopic, "PART", "case", part));
  if (part == 'O' && grammar.object_particle) words.push_back(word(Function::kObject, "ADP", "case", part));
  return words;
}

Sentence Speaker::adverbial(int number, Function function, char part) const {
  Word noun = word(number, is_name(number) ? "PROPN" : "NOUN", part == 'T' ? "obl:tmod" : "obl", part);
  noun.head = true;
  if (part == 'T') return {noun};
  const Grammar& grammar = language_->grammar;
  Sentence words;
  const bool landmark = !is_name(number);
  if (landmark && grammar.article == Article::kWord) words.push_back(word(Function::kThe, "DET", "det", part));
  if (landmark && grammar.article == Article::kEnding) add_ending(noun, Function::kThe);
  if (grammar.adposition == Adposition::kEnding) add_ending(noun, function);
  words.push_back(noun);
  const Word adposition = word(function, "ADP", "case", part);
  if (grammar.adposition == Adposition::kBefore) words.insert(words.begin(), adposition);
  if (grammar.adposition == Adposition::kAfter) words.push_back(adposition);
  return words;
}

Sentence Speaker::verb(const Event& event) const {
  const Grammar& grammar = language_->grammar;
  const Function tense = event.future ? Function::kFuture : Function::kPast;
  Word verb = word(event.verb, "VERB", "root", 'V');
  verb.head = true;
  if (grammar.tense == Tense::kEnding) add_ending(verb, tense);
  if (grammar.tense == Tense::kPrefix) {
    verb.form = lexicon_.form(tense) + verb.form;
    verb.root_begin = static_cast<int>(lexicon_.form(tense).size());
    verb.stem_bytes = static_cast<int>(verb.form.size());
  }
  if (event.negated && grammar.negation == Negation::kEnding) add_ending(verb, Function::kNot);
  Sentence words = {verb};
  const Word negation = word(Function::kNot, "PART", "advmod", 'V');
  if (event.negated && grammar.negation == Negation::kBeforeVerb) words.insert(words.begin(), negation);
  if (event.negated && grammar.negation == Negation::kAfterVerb) words.push_back(negation);
  const Word auxiliary = word(tense, "AUX", "aux", 'V');
  if (grammar.tense == Tense::kAuxiliaryBefore) words.insert(words.begin(), auxiliary);
  if (grammar.tense == Tense::kAuxiliaryAfter) words.push_back(auxiliary);
  return words;
}

Sentence Speaker::question_word(Asked asked, char part) const {
  const Function function = asked == Asked::kObject  ? Function::kWhat
                            : asked == Asked::kPlace ? Function::kWhere
                            : asked == Asked::kTime  ? Function::kWhen
                                                     : Function::kWho;
  const bool adverb = asked == Asked::kPlace || asked == Asked::kTime;
  Word word = this->word(function, adverb ? "ADV" : "PRON", adverb ? "advmod" : "dep", part);
  word.head = true;
  if (asked != Asked::kCompanion) return {word};
  const Grammar& grammar = language_->grammar;
  if (grammar.adposition == Adposition::kEnding) {
    add_ending(word, Function::kWith);
    return {word};
  }
  const Word adposition = this->word(Function::kWith, "ADP", "case", part);
  return grammar.adposition == Adposition::kBefore ? Sentence{adposition, word} : Sentence{word, adposition};
}

Sentence Speaker::ask(const Event& event, Asked asked) const {
  const Grammar& grammar = language_->grammar;
  const char asked_part = part_of(asked);
  const auto part = [&](char name) -> Sentence {
    if (name == asked_part && asked != Asked::kCount) return question_word(asked, name);
    switch (name) {
      case 'S':
        return phrase(event.subject, 'S');
      case 'V':
        return verb(event);
      case 'O': {
        Sentence object = phrase(event.object, 'O');
        if (asked == Asked::kCount) {
          for (Word& word : object) {
            if (word.upos != std::string_view("NUM")) continue;
            word = this->word(Function::kHowMany, "ADV", "advmod", 'O');
          }
        }
        return object;
      }
      case 'P':
        return event.place < 0 ? Sentence{} : adverbial(event.place, place_function(event.place), 'P');
      case 'C':
        return event.companion < 0 ? Sentence{} : adverbial(event.companion, Function::kWith, 'C');
      case 'T':
        return event.time < 0 ? Sentence{} : adverbial(event.time, Function::kIn, 'T');
      default:
        return {};
    }
  };
  Sentence sentence;
  const bool fronted = asked != Asked::kNothing && grammar.question_first;
  const Word particle = word(Function::kQuestion, "PART", "discourse", 'V');
  if (fronted && asked == Asked::kWhether)
    sentence.push_back(particle);
  else if (fronted)
    append(sentence, part(asked_part));
  for (const char name : grammar.order) {
    if (!(fronted && name == asked_part)) append(sentence, part(name));
  }
  for (Word& word : sentence) {
    if (!word.head || word.relation != std::string_view("dep")) continue;
    word.relation = word.part == 'S' ? "nsubj" : word.part == 'O' ? "obj" : "obl";
  }
  if (asked != Asked::kNothing && grammar.question_particle) sentence.push_back(particle);
  sentence.push_back(punctuation(asked == Asked::kNothing ? "." : "?"));
  return sentence;
}

Sentence Speaker::say(Function interjection) const {
  Word only = word(interjection, "INTJ", "root", 'V');
  only.head = true;
  return {only, punctuation(".")};
}

Sentence Speaker::say(const Statement& statement) const {
  const Grammar& grammar = language_->grammar;
  const bool adjective = concept_at(statement.predicate).category == Category::kAdjective;
  Sentence predicate;
  if (adjective)
    predicate = {word(statement.predicate, "ADJ", "root", 'V')};
  else
    predicate = phrase({.head = statement.predicate}, 'V');
  for (Word& word : predicate) {
    word.head = word.head || adjective;
    if (word.head) word.relation = "root";
  }
  Sentence copula;
  if (grammar.copula) copula.push_back(word(Function::kIs, "AUX", "cop", 'V'));
  if (statement.negated) {
    const Word negation = word(Function::kNot, "PART", "advmod", 'V');
    copula.insert(grammar.negation == Negation::kBeforeVerb ? copula.begin() : copula.end(), negation);
  }
  Sentence subject = phrase(statement.subject, 'S');
  for (Word& word : subject) {
    if (word.head) word.relation = "nsubj";
  }
  const bool verb_first = grammar.order.front() == 'V';
  const bool verb_last = grammar.order.find('V') > grammar.order.find('O');
  Sentence sentence;
  if (verb_first) append(sentence, copula);
  append(sentence, subject);
  if (!verb_first && !verb_last) append(sentence, copula);
  append(sentence, predicate);
  if (!verb_first && verb_last) append(sentence, copula);
  sentence.push_back(punctuation("."));
  return sentence;
}

Sentence Speaker::mixed(Sentence sentence, const Speaker& source, double probability, Draws& draws) const {
  for (Word& word : sentence) {
    if (word.root < 0 || concept_at(word.root).category == Category::kFunction || concept_at(word.root).international)
      continue;
    if (!draws.chance(probability)) continue;
    const std::string& own = lexicon_.form(word.root);
    const std::string& borrowed = source.lexicon_.form(word.root);
    word.form.replace(static_cast<std::size_t>(word.root_begin), own.size(), borrowed);
    word.lemma = borrowed;
    word.stem_bytes += static_cast<int>(borrowed.size()) - static_cast<int>(own.size());
    word.isolated = true;
  }
  return sentence;
}

bool Speaker::blank_after(const Sentence& sentence, std::size_t index) const {
  if (index + 1 >= sentence.size() || sentence[index + 1].part == '.') return false;
  return language_->grammar.spaces || sentence[index].isolated || sentence[index + 1].isolated;
}

std::string Speaker::text(const Sentence& sentence, std::vector<std::size_t>* begins) const {
  std::string text;
  for (std::size_t i = 0; i < sentence.size(); ++i) {
    if (begins != nullptr) begins->push_back(text.size());
    text += sentence[i].form;
    if (blank_after(sentence, i)) text += ' ';
  }
  return text;
}

Speaker::Answer Speaker::answer(const Sentence& sentence, Asked asked) const {
  std::vector<std::size_t> begins;
  text(sentence, &begins);
  const char part = part_of(asked);
  for (std::size_t i = 0; i < sentence.size(); ++i) {
    const Word& word = sentence[i];
    if (word.part != part) continue;
    const bool wanted = asked == Asked::kCount ? word.upos == std::string_view("NUM") : word.head;
    if (wanted) return {begins[i], static_cast<std::size_t>(word.stem_bytes)};
  }
  check(false, "the sentence does not tell what is asked for");
  return {};
}

}  // namespace koine::demo
