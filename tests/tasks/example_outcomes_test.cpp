// Outcomes of single examples: their table, the figures drawn anew from them, agreement over languages; planted differences are found with
// intervals that cover them, null differences are not.

#include "tasks/common/example_outcomes.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/report/example_figures.h"
#include "tasks/scorers/span_f1.h"
#include "tasks/scorers/tagging_f1.h"
#include "tasks/statistics/inference.h"
#include "tests/engine/temporary_folder.h"
#include "tests/tasks/normal_draws.h"

namespace koine {
namespace {

ExampleOutcomes read_back(const ExampleOutcomes& outcomes) {
  const TemporaryFolder folder;
  write_file_atomically(folder.path() / "table.tsv", example_table(outcomes));
  return read_example_table(folder.path() / "table.tsv");
}

std::string reading_error(const std::string& table) {
  const TemporaryFolder folder;
  write_file_atomically(folder.path() / "table.tsv", table);
  try {
    read_example_table(folder.path() / "table.tsv");
  } catch (const UserError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(ExampleOutcomes, TablesAreReadBack) {
  const ExampleOutcomes labels = outcomes_of_scores("accuracy", {2, 0}, {{0.1F, -1, 0.5F}, {0.25F, 0.25F, 3}});
  EXPECT_EQ(example_table(labels), "example\tpoints\tranked\n0\t1\t2,0,1\n1\t0\t2,0,1\n");
  EXPECT_DOUBLE_EQ(labels.figure(), 50);
  EXPECT_EQ(read_back(labels).ranked, labels.ranked);
  EXPECT_EQ(read_back(labels).candidates, 3);
  EXPECT_TRUE(read_back(labels).ids.empty());
  const ExampleOutcomes written = outcomes_of_choices("accuracy", {1, 1}, {-1, 1});
  EXPECT_EQ(example_table(written), "example\tpoints\tranked\n0\t0\t-\n1\t1\t1\n");
  EXPECT_EQ(read_back(written).ranked, written.ranked);
  EXPECT_EQ(outcomes_of_scores("accuracy", {8}, {std::vector<float>(9, 0)}).ranked.size(), 1u) << "too many to be kept";
  ExampleOutcomes answers;
  answers.ids = {"56be", "a\tb"};
  answers.points = {2.0F / 3, 1};
  answers.weights = {3, 0.5F};
  answers.exact = {0, 1};
  const ExampleOutcomes again = read_back(answers);
  EXPECT_EQ(again.ids, (std::vector<std::string>{"56be", "a_b"}));
  EXPECT_EQ(again.points, answers.points);
  EXPECT_EQ(again.weights, answers.weights);
  EXPECT_EQ(again.exact, answers.exact);
  EXPECT_DOUBLE_EQ(again.figure(), answers.figure());
  EXPECT_NE(reading_error("example\tscore\n").find("table.tsv:1"), std::string::npos);
  EXPECT_NE(reading_error("example\tpoints\n0\t1\n1\n").find("table.tsv:3: 1 columns"), std::string::npos);
  EXPECT_NE(reading_error("example\tpoints\n0\tone\n").find("table.tsv:2: \"one\""), std::string::npos);
  EXPECT_NE(reading_error("example\tpoints\tranked\n0\t1\t1,0\n1\t1\t1\n").find("table.tsv:3: 1 candidates"),
            std::string::npos);
}

// No chunk reaches over a sentence's end, so that the counts of sentences make the score of all.
TEST(ExampleOutcomes, ChunksOfSentencesMakeTheScoreOfAll) {
  const TagSequences gold = {{"SCONJ", "SCONJ", "SYM", "X"},   {"CCONJ", "ADP"},
                             {"B-PER", "I-PER", "O", "B-LOC"}, {"O"},
                             {"E-PER", "I-PER", "S-LOC", "."}, {"I-PER", "NOUN", "NOUN"}};
  const TagSequences answers = {{"SCONJ", "SYM", "SYM", "X"},         {"SCONJ", "ADP"},
                                {"B-PER", "I-PER", "I-PER", "B-LOC"}, {"O"},
                                {"I-PER", "E-PER", "S-LOC", "B-X"},   {"I-PER", "NOUN", "VERB"}};
  ChunkCounts sum;
  for (std::size_t i = 0; i < gold.size(); ++i) {
    const ChunkCounts one = chunk_counts(gold[i], answers[i]);
    sum = {sum.right + one.right, sum.predicted + one.predicted, sum.gold + one.gold};
  }
  EXPECT_NEAR(200.0 * static_cast<double>(sum.right) / static_cast<double>(sum.predicted + sum.gold),
              tagging_score(gold, answers).f1, 1e-9);
  const ChunkCounts names = name_counts({{"PER", "a"}, {"PER", "a"}, {"LOC", "b"}}, {{"PER", "a"}, {"LOC", "c"}});
  EXPECT_EQ(names.right, 1u);
  EXPECT_EQ(names.predicted, 2u);
  EXPECT_EQ(names.gold, 3u);
}

// github.com/Betswish/Cross-Lingual-Consistency, 1_easyrun/RankC.py with softmax weights, of one question.
TEST(ExampleOutcomes, RankCEqualsItsAuthors) {
  struct Case {
    std::vector<std::int16_t> one, other;
    double value;
  };
  const Case cases[] = {{{2, 0, 1}, {2, 0, 1}, 1},
                        {{2, 0, 1}, {2, 1, 0}, 0.8776357644726012},
                        {{2, 0, 1}, {0, 2, 1}, 0.3347590442251781},
                        {{2, 0, 1}, {1, 0, 2}, 0.21239480869777927},
                        {{0, 1}, {1, 0}, 0.2689414213699951},
                        {{3, 1, 4, 0, 2}, {1, 3, 2, 4, 0}, 0.3269606084300486},
                        {{3, 1, 4, 0, 2}, {2, 0, 4, 1, 3}, 0.06412943636522238}};
  for (const Case& one : cases)
    EXPECT_NEAR(rank_consistency(one.one.data(), one.other.data(), std::ssize(one.one)), one.value, 1e-12);
}

std::vector<double> differences(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> result;
  for (std::size_t i = 0; i < a.size(); ++i) result.push_back(a[i] - b[i]);
  return result;
}

// Stream 0 draws what bootstrap_estimate draws, so that both say the same of paired differences.
TEST(ResampledFigures, ArePairedByItem) {
  const std::vector<float> a = {1, 0, 0, 1, 1, 0, 1, 0}, b = {0, 0, 1, 1, 0, 0, 1, 0};
  std::vector<ItemSeries> series(70, ItemSeries{b, {}});  // more than are worked on together
  series[0] = {a, {}};
  series[69] = {a, std::vector<float>(8, 2)};
  const auto drawn = resampled_figures(series, 8, 500, 7, 0);
  ASSERT_EQ(drawn.size(), 70u);
  EXPECT_EQ(drawn[1], drawn[68]) << "the same draws for all";
  std::vector<std::vector<double>> outcomes(1);
  for (std::size_t i = 0; i < a.size(); ++i) outcomes[0].push_back(a[i] - b[i]);
  const Estimate direct = bootstrap_estimate(outcomes, 500, 7);
  const Estimate paired = drawn_estimate(12.5, 8, differences(drawn[0], drawn[1]));
  EXPECT_NEAR(paired.interval->low, 100 * direct.interval->low, 1e-9);
  EXPECT_NEAR(paired.interval->high, 100 * direct.interval->high, 1e-9);
  for (std::size_t r = 0; r < 500; ++r) ASSERT_NEAR(drawn[69][r], drawn[0][r] / 2, 1e-9) << "weights divide";
  EXPECT_NE(resampled_figures({series[0]}, 8, 500, 7, 1)[0], drawn[0]) << "another stream draws others";
  EXPECT_FALSE(drawn_estimate(0, 8, std::vector<double>(500, 3.0)).interval.has_value());
  // Of 400 examples half right, accuracy varies by 100 sqrt(.25 / 400) = 2.5 points, its figure normally: p of 5 points is 0.0455.
  ItemSeries half{std::vector<float>(400, 0), {}};
  for (std::size_t i = 0; i < 200; ++i) half.points[i] = 1;
  const Estimate normal = drawn_estimate(5, 400, resampled_figures({half}, 400, 4000, 1, 0)[0]);
  EXPECT_NEAR(normal.p.value(), 0.0455, 0.008);  // 4,000 draws know a deviation to 1.1 %
}

// Of 1,000 simulations a share with probability p is p -+ sqrt(p (1 - p) / 1,000); the bounds are 4 of that, and a percentile interval of
// 150 items and 200 draws is by its construction narrower by some per cent: a coverage of .94 is expected.
TEST(ResampledFigures, IntervalsCoverWhatIsPlanted) {
  constexpr int kSimulations = 1000;
  constexpr std::size_t kItems = 150;
  for (const double planted : {0.0, 12.0}) {
    NormalDraws draw(planted == 0 ? 11 : 12);
    int accuracy = 0, found = 0, f1 = 0, found_f1 = 0;
    for (std::uint32_t i = 0; i < kSimulations; ++i) {
      // Two arms that share what makes an example hard. Right with probability 1/2, and by `planted` percent more.
      const double more = planted / 100;
      std::vector<ItemSeries> series(4, ItemSeries{std::vector<float>(kItems, 0), {}});
      series[2].weights = series[3].weights = std::vector<float>(kItems, 0);
      for (std::size_t k = 0; k < kItems; ++k) {
        const double shared = draw();
        const auto share = [&](double own) { return 0.5 * std::erfc(-(shared + own) / 2); };  // uniform
        const double first = share(draw()), second = share(draw());
        series[0].points[k] = first < 0.5 + more ? 1 : 0;
        series[1].points[k] = second < 0.5 ? 1 : 0;
        // Sentences of one chunk or three, each predicted and true, all of them right or none: F1 is the share that is right.
        const float chunks = k % 2 == 0 ? 1 : 3;
        for (std::size_t arm : {0u, 1u}) {
          series[2 + arm].points[k] = 2 * chunks * series[arm].points[k];
          series[2 + arm].weights[k] = 2 * chunks;
        }
      }
      const auto drawn = resampled_figures(series, kItems, 200, 1, i);
      const auto estimate = [&](std::size_t a, std::size_t b) {
        double value = 0;
        for (const std::size_t s : {a, b}) {
          double sum = 0, whole = 0;
          for (std::size_t k = 0; k < kItems; ++k) {
            sum += series[s].points[k];
            whole += series[s].weights.empty() ? 1 : series[s].weights[k];
          }
          value += (s == a ? 100 : -100) * sum / whole;
        }
        return drawn_estimate(value, kItems, differences(drawn[a], drawn[b]));
      };
      const auto covers = [&](const Estimate& one) { return one.interval->low <= planted && planted <= one.interval->high; };
      const Estimate one = estimate(0, 1), other = estimate(2, 3);
      accuracy += covers(one) ? 1 : 0;
      f1 += covers(other) ? 1 : 0;
      found += *one.p <= 0.05 ? 1 : 0;
      found_f1 += *other.p <= 0.05 ? 1 : 0;
    }
    const auto share = [](int count) { return static_cast<double>(count) / kSimulations; };
    EXPECT_NEAR(share(accuracy), 0.94, 0.03) << planted;
    EXPECT_NEAR(share(f1), 0.94, 0.03) << planted;
    // A difference of 12 points has a standard error of 100 sqrt(2 (1/4 - cov) / 150) = 4.6 with cov = .083: found with 74 %; the
    // weighted one, of fewer sentences in effect, with less.
    if (planted == 0) {
      EXPECT_NEAR(share(found), 0.05, 0.03);
      EXPECT_NEAR(share(found_f1), 0.05, 0.03);
    } else {
      EXPECT_GT(share(found), 0.6);
      EXPECT_GT(share(found_f1), 0.5);
    }
  }
}

KeptOutcomes kept_labels(const std::string& arm, const std::string& language, const std::vector<std::int32_t>& gold,
                         const std::vector<std::int32_t>& chosen) {
  ExampleOutcomes outcomes = outcomes_of_choices("accuracy", gold, chosen);
  outcomes.parallel = true;
  return {"m", arm, "xnli", language, 1, outcomes};
}

const ExampleFigure& figure_in(const ExampleFigures& figures, ExampleMeasure measure, const std::string& language,
                               const std::string& target = "xnli") {
  return figures.find({measure, "m", "none", target, language})->at(1);
}

TEST(ExampleFigures, AgreementWithTheSourceLanguage) {
  const std::vector<std::int32_t> gold = {0, 1, 2, 0, 1, 2, 0, 1};
  const std::vector<std::int32_t> english = {0, 1, 2, 2, 1, 2, -1, 0};
  const std::vector<std::int32_t> german = {0, 1, 0, 2, 0, 2, -1, 0};
  const ExampleFigures figures({kept_labels("none", "de", gold, german), kept_labels("none", "en", gold, english)}, "en");
  // The same in examples 0, 1, 3, 5, 7; unreadable answers agree with none.
  EXPECT_DOUBLE_EQ(figure_in(figures, ExampleMeasure::kSameAnswer, "de").value, 62.5);
  EXPECT_EQ(figures.find({ExampleMeasure::kRankC, "m", "none", "xnli", "de"}), nullptr) << "no order is known";
  EXPECT_EQ(figures.find({ExampleMeasure::kSameAnswer, "m", "none", "xnli", "en"}), nullptr);
  EXPECT_EQ(figures.set_of("xnli", "de"), (std::pair<std::string, std::int64_t>{"xnli", 8}));
  EXPECT_TRUE(figures.not_parallel().empty());
  // Rankings: the same, the other way round, the same.
  KeptOutcomes one{"m",  "none", "xnli",
                   "en", 1,      outcomes_of_scores("accuracy", {0, 0, 2}, {{3, 2, 1}, {3, 2, 1}, {1, 2, 3}})};
  KeptOutcomes other{"m",  "none", "xnli",
                     "de", 1,      outcomes_of_scores("accuracy", {0, 0, 2}, {{3, 2, 1}, {1, 2, 3}, {1, 2, 3}})};
  one.outcomes.parallel = other.outcomes.parallel = true;
  const ExampleFigures ranked({one, other}, "en");
  EXPECT_NEAR(figure_in(ranked, ExampleMeasure::kRankC, "de").value, 100 * (2 + 0.21239480869777927) / 3, 1e-4);
  EXPECT_NEAR(figure_in(ranked, ExampleMeasure::kSameAnswer, "de").value, 200.0 / 3, 1e-9);
}

// Both exactly right in "b", one of them in "a" and "d"; "c" in neither; "e" is not in the other language at all.
TEST(ExampleFigures, AnswersAsTextsShareWhatIsRight) {
  KeptOutcomes english{"m", "none", "xquad", "en", 1, {}}, german{"m", "none", "xquad", "de", 1, {}};
  english.outcomes.metric = german.outcomes.metric = "f1";
  english.outcomes.parallel = german.outcomes.parallel = true;
  english.outcomes.ids = {"a", "b", "c", "d", "e"};
  english.outcomes.exact = {1, 1, 0, 0, 1};
  english.outcomes.points = {1, 1, 0.5F, 0, 1};
  german.outcomes.ids = {"d", "c", "b", "a"};
  german.outcomes.exact = {1, 0, 1, 0};
  german.outcomes.points = {1, 0.5F, 1, 0};
  const ExampleFigures figures({german, english}, "en");
  EXPECT_NEAR(figure_in(figures, ExampleMeasure::kSharedRight, "de", "xquad").value, 100.0 / 3, 1e-9);
  EXPECT_NEAR(figure_in(figures, ExampleMeasure::kFigure, "de", "xquad").value, 100 * 2.5 / 4, 1e-9);
  EXPECT_EQ(figures.set_of("xquad", "en").second, 5);
  EXPECT_EQ(figures.find({ExampleMeasure::kSameAnswer, "m", "none", "xquad", "de"}), nullptr);
  english.outcomes.exact = {0, 0, 0, 0, 0};
  german.outcomes.exact = {0, 0, 0, 0};
  EXPECT_EQ(ExampleFigures({german, english}, "en").find({ExampleMeasure::kSharedRight, "m", "none", "xquad", "de"}),
            nullptr)
      << "with nothing right in either nothing is known";
}

// Translations of the same examples are drawn together: were they taken to be independent, the mean over four equal languages would seem
// to be known twice as well as one language.
TEST(ExampleFigures, TranslationsAreDrawnTogether) {
  NormalDraws draw(5);
  std::vector<std::int32_t> gold, chosen;
  for (int i = 0; i < 200; ++i) gold.push_back(0), chosen.push_back(draw() < 0 ? 0 : 1);
  std::vector<KeptOutcomes> kept;
  for (const char* language : {"en", "de", "fi", "sw"}) kept.push_back(kept_labels("none", language, gold, chosen));
  const ExampleFigures together(kept, "en");
  EXPECT_EQ(figure_in(together, ExampleMeasure::kFigure, "de").drawn,
            figure_in(together, ExampleMeasure::kFigure, "sw").drawn);
  for (KeptOutcomes& one : kept) one.outcomes.parallel = false;
  const ExampleFigures apart(kept, "en");
  EXPECT_NE(figure_in(apart, ExampleMeasure::kFigure, "de").drawn, figure_in(apart, ExampleMeasure::kFigure, "sw").drawn);
  EXPECT_EQ(apart.find({ExampleMeasure::kSameAnswer, "m", "none", "xnli", "de"}), nullptr)
      << "no translations, no agreement";
  // A language more or less changes no other's draws.
  kept.pop_back();
  EXPECT_EQ(figure_in(ExampleFigures(kept, "en"), ExampleMeasure::kFigure, "de").drawn,
            figure_in(apart, ExampleMeasure::kFigure, "de").drawn);
}

TEST(ExampleFigures, SetsThatAreNoTranslationsAreNamed) {
  const ExampleFigures figures(
      {kept_labels("none", "en", {0, 1, 2}, {0, 1, 2}), kept_labels("none", "de", {0, 2, 2}, {0, 1, 2})}, "en");
  ASSERT_EQ(figures.not_parallel().size(), 1u);
  EXPECT_NE(figures.not_parallel()[0].find("xnli de: 1 of 3 examples have another gold answer"), std::string::npos);
  EXPECT_EQ(figures.find({ExampleMeasure::kSameAnswer, "m", "none", "xnli", "de"}), nullptr);
  EXPECT_NE(figures.find({ExampleMeasure::kFigure, "m", "none", "xnli", "de"}), nullptr);
}

}  // namespace
}  // namespace koine
