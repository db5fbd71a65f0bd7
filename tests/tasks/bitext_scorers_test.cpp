// The scorers of translations found by their vectors, against what their authors' programs give.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "tasks/families/retrieval.h"
#include "tasks/scorers/bitext_mining.h"
#include "tasks/scorers/mexa.h"
#include "tasks/scorers/mteb_bitext.h"

namespace koine {
namespace {

constexpr std::int64_t kWidth = 16;
constexpr std::int64_t kRows = 60;

/// Whole numbers from -504 to 504, no two rows alike.
std::vector<float> rows_of(std::int64_t stream) {
  std::vector<float> rows;
  for (std::int64_t i = 0; i < kRows; ++i) {
    for (std::int64_t j = 0; j < kWidth; ++j) {
      const std::int64_t number = i * 7919 + j * 10473 + stream * 12997;
      rows.push_back(static_cast<float>(number * number % 1009 - 504));
    }
  }
  return rows;
}

std::vector<float> noisy(std::vector<float> rows, float share) {
  const std::vector<float> noise = rows_of(5);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] += share * noise[i];
  return rows;
}

// precision_score, f1_score and accuracy_score of scikit-learn 1.9.1, average="weighted" and zero_division=0, times 100, as
// MTEB's AbsTaskBitextMining._compute_metrics calls them.
TEST(MtebBitext, IsScikitLearnsWeightedScore) {
  struct Case {
    std::int32_t count;
    std::function<std::int32_t(std::int32_t)> gold, answer;
    double precision, f1, accuracy;
  };
  const Case cases[] = {
      {50, [](std::int32_t i) { return i * 7 % 13; },
       [](std::int32_t i) { return i % 3 != 0 ? i * 7 % 13 : (i * i + 3) % 13; }, 74.4, 67.65079365079364, 66},
      {40, [](std::int32_t i) { return i; }, [](std::int32_t i) { return i % 3 != 0 ? i : i * 5 % 40; }, 60,
       62.916666666666664, 70},
      {6, [](std::int32_t i) { return i % 2; }, [](std::int32_t i) { return i % 3; }, 50, 40, 100.0 / 3},
  };
  for (const Case& one : cases) {
    std::vector<std::int32_t> gold, answers;
    for (std::int32_t i = 0; i < one.count; ++i) {
      gold.push_back(one.gold(i));
      answers.push_back(one.answer(i));
    }
    const MtebBitextScore score = mteb_bitext_score(gold, answers);
    // Sums of some dozen terms of size 1, times 100: in another order than numpy's.
    EXPECT_NEAR(score.precision, one.precision, 1e-11) << one.count;
    EXPECT_NEAR(score.f1, one.f1, 1e-11) << one.count;
    EXPECT_NEAR(score.accuracy, one.accuracy, 1e-11) << one.count;
  }
}

// By hand: classes 0 and 1 are gold, 1 is answered twice. P(1) = 1/2, R(1) = 1, F1(1) = 2/3; nothing right of 0; 2 is no
// gold class and weighs nothing.
TEST(MtebBitext, ByHand) {
  const MtebBitextScore score = mteb_bitext_score(std::vector<std::int32_t>{0, 1, 0}, std::vector<std::int32_t>{1, 1, 2});
  EXPECT_DOUBLE_EQ(score.precision, 100.0 / 3 / 2);
  EXPECT_DOUBLE_EQ(score.accuracy, 100.0 / 3);
  EXPECT_DOUBLE_EQ(score.f1, 200.0 / 9);
}

struct Aligned {
  float noise;
  double mteb_f1, mteb_accuracy;
  double mexa;
};
// Nearest by cosine in double (no two candidates are nearer than 0.002), scored by scikit-learn; mexa() and
// cosine_similarity() of cisnlp/MEXA's compute_mexa.py.
const Aligned kAligned[] = {
    {0.9f, 77.77777777777779, 83.33333333333334, 73.33333333333333},
    {1.5f, 24.166666666666664, 31.666666666666664, 3.3333333333333335},
    {2.5f, 5.944444444444444, 10, 1.6666666666666667},
};

TEST(MtebBitext, OfVectors) {
  for (const Aligned& one : kAligned) {
    std::vector<float> queries = rows_of(3);
    std::vector<float> candidates = noisy(queries, one.noise);
    std::vector<std::int32_t> gold(kRows);
    for (std::int32_t i = 0; i < kRows; ++i) gold[static_cast<std::size_t>(i)] = i;
    const MtebBitextScore score = mteb_bitext_score(gold, nearest_by_cosine(queries, candidates, kWidth));
    EXPECT_NEAR(score.f1, one.mteb_f1, 1e-11) << one.noise;
    EXPECT_NEAR(score.accuracy, one.mteb_accuracy, 1e-11) << one.noise;
  }
}

TEST(Mexa, IsItsAuthorsProgram) {
  const std::vector<float> english = rows_of(3);
  for (const Aligned& one : kAligned)
    EXPECT_DOUBLE_EQ(mexa_percent(english, noisy(english, one.noise), kWidth), one.mexa) << one.noise;
}

// Cosines, English down, foreign across (lengths do not matter):
//
//         a     b     c
//   x     1     0    .6
//   y     0     1    .8
//   z    .6    .8    1     every pair is its row's and its column's largest
TEST(Mexa, ByHand) {
  const std::vector<float> sentences = {1, 0, 0, 2, 3, 4};
  EXPECT_EQ(mexa_percent(sentences, sentences, 2), 100);
  // c = a: row x has two largest, neither above the other; row z's largest is b, and column c's is x. y and b remain.
  EXPECT_DOUBLE_EQ(mexa_percent(sentences, std::vector<float>{1, 0, 0, 2, 5, 0}, 2), 100.0 / 3);
  // Foreign 1 and 2 changed places: only x.
  EXPECT_DOUBLE_EQ(mexa_percent(sentences, std::vector<float>{1, 0, 3, 4, 0, 2}, 2), 100.0 / 3);
  // The largest of its column but not of its row, and the other way round.
  EXPECT_EQ(mexa_percent(std::vector<float>{1, 0, 1, 1}, std::vector<float>{1, 1, 1, 2}, 2), 0);
  // A sentence without a vector is near nothing; the other is not held up by it.
  EXPECT_DOUBLE_EQ(mexa_percent(std::vector<float>{0, 0, -1, 0}, std::vector<float>{1, 0, 0, 1}, 2), 50);
}

TEST(MutualNeighbours, AreTwoSearches) {
  std::vector<float> source = rows_of(3);
  std::vector<float> target = noisy(source, 1.5f);
  target.resize(target.size() / 2);
  normalise_rows(source, kWidth);
  normalise_rows(target, kWidth);
  for (const std::int64_t k : {1, 4, 45}) {
    const MutualNeighbours both = mutual_neighbours(source, target, kWidth, k);
    const Neighbours forward = nearest_neighbours(source, target, kWidth, k);
    const Neighbours backward = nearest_neighbours(target, source, kWidth, k);
    EXPECT_EQ(both.forward.k, std::min<std::int64_t>(k, kRows / 2));
    EXPECT_EQ(both.forward.indices, forward.indices);
    EXPECT_EQ(both.forward.cosines, forward.cosines);
    EXPECT_EQ(both.forward.means, forward.means);
    EXPECT_EQ(both.backward.indices, backward.indices);
    EXPECT_EQ(both.backward.cosines, backward.cosines);
    EXPECT_EQ(both.backward.means, backward.means);
  }
}

}  // namespace
}  // namespace koine
