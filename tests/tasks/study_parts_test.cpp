// Study pages of runs that have kept their examples' outcomes, with one seed too; alignment before and after; what translating costs.

#include "tasks/report/study_parts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/common/check.h"
#include "tasks/report/study.h"
#include "tests/tasks/normal_draws.h"
#include "tests/tasks/result_row.h"

namespace koine {
namespace {

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

const StudyTable* find_table(const std::vector<StudyTable>& tables, const std::string& title) {
  for (const StudyTable& table : tables) {
    if (table.title.rfind(title, 0) == 0) return &table;
  }
  return nullptr;
}

/// A cell of the line whose names begin with these.
const StudyCell& cell_of(const std::vector<StudyTable>& tables, const std::string& title,
                         const std::vector<std::string>& names, const std::string& column) {
  const StudyTable* const table = find_table(tables, title);
  if (table == nullptr) throw std::runtime_error("no table " + title);
  const auto place = std::find(table->columns.begin(), table->columns.end(), column) - table->columns.begin();
  if (place == std::ssize(table->columns)) throw std::runtime_error("no column " + column + " in " + title);
  for (const StudyLine& line : table->lines) {
    bool same = true;
    for (std::size_t i = 0; i < names.size(); ++i) same = same && line.cells[i].text == names[i];
    if (same) return line.cells.at(static_cast<std::size_t>(place));
  }
  throw std::runtime_error("no such line in " + title);
}

bool within(const Estimate& estimate, double value) {
  return estimate.interval.has_value() && estimate.interval->low <= value && value <= estimate.interval->high;
}

/// A row of an evaluation and what it kept.
void add_evaluation(StudyInput& input, const std::string& model, const std::string& arm, const std::string& target,
                    const std::string& language, std::uint32_t seed, ExampleOutcomes outcomes) {
  ResultRow row = result_row(arm, target, language, outcomes.metric, seed, outcomes.figure());
  row.model = model;
  row.examples = static_cast<std::int64_t>(outcomes.size());
  input.rows.push_back(row);
  input.places.push_back(concatenate("simulated:", input.rows.size()));
  input.outcomes.push_back({model, arm, target, language, seed, std::move(outcomes)});
}

/// Two models, xnli in three languages (600 translated examples) and udpos (sentences of ten words); the arm mnli gains `gain` percent of
/// the examples, more of them, by `by_size`, with the larger model. What makes an example hard is the same in all.
StudyInput simulate_examples(double gain, double by_size, int seeds = 1) {
  constexpr int kExamples = 600;
  StudyInput input;
  input.parameters = {{"small", 1e8}, {"large", 1e9}};
  for (const std::string model : {"small", "large"}) {
    for (int seed = 1; seed <= seeds; ++seed) {
      for (const std::string arm : {"none", "mnli"}) {
        const double level = 0.6 + (arm == "none" ? 0 : gain + (model == "large" ? by_size : 0)) / 100;
        for (const std::string language : {"en", "de", "sw"}) {
          NormalDraws hard(1), own(static_cast<std::uint32_t>(100 + seed * 10 + (arm == "none" ? 1 : 2)) + language[0] +
                                   (model == "large" ? 1000 : 0));
          std::vector<std::int32_t> gold, chosen;
          for (int i = 0; i < kExamples; ++i) {
            const double share = 0.5 * std::erfc(-(hard() + 0.5 * own()) / std::sqrt(2 * 1.25));
            gold.push_back(i % 3);
            chosen.push_back(share < level ? i % 3 : (i + 1) % 3);
          }
          ExampleOutcomes outcomes = outcomes_of_choices("accuracy", gold, chosen);
          outcomes.parallel = true;
          add_evaluation(input, model, arm, "xnli", language, static_cast<std::uint32_t>(seed), std::move(outcomes));
        }
        for (const std::string language : {"en", "fi"}) {
          ExampleOutcomes tags;
          tags.metric = "f1";
          NormalDraws words(static_cast<std::uint32_t>(7 + language[0] + (model == "large" ? 1000 : 0)));
          for (int i = 0; i < 200; ++i) {
            int right = 0;
            for (int word = 0; word < 10; ++word) right += 0.5 * std::erfc(-words() / std::sqrt(2.0)) < level ? 1 : 0;
            tags.points.push_back(static_cast<float>(2 * right));
            tags.weights.push_back(20);
          }
          add_evaluation(input, model, arm, "udpos", language, static_cast<std::uint32_t>(seed), std::move(tags));
        }
      }
    }
  }
  return input;
}

TEST(StudyExamples, OneSeedHasIntervalsOverExamples) {
  const StudyInput input = simulate_examples(8, 0);
  for (const std::string& name : study_names()) {
    if (name == "cost-and-gain" || name == "morphology") continue;
    const StudyPage page = make_study(name, input);
    EXPECT_EQ(page.answer.rfind("Not answered: not enough seeds (n = 1)", 0), 0u) << page.answer;
    EXPECT_TRUE(says(page.answer, "nothing is claimed of other seeds. Of other test examples with the same training: ") ||
                name == "low-resource")
        << page.answer;
  }
  const StudyPage page = make_study("scale-and-robustness", input);
  EXPECT_TRUE(says(page.answer, "95 % interval over examples") && says(page.answer, "the seed's own spread is not in it"));
  for (const char* target : {"xnli, accuracy", "udpos, f1"}) {
    const Estimate estimate =
        cell_of(page.tables, "Gain by model", {"large", target, "mnli"}, "gain over examples").estimate.value();
    EXPECT_TRUE(within(estimate, 8)) << target << " " << estimate.interval->low << " " << estimate.interval->high;
    EXPECT_GT(estimate.interval->low, 0) << target;
    EXPECT_EQ(estimate.count, target[0] == 'x' ? 600 : 200) << "translations count once";
    EXPECT_FALSE(cell_of(page.tables, "Gain by model", {"large", target, "mnli"}, "gain").estimate->interval.has_value());
  }
  EXPECT_EQ(cell_of(page.tables, "By model", {"large"}, "gain over examples").estimate->count, 800);
  EXPECT_TRUE(within(cell_of(page.tables, "Slopes", {"gain", "all"}, "slope over examples").estimate.value(), 0));
  EXPECT_TRUE(says(study_text(page), "the seeds' own spread is not in them"));
  EXPECT_TRUE(says(study_html(page), "95 % intervals over test examples (one seed)"));
  EXPECT_TRUE(says(study_csv(page, input), "gain over examples,"));
  // Every test example counts: of the worst language and the share of losing ones there is no interval over them.
  EXPECT_EQ(cell_of(page.tables, "Slopes", {"worst language", "all"}, "slope over examples").text, "–");
}

TEST(StudyExamples, NullIsNotClaimedAndSlopesAreFound) {
  const StudyPage null = make_study("scale-and-robustness", simulate_examples(0, 0));
  EXPECT_TRUE(within(
      cell_of(null.tables, "Gain by model", {"large", "xnli, accuracy", "mnli"}, "gain over examples").estimate.value(), 0));
  const StudyPage page = make_study("scale-and-robustness", simulate_examples(4, 9));
  const Estimate slope = cell_of(page.tables, "Slopes", {"gain", "xnli"}, "slope over examples").estimate.value();
  EXPECT_TRUE(within(slope, 9)) << slope.interval->low << " " << slope.interval->high;
  EXPECT_GT(slope.interval->low, 0);
}

TEST(StudyExamples, SeveralSeedsHaveBoth) {
  const StudyInput input = simulate_examples(8, 0, 3);
  const StudyPage page = make_study("scale-and-robustness", input);
  EXPECT_NE(page.answer.rfind("Not answered", 0), 0u) << page.answer;
  EXPECT_TRUE(says(study_html(page), "95 % intervals over seeds"));
  const StudyCell& over =
      cell_of(page.tables, "Gain by language", {"small", "xnli", "mnli", "sw Swahili"}, "gain over examples");
  EXPECT_EQ(over.estimate->count, 600);
  EXPECT_TRUE(within(*over.estimate, 8)) << over.text;
  // One seed without its outcomes, and there is none of the mean.
  StudyInput less = input;
  std::erase_if(less.outcomes, [](const KeptOutcomes& one) { return one.seed == 2 && one.language == "sw"; });
  EXPECT_EQ(cell_of(make_study("scale-and-robustness", less).tables, "Gain by language",
                    {"small", "xnli", "mnli", "sw Swahili"}, "gain over examples")
                .text,
            "–");
}

TEST(StudyExamples, RunsWithoutOutcomesSaySo) {
  StudyInput input = simulate_examples(8, 0);
  input.outcomes.clear();
  const StudyPage page = make_study("scale-and-robustness", input);
  EXPECT_TRUE(says(study_text(page), "kept no outcomes of single examples: intervals are over seeds only"));
  EXPECT_FALSE(says(study_markdown(page), "over examples"));
  EXPECT_TRUE(says(study_text(page), "Nothing is said of the agreement of answers"));
  StudyInput half = simulate_examples(8, 0);
  std::erase_if(half.outcomes, [](const KeptOutcomes& one) { return one.target == "udpos"; });
  EXPECT_TRUE(
      says(study_text(make_study("scale-and-robustness", half)), "targets without outcomes of single examples: udpos."));
}

TEST(StudyExamples, AgreementIsShownForAllArms) {
  const StudyPage page = make_study("scale-and-robustness", simulate_examples(8, 0));
  const std::string title = "Agreement of answers with the source language";
  const StudyCell& none = cell_of(page.tables, title, {"large", "xnli", "none"}, "agreement");
  const StudyCell& more = cell_of(page.tables, title, {"large", "xnli", "mnli"}, "more than baseline over examples");
  EXPECT_GT(none.estimate->value, 60) << "what is hard is the same in all languages";
  EXPECT_LT(none.estimate->value, 100);
  EXPECT_TRUE(more.estimate->interval.has_value());
  EXPECT_EQ(cell_of(page.tables, title, {"large", "xnli", "none"}, "more than baseline").text, "–");
  EXPECT_EQ(find_table(page.tables, title)->lines.size(), 4u) << "two models, two arms; udpos is no translation";
  EXPECT_EQ(find_table(page.tables, "Agreement of answers by language")->lines.size(), 8u);
}

const std::vector<std::string> kAlignedLanguages = {"de", "bg", "el", "sw", "es", "tr", "th", "vi", "zh", "ar", "hi", "ru"};

/// Gains of 3 + `slope` for each percent of alignment before, and noise of half a point; the arm's alignment is 5 more, give or take 15.
StudyInput simulate_alignment(double slope, std::uint32_t draw_seed, const std::vector<std::int64_t>& layers) {
  NormalDraws draw(draw_seed);
  StudyInput input;
  const auto add = [&](const std::string& arm, const std::string& target, const std::string& language,
                       const std::string& metric, double value, std::optional<std::int64_t> layer = {}) {
    input.rows.push_back(result_row(arm, target, language, metric, 1, value));
    input.rows.back().layer = layer;
    input.places.push_back(concatenate("simulated:", input.rows.size()));
  };
  for (const std::string& language : kAlignedLanguages) {
    const double before = 40 + 10 * draw();
    for (const std::string arm : {"none", "mnli"}) {
      const double after = before + (arm == "none" ? 0 : 5 + 15 * draw());
      add(arm, "mexa", language, "mexa_mean", after);
      for (const std::int64_t layer : layers)
        add(arm, "mexa", language, "mexa", after + 2 * static_cast<double>(layer), layer);
    }
    add("none", "xnli", language, "accuracy", 60);
    add("mnli", "xnli", language, "accuracy", 63 + slope * (before - 40) + 0.5 * draw());
  }
  return input;
}

TEST(StudyAlignment, ExplainsWhatIsPlanted) {
  const StudyInput input = simulate_alignment(0.2, 1, {0, 1});
  const StudyPage page = make_study("scale-and-robustness", input);
  const std::string title = "Alignment with English (MEXA) and gain";
  EXPECT_TRUE(within(cell_of(page.tables, title, {"m", "mnli", "gain", "alignment before"}, "slope").estimate.value(), 0.2));
  EXPECT_GT(cell_of(page.tables, title, {"m", "mnli", "gain", "alignment before"}, "Spearman").estimate->value, 0.8);
  // What comes after explains less: 0.2 * 100 / (100 + 225) of it.
  const Estimate after = cell_of(page.tables, title, {"m", "mnli", "gain", "alignment after"}, "slope").estimate.value();
  EXPECT_FALSE(within(after, 0.2)) << after.interval->low << " " << after.interval->high;
  EXPECT_EQ(cell_of(page.tables, title, {"m", "mnli", "gain", "its change"}, "Pearson").estimate->count, 12);
  EXPECT_EQ(cell_of(page.tables, title, {"m", "mnli", "gain", "alignment before"}, "languages").text, "12");
  EXPECT_TRUE(within(cell_of(page.tables, "Alignment by layer", {"m", "mnli", "1"}, "change").estimate.value(), 5));
  EXPECT_GT(cell_of(page.tables, "Alignment by layer", {"m", "mnli", "0"}, "Spearman with gain").estimate->value, 0.8);
  for (const StudyLine& line : find_table(page.tables, "Gain by model")->lines)
    EXPECT_EQ(line.cells[1].text, "xnli, accuracy") << "alignment is no gain";
  EXPECT_TRUE(says(study_html(page), "hidden state"));
  StudyInput without = input;
  std::erase_if(without.rows, [](const ResultRow& row) { return row.target == "mexa"; });
  EXPECT_EQ(find_table(make_study("scale-and-robustness", without).tables, "Alignment"), nullptr);
}

// Of 1,000 simulations a share with probability p is p -+ sqrt(p (1 - p) / 1,000); the bounds are 4 of that.
TEST(StudyAlignment, NullIsNotFoundAndIntervalsCover) {
  constexpr int kSimulations = 1000;
  for (const double slope : {0.0, 0.03}) {
    int covered = 0, found = 0;
    for (std::uint32_t i = 0; i < kSimulations; ++i) {
      const StudyInput input = simulate_alignment(slope, 5000 + i, {});
      const StudyPart part = alignment_part(input, StudyFigures(input));
      const Estimate estimate =
          cell_of(part.tables, "Alignment with English", {"m", "mnli", "gain", "alignment before"}, "slope")
              .estimate.value();
      covered += within(estimate, slope) ? 1 : 0;
      found += *estimate.p <= 0.05 ? 1 : 0;
    }
    EXPECT_NEAR(covered / double{kSimulations}, 0.95, 0.028);
    if (slope == 0)
      EXPECT_NEAR(found / double{kSimulations}, 0.05, 0.028);
    else
      EXPECT_GT(found / double{kSimulations}, 0.3);  // a standard error of .5 / (10 sqrt(11)) = .015: a t of 2
  }
}

// 1e15 FLOPs in an hour, and a million translated tokens at 1e8 FLOPs: a tenth more FLOPs, and at a fifth of the rate half an hour more.
TEST(StudyCost, TranslatingIsCountedWhereItsCostIsGiven) {
  StudyInput input = simulate_examples(8, 0);
  for (const char* model : {"small", "large"}) input.costs.push_back({model, "mnli", 1, 1e15, 1e6, 3600, 3.6e6, 1e6});
  input.price = 4;
  const std::string title = "Cost of the intermediate training";
  const auto text = [&](const StudyPage& page, const char* column) {
    return cell_of(page.tables, title, {"large", "mnli"}, column).text;
  };
  const StudyPage none = make_study("cost-and-gain", input);
  EXPECT_TRUE(says(study_text(none), "its FLOPs and hours are not counted (0; --translation-flops); nor is money"));
  EXPECT_EQ(text(none, "PFLOP"), "1.000");
  EXPECT_EQ(text(none, "money"), "4.00");
  EXPECT_EQ(text(none, "million tokens translated"), "1.000");
  input.translation = {1e8, 0.2, 0};
  const StudyPage counted = make_study("cost-and-gain", input);
  EXPECT_TRUE(says(study_text(counted), "0.10 GFLOP for a token of the translations, at 0.20 of the rate"));
  EXPECT_EQ(text(counted, "PFLOP"), "1.100");
  EXPECT_EQ(text(counted, "PFLOP of translating"), "0.100");
  EXPECT_EQ(text(counted, "hours"), "1.500");
  EXPECT_EQ(text(counted, "kWh"), "1.500");
  EXPECT_EQ(text(counted, "money"), "6.00");
  input.translation.price_per_million_tokens = 20;
  EXPECT_EQ(text(make_study("cost-and-gain", input), "money"), "24.00") << "a service's price instead of the hours'";
  for (TrainingCost& cost : input.costs) cost.translated_tokens = 0;
  EXPECT_TRUE(says(study_text(make_study("cost-and-gain", input)), "nothing is counted for translating"));
}

}  // namespace
}  // namespace koine
