#include "tasks/scorers/answer_score.h"

#include <algorithm>
#include <map>
#include <span>

#include "kernels/common/check.h"
#include "tasks/scorers/python_text.h"

namespace koine {
namespace {

using Words = std::vector<std::u32string>;

using Articles = std::span<const std::u32string_view>;

/// re.sub(r"\b(a|an|the)\b", " ", text): between a character of a word and one that is none. Of several articles that begin
/// at one place only one can end at such a border.
std::u32string without_articles(std::u32string_view text, Articles articles) {
  std::u32string result;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t length = 0;
    if (i == 0 || !python_is_word(text[i - 1])) {
      for (const std::u32string_view article : articles) {
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

/// MLQA's mixed segmentation: a Chinese character is a word by itself, the rest is split at white space.
Words split_chinese(std::u32string_view text) {
  std::u32string spaced;
  for (const char32_t c : text) {
    if (c >= 0x4E00 && c <= 0x9FA5) {
      spaced += {U' ', c, U' '};
    } else {
      spaced += c;
    }
  }
  return python_split(spaced);
}

std::u32string lower_without_punctuation(std::string_view answer) {
  std::u32string text = python_lower(decode_utf8(answer));
  std::erase_if(text, [](char32_t c) { return is_ascii_punctuation(c) || is_unicode_punctuation(c); });
  return text;
}

constexpr std::u32string_view kEnglishArticles[] = {U"a", U"an", U"the"};
constexpr std::u32string_view kSpanishArticles[] = {U"un", U"una", U"unos", U"unas", U"el", U"la", U"los", U"las"};
constexpr std::u32string_view kVietnameseArticles[] = {U"của", U"là", U"cái", U"chiếc", U"những"};
constexpr std::u32string_view kGermanArticles[] = {U"ein", U"eine", U"einen", U"einem", U"eines", U"einer",
                                                   U"der", U"die",  U"das",   U"den",   U"dem",   U"des"};

Words normalise_with(std::string_view answer, Articles articles) {
  return python_split(without_articles(lower_without_punctuation(answer), articles));
}

Words normalise_arabic(std::string_view answer) {
  constexpr std::u32string_view kArticle = U"\u0627\u0644";
  std::u32string text = lower_without_punctuation(answer);
  for (std::size_t at = 0; (at = text.find(kArticle, at)) != std::u32string::npos;) text.replace(at, kArticle.size(), U" ");
  return python_split(text);
}

struct MlqaLanguage {
  std::string_view code;
  AnswerNormaliser normalise;
};

constexpr MlqaLanguage kMlqaLanguages[] = {
    {"ar", normalise_arabic},
    {"de", [](std::string_view answer) { return normalise_with(answer, kGermanArticles); }},
    {"en", [](std::string_view answer) { return normalise_with(answer, kEnglishArticles); }},
    {"es", [](std::string_view answer) { return normalise_with(answer, kSpanishArticles); }},
    {"hi", [](std::string_view answer) { return normalise_with(answer, {}); }},
    {"vi", [](std::string_view answer) { return normalise_with(answer, kVietnameseArticles); }},
    {"zh", [](std::string_view answer) { return split_chinese(lower_without_punctuation(answer)); }},
};

}  // namespace

double words_f1(const Words& prediction, const Words& gold) {
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

Words normalise_squad_answer(std::string_view answer) {
  std::u32string text = python_lower(decode_utf8(answer));
  std::erase_if(text, is_ascii_punctuation);
  return python_split(without_articles(text, kEnglishArticles));
}

AnswerNormaliser mlqa_normaliser(std::string_view language) {
  for (const MlqaLanguage& known : kMlqaLanguages) {
    if (known.code == language) return known.normalise;
  }
  fail_user("MLQA has no answers in language \"", language, "\"; it has ar, de, en, es, hi, vi and zh");
}

AnswerScore score_answer(std::string_view prediction, const std::vector<std::string>& gold, AnswerNormaliser normalise) {
  check(!gold.empty(), "a question without gold answers");
  const Words words = normalise(prediction);
  AnswerScore best;
  for (const std::string& answer : gold) {
    const Words truth = normalise(answer);
    best.exact_match = std::max(best.exact_match, words == truth ? 1.0 : 0.0);
    best.f1 = std::max(best.f1, words_f1(words, truth));
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
