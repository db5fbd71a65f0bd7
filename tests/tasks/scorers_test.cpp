// The scorers against figures of the official programs.

#include <gtest/gtest.h>

#include "tasks/scorers/accuracy.h"
#include "tasks/scorers/answer_score.h"
#include "tasks/scorers/python_text.h"
#include "tasks/scorers/tagging_f1.h"

namespace koine {
namespace {

TEST(AnswerScore, EqualsTheOfficialScript) {
  struct Case {
    const char* prediction;
    const char* gold;
    double exact_match;
    double f1;
  };
  // exact_match_score and f1_score of google-research/xtreme third_party/evaluate_squad.py, run by CPython 3.11:
  //   python3 -c 'from evaluate_squad import *; print(exact_match_score(p, g), f1_score(p, g))'
  const Case cases[] = {
      {"The Eiffel Tower!", "eiffel tower", 1, 1.0},
      {"a", "the", 1, 0},
      {"an apple a day", "Apple day", 1, 1.0},
      {"\u039f\u0394\u039f\u03a3 \u03a3\u0391\u03a3", "\u03bf\u03b4\u03bf\u03c2 \u03c3\u03b1\u03c2", 1, 1.0},  // final sigma
      {"\u0130stanbul", "i\u0307stanbul", 1, 1.0},  // one letter becomes two
      {"10\u00a0000", "10 000", 1, 1.0},            // no-break space
      {"the-end", "theend", 1, 1.0},
      {"a\u0301b", "\u00e1b", 0, 0},  // a combining mark ends a word, so "a" goes
      {"a\u0301b", "\u0301b", 1, 1.0},
      {"\u0915\u0947 a \u0915\u093e", "\u0915\u0947 \u0915\u093e", 1, 1.0},
      {"THE cat the", "cat", 1, 1.0},
      {"x the\u0301 y", "x y", 0, 0.8},
      {"\u00bd a\u00bd an", "\u00bd a\u00bd", 1, 1.0},  // a fraction is a word character
      {"\u01c5 \u00df", "\u01c6 \u00df", 1, 1.0},
      {"a b b c", "b c c", 0, 0.6666666666666666},
      {"", "the", 1, 0},
      {"the_a a_", "the_a a_", 1, 1.0},
      {"abc\u200b"
       "def",
       "abcdef", 0, 0},
      {"\u0967 a\u0968", "\u0967 a\u0968", 1, 1.0},
      {"\u2167 the \u2167", "\u2177 \u2177", 1, 1.0},
  };
  for (const Case& one : cases) {
    const AnswerScore score = score_answer(one.prediction, {one.gold}, normalise_squad_answer);
    EXPECT_EQ(score.exact_match, one.exact_match) << one.prediction;
    EXPECT_EQ(score.f1, one.f1) << one.prediction;
  }
}

TEST(AnswerScore, TakesTheBestGoldAnswerAndCountsMissingOnesAsZero) {
  AnswerScores scores;
  scores.add(score_answer("two towns", {"old towns", "two old towns"}, normalise_squad_answer));
  scores.add({});
  EXPECT_EQ(scores.percent().exact_match, 0);
  EXPECT_DOUBLE_EQ(scores.percent().f1, 40);  // 2 * 1 * (2/3) / (5/3) = 0.8, half of it
}

TEST(TaggingScore, EqualsSeqeval0012) {
  struct Case {
    TagSequences gold;
    TagSequences predictions;
    double precision, recall, f1, accuracy;
  };
  // precision_score, recall_score, f1_score, accuracy_score of seqeval 0.0.12, times 100.
  const Case cases[] = {
      {{{"NOUN", "NOUN", "VERB"}}, {{"NOUN", "VERB", "VERB"}}, 0.0, 0.0, 0, 66.66666666666666},
      {{{"SCONJ", "SCONJ", "SYM", "X"}, {"CCONJ", "ADP"}},
       {{"SCONJ", "SYM", "SYM", "X"}, {"SCONJ", "ADP"}},
       66.66666666666666,
       66.66666666666666,
       66.66666666666666,
       66.66666666666666},
      {{{"DET", "NOUN", "PUNCT"}, {"DET", "ADJ", "NOUN", "PUNCT"}},
       {{"DET", "NOUN", "PUNCT"}, {"DET", "NOUN", "NOUN", "PUNCT"}},
       83.33333333333334,
       71.42857142857143,
       76.92307692307692,
       85.71428571428571},
      {{{"B-PER", "I-PER", "O", "B-LOC"}}, {{"B-PER", "I-PER", "I-PER", "B-LOC"}}, 50, 50, 50, 75},
      {{{"O", "O"}}, {{"O", "O"}}, 0, 0, 0, 100},
      {{{"INTJ", "ADV", "ADV"}, {"ADV", "X"}},
       {{"INTJ", "ADV", "ADV"}, {"X", "X"}},
       66.66666666666666,
       50.0,
       57.14285714285715,
       80.0},
      {{{"E-PER", "I-PER", "S-LOC", "."}},
       {{"I-PER", "E-PER", "S-LOC", "B-X"}},
       33.33333333333333,
       33.33333333333333,
       33.33333333333333,
       25.0},
  };
  for (const Case& one : cases) {
    const TaggingScore score = tagging_score(one.gold, one.predictions);
    // The same operations in the same order; DOUBLE_EQ (4 units in the last place) leaves room for the place of the factor
    // 100.
    EXPECT_DOUBLE_EQ(score.precision, one.precision);
    EXPECT_DOUBLE_EQ(score.recall, one.recall);
    EXPECT_DOUBLE_EQ(score.f1, one.f1);
    EXPECT_DOUBLE_EQ(score.accuracy, one.accuracy);
  }
}

TEST(Accuracy, IsTheShareOfEqualPairs) { EXPECT_DOUBLE_EQ(accuracy_percent<int>({1, 2, 3, 4}, {1, 2, 3, 0}), 75); }

TEST(PythonText, SplitsAtEveryUnicodeBlank) {
  const auto words = python_split(decode_utf8("\u2003x\u00a0y\u3000\n z\u001cw\u200bv "));
  ASSERT_EQ(words.size(), 4u);
  EXPECT_EQ(encode_utf8(words[3]), "w\u200bv");  // U+200B is none
}

}  // namespace
}  // namespace koine
