#include "tasks/formats/sentence_breaks.h"

#include <unicode/regex.h>
#include <unicode/unistr.h>

#include <memory>
#include <string>

#include "kernels/common/check.h"
#include "tasks/scorers/python_text.h"

namespace koine {
namespace {

struct Rule {
  const char* pattern;  ///< UTF-8
  const char* replacement;
};

// Every rule replaces one white space by a line break, or one line break by a blank: places stay what they are.
const Rule kRules[] = {
    // The main split: an end of sentence, closing quotes, parentheses and blanks, white space, an opening quote or bracket,
    // an upper-case letter or a digit.
    {R"re(([.?!][)'" ”]*)\s(\s*[\['"(“]?[A-Z0-9]))re", "$1\n$2"},
    // Wikipedia's editorial scraps: ".[citation needed]", ".[note 1]", which can stack; and "need such things [...] But".
    {R"re(([.?!]['"]?)((\[[a-zA-Z0-9 ?]+\])+)\s(\s*['"(]?[A-Z0-9]))re", "$1$2\n$4"},
    {R"re((\[\.\.\.\]\s*)\s(\[?[A-Z]))re", "$1\n$2"},
    // Rejoin after titles, abbreviations of literature, months and places.
    {R"re(\b(Mrs?|Ms|Dr|Prof|Fr|Rev|Msgr|Sta?)\.\n)re", "$1. "},
    {R"re(\b(Lt|Gen|Col|Maj|Adm|Capt|Sgt|Rep|Gov|Sen|Pres)\.\n)re", "$1. "},
    {R"re(\b(e\.g|i\.?e|vs?|pp?|cf|a\.k\.a|approx|app|es[pt]|tr)\.\n)re", "$1. "},
    {R"re(\b(Jan|Aug|Oct|Nov|Dec)\.\n)re", "$1. "},
    {R"re(\b(Mt|Ft)\.\n)re", "$1. "},
    {R"re(\b([ap]\.m)\.\n(Eastern|EST)\b)re", "$1. $2"},
    // Rejoin names with three, two or one initials before the last name.
    {R"re(\b([A-Z]\.)[ \n]([A-Z]\.)[ \n]([A-Z]\.)[ \n]("?[A-Z][a-z]))re", "$1 $2 $3 $4"},
    {R"re(\b([A-Z]\.)[ \n]([A-Z]\.)[ \n]("?[A-Z][a-z]))re", "$1 $2 $3"},
    {R"re(\b([A-Z]\.[A-Z]\.)\n("?[A-Z][a-z]))re", "$1 $2"},
    {R"re(\b([A-Z]\.)\n("?[A-Z][a-z]))re", "$1 $2"},
    // Split again where sentences commonly begin.
    {R"re(([.!?]['")]*) (The|This|That|These|It) )re", "$1\n$2 "},
    {R"re((\.) (Meanwhile|However))re", "$1\n$2"},
    {R"re((\.) (In|On|By|During|After|Under|Although|Yet|As |Several|According to) )re", "$1\n$2 "},
    // Rejoin numbered parts of documents, "born", "died", "circa", "et al. (2005)", "H.R. 2000".
    {R"re(\b([Aa]rt|[Nn]o|Opp?|ch|Sec|cl|Rec|Ecl|Cor|Lk|Jn|Vol)\.\n([0-9IVX]+)\b)re", "$1. $2"},
    {R"re(\b([bdrc]|ca|fl)\.\n([A-Z0-9]))re", "$1. $2"},
    {R"re(\b(et al)\.\n(\(?[0-9]{4}\b))re", "$1. $2"},
    {R"re(\b(H\.R\.)\n([0-9]))re", "$1 $2"},
    // What SQuAD in particular needs, joins and splits.
    {R"re((I Am\.\.\.)\n(Sasha Fierce|World Tour))re", "$1 $2"},
    {R"re((Warner Bros\.)\n(Records|Entertainment))re", "$1 $2"},
    {R"re((U\.S\.)\n(\(?\d\d+))re", "$1 $2"},
    {R"re(\b(Rs\.)\n(\d))re", "$1 $2"},
    {R"re(\b(Jay Z\.) ([A-Z]))re", "$1\n$2"},
    {R"re(\b(Washington, D\.C\.) ([A-Z]))re", "$1\n$2"},
    {R"re(\b(for 4\.\)) ([A-Z]))re", "$1\n$2"},
    {R"re(\b(Wii U\.) ([A-Z]))re", "$1\n$2"},
    {R"re(\. (iPod|iTunes))re", ".\n$1"},
    {R"re( (\[\.\.\.\]\n))re", "\n$1"},
    {R"re((\.Sc\.)\n)re", "$1 "},
    {R"re( (• [A-Z]))re", "\n$1"},
};

class Rules {
 public:
  Rules() {
    for (const Rule& rule : kRules) {
      UErrorCode status = U_ZERO_ERROR;
      matchers_.push_back(std::make_unique<icu::RegexMatcher>(icu::UnicodeString::fromUTF8(rule.pattern), 0, status));
      check(U_SUCCESS(status) != 0, "the rule of sentence breaks ", rule.pattern, " is no regular expression");
    }
  }
  icu::UnicodeString apply(icu::UnicodeString text) {
    for (std::size_t i = 0; i < matchers_.size(); ++i) {
      UErrorCode status = U_ZERO_ERROR;
      matchers_[i]->reset(text);
      icu::UnicodeString replaced = matchers_[i]->replaceAll(icu::UnicodeString::fromUTF8(kRules[i].replacement), status);
      require(U_SUCCESS(status) != 0, "a paragraph's sentences cannot be told apart: ", u_errorName(status));
      text = std::move(replaced);
    }
    return text;
  }

 private:
  std::vector<std::unique_ptr<icu::RegexMatcher>> matchers_;
};

}  // namespace

std::vector<std::pair<std::size_t, std::size_t>> sentence_breaks(std::string_view text) {
  thread_local Rules rules;
  icu::UnicodeString one_line = icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int>(text.size())));
  one_line.findAndReplace("\n", " ");
  const icu::UnicodeString broken = rules.apply(one_line);
  check(broken.length() == one_line.length(), "a rule of sentence breaks moved what it does not replace");
  std::vector<std::pair<std::size_t, std::size_t>> breaks;
  std::size_t byte = 0;
  bool in_sentence = false;
  for (std::int32_t at = 0; at < broken.length();) {
    // In bytes of the text as it was: a white space of two bytes may have become a line break.
    const UChar32 was = one_line.char32At(at);
    const UChar32 is = broken.char32At(at);
    const std::size_t next = byte + static_cast<std::size_t>(U8_LENGTH(was));
    if (is == '\n') {
      in_sentence = false;
    } else if (!python_is_space(static_cast<char32_t>(is))) {
      if (!in_sentence) breaks.emplace_back(byte, next);
      breaks.back().second = next;
      in_sentence = true;
    }
    byte = next;
    at += U16_LENGTH(was);
  }
  return breaks;
}

}  // namespace koine
