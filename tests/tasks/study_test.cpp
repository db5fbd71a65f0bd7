// The five study pages on simulated results: planted effects are found with intervals that cover them, null effects are not,
// and nothing is claimed without seeds.

#include "tasks/report/study.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/common/check.h"
#include "tasks/languages/language_facts.h"
#include "tests/tasks/normal_draws.h"
#include "tests/tasks/result_row.h"

namespace koine {
namespace {

struct Planted {
  double gain = 0;              ///< of every arm but the baseline, in every language
  double gain_by_size = 0;      ///< more of it for ten times the parameters
  double gap_by_size = 0;       ///< more distance of English to the others
  double gain_by_text = 0;      ///< more gain for ten times the text in CC-100
  double text_by_size = 0;      ///< more of that for ten times the parameters
  double gain_by_features = 0;  ///< more gain for one more feature a word
  double of_second_arm = 0;     ///< more gain of the arm "dear"
};

struct Shape {
  int seeds = 4;
  std::vector<std::string> models = {"small", "middle", "large"};
  std::vector<std::string> arms = {"none", "cheap", "dear"};
  std::vector<std::string> targets = {"first", "second"};
  std::vector<std::string> languages = {"en", "de", "fi", "hu", "sw", "ta"};
};

double features_of(const std::string& language) {
  static const std::map<std::string, double> kFeatures = {{"en", 1},   {"de", 2},   {"fi", 3},
                                                          {"hu", 3.5}, {"sw", 1.5}, {"ta", 2.5}};
  return kFeatures.at(language);
}

/// Figures with noise of 0.5 points for each training and 0.3 for each evaluation; baselines and arms of a seed share a part.
StudyInput simulate(const Planted& planted, std::uint32_t draw_seed, const Shape& shape = {}) {
  NormalDraws draw(draw_seed);
  StudyInput input;
  for (std::size_t m = 0; m < shape.models.size(); ++m) {
    const double size = static_cast<double>(m) - 1;  // log10 of the parameters, less 8
    input.parameters[shape.models[m]] = std::pow(10, 8 + size);
    for (int seed = 1; seed <= shape.seeds; ++seed) {
      const double shared = 2 * draw();
      for (const std::string& target : shape.targets) {
        for (const std::string& arm : shape.arms) {
          const double training = arm == "none" ? 0 : 0.5 * draw();
          for (const std::string& language : shape.languages) {
            const LanguageFacts& facts = *language_facts(language);
            double gain = planted.gain + planted.gain_by_size * size + (arm == "dear" ? planted.of_second_arm : 0);
            gain += (planted.gain_by_text + planted.text_by_size * size) * (std::log10(facts.cc100_gib) - 1);
            gain += planted.gain_by_features * (features_of(language) - 2);
            const double level = 60 + 5 * size + (language == "en" ? 10 + planted.gap_by_size * size : 0);
            const double value = level + shared + 0.3 * draw() + (arm == "none" ? 0 : gain + training);
            ResultRow row = result_row(arm, target, language, "accuracy", static_cast<std::uint32_t>(seed), value);
            row.model = shape.models[m];
            input.rows.push_back(row);
            input.places.push_back(concatenate("simulated:", input.rows.size()));
          }
        }
      }
      for (const std::string& arm : shape.arms) {
        if (arm == "none") continue;
        const double times = arm == "dear" ? 10 : 1;
        input.costs.push_back(
            {shape.models[m], arm, static_cast<std::uint32_t>(seed), 1e15 * times, 1e6 * times, 3600 * times, {}});
      }
    }
  }
  for (const std::string& language : shape.languages)
    input.morphology[language] = {language, 1000, 1000, features_of(language), 0.4, 1.5};
  return input;
}

const StudyTable& table_of(const StudyPage& page, const std::string& title) {
  for (const StudyTable& table : page.tables) {
    if (table.title.rfind(title, 0) == 0) return table;
  }
  throw std::runtime_error("no table " + title);
}

/// The estimate in a column of the line whose names begin with these.
Estimate figure_of(const StudyPage& page, const std::string& title, const std::vector<std::string>& names,
                   const std::string& column) {
  const StudyTable& table = table_of(page, title);
  const auto place = std::find(table.columns.begin(), table.columns.end(), column) - table.columns.begin();
  for (const StudyLine& line : table.lines) {
    bool same = true;
    for (std::size_t i = 0; i < names.size(); ++i) same = same && line.cells[i].text == names[i];
    if (same) return line.cells.at(static_cast<std::size_t>(place)).estimate.value();
  }
  throw std::runtime_error("no such line in " + title);
}

bool covers(const Estimate& estimate, double value) {
  return estimate.interval.has_value() && estimate.interval->low <= value && value <= estimate.interval->high;
}

testing::AssertionResult begins(const std::string& text, const std::string& start) {
  if (text.rfind(start, 0) == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << text << "\" does not begin with \"" << start << "\"";
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Study, ScaleFindsWhatIsPlanted) {
  const StudyPage page =
      make_study("scale-and-robustness", simulate({.gain = 2, .gain_by_size = 1.5, .gap_by_size = -3}, 1));
  EXPECT_TRUE(begins(page.answer, "Yes: ")) << page.answer;
  EXPECT_TRUE(holds(page.answer, "n = 4 seeds") && holds(page.answer, "3 models")) << page.answer;
  EXPECT_TRUE(covers(figure_of(page, "Slopes", {"gap after intermediate training", "all"}, "slope"), -3));
  EXPECT_TRUE(covers(figure_of(page, "Slopes", {"gain", "all"}, "slope"), 1.5));
  EXPECT_TRUE(covers(figure_of(page, "By model", {"middle"}, "gain"), 2));
  EXPECT_TRUE(begins(make_study("scale-and-robustness", simulate({.gap_by_size = 3}, 1)).answer, "No: "));
  for (const double gain : {-4.0, 4.0}) {
    const StudyPage all = make_study("scale-and-robustness", simulate({.gain = gain}, 1));
    EXPECT_EQ(figure_of(all, "By model", {"small"}, "losing, %").value, gain < 0 ? 100 : 0);
    EXPECT_EQ(table_of(all, "Gain by model").lines.front().cells[7].text, gain < 0 ? "100" : "0");
  }
}

// Levels of 60 and noise of some points at most: a language set to 20 is the worst with every model.
TEST(Study, TheWorstLanguageIsTheLowest) {
  StudyInput input = simulate({}, 1);
  for (ResultRow& row : input.rows) {
    if (row.language == "sw") row.value = 20;
  }
  const StudyPage page = make_study("scale-and-robustness", input);
  for (const char* model : {"small", "middle", "large"})
    EXPECT_DOUBLE_EQ(figure_of(page, "By model", {model}, "worst language").value, 20) << model;
  EXPECT_DOUBLE_EQ(figure_of(page, "Slopes", {"worst language", "all"}, "slope").value, 0);
}

TEST(Study, MorphologyFindsWhatIsPlanted) {
  const StudyPage page = make_study("morphology", simulate({.gain = 3, .gain_by_features = 1}, 2));
  EXPECT_TRUE(begins(page.answer, "Yes: with large the gain in fi hu ta is +")) << page.answer;
  EXPECT_TRUE(holds(page.answer, "; in Finnish +") && holds(page.answer, "; in Hungarian +")) << page.answer;
  EXPECT_TRUE(covers(figure_of(page, "Gain against morphology", {"features per word"}, "slope"), 1));
  EXPECT_EQ(figure_of(page, "Gain against morphology", {"types per token"}, "Spearman").count, 0) << "it does not vary";
  EXPECT_TRUE(begins(make_study("morphology", simulate({.gain = -3}, 2)).answer, "No: "));
  StudyInput without = simulate({.gain = 3}, 2);
  without.morphology.clear();
  const StudyPage bare = make_study("morphology", without);
  EXPECT_TRUE(holds(study_text(bare), "nothing is correlated"));
}

TEST(Study, CostFindsWhatPays) {
  StudyInput input = simulate({.gain = 2, .of_second_arm = 3}, 3);
  input.price = 4;
  const StudyPage page = make_study("cost-and-gain", input);
  EXPECT_TRUE(begins(page.answer, "It pays in points: ")) << page.answer;
  EXPECT_TRUE(holds(page.answer, "dear") && holds(page.answer, "10.0 times its FLOPs")) << page.answer;
  EXPECT_TRUE(covers(figure_of(page, "Dearer arms", {"large", "dear", "cheap"}, "more gain"), 3));
  const StudyTable& costs = table_of(page, "Cost of the intermediate training");
  EXPECT_EQ(costs.lines.size(), 6u);
  EXPECT_EQ(costs.lines[1].cells[6].text, "40.00") << "ten hours at 4";
  EXPECT_TRUE(begins(make_study("cost-and-gain", simulate({.gain = 2}, 3)).answer, "Not shown to pay: "));
  const std::string loses = make_study("cost-and-gain", simulate({.gain = -8, .of_second_arm = 3}, 3)).answer;
  EXPECT_TRUE(begins(loses, "It pays in points against the cheapest arm, but not shown against none: ")) << loses;
  EXPECT_TRUE(holds(loses, "; against no intermediate training it gains −")) << loses;
  StudyInput without = simulate({}, 3);
  without.costs.clear();
  EXPECT_TRUE(begins(make_study("cost-and-gain", without).answer, "Not answered: "));
}

TEST(Study, TextToTextCountsUnreadableAnswers) {
  StudyInput input = simulate({.gain = 2, .gap_by_size = -3}, 4);
  std::vector<std::size_t> counted;
  for (std::size_t i = 0; i < input.rows.size(); ++i) {
    ResultRow& row = input.rows[i];
    if (row.model != "small" || row.intermediate != "cheap" || row.target != "first" || row.language != "fi" || row.seed > 2)
      continue;
    row.examples = 50;
    row.unreadable = row.seed;  // 2 and 4 %
    row.other_script = 5;
    counted.push_back(i);
  }
  const StudyPage page = make_study("mt5-scales", input);
  EXPECT_TRUE(begins(page.answer, "Yes: ")) << page.answer;
  const StudyTable& faults = table_of(page, "Unreadable");
  ASSERT_EQ(faults.lines.size(), 1u);
  EXPECT_EQ(faults.lines[0].rows, counted);
  EXPECT_NEAR(faults.lines[0].cells[4].estimate->value, 3, 1e-12);
  EXPECT_NEAR(faults.lines[0].cells[5].estimate->value, 10, 1e-12);
  EXPECT_TRUE(holds(study_text(make_study("mt5-scales", simulate({}, 4))), "no unreadable answers"));
}

TEST(Study, LowResourceFindsWhatIsPlanted) {
  const StudyPage page = make_study("low-resource", simulate({.gain_by_text = 2, .text_by_size = -1.5}, 5));
  EXPECT_TRUE(begins(page.answer, "Yes: ")) << page.answer;
  EXPECT_TRUE(covers(figure_of(page, "Gain against log10", {"small"}, "slope"), 3.5));
  EXPECT_TRUE(covers(figure_of(page, "Gain against log10", {"large"}, "slope"), 0.5));
  EXPECT_EQ(table_of(page, "Languages below the baseline").lines.front().cells[1].text, "sw Swahili");
  EXPECT_TRUE(begins(make_study("low-resource", simulate({.text_by_size = 1.5}, 5)).answer, "No: "));
  EXPECT_TRUE(
      holds(study_text(make_study("low-resource", simulate({.gain = 5}, 5))), "No language's mean gain is negative"));
}

TEST(Study, WithoutSeedsNothingIsClaimed) {
  for (const std::string& name : study_names()) {
    const StudyPage page = make_study(name, simulate({.gain = 5, .gap_by_size = -3, .gain_by_text = 2}, 6, {.seeds = 1}));
    EXPECT_TRUE(begins(page.answer, "Not answered: not enough seeds (n = 1)")) << name << ": " << page.answer;
    for (const StudyLine& line : table_of(page, "Gain by model").lines)
      EXPECT_FALSE(line.cells[5].estimate->interval.has_value());
  }
  const StudyInput one = simulate({}, 6, {.models = {"small"}});
  for (const char* name : {"scale-and-robustness", "low-resource"})
    EXPECT_TRUE(begins(make_study(name, one).answer, "Not answered: ")) << name;
}

/// Every number of an answer but the fixed ones stands in the tables it is made of: another value of the rows, another answer.
TEST(Study, AnswersFollowTheRows) {
  StudyInput input = simulate({.gain = 2, .gap_by_size = -3}, 7);
  const std::string before = make_study("scale-and-robustness", input).answer;
  for (ResultRow& row : input.rows) {
    if (row.model == "large" && row.language == "en") row.value += 20;
  }
  const std::string after = make_study("scale-and-robustness", input).answer;
  EXPECT_TRUE(begins(before, "Yes: "));
  EXPECT_TRUE(begins(after, "No: ")) << after;
}

// Of 1,000 simulations with level 5 % each way of being wrong together, the share is 0.05 -+ 4 sqrt(.05 .95 / 1000).
TEST(Study, NullEffectsAreNotFoundAndIntervalsCover) {
  const Shape shape = {.seeds = 3,
                       .models = {"small", "large"},
                       .arms = {"none", "cheap"},
                       .targets = {"first"},
                       .languages = {"en", "fi", "sw"}};
  constexpr int kPages = 1000;
  int found = 0;
  int covered = 0;
  int gains = 0;
  for (std::uint32_t i = 0; i < kPages; ++i) {
    const StudyPage null = make_study("scale-and-robustness", simulate({.gain = 1}, 1000 + i, shape));
    found += begins(null.answer, "Not shown: ") ? 0 : 1;
    covered += covers(figure_of(null, "Slopes", {"gain", "all"}, "slope"), 0) ? 1 : 0;
    gains += covers(figure_of(null, "By model", {"large"}, "gain"), 1) ? 1 : 0;
  }
  EXPECT_NEAR(found / double{kPages}, 0.05, 0.028);
  EXPECT_NEAR(covered / double{kPages}, 0.95, 0.028);
  EXPECT_NEAR(gains / double{kPages}, 0.95, 0.028);
}

TEST(Study, EveryFigureLeadsToItsRows) {
  const StudyInput input = simulate({.gain = 2}, 8);
  for (const std::string& name : study_names()) {
    const StudyPage page = make_study(name, input);
    for (const StudyTable& table : page.tables) {
      for (const StudyLine& line : table.lines) {
        EXPECT_EQ(line.cells.size(), table.columns.size()) << table.title;
        EXPECT_FALSE(line.rows.empty()) << name << ", " << table.title;
        for (const std::size_t row : line.rows) ASSERT_LT(row, input.rows.size());
      }
    }
  }
  const StudyPage page = make_study("scale-and-robustness", input);
  const StudyLine& line = table_of(page, "Gain by language").lines.front();  // small, first, cheap, de
  std::set<std::string> keys;
  for (const std::size_t i : line.rows) {
    const ResultRow& row = input.rows[i];
    keys.insert(row.model + " " + row.target + " " + row.language + " " + row.intermediate);
  }
  EXPECT_EQ(keys, (std::set<std::string>{"small first de cheap", "small first de none"}));
  EXPECT_EQ(line.rows.size(), 8u);
}

TEST(Study, ManyComparisonsAreCorrected) {
  const StudyTable table = table_of(make_study("scale-and-robustness", simulate({.gain = 0.5}, 10)), "Gain by language");
  std::vector<double> p;
  for (const StudyLine& line : table.lines) p.push_back(line.cells[6].estimate->p.value());
  const std::vector<double> corrected = holm(p);
  EXPECT_EQ(table.columns.back(), "p (Holm, of 60)");
  int different = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const std::string& shown = table.lines[i].cells.back().text;
    EXPECT_NEAR(shown[0] == '<' ? 0 : std::stod(shown), corrected[i], 0.001) << i;
    different += std::abs(corrected[i] - p[i]) > 0.01 ? 1 : 0;
  }
  EXPECT_GT(different, 30) << "the correction must show";
}

TEST(Study, IsWrittenInFourFormats) {
  const StudyInput input = simulate({.gain = 2, .gap_by_size = -3}, 9);
  const StudyPage page = make_study("scale-and-robustness", input);
  const std::string html = study_html(page);
  EXPECT_LT(html.find("Yes: after intermediate training"), html.find("<table>")) << "the answer comes first";
  EXPECT_TRUE(holds(html, "<svg") && holds(html, "</html>"));
  EXPECT_TRUE(holds(study_latex(page), "\\toprule") && holds(study_latex(page), "95 \\%"));
  EXPECT_FALSE(holds(study_latex(page), "\u2212") || holds(study_latex(page), "\u202f"));
  EXPECT_TRUE(begins(study_markdown(page), "# scale-and-robustness\n\n**Yes: "));
  const std::string csv = study_csv(page, input);
  EXPECT_TRUE(begins(csv, "table,names,column,text,value,low,high,n,p,rows\r\n"));
  EXPECT_TRUE(holds(csv, "simulated:")) << csv.substr(0, 500);
  EXPECT_THROW(make_study("scale", input), UserError);
  EXPECT_THROW(make_study("morphology", {}), UserError);
}

}  // namespace
}  // namespace koine
