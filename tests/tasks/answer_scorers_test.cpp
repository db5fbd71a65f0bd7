// The scorers of answers that may be missing, of MLQA, of mined pairs and of rankings: against figures of the official
// programs, and against plain implementations of their definitions.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "kernels/random/philox.h"
#include "stub_model.h"
#include "tasks/scorers/answer_score.h"
#include "tasks/scorers/bitext_mining.h"
#include "tasks/scorers/ranking.h"
#include "tasks/scorers/squad2_score.h"

namespace koine {
namespace {

double uniform(std::uint32_t number, std::uint32_t stream) {
  return static_cast<double>(philox({number, 0, 0, 0}, {stream, 9})[0]) / 4294967296.0;
}

TEST(MlqaScore, EqualsTheOfficialScript) {
  struct Case {
    const char* language;
    const char* prediction;
    const char* gold;
    double exact_match;
    double f1;
  };
  // exact_match_score and f1_score of google-research/xtreme third_party/evaluate_mlqa.py, run by CPython 3.11.
  const Case cases[] = {
      {"en", "The Eiffel-Tower!", "eiffeltower", 1, 1.0},
      {"en", "an \u201capple\u201d \u2014 a day", "apple day", 1, 1.0},
      {"en", "a", "the", 1, 0},
      {"es", "El Ni\u00f1o y la ni\u00f1a", "ni\u00f1o y ni\u00f1a", 1, 1.0},
      {"es", "unos las casas", "casas", 1, 1.0},
      {"es", "una\u0301 x", "x", 0, 0.6666666666666666},
      {"es", "elote", "lote", 0, 0},
      {"de", "Der des Dem Haus", "haus", 1, 1.0},
      {"de", "einer eines ein Weg", "weg", 1, 1.0},
      {"de", "STRASSE Stra\u00dfe", "strasse stra\u00dfe", 1, 1.0},
      {"vi", "nh\u1eefng chi\u1ebfc xe c\u1ee7a t\u00f4i", "xe t\u00f4i", 1, 1.0},
      {"vi", "L\u00e0 c\u00e1i g\u00ec?", "g\u00ec", 1, 1.0},
      {"vi", "la\u0300 x", "x", 0, 0.6666666666666666},
      {"ar", "\u0627\u0644\u0643\u062a\u0627\u0628 \u0648\u0627\u0644\u0642\u0644\u0645",
       "\u0643\u062a\u0627\u0628 \u0648\u0642\u0644\u0645", 0, 0.4},
      {"ar", "\u0642\u0627\u0644", "\u0642", 1, 1.0},
      {"ar", "\u0627\u0644", "x", 0, 0},
      {"ar", "\u0643\u062a\u0627\u0628\u060c \u062c\u062f\u064a\u062f\u061f",
       "\u0643\u062a\u0627\u0628 \u062c\u062f\u064a\u062f", 1, 1.0},
      {"hi", "\u0924\u093e\u091c \u092e\u0939\u0932\u0964", "\u0924\u093e\u091c \u092e\u0939\u0932", 1, 1.0},
      {"hi", "\u0924\u093e\u091c \u092e\u0939\u0932", "\u0924\u093e\u091c", 0, 0.6666666666666666},
      {"zh", "\u6211\u5728\u5317\u4eac abc de", "\u5317\u4eacabc de", 0, 0.8},
      {"zh", "\u5317\u4eac\u3002", "\u5317\u4eac", 1, 1.0},
      {"zh", "1999\u5e74", "1999 \u5e74", 1, 1.0},
      {"zh", "\u9fa6x\u9fa5y", "\u9fa6x \u9fa5 y", 1, 1.0},
      {"zh", "\u9fa6x", "\u9fa6 x", 0, 0},  // the first characters outside the range, and the last inside
      {"zh", "\u4dffx", "\u4dff x", 0, 0},
      {"zh", "\u9fa5x", "\u9fa5 x", 1, 1.0},
      {"zh", "\u4e00x", "\u4e00 x", 1, 1.0},
      {"zh", "a b", "ab", 0, 0},
      {"en", "3.5%", "35", 1, 1.0},
      {"en", "\u00bd the", "\u00bd", 1, 1.0},
      {"zh", "\u300a\u7ea2\u697c\u68a6\u300b", "\u7ea2\u697c\u68a6", 1, 1.0},
      {"vi", "C\u00c1I CHI\u1ebeC", "", 1, 0},
  };
  for (const Case& one : cases) {
    const AnswerScore score = score_answer(one.prediction, {one.gold}, mlqa_normaliser(one.language));
    EXPECT_EQ(score.exact_match, one.exact_match) << one.language << " " << one.prediction;
    EXPECT_EQ(score.f1, one.f1) << one.language << " " << one.prediction;
  }
  expect_user_error([] { mlqa_normaliser("fi"); }, {"\"fi\"", "ar, de, en"});
}

TEST(Squad2Score, FollowsTheDefinitionCaseByCase) {
  const auto score = [](const std::vector<std::string>& gold, const std::string& prediction) {
    const Squad2Score result = score_squad2({{gold, prediction, 0}});
    return std::pair(result.exact_match, result.f1);
  };
  using Pair = std::pair<double, double>;
  EXPECT_EQ(score({}, ""), Pair(100, 100));
  EXPECT_EQ(score({}, "x"), Pair(0, 0));
  EXPECT_EQ(score({}, "the"), Pair(100, 100));         // normalises to nothing
  EXPECT_EQ(score({"a", "the"}, ""), Pair(100, 100));  // gold that normalises to nothing
  EXPECT_EQ(score({"a", "dog"}, ""), Pair(0, 0));      // and is dropped beside another
  EXPECT_EQ(score({"a dog", "cat"}, "The Dog!"), Pair(100, 100));
  EXPECT_EQ(score({"big dog"}, "dog"), Pair(0, 100 * (2.0 * 1 * 0.5 / 1.5)));
  // Beyond the threshold a question counts as unanswered.
  EXPECT_EQ(score_squad2({{{"dog"}, "dog", 1.5}}).exact_match, 0);
  EXPECT_EQ(score_squad2({{{"dog"}, "dog", 1.5}}, 2).exact_match, 100);
  EXPECT_EQ(score_squad2({{{}, "dog", 1.5}}).exact_match, 100);
}

TEST(Squad2Score, SplitsByWhetherThereIsAnAnswer) {
  const Squad2Score score = score_squad2({{{"dog"}, "dog", -2}, {{"old cat"}, "cat", -1}, {{}, "x", 0.5}, {{}, "", 0.7}});
  EXPECT_EQ(score.questions, 4);
  EXPECT_EQ(score.answerable, 2);
  EXPECT_EQ(score.answerable_exact_match, 50);
  EXPECT_DOUBLE_EQ(score.answerable_f1, 100 * (1 + 2.0 / 3) / 2);
  EXPECT_EQ(score.unanswerable_accuracy, 50);
  EXPECT_EQ(score.exact_match, 50);
  // Answering the first two and refusing the others is best.
  EXPECT_EQ(score.best_exact_match, 75);
  EXPECT_EQ(score.best_exact_match_threshold, -2);
  EXPECT_DOUBLE_EQ(score.best_f1, 100 * (1 + 2.0 / 3 + 2) / 4);
  EXPECT_EQ(score.best_f1_threshold, -1);
}

/// Every threshold tried by itself: the questions with no_answer up to it answered, the others refused.
TEST(Squad2Score, NoOtherThresholdIsBetter) {
  const std::vector<std::string> texts = {"", "dog", "the dog", "old dog", "cat", "a", "old cat sleeps"};
  for (std::uint32_t set = 0; set < 50; ++set) {
    std::vector<Squad2Answer> answers;
    for (std::uint32_t i = 0; i < 30; ++i) {
      const auto draw = philox({i, set, 0, 0}, {5, 5});
      Squad2Answer answer{{}, texts[draw[0] % texts.size()], uniform(i, set + 1) * 4 - 2};
      if (draw[1] % 3 != 0) answer.gold = {texts[1 + draw[2] % 4]};
      answers.push_back(answer);
    }
    const auto at = [&](double threshold, bool exact) {
      double sum = 0;
      for (const Squad2Answer& answer : answers) {
        const bool answered = answer.no_answer <= threshold;
        if (answer.gold.empty()) {
          sum += answered && !answer.prediction.empty() ? 0 : 1;
        } else if (answered) {
          const AnswerScore one = score_answer(answer.prediction, answer.gold, normalise_squad_answer);
          sum += exact ? one.exact_match : one.f1;
        }
      }
      return 100 * sum / static_cast<double>(answers.size());
    };
    const Squad2Score score = score_squad2(answers);
    for (const bool exact : {true, false}) {
      double best = at(-100, exact);
      for (const Squad2Answer& answer : answers) best = std::max(best, at(answer.no_answer, exact));
      EXPECT_NEAR(exact ? score.best_exact_match : score.best_f1, best, 1e-9);
      if (best > at(-100, exact)) {
        EXPECT_NEAR(at(exact ? score.best_exact_match_threshold : score.best_f1_threshold, exact), best, 1e-9);
      }
    }
  }
}

// --- mining -----------------------------------------------------------------------------------------------------------

std::vector<float> random_unit_rows(std::int64_t rows, std::int64_t width, std::uint32_t stream) {
  std::vector<float> vectors;
  for (std::int64_t i = 0; i < rows * width; ++i)
    vectors.push_back(static_cast<float>(uniform(static_cast<std::uint32_t>(i), stream) - 0.4));
  normalise_rows(vectors, width);
  return vectors;
}

struct Reference {
  std::vector<std::vector<double>> cosines;
  std::vector<double> source_means;
  std::vector<double> target_means;
};

double mean_of_largest(std::vector<double> values, std::size_t k) {
  std::sort(values.rbegin(), values.rend());
  k = std::min(k, values.size());
  double sum = 0;
  for (std::size_t i = 0; i < k; ++i) sum += values[i];
  return sum / static_cast<double>(k);
}

/// The whole matrix, in double.
Reference reference_of(const std::vector<float>& source, const std::vector<float>& target, std::size_t width,
                       std::size_t k) {
  Reference reference;
  const std::size_t rows = source.size() / width;
  const std::size_t columns = target.size() / width;
  std::vector<std::vector<double>> transposed(columns);
  for (std::size_t i = 0; i < rows; ++i) {
    reference.cosines.emplace_back();
    for (std::size_t j = 0; j < columns; ++j) {
      double sum = 0;
      for (std::size_t c = 0; c < width; ++c)
        sum += static_cast<double>(source[i * width + c]) * static_cast<double>(target[j * width + c]);
      reference.cosines.back().push_back(sum);
      transposed[j].push_back(sum);
    }
  }
  for (const auto& row : reference.cosines) reference.source_means.push_back(mean_of_largest(row, k));
  for (const auto& column : transposed) reference.target_means.push_back(mean_of_largest(column, k));
  return reference;
}

double margin_of(const Reference& reference, std::size_t i, std::size_t j, Margin margin) {
  const double mean = (reference.source_means[i] + reference.target_means[j]) / 2;
  const double cosine = reference.cosines[i][j];
  return margin == Margin::kAbsolute ? cosine : margin == Margin::kDistance ? cosine - mean : cosine / mean;
}

/// Proposals from the definition: among a sentence's k nearest, the best margin; then greedily by margin.
std::map<std::size_t, std::pair<std::size_t, double>> reference_pairs(const Reference& reference, std::size_t k,
                                                                      Margin margin) {
  std::vector<std::tuple<double, std::size_t, std::size_t>> proposals;
  const std::size_t rows = reference.cosines.size();
  const std::size_t columns = reference.cosines[0].size();
  const auto propose = [&](std::size_t count, const auto& cosine, const auto& add) {
    std::vector<std::size_t> order(count);
    for (std::size_t i = 0; i < count; ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return cosine(a) > cosine(b); });
    order.resize(std::min(k, count));
    add(order);
  };
  for (std::size_t i = 0; i < rows; ++i) {
    propose(
        columns, [&](std::size_t j) { return reference.cosines[i][j]; },
        [&](const std::vector<std::size_t>& near) {
          std::tuple<double, std::size_t, std::size_t> best(-1e9, 0, 0);
          for (const std::size_t j : near) best = std::max(best, {margin_of(reference, i, j, margin), i, j});
          proposals.push_back(best);
        });
  }
  for (std::size_t j = 0; j < columns; ++j) {
    propose(
        rows, [&](std::size_t i) { return reference.cosines[i][j]; },
        [&](const std::vector<std::size_t>& near) {
          std::tuple<double, std::size_t, std::size_t> best(-1e9, 0, 0);
          for (const std::size_t i : near) best = std::max(best, {margin_of(reference, i, j, margin), i, j});
          proposals.push_back(best);
        });
  }
  std::sort(proposals.rbegin(), proposals.rend());
  std::map<std::size_t, std::pair<std::size_t, double>> pairs;
  std::set<std::size_t> taken;
  for (const auto& [score, i, j] : proposals) {
    if (pairs.contains(i) || taken.contains(j)) continue;
    pairs[i] = {j, score};
    taken.insert(j);
  }
  std::erase_if(pairs, [](const auto& pair) { return pair.second.second <= 0; });
  return pairs;
}

TEST(BitextMining, EqualsTheDefinitionOnRandomVectors) {
  constexpr std::int64_t kWidth = 24;
  const std::pair<std::int64_t, std::int64_t> sizes[] = {{70, 90}, {130, 40}, {3, 50}, {1, 1}, {50, 2}};
  for (const auto& [rows, columns] : sizes) {
    const std::vector<float> source = random_unit_rows(rows, kWidth, 1);
    const std::vector<float> target = random_unit_rows(columns, kWidth, 2);
    for (const std::int64_t k : {1, 4}) {
      const Reference reference = reference_of(source, target, kWidth, static_cast<std::size_t>(k));
      for (const Margin margin : {Margin::kAbsolute, Margin::kDistance, Margin::kRatio}) {
        const auto expected = reference_pairs(reference, static_cast<std::size_t>(k), margin);
        const std::vector<MinedPair> pairs = mine_bitext(source, target, kWidth, {k, margin, 0});
        EXPECT_EQ(pairs.size(), expected.size()) << rows << " x " << columns << ", k " << k;
        float before = 1e9f;
        for (const MinedPair& pair : pairs) {
          const auto found = expected.find(static_cast<std::size_t>(pair.source));
          ASSERT_NE(found, expected.end());
          EXPECT_EQ(static_cast<std::size_t>(pair.target), found->second.first);
          EXPECT_NEAR(pair.score, found->second.second, 1e-5);
          EXPECT_LE(pair.score, before);
          before = pair.score;
        }
      }
    }
  }
}

TEST(BitextMining, FindsHiddenTranslations) {
  constexpr std::int64_t kWidth = 32;
  std::vector<float> source = random_unit_rows(200, kWidth, 3);
  std::vector<float> target = random_unit_rows(300, kWidth, 4);
  for (std::int64_t i = 0; i < 50; ++i) {  // target 2i is source i with some noise
    for (std::int64_t c = 0; c < kWidth; ++c) {
      const auto at = static_cast<std::size_t>(2 * i * kWidth + c);
      target[at] = source[static_cast<std::size_t>(i * kWidth + c)] + 0.05f * target[at];
    }
  }
  normalise_rows(target, kWidth);
  const std::vector<MinedPair> pairs = mine_bitext(source, target, kWidth, {});
  for (std::size_t i = 0; i < 50; ++i) {
    EXPECT_LT(pairs[i].source, 50);
    EXPECT_EQ(pairs[i].target, 2 * pairs[i].source);
  }
  EXPECT_TRUE(mine_bitext(source, target, kWidth, {4, Margin::kAbsolute, 1.01f}).empty());
}

TEST(BitextMining, ThresholdMaximisesF1) {
  const IdPairs gold = {{"a", "A"}, {"b", "B"}, {"c", "C"}};
  // By falling score: right, wrong, right, wrong, wrong. After three: P 2/3, R 2/3; after one: P 1, R 1/3.
  const std::vector<ScoredPair> pairs = {
      {"x", "Y", 0.25f}, {"b", "B", 1.25f}, {"a", "C", 1.5f}, {"a", "A", 2}, {"y", "Z", 1}};
  EXPECT_EQ(best_threshold(pairs, gold), (1.25 + 1.0) / 2);
  EXPECT_EQ(best_threshold({{"a", "A", 2}, {"b", "B", 1}}, gold), 1);  // the last one is the best end
  EXPECT_EQ(best_threshold({{"q", "A", 2}}, gold), 0);
  for (std::uint32_t set = 0; set < 30; ++set) {
    std::vector<ScoredPair> random;
    for (std::uint32_t i = 0; i < 40; ++i) {
      const auto draw = philox({i, set, 0, 0}, {6, 6});
      random.push_back({std::string(1, static_cast<char>('a' + draw[0] % 9)),
                        std::string(1, static_cast<char>('A' + draw[1] % 3)), static_cast<float>(uniform(i, 100 + set))});
    }
    const auto f1_from = [&](double threshold) {  // of a list, as the reference counts
      std::size_t right = 0;
      std::size_t all = 0;
      for (const ScoredPair& pair : random) {
        if (static_cast<double>(pair.score) < threshold) continue;
        ++all;
        right += gold.count({pair.source, pair.target});
      }
      if (right == 0) return 0.0;
      const double precision = static_cast<double>(right) / static_cast<double>(all);
      const double recall = static_cast<double>(right) / static_cast<double>(gold.size());
      return 2 * precision * recall / (precision + recall);
    };
    double best = 0;
    for (const ScoredPair& pair : random) best = std::max(best, f1_from(static_cast<double>(pair.score)));
    EXPECT_DOUBLE_EQ(f1_from(best_threshold(random, gold)), best);
  }
}

TEST(BitextMining, ScoreOfSets) {
  const IdPairs gold = {{"a", "A"}, {"b", "B"}, {"c", "C"}, {"d", "D"}};
  const PairScore score = score_pairs(gold, {{"a", "A"}, {"b", "C"}, {"c", "C"}});
  EXPECT_DOUBLE_EQ(score.precision, 200.0 / 3);
  EXPECT_DOUBLE_EQ(score.recall, 50);
  EXPECT_DOUBLE_EQ(score.f1, 400.0 / 7);
  EXPECT_EQ(score_pairs(gold, {{"a", "B"}}).f1, 0);
  EXPECT_EQ(score_pairs(gold, {}).f1, 0);
}

TEST(Ranking, AveragePrecision) {
  using Set = std::set<int>;
  EXPECT_DOUBLE_EQ(average_precision(Set{7}, std::vector<int>{1, 7, 3}, 20), 0.5);
  EXPECT_DOUBLE_EQ(average_precision(Set{7}, std::vector<int>{1, 7, 3}, 1), 0);
  EXPECT_DOUBLE_EQ(average_precision(Set{1, 2, 3}, std::vector<int>{1, 9, 3, 2}, 20), (1 + 2.0 / 3 + 3.0 / 4) / 3);
  EXPECT_DOUBLE_EQ(average_precision(Set{1, 2, 3}, std::vector<int>{1, 9, 3, 2}, 2), 1.0 / 2);  // min(3 targets, 2 ranks)
  EXPECT_DOUBLE_EQ(average_precision(Set{1, 2}, std::vector<int>{1, 1, 2}, 20), (1 + 2.0 / 3) / 2);  // a second 1 is no hit
  EXPECT_EQ(average_precision(Set{1}, std::vector<int>{}, 20), 0);
}

}  // namespace
}  // namespace koine
