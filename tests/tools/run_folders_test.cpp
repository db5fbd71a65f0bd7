// What `train` and `evaluate` leave: folders that say what they are of, that are skipped, refused and made again as those of a
// run, and that the report reads.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/files/folder_lock.h"
#include "program.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

class RunFolders : public ::testing::Test {
 protected:
  void SetUp() override {
    write_small_data(folder_ / "data");
    write_small_model(folder_ / "model", folder_ / "data");
  }
  Outcome evaluate(const std::string& task, const std::string& model, const std::string& output,
                   std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"evaluate", "--task",         task,       "--model",        folder_ / model,
                                      "--data",   folder_ / "data", "--output", folder_ / output, "--precision",
                                      "fp32",     "--threads",      "1",        "--quiet"};
    words.insert(words.end(), more.begin(), more.end());
    return run_koine(words);
  }
  Outcome train(const std::string& output, std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"train",
                                      "--task",
                                      "xnli",
                                      "--model",
                                      folder_ / "model",
                                      "--data",
                                      folder_ / "data",
                                      "--output",
                                      folder_ / output,
                                      "--max-steps",
                                      "6",
                                      "--eval-steps",
                                      "2",
                                      "--seed",
                                      "3",
                                      "--precision",
                                      "fp32",
                                      "--threads",
                                      "1",
                                      "--quiet"};
    words.insert(words.end(), more.begin(), more.end());
    return run_koine(words);
  }
  nlohmann::json json_of(const std::string& file) { return nlohmann::json::parse(read_text(folder_ / file)); }

  Folder folder_;
};

TEST_F(RunFolders, AnEvaluationIsSkippedRefusedAndMadeAgainAsARunIs) {
  const Outcome first = evaluate("tatoeba", "model", "out", {"--layer", "2,1"});
  ASSERT_EQ(first.exit_code, 0) << first.errors;
  EXPECT_NE(first.output.find("layer: 1 of 2\n"), std::string::npos) << "the task's own is the headline: " << first.output;
  const std::string config = read_text(folder_ / "out/config.toml");
  for (const char* part : {"evaluation = \"tatoeba\"", "split = \"test\"", "layer = \"2,1\"", "pooling = \"mean\"",
                           "[file_hashes]", "\"model/model.safetensors\" = ", "\"tatoeba/v1/tatoeba.deu-eng.deu\" = "})
    EXPECT_NE(config.find(part), std::string::npos) << part << " is not in\n" << config;
  const nlohmann::json rows = json_of("out/results.json");
  ASSERT_EQ(rows.size(), 6u) << "three figures of two layers: " << rows;
  EXPECT_EQ(rows[0].at("model"), "model");
  EXPECT_EQ(rows[0].at("target"), "tatoeba");
  EXPECT_EQ(rows[0].at("layer"), 1);
  EXPECT_EQ(rows[5].at("layer"), 2);

  const auto written = fs::last_write_time(folder_ / "out/evaluations.json");
  const Outcome again = evaluate("tatoeba", "model", "out", {"--layer", "2,1"});
  EXPECT_EQ(again.exit_code, 0) << again.errors;
  EXPECT_EQ(again.output, first.output);
  EXPECT_EQ(fs::last_write_time(folder_ / "out/evaluations.json"), written) << "what is done is not done again";
  expect_mistake(evaluate("tatoeba", "model", "out"), {"out", "layer = \"2,1\" there, layer = \"\" here", "--redo"});
  const std::string german = folder_ / "data/tatoeba/v1/tatoeba.deu-eng.deu";
  write_text(german, "x" + read_text(german));
  expect_mistake(evaluate("tatoeba", "model", "out", {"--layer", "2,1"}), {"tatoeba.deu-eng.deu\" has changed", "--redo"});
  EXPECT_EQ(evaluate("tatoeba", "model", "out", {"--redo", "--name", "mine"}).exit_code, 0);
  EXPECT_EQ(json_of("out/results.json").size(), 3u);
  EXPECT_EQ(json_of("out/results.json")[0].at("model"), "mine");
}

TEST_F(RunFolders, AnEvaluationThatEndedBeforeItsFirstFigureIsNotInTheWayOfAnother) {
  write_text(folder_ / "out/config.toml", "evaluation = \"xnli\"\n");
  const Outcome outcome = evaluate("tatoeba", "model", "out");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  write_text(folder_ / "begun/config.toml", "evaluation = \"xnli\"\n");
  write_text(folder_ / "begun/evaluations.json", "{}");
  expect_mistake(evaluate("tatoeba", "model", "begun"), {"begun", "evaluation = \"xnli\" there", "--redo"});
}

TEST_F(RunFolders, AnEvaluationHasOneWriterAndDoesNotTouchATraining) {
  {
    fs::create_directories(folder_ / "out");
    const FolderLock other(folder_ / "out");
    expect_mistake(evaluate("tatoeba", "model", "out"), {folder_ / "out", "another koine"});
  }
  fs::create_directories(folder_ / "run");
  fs::rename(folder_ / "model", folder_ / "run/model");
  expect_mistake(evaluate("tatoeba", "run/model", "run", {"--redo"}), {"holds a training", "--output"});
  EXPECT_TRUE(fs::exists(folder_ / "run/model/model.safetensors"));
}

TEST_F(RunFolders, TheReportReadsTrainingsAndEvaluations) {
  const Outcome trained = train("trained");
  ASSERT_EQ(trained.exit_code, 0) << trained.errors;
  const nlohmann::json rows = json_of("trained/results.json");
  ASSERT_EQ(rows.size(), 1u) << rows;
  EXPECT_EQ(rows[0].at("model"), "trained");
  EXPECT_EQ(rows[0].at("target"), "mnli");
  EXPECT_EQ(rows[0].at("split"), "dev");
  EXPECT_EQ(rows[0].at("examples"), 12);
  EXPECT_EQ(rows[0].at("value"), json_of("trained/done.json").at("best_metrics").at("mnli"));
  const Outcome evaluated = evaluate("xnli", "trained/model", "evaluated");
  ASSERT_EQ(evaluated.exit_code, 0) << evaluated.errors;
  for (const nlohmann::json& row : json_of("evaluated/results.json")) {
    EXPECT_EQ(row.at("model"), "trained") << "called as the training";
    EXPECT_EQ(row.at("seed"), 3) << "the training's";
    EXPECT_FALSE(row.contains("split")) << row;
  }
  fs::create_directories(folder_ / "arm");
  fs::rename(folder_ / "trained", folder_ / "arm/seed-3");
  ASSERT_EQ(evaluate("xnli", "arm/seed-3/model", "of-arm").exit_code, 0);
  EXPECT_EQ(json_of("of-arm/results.json")[0].at("model"), "arm") << "seeds of an arm are of one model";
  fs::rename(folder_ / "arm/seed-3", folder_ / "trained");
  const Outcome reported =
      run_koine({"report", folder_ / "trained", folder_ / "evaluated", "--output", folder_ / "all.csv"});
  ASSERT_EQ(reported.exit_code, 0) << reported.errors;
  const std::string csv = read_text(folder_ / "all.csv");
  EXPECT_NE(csv.find("\r\ntrained,none,mnli,en,selection,"), std::string::npos) << csv;
  EXPECT_NE(csv.find("\r\ntrained,none,xnli,de,accuracy,"), std::string::npos) << csv;

  // The same with pipes: rows in, rows out and nothing else; predictions in.
  ProgramOptions piped;
  piped.input = read_text(folder_ / "evaluated/results.json");
  const Outcome rows_out = run_koine({"report", folder_ / "trained", "-", "--csv", "-"}, piped);
  EXPECT_EQ(rows_out.output, csv) << rows_out.errors;
  expect_mistake(run_koine({"report", folder_ / "trained", "--csv", "-", "--latex", "-"}), {"--csv - and --latex -"});
  piped.input = read_text(folder_ / "evaluated/predictions/xnli/test-de.tsv");
  const std::vector<std::string> score = {"score",          "--task",      "xnli", "--gold",
                                          folder_ / "data", "--languages", "de",   "--predictions"};
  const auto scored = [&](const std::string& predictions) {
    std::vector<std::string> words = score;
    words.push_back(predictions);
    return run_koine(words, piped);
  };
  EXPECT_EQ(scored("-").output, scored(folder_ / "evaluated/predictions").output) << scored("-").errors;
  expect_mistake(run_koine({"score", "--task", "xnli", "--gold", folder_ / "data", "--predictions", "-"}, piped),
                 {"--languages"});
}

}  // namespace
}  // namespace koine
