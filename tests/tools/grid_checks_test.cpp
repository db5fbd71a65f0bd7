// What is wrong with a grid is told, all of it, before its first step; and the same task under two names.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "program.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

const std::string kModel = std::string("precision = \"fp32\"\n") + kSmallModel;

/// For a device that need not be here, so that no room is known to plan for, which takes long.
const std::vector<std::string> kPlanned = {"--device", "cuda", "--product-rate", "1"};

class GridChecks : public ::testing::Test {
 protected:
  void SetUp() override { write_small_data(folder_ / "data"); }
  Outcome koine(const std::string& command, const std::string& experiment, std::vector<std::string> more = {}) {
    write_text(folder_ / "grid.toml", experiment);
    std::vector<std::string> words = {command,  folder_ / "grid.toml", "--data", folder_ / "data", "--threads", "1",
                                      "--quiet"};
    if (command == "run") words.insert(words.end(), {"--output", folder_ / "out"});
    words.insert(words.end(), more.begin(), more.end());
    return run_koine(words);
  }
  bool begun() { return fs::exists(folder_ / "out/pretraining") || fs::exists(folder_ / "out/target"); }
  /// Replaces the first `from` in a file of the data.
  void edit(const std::string& name, const std::string& from, const std::string& to) {
    std::string text = read_text(folder_ / ("data/" + name));
    text.replace(text.find(from), from.size(), to);
    write_text(folder_ / ("data/" + name), text);
  }

  Folder folder_;
};

TEST_F(GridChecks, AllThatDoesNotFitTheModelAndTheFilesIsToldTogether) {
  const std::string text = std::string(kModel) +
                           "[pretraining]\nfiles = [\"text/en.txt\", \"text/none.txt\"]\nmax_steps = 2\n"
                           "[[target]]\ntask = \"tatoeba\"\nlayer = [1, 3]\n"
                           "[[target]]\nname = \"long\"\ntask = \"tatoeba\"\nmax_seq_length = 65\n"
                           "[[target]]\nname = \"far\"\ntask = \"tatoeba\"\nlanguages = [\"sw\"]\n";
  const Outcome outcome = koine("run", text);
  expect_mistake(outcome,
                 {"4 problems: (1) ", "grid.toml: tatoeba.layer", "layer 3 does not exist", "long.max_seq_length is 65",
                  "at most 64", "far.languages", "\"sw\"", "pretraining.files: there is no file", "text/none.txt"});
  EXPECT_FALSE(begun());
  const Outcome estimated = koine("estimate", text, kPlanned);
  EXPECT_EQ(estimated.exit_code, 0) << estimated.errors;
  for (const char* part : {"layer 3 does not exist", "long.max_seq_length is 65", "\"sw\"", "text/none.txt"})
    EXPECT_NE(estimated.output.find(part, estimated.output.find("would fail: ")), std::string::npos) << estimated.output;
}

TEST_F(GridChecks, FilesThatLaterPhasesReadAreReadBeforeTheFirst) {
  const std::string text = std::string(kModel) +
                           "[pretraining]\nfiles = [\"text/en.txt\"]\nmax_steps = 2\n"
                           "[[target]]\ntask = \"xnli\"\nmax_steps = 2\n";
  edit("multinli_1.0/multinli_1.0_train.jsonl", "contradiction", "kontradiction");
  edit("multinli_1.0/multinli_1.0_dev_matched.jsonl", "contradiction", "contrary");
  expect_mistake(koine("run", text),
                 {"2 problems", "multinli_1.0_train.jsonl", "kontradiction", "multinli_1.0_dev_matched.jsonl"});
  EXPECT_FALSE(begun());
  edit("multinli_1.0/multinli_1.0_train.jsonl", "kontradiction", "contradiction");
  edit("multinli_1.0/multinli_1.0_dev_matched.jsonl", "contrary", "contradiction");
  edit("XNLI-1.0/xnli.test.tsv", "entailment", "entails");
  expect_mistake(koine("run", text), {"xnli.test.tsv:", "\"entails\""});
  EXPECT_FALSE(begun());
  edit("XNLI-1.0/xnli.test.tsv", "entails", "entailment");
  const Outcome fine = koine("run", text);
  EXPECT_EQ(fine.exit_code, 0) << fine.errors;
  EXPECT_EQ(koine("estimate", text, kPlanned).output.find("would fail"), std::string::npos);
}

TEST_F(GridChecks, ATrainingThatNeitherDiskNorMemoryHoldsIsNotBegun) {
  std::string text = kModel + "[[target]]\ntask = \"xnli\"\nmax_steps = 2\n";
  const std::string layer = "hidden_size = 16\nnum_hidden_layers = 2\nnum_attention_heads = 2\nintermediate_size = 32\n";
  text.replace(text.find(layer), layer.size(),
               "hidden_size = 65536\nnum_hidden_layers = 16\nnum_attention_heads = 256\nintermediate_size = 262144\n");
  // 16 blocks of 12 h^2 parameters: 3 TiB in fp32.
  expect_mistake(koine("run", text), {"2 problems", "models and checkpoints take up to ", " GiB, but", "free there",
                                      "target xnli needs", "of memory", "weights and optimizer alone are too large"});
  EXPECT_FALSE(begun());
}

TEST_F(GridChecks, TheSameTaskTwiceUnderTwoNames) {
  const std::string text = std::string(kModel) +
                           "[[target]]\ntask = \"tatoeba\"\nlayer = [2, 1]\n"
                           "[[target]]\nname = \"tatoeba-cls\"\ntask = \"tatoeba\"\npooling = \"cls\"\n";
  const Outcome outcome = koine("run", text);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_TRUE(fs::exists(folder_ / "out/target/none/tatoeba-cls/seed-1/done.json"));
  std::set<std::string> rows;
  for (const nlohmann::json& row : nlohmann::json::parse(read_text(folder_ / "out/results.json")))
    rows.insert(row.at("target").get<std::string>() + " " + row.value("task", "-") + " " +
                row.at("metric").get<std::string>() + " " + row.at("layer").dump());
  EXPECT_TRUE(rows.contains("tatoeba - accuracy 2") && rows.contains("tatoeba - accuracy 1")) << "both of one pass";
  EXPECT_TRUE(rows.contains("tatoeba-cls tatoeba accuracy 1")) << "the task's own layer";
  EXPECT_NE(outcome.output.find("tatoeba-cls, accuracy"), std::string::npos) << outcome.output;
  expect_mistake(koine("run", std::string(kModel) +
                                  "[[target]]\ntask = \"tatoeba\"\n[[target]]\nname = \"tatoeba\"\ntask = \"xnli\"\n"),
                 {"two [[target]] entries are called \"tatoeba\""});
}

}  // namespace
}  // namespace koine
