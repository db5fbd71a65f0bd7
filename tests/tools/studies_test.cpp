// Studies from the command line: what they cost, their phases, their pages, and the measures of languages they need.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "program.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> study_paths() {
  std::vector<std::string> files;
  for (const char* name : {"scale-and-robustness", "morphology", "cost-and-gain", "mt5-scales", "low-resource"})
    files.push_back((fs::path(KOINE_SOURCE_DIR) / "examples/studies" / (std::string(name) + ".toml")).string());
  return files;
}

TEST(Studies, TheDocumentHasWhatTheEstimatePrints) {
  std::vector<std::string> words = {"estimate", "--device-kind", "h200", "--price", "4"};
  for (const std::string& file : study_paths()) words.push_back(file);
  const Outcome outcome = run_koine(words);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  const std::string document = read_text(fs::path(KOINE_SOURCE_DIR) / "docs/studies.md");
  std::istringstream lines(outcome.output);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_NE(document.find(line), std::string::npos) << "docs/studies.md has not the line\n" << line;
  }
  expect_mistake(run_koine({"estimate", study_paths()[0]}), {"--device-kind"});
  expect_mistake(run_koine({"estimate", "--device-kind", "h200",
                            (fs::path(KOINE_SOURCE_DIR) / "examples/demo.toml").string(), study_paths()[0]}),
                 {"demo.toml", "[study]"});
}

TEST(Studies, ArePlannedWithAModelDirectoryAlone) {
  const Folder folder;
  write_small_data(folder / "data");
  write_small_model(folder / "xlmr-small", folder / "data");
  for (const std::string& file : study_paths()) {
    const Outcome phases =
        run_koine({"run", file, "--model", folder / "xlmr-small", "--list-phases", "--output", folder / "none"});
    EXPECT_EQ(phases.exit_code, 0) << phases.errors;
    EXPECT_NE(phases.output.find("none/xnli/1"), std::string::npos) << file << phases.output;
    const Outcome numbers = run_koine({"run", file, "--dry-run"});
    EXPECT_EQ(numbers.exit_code, 0) << numbers.errors;
    EXPECT_NE(numbers.output.find("intermediate mnli"), std::string::npos) << file;
  }
  expect_mistake(
      run_koine({"run", (fs::path(KOINE_SOURCE_DIR) / "examples/demo.toml").string(), "--model", "x", "--dry-run"}),
      {"--model", "fresh model"});
}

/// Two runs, as those of two models: three seeds, two languages, an arm that gains by size.
void write_study_runs(const Folder& folder) {
  for (const std::string& model : {std::string("xlm-roberta-base"), std::string("xlm-roberta-large")}) {
    const double size = model == "xlm-roberta-base" ? 0 : 1;
    nlohmann::json rows = nlohmann::json::array();
    nlohmann::json costs = nlohmann::json::array();
    for (int seed = 1; seed <= 3; ++seed) {
      for (const std::string& arm : {std::string("none"), std::string("mnli")}) {
        for (const std::string& language : {std::string("en"), std::string("sw"), std::string("de")}) {
          const double gain = arm == "none" ? 0 : 2 + size + 0.1 * seed;
          const double value = 60 + (language == "en" ? 10 - 3 * size - 0.1 * seed * size : 0) + gain;
          rows.push_back({{"model", model},
                          {"intermediate", arm},
                          {"target", "xnli"},
                          {"language", language},
                          {"metric", "accuracy"},
                          {"value", value},
                          {"seed", seed},
                          {"examples", 10},
                          {"tokens", 100},
                          {"seconds", 1}});
        }
      }
      costs.push_back({{"phase", "intermediate/mnli/seed-" + std::to_string(seed)},
                       {"steps", 1},
                       {"tokens", 1e6},
                       {"seconds", 3600},
                       {"flops", 1e15}});
    }
    write_text(fs::path(folder / model) / "results.json", rows.dump());
    write_text(fs::path(folder / model) / "costs.json", costs.dump());
  }
}

TEST(Studies, PagesAreWritten) {
  const Folder folder;
  write_study_runs(folder);
  const Outcome scale = run_koine({"report", "--study", "scale-and-robustness", folder / "xlm-roberta-base",
                                   folder / "xlm-roberta-large", "--output", folder / "page.html", "--output",
                                   folder / "page.csv", "--output", folder / "page.md", "--output", folder / "page.tex"});
  ASSERT_EQ(scale.exit_code, 0) << scale.errors;
  EXPECT_NE(scale.output.find("Yes: after intermediate training the gap"), std::string::npos) << scale.output;
  EXPECT_NE(scale.output.find("n = 3 seeds"), std::string::npos) << scale.output;
  EXPECT_NE(read_text(folder / "page.html").find("Yes: after"), std::string::npos);
  EXPECT_NE(read_text(folder / "page.csv").find("xlm-roberta-base/results.json:1"), std::string::npos);
  EXPECT_NE(read_text(folder / "page.md").find("## By model"), std::string::npos);
  EXPECT_NE(read_text(folder / "page.tex").find("\\toprule"), std::string::npos);
  const Outcome cost = run_koine({"report", "--study", "cost-and-gain", folder / "xlm-roberta-base", "--price", "4",
                                  "--watts", "700", "--output", folder / "cost.md"});
  ASSERT_EQ(cost.exit_code, 0) << cost.errors;
  EXPECT_NE(cost.output.find("Not answered: xlm-roberta-base has one arm with costs, mnli."), std::string::npos)
      << cost.output;
  EXPECT_NE(cost.output.find("85 % of 700 W"), std::string::npos) << cost.output;
  EXPECT_NE(read_text(folder / "cost.md").find("| mnli | 1.000 | 1.000 | 1.000 | 1.074 | 4.00 |"), std::string::npos)
      << read_text(folder / "cost.md");
  expect_mistake(run_koine({"report", "--study", "scale", folder / "xlm-roberta-base"}), {"--study"});
  expect_mistake(run_koine({"report", "--study", "morphology", folder / "xlm-roberta-base", "--parameters", "small"}),
                 {"--parameters small"});
}

TEST(Studies, ReportsTakeGroupsOfLanguages) {
  const Folder folder;
  write_study_runs(folder);
  const Outcome outcome =
      run_koine({"report", folder / "xlm-roberta-base", "--languages", "germanic", "--output", folder / "rows.csv"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  const std::string rows = read_text(folder / "rows.csv");
  EXPECT_NE(rows.find(",de,"), std::string::npos);
  EXPECT_EQ(rows.find(",sw,"), std::string::npos);
  expect_mistake(run_koine({"report", folder / "xlm-roberta-base", "--languages", "uralic"}), {"uralic", "en, sw, de"});
  expect_mistake(run_koine({"report", folder / "xlm-roberta-base", "--languages", "germanik"}),
                 {"did you mean \"germanic\"?"});
}

TEST(Studies, MorphologyIsMeasured) {
  const Folder folder;
  const fs::path treebanks = fs::path(folder / "data") / "udpos/ud-treebanks-v2.5";
  write_text(treebanks / "UD_English-EWT/en_ewt-ud-test.conllu",
             "1\tcats\tcat\tNOUN\t_\tNumber=Plur\t2\tnsubj\t_\t_\n2\tsleep\tsleep\tVERB\t_\t_\t0\troot\t_\t_\n"
             "3\tcats\tcat\tNOUN\t_\tNumber=Plur\t2\tobj\t_\t_\n\n");
  write_text(treebanks / "UD_Finnish-TDT/fi_tdt-ud-test.conllu",
             "1\tkissat\tkissa\tNOUN\t_\tCase=Nom|Number=Plur\t2\tnsubj\t_\t_\n"
             "2\tnukkuvat\tnukkua\tVERB\t_\tMood=Ind|Number=Plur|Person=3\t0\troot\t_\t_\n\n");
  const Outcome outcome = run_koine({"data", "morphology", folder / "data", "--output", folder / "m.json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_NE(outcome.output.find("Finnish"), std::string::npos) << outcome.output;
  const nlohmann::json measured = nlohmann::json::parse(read_text(folder / "m.json"));
  EXPECT_EQ(measured.at("fi").at("features_per_word"), 2.5);
  EXPECT_EQ(measured.at("en").at("counted"), 2) << "as many as Finnish has";
  EXPECT_EQ(measured.at("en").at("words"), 3);
  EXPECT_EQ(measured.at("en").at("types_per_token"), 1);
  expect_mistake(run_koine({"data", "morphology", folder / "data", "--languages", "turkic"}), {"turkic", "en, fi"});
}

}  // namespace
}  // namespace koine
