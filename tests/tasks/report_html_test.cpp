// Results files, their statistics, plots and the report.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/report/report.h"
#include "tasks/report/summary.h"
#include "tests/tasks/result_row.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

class Folder : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(path_); }
  void TearDown() override { fs::remove_all(path_); }
  fs::path file(const std::string& name, const std::string& content) const {
    std::ofstream(path_ / name) << content;
    return path_ / name;
  }
  fs::path path_ = fs::temp_directory_path() / ("koine-report-" + std::to_string(getpid()));
};

using Results = Folder;
using Report = Folder;

ResultRow row(const std::string& arm, const std::string& language, std::uint32_t seed, double value,
              const std::string& target = "xnli", const std::string& metric = "accuracy") {
  ResultRow one = result_row(arm, target, language, metric, seed, value);
  one.model = "small";
  return one;
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const UserError& error) {
    return error.what();
  }
  return "no UserError";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Whether tags nest: enough of well-formedness for markup this program writes itself.
testing::AssertionResult well_formed(const std::string& svg) {
  std::vector<std::string> open;
  for (std::size_t at = svg.find('<'); at != std::string::npos; at = svg.find('<', at + 1)) {
    const std::size_t end = svg.find('>', at);
    if (end == std::string::npos) return testing::AssertionFailure() << "tag without end";
    const std::string tag = svg.substr(at + 1, end - at - 1);
    const std::string name = tag.substr(0, tag.find_first_of(" /", 1));
    if (tag[0] == '/') {
      if (open.empty() || "/" + open.back() != tag) return testing::AssertionFailure() << "unexpected <" << tag << ">";
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(name);
    }
  }
  if (!open.empty()) return testing::AssertionFailure() << "open: " << open.back();
  return testing::AssertionSuccess();
}

TEST_F(Results, WhatIsWrittenIsRead) {
  std::vector<ResultRow> rows = {row("none", "fi", 1, 61.25), row("a \"b\" \\ <ü>", "hu", 4294967295u, -0.1)};
  rows[1].flops = 3.5e13;
  rows[1].left_out = 9;
  rows[1].layer = 7;
  rows[1].collapsed = Collapse{"neutral", 30, 10, 30};
  rows[1].truncated = {128, 30, 2, 17};
  rows[0].training_truncated = {256, 40, 1, 3};
  rows[1].joules = 2.5;
  write_results(path_ / "results.json", rows);
  EXPECT_EQ(read_results(path_ / "results.json"), rows);
  const nlohmann::json written = read_json(path_ / "results.json");
  EXPECT_TRUE(written.at(0).at("joules").is_null()) << "not measured";
  EXPECT_EQ(written.at(1).at("joules"), 2.5);
  write_results(path_ / "none.json", {});
  EXPECT_TRUE(read_results(path_ / "none.json").empty());
}

TEST_F(Results, MistakesAreNamedWithFileAndRow) {
  const std::string good =
      R"({"model":"m","intermediate":"i","target":"t","language":"l","metric":"a","value":1,"seed":1,"examples":1,"tokens":1,"seconds":1})";
  const auto complaint = [&](const std::string& from, const std::string& to) {
    std::string bad = good;
    bad.replace(bad.find(from), from.size(), to);
    const fs::path path = file("bad.json", "[" + good + "," + bad + "]");
    const std::string message = message_of([&] { read_results(path); });
    EXPECT_TRUE(contains(message, "bad.json, row 2")) << message;
    return message;
  };
  EXPECT_TRUE(contains(complaint("\"value\":1,", ""), "\"value\" is missing"));
  EXPECT_TRUE(contains(complaint("\"value\":1", "\"value\":\"1\""), "\"value\" is not a number"));
  EXPECT_TRUE(contains(complaint("\"seconds\":1", "\"seconds\":-1"), "\"seconds\" is negative"));
  EXPECT_TRUE(contains(complaint("\"seed\":1", "\"seed\":4294967296"), "\"seed\""));
  EXPECT_TRUE(contains(complaint("\"tokens\":1", "\"tokens\":1.5"), "\"tokens\" is not a whole number"));
  EXPECT_TRUE(contains(complaint("\"model\":\"m\"", "\"model\":3"), "\"model\" is not a text"));
  EXPECT_TRUE(contains(complaint("\"metric\"", "\"metrics\""), "did you mean \"metric\"?"));
  const fs::path object = file("object.json", good);
  EXPECT_TRUE(contains(message_of([&] { read_results(object); }), "expected an array"));
}

TEST_F(Results, NothingIsWrittenOfFiguresThatAreNotFinite) {
  const std::string message = message_of([&] { write_results(path_ / "nan.json", {row("none", "fi", 1, NAN)}); });
  EXPECT_TRUE(contains(message, "row 1 (xnli fi accuracy)")) << message;
  EXPECT_FALSE(fs::exists(path_ / "nan.json"));
}

TEST(ReportStatistics, MeanAndSampleDeviation) {
  // 2, 4, 9: mean 5, squares 9 + 1 + 16 = 26, deviation sqrt(26 / 2).
  const Spread spread = spread_of(std::vector<double>{2, 4, 9});
  EXPECT_EQ(spread.count, 3);
  EXPECT_DOUBLE_EQ(spread.mean, 5);
  EXPECT_DOUBLE_EQ(spread.deviation.value(), std::sqrt(13.0));
  EXPECT_FALSE(spread_of(std::vector<double>{7}).deviation.has_value());
  EXPECT_EQ(spread_of(std::vector<double>{}).count, 0);
}

TEST(ReportStatistics, DifferencesArePairedBySeed) {
  // 3 - 1 and 7 - 4: mean 2.5, deviation sqrt(0.5); unpaired deviations would be far larger. Seed 9 has no partner.
  const Spread paired = difference(SeedValues{{1, 3}, {2, 7}, {9, 50}}, SeedValues{{1, 1}, {2, 4}});
  EXPECT_EQ(paired.count, 2);
  EXPECT_DOUBLE_EQ(paired.mean, 2.5);
  EXPECT_DOUBLE_EQ(paired.deviation.value(), std::sqrt(0.5));
  const Spread apart = difference(SeedValues{{1, 3}, {2, 7}}, SeedValues{{3, 1}});
  EXPECT_DOUBLE_EQ(apart.mean, 4);
  EXPECT_FALSE(apart.deviation.has_value());
  EXPECT_EQ(difference(SeedValues{}, SeedValues{{3, 1}}).count, 0);
}

TEST(ReportStatistics, MeansAreOverLanguagesAllArmsHave) {
  const Summary summary =
      summarise({row("none", "en", 1, 90), row("none", "de", 1, 60), row("none", "el", 1, 50), row("none", "sw", 1, 10),
                 row("mnli", "en", 1, 91), row("mnli", "de", 1, 64), row("mnli", "el", 1, 58)},
                "", "en");
  ASSERT_EQ(summary.targets.size(), 1u);
  const TargetSummary& target = summary.targets[0];
  EXPECT_EQ(target.mean_languages("none", false), (std::vector<std::string>{"de", "el"}));
  EXPECT_DOUBLE_EQ(target.mean_by_seed("none", false).at(1), 55);
  EXPECT_DOUBLE_EQ(target.mean_by_seed("mnli", false).at(1), 61);
  EXPECT_DOUBLE_EQ(target.mean_by_seed("mnli", true).at(1), (91 + 64 + 58) / 3.0);
  ASSERT_EQ(summary.arms.size(), 2u);
  EXPECT_EQ(summary.arms[1].baseline, "none");
}

TEST(BarChart, PercentagesStayBetween0And100) {
  const auto chart = [](double value, double deviation) {
    return bar_chart_svg({.title = "t",
                          .y_label = "y",
                          .categories = {"de"},
                          .series = {{"arm", {PlotValue{value, deviation}}}},
                          .reference_label = ""});
  };
  const std::string high = chart(97, 9);
  EXPECT_TRUE(contains(high, ">100</text>"));
  EXPECT_FALSE(contains(high, ">150</text>"));
  EXPECT_FALSE(contains(chart(1, 9), ">-"));
  EXPECT_TRUE(contains(chart(105, 9), ">150</text>")) << "no percentage";
}

/// Tatoeba of a model that is pretrained only has one figure, whatever the seeds of the arms: 14 and 16 less 10, not 14 alone.
TEST(ReportStatistics, AFigureWithoutATrainingIsThatOfEverySeed) {
  const auto figures = [](const std::string& target) {
    return summarise({row("none", "de", 1, 10, target), row("mnli", "de", 1, 14, target), row("mnli", "de", 2, 16, target)},
                     "", "en");
  };
  const Summary tatoeba = figures("tatoeba");
  for (const Spread& spread : {tatoeba.targets[0].difference_of_means(tatoeba.arms[1], false),
                               tatoeba.targets[0].difference_in(tatoeba.arms[1], "de")}) {
    EXPECT_EQ(spread.count, 2);
    EXPECT_DOUBLE_EQ(spread.mean, 5);
    EXPECT_DOUBLE_EQ(spread.deviation.value(), std::sqrt(2.0));
  }
  const Summary xnli = figures("xnli");  // a head is trained: seed 2 of the baseline is missing
  EXPECT_EQ(xnli.targets[0].difference_of_means(xnli.arms[1], false).count, 1);
  EXPECT_DOUBLE_EQ(xnli.targets[0].difference_of_means(xnli.arms[1], false).mean, 4);
  EXPECT_DOUBLE_EQ(difference(SeedValues{{1, 3}}, SeedValues{{1, 1}, {2, 2}}, true).mean, 1.5);
}

TEST(ReportStatistics, RunsInOtherLanguagesHaveMeansOfTheirOwn) {
  const std::vector<ResultRow> rows = {row("none", "en", 1, 90), row("none", "de", 1, 60), row("none", "el", 1, 50),
                                       row("mnli", "el", 1, 58), row("mnli", "sw", 1, 10), row("snli", "ur", 1, 7)};
  const Summary summary = summarise(rows, "", "en");
  const TargetSummary& target = summary.targets[0];
  EXPECT_EQ(target.mean_languages("none", false), (std::vector<std::string>{"de", "el"}));
  EXPECT_EQ(target.mean_languages("mnli", false), (std::vector<std::string>{"el", "sw"}));
  EXPECT_DOUBLE_EQ(target.mean_by_seed("none", false).at(1), 55);
  EXPECT_DOUBLE_EQ(target.mean_by_seed("mnli", false).at(1), 34);
  EXPECT_DOUBLE_EQ(target.difference_of_means(summary.arms[1], false).mean, 8) << "over Greek, which both have";
  EXPECT_EQ(target.difference_of_means(summary.arms[2], false).count, 0);
  EXPECT_TRUE(contains(results_table(rows), "zero-shot of"));
}

/// XQuAD was given Romanian files later: XTREME's mean is not over them.
TEST(ReportStatistics, MeansUnderABenchmarksNameAreOverItsLanguages) {
  const std::vector<ResultRow> rows = {row("none", "en", 1, 90, "xquad", "f1"), row("none", "ro", 1, 10, "xquad", "f1"),
                                       row("none", "de", 1, 60, "xquad", "f1"), row("none", "el", 1, 50, "xquad", "f1")};
  const Summary summary = summarise(rows, "", "en");
  const TargetSummary& target = summary.targets[0];
  EXPECT_EQ(target.languages, (std::vector<std::string>{"en", "ro", "de", "el"})) << "it is shown";
  EXPECT_EQ(target.outside, std::set<std::string>{"ro"});
  EXPECT_DOUBLE_EQ(target.mean_by_seed("none", false).at(1), 55);
  EXPECT_DOUBLE_EQ(target.mean_by_seed("none", true).at(1), 200 / 3.0);
  EXPECT_EQ(results_table(rows),
            "xquad, f1    en   ro†    de    el  zero-shot  − baseline  seeds\n"
            "none       90.0  10.0  60.0  50.0       55.0                  1\n"
            "† not a language of the benchmark: outside the mean\n");
  // The generated languages are every task's; of a target that is no task nobody knows.
  EXPECT_TRUE(summarise({row("none", "qag", 1, 1), row("none", "zz", 1, 1, "own")}, "", "en").targets[0].outside.empty());
  EXPECT_TRUE(summarise({row("none", "zz", 1, 1, "own")}, "", "en").targets[0].outside.empty());
  EXPECT_FALSE(summarise({row("none", "qua", 1, 1)}, "", "en").targets[0].outside.empty()) << "not of private use";
}

TEST_F(Report, LanguagesOutsideTheBenchmarkAreMarked) {
  const std::vector<ResultRow> rows = {row("none", "de", 1, 60), row("none", "fi", 1, 10)};
  write_report(path_ / "report.html", "title", rows);
  const std::string html = read_file(path_ / "report.html");
  EXPECT_TRUE(contains(html, "<bdi>fi†</bdi>"));
  EXPECT_FALSE(contains(html, "de†"));
  EXPECT_TRUE(contains(html, "outside the mean"));
  write_report(path_ / "report.html", "title", {rows[0]});
  EXPECT_FALSE(contains(read_file(path_ / "report.html"), "outside the mean"));
}

TEST(ReportStatistics, ASeedThatLacksALanguageHasNoMean) {
  const Summary summary =
      summarise({row("none", "de", 1, 60), row("none", "el", 1, 50), row("none", "de", 2, 70)}, "", "en");
  const SeedValues means = summary.targets[0].mean_by_seed("none", false);
  EXPECT_EQ(means, (SeedValues{{1, 55}}));
}

TEST(ReportStatistics, AnEvaluationsCostIsCountedOnce) {
  const Summary summary =
      summarise({row("none", "fi", 1, 60, "xquad", "f1"), row("none", "fi", 1, 50, "xquad", "exact_match"),
                 row("none", "fi", 2, 61, "xquad", "f1")},
                "", "en");
  ASSERT_EQ(summary.costs.size(), 1u);
  EXPECT_EQ(summary.costs[0].evaluations, 2);
  EXPECT_EQ(summary.costs[0].tokens, 200);
  EXPECT_DOUBLE_EQ(summary.costs[0].seconds, 1.0);
  EXPECT_FALSE(summary.costs[0].flops.has_value());
  EXPECT_EQ(summary.targets[0].metric, "f1");
  EXPECT_TRUE(summary.targets[0].headline);
  EXPECT_FALSE(summary.targets[1].headline);
}

TEST(ReportStatistics, TheTasksOwnMetricLeads) {
  const auto headline = [](const std::string& target, const std::vector<std::string>& metrics) {
    std::vector<ResultRow> rows;
    for (const std::string& metric : metrics) rows.push_back(row("none", "fi", 1, 50, target, metric));
    const Summary summary = summarise(rows, "", "en");
    EXPECT_EQ(summary.targets.size(), metrics.size()) << "all metrics are kept";
    EXPECT_TRUE(summary.targets[0].headline);
    return summary.targets[0].metric;
  };
  EXPECT_EQ(headline("udpos", {"accuracy", "f1", "precision", "recall"}), "f1");
  EXPECT_EQ(headline("xquad", {"average", "exact_match", "f1"}), "f1");
  EXPECT_EQ(headline("mlm", {"loss", "negative_loss", "pseudo_perplexity"}), "negative_loss");
  EXPECT_EQ(headline("no task of ours", {"precision", "f1", "accuracy"}), "accuracy");
}

// The headline's layer keeps the metric's name, the others' figures stand beside it.
TEST(ReportStatistics, LayersAreTablesOfTheirOwn) {
  std::vector<ResultRow> rows;
  for (const std::int64_t layer : {7, 2, 12}) {
    for (const char* arm : {"none", "mnli"}) {
      rows.push_back(row(arm, "fi", 1, 40 + static_cast<double>(layer), "tatoeba"));
      rows.back().layer = layer;
    }
  }
  const Summary summary = summarise(rows, "", "en");
  ASSERT_EQ(summary.targets.size(), 3u);
  EXPECT_EQ(summary.targets[0].metric, "accuracy");
  EXPECT_TRUE(summary.targets[0].headline);
  EXPECT_EQ(summary.targets[1].metric, "accuracy, layer 2");
  EXPECT_EQ(summary.targets[2].metric, "accuracy, layer 12");
  EXPECT_EQ(summary.targets[0].values.at("mnli").at("fi").at(1), 47);
  EXPECT_EQ(summary.targets[2].values.at("mnli").at("fi").at(1), 52);
}

TEST(ReportStatistics, ModelsOfDifferentDepthAreComparedEachByItsOwnLayer) {
  std::vector<ResultRow> rows;
  for (const char* model : {"small", "large"}) {
    for (const std::int64_t layer : {7, 14}) {
      rows.push_back(row("none", "fi", 1, 40 + static_cast<double>(layer), "tatoeba"));
      rows.back().model = model;
      rows.back().layer = model == std::string("small") ? layer : 2 * layer;
    }
  }
  const Summary summary = summarise(rows, "", "en");
  EXPECT_EQ(summary.targets[0].metric, "accuracy");
  EXPECT_EQ(summary.targets[0].values.at("small / none").at("fi").at(1), 47) << "its layer 7";
  EXPECT_EQ(summary.targets[0].values.at("large / none").at("fi").at(1), 47) << "its layer 14";
}

TEST(ReportStatistics, EachModelHasItsOwnBaseline) {
  std::vector<ResultRow> rows = {row("none", "fi", 1, 60), row("mnli", "fi", 1, 61)};
  rows.push_back(rows[0]);
  rows.push_back(rows[1]);
  rows[2].model = rows[3].model = "large";
  const Summary summary = summarise(rows, "", "en");
  ASSERT_EQ(summary.arms.size(), 4u);
  EXPECT_EQ(summary.arms[1].baseline, "small / none");
  EXPECT_EQ(summary.arms[3].label, "large / mnli");
  EXPECT_EQ(summary.arms[3].baseline, "large / none");
}

TEST(ReportStatistics, FiguresOfOtherDataThanTheTestSetAreATargetOfTheirOwn) {
  std::vector<ResultRow> rows = {row("none", "fi", 1, 60), row("none", "fi", 1, 61)};
  rows[1].split = "dev";
  const Summary summary = summarise(rows, "", "en");
  ASSERT_EQ(summary.targets.size(), 2u);
  EXPECT_EQ(summary.targets[0].target, "xnli");
  EXPECT_EQ(summary.targets[0].values.at("none").at("fi").at(1), 60);
  EXPECT_EQ(summary.targets[1].target, "xnli (dev)");
  EXPECT_EQ(summary.targets[1].values.at("none").at("fi").at(1), 61);
  EXPECT_EQ(summary.targets[1].metric, "accuracy") << "the task is still known by its name";
  EXPECT_TRUE(summary.targets[1].headline);
  rows.erase(rows.begin());
  EXPECT_EQ(summarise(rows, "", "en").targets[0].target, "xnli") << "nothing to tell it from";
}

TEST(ReportStatistics, ContradictingRowsAreRefused) {
  const std::string message = message_of([] { summarise({row("none", "fi", 1, 60), row("none", "fi", 1, 61)}, "", "en"); });
  EXPECT_TRUE(contains(message, "two results for model small, intermediate none, target xnli, language fi")) << message;
  EXPECT_NO_THROW(summarise({row("none", "fi", 1, 60), row("none", "fi", 1, 60)}, "", "en"));
  EXPECT_TRUE(contains(message_of([] { summarise({}, "", "en"); }), "no results"));
}

TEST_F(Report, EscapesEverything) {
  const std::string evil = "<script>alert('x')</script>&\"";
  ReportDetails details;
  details.introduction = evil;
  details.language_names = {{evil, evil}};
  details.provenance = {{evil, evil}};
  details.curves = {{evil, evil, evil, {{evil, {{0, {1, {}}}, {1, {2, {}}}}}}}};
  std::vector<ResultRow> rows = {row("none", evil, 1, 60, evil, evil), row(evil, evil, 1, 61, evil, evil),
                                 row(evil, evil, 1, 61, evil, "f1")};
  for (ResultRow& each : rows) each.model = evil;
  write_report(path_ / "report.html", evil, rows, details);
  const std::string html = read_file(path_ / "report.html");
  EXPECT_FALSE(contains(html, "<script"));
  EXPECT_TRUE(contains(html, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;"));
}

TEST_F(Report, NeedsNothingFromElsewhere) {
  write_report(path_ / "report.html", "title", {row("none", "fi", 1, 60), row("mnli", "fi", 1, 61)});
  std::string html = read_file(path_ / "report.html");
  const std::string name_space = "http://www.w3.org/2000/svg";
  for (std::size_t at = 0; (at = html.find(name_space, at)) != std::string::npos;) html.erase(at, name_space.size());
  for (const char* reference : {"http", "src=", "url(", "@import", "<link", "<script"})
    EXPECT_FALSE(contains(html, reference)) << reference;
}

TEST_F(Report, MissingCellsAreDashes) {
  const std::vector<ResultRow> rows = {row("none", "en", 1, 80), row("none", "de", 1, 60), row("mnli", "en", 1, 81)};
  write_report(path_ / "report.html", "title", rows);
  EXPECT_TRUE(contains(read_file(path_ / "report.html"), "<td>–<span"));
  const std::string table = results_table(rows);
  EXPECT_TRUE(contains(table, "mnli            81.0     –          –           –      1")) << table;
}

TEST_F(Report, ArmsThatShareNoTargetStillMakeAPage) {
  EXPECT_NO_THROW(
      write_report(path_ / "a.html", "title", {row("none", "fi", 1, 60, "xnli"), row("mnli", "fi", 1, 60, "xquad", "f1")}));
  EXPECT_NO_THROW(write_report(path_ / "b.html", "title", {row("mnli", "en", 1, 60)}));
}

TEST(ReportTable, ColumnsAlignAndNegativeNumbersHaveAMinus) {
  const std::string table = results_table({row("none", "en", 1, 80), row("none", "de", 1, 60), row("none", "en", 2, 82),
                                           row("none", "de", 2, 64), row("mnli", "en", 1, 81), row("mnli", "de", 1, 57),
                                           row("mnli", "en", 2, 81), row("mnli", "de", 2, 62)});
  EXPECT_EQ(table,
            "xnli, accuracy         en         de  zero-shot  − baseline  seeds\n"
            "none            81.0 ±1.4  62.0 ±2.8  62.0 ±2.8                  2\n"
            "mnli            81.0 ±0.0  59.5 ±3.5  59.5 ±3.5   −2.5 ±0.7      2\n");
}

TEST(ReportTable, ManyLanguagesShowMeansOnly) {
  std::vector<ResultRow> rows;
  for (int i = 0; i < 36; ++i) rows.push_back(row("none", "l" + std::to_string(i), 1, i, "own"));
  const std::string table = results_table(rows);
  EXPECT_FALSE(contains(table, "l35"));
  EXPECT_TRUE(contains(table, "17.5")) << table;
}

TEST(ReportNumbers, AreWrittenForPeople) {
  EXPECT_EQ(format_decimal(-2.345, 1), "−2.3");
  EXPECT_EQ(format_decimal(-0.001, 2), "0.00");
  EXPECT_EQ(format_decimal(INFINITY, 2), "–");
  EXPECT_EQ(format_thousands(1234567), "1\u202f234\u202f567");
  EXPECT_EQ(format_thousands(999), "999");
  EXPECT_EQ(format_thousands(-1000), "−1\u202f000");
}

TEST(ReportPlots, TicksCoverTheRangeInRoundSteps) {
  EXPECT_EQ(axis_ticks(0, 80, 5), (std::vector<double>{0, 20, 40, 60, 80}));
  EXPECT_EQ(axis_ticks(-3, 7, 5), (std::vector<double>{-4, -2, 0, 2, 4, 6, 8}));
  EXPECT_EQ(axis_ticks(5, 5, 5).size() >= 2, true);
  for (const double scale : {1e-7, 0.3, 1.0, 47.0, 1e9}) {
    const std::vector<double> ticks = axis_ticks(-scale, scale, 5);
    EXPECT_LE(ticks.front(), -scale * (1 - 1e-9));
    EXPECT_GE(ticks.back(), scale * (1 - 1e-9));
    EXPECT_LE(ticks.size(), 13u);
  }
}

TEST(ReportPlots, AreWellFormed) {
  const BarChart bars{.title = "a<b",
                      .y_label = "%",
                      .categories = {"fi", "hu"},
                      .series = {{"x&y", {PlotValue{3, 1}, std::nullopt}}, {"z", {PlotValue{-3, {}}, PlotValue{0, 0}}}},
                      .reference = 2,
                      .reference_label = "chance"};
  EXPECT_TRUE(well_formed(bar_chart_svg(bars)));
  const LineChart lines{"t", "x", "y", {{"one", {{0, {1, {}}}, {5, {2, 0.5}}}}, {"empty", {}}}};
  EXPECT_TRUE(well_formed(line_chart_svg(lines)));
  const HeatMap map{"t", {"row"}, {"a", "b"}, {{1.5, std::nullopt}}};
  EXPECT_TRUE(well_formed(heat_map_svg(map)));
  EXPECT_THROW(line_chart_svg({"t", "x", "y", {}}), Error);
}

}  // namespace
}  // namespace koine
