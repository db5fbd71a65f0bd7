#include "tasks/scorers/answer_score.h"

#include <algorithm>
#include <map>

#include "kernels/common/check.h"
#include "tasks/scorers/python_text.h"

namespace koine {
namespace {

using Words = std::vector<std::u32string>;

/// re.sub(r"\b(a|an|the)\b", " ", text): between a character of a word and one that is none. After "a" the expression tries
/// "an", so the longest article that ends at such a border is taken; only one can.
std::u32string without_articles(std::u32string_view text) {
  constexpr std::u32string_view kArticles[] = {U"a", U"an", U"the"};
  std::u32string result;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t length = 0;
    if (i == 0 || !python_is_word(text[i - 1])) {
      for (const std::u32string_view article : kArticles) {
        const std::size_t end = i + article.size();
        if (text.substr(i).starts_with(article) && (end == text.size() || !python_is_word(text[end])))
          length = article.size();
      }
    }
    result += length > 0 ? U' ' : text[i];
    i += std::max<std::size_t>(length, 1);
  }
  return result;
}

double f1_of(const Words& prediction, const Words& gold) {
  std::map<std::u32string_view, long> left;
  for (const std::u32string& word : gold) ++left[word];
  long same = 0;
  for (const std::u32string& word : prediction) {
    const auto found = left.find(word);
    if (found != left.end() && found->second-- > 0) ++same;
  }
  if (same == 0) return 0;
  const double precision = static_cast<double>(same) / static_cast<double>(prediction.size());
  const double recall = static_cast<double>(same) / static_cast<double>(gold.size());
  return (2 * precision * recall) / (precision + recall);
}

}  // namespace

Words normalise_squad_answer(std::string_view answer) {
  std::u32string text = python_lower(decode_utf8(answer));
  std::erase_if(text, is_ascii_punctuation);
  return python_split(without_articles(text));
}

AnswerScore score_answer(std::string_view prediction, const std::vector<std::string>& gold, AnswerNormaliser normalise) {
  check(!gold.empty(), "a question without gold answers");
  const Words words = normalise(prediction);
  AnswerScore best;
  for (const std::string& answer : gold) {
    const Words truth = normalise(answer);
    best.exact_match = std::max(best.exact_match, words == truth ? 1.0 : 0.0);
    best.f1 = std::max(best.f1, f1_of(words, truth));
  }
  return best;
}

void AnswerScores::add(const AnswerScore& score) {
  sum_.exact_match += score.exact_match;
  sum_.f1 += score.f1;
  ++questions_;
}

AnswerScore AnswerScores::percent() const {
  check(questions_ > 0, "no questions scored");
  return {100.0 * sum_.exact_match / static_cast<double>(questions_), 100.0 * sum_.f1 / static_cast<double>(questions_)};
}

}  // namespace koine
