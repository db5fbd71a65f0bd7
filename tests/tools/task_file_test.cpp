// A user's own tasks by the program: checked, estimated, trained, evaluated and scored as the built-in ones.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "program.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

constexpr char kTaskFile[] = R"(
[[task]]
name = "mood"
family = "classification"
train = "mood/{language}/{split}.tsv"
dev = "mood/{language}/{split}.tsv"
test = "mood/{language}/{split}.tsv"
languages = ["en", "de"]
labels = ["good", "bad"]
max_seq_length = 16
[[task]]
name = "names"
family = "tagging"
format = "conll"
train = "names/{language}.{split}"
test = "names/{language}.{split}"
labels = ["O", "B-PER"]
max_seq_length = 16
)";

class TaskFileProgram : public ::testing::Test {
 protected:
  void SetUp() override {
    write_small_data(folder_ / "text");
    write_small_model(folder_ / "model", folder_ / "text");
    write_text(folder_ / "own.toml", kTaskFile);
    std::string moods = "text\tlabel\n";
    std::string names;
    for (int i = 0; i < 8; ++i) {
      moods += "a good dog\tgood\na bad fox\tbad\n";
      names += "the O\nfox B-PER\n\n";
    }
    for (const char* file : {"en/train", "en/dev", "en/test", "de/test"})
      write_text(folder_ / (std::string("data/mood/") + file + ".tsv"), moods);
    for (const char* file : {"en.train", "en.test", "fi.test"})
      write_text(folder_ / (std::string("data/names/") + file), names);
  }
  Outcome run(std::vector<std::string> words, const std::vector<std::string>& more = {"--quiet"}) {
    words.insert(words.end(), {"--task-file", folder_ / "own.toml"});
    words.insert(words.end(), more.begin(), more.end());
    return run_koine(words);
  }
  Folder folder_;
};

TEST_F(TaskFileProgram, TrainsEvaluatesAndIsScored) {
  for (const std::string task : {"mood", "names"}) {
    const Outcome trained = run({"train", "--task", task, "--model", folder_ / "model", "--data", folder_ / "data",
                                 "--output", folder_ / (task + "-trained"), "--max-steps", "2", "--precision", "fp32"});
    ASSERT_EQ(trained.exit_code, 0) << trained.errors;
    const Outcome evaluated = run({"evaluate", "--task", task, "--model", folder_ / (task + "-trained/model"), "--data",
                                   folder_ / "data", "--output", folder_ / (task + "-figures"), "--precision", "fp32"});
    ASSERT_EQ(evaluated.exit_code, 0) << evaluated.errors;
    const nlohmann::json figures = read_json(folder_ / (task + "-figures/evaluations.json"));
    EXPECT_EQ(figures.size(), 2u);
    const Outcome scored = run(
        {"score", "--task", task, "--predictions", folder_ / (task + "-figures/predictions"), "--gold", folder_ / "data"});
    ASSERT_EQ(scored.exit_code, 0) << scored.errors;
    EXPECT_EQ(scored.output.substr(scored.output.find("mean")), evaluated.output.substr(evaluated.output.find("mean")));
  }
}

TEST_F(TaskFileProgram, DataCheckKnowsItAndNamesAPatternThatFitsNothing) {
  const Outcome checked = run({"data", "check", folder_ / "data"}, {});
  EXPECT_EQ(checked.exit_code, 0) << checked.errors;
  EXPECT_NE(checked.output.find("2 of 2"), std::string::npos) << checked.output;
  EXPECT_NE(checked.output.find("1 of 1 + 1"), std::string::npos) << checked.output;
  fs::remove_all(folder_ / "data/names");
  const Outcome wrong = run({"data", "check", folder_ / "data"}, {});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_NE(wrong.errors.find("own.toml:15: task[2].train: no file fits \"names/{language}.{split}\" below"),
            std::string::npos)
      << wrong.errors;
  expect_mistake(run({"evaluate", "--task", "names", "--model", folder_ / "model", "--data", folder_ / "data", "--output",
                      folder_ / "x"}),
                 {"own.toml:16: task[2].test: no file fits"});
  write_text(folder_ / "own.toml", "[[task]]\nname = \"xnli\"\nfamily = \"span\"\ntest = \"x\"\n");
  expect_mistake(run({"data", "check", folder_ / "data"}, {}), {"own.toml:2", "built-in"});
}

TEST_F(TaskFileProgram, IsIntermediateAndTargetOfAnExperiment) {
  write_text(folder_ / "grid.toml", std::string("precision = \"fp32\"\n[model]\ndirectory = \"model\"\n") +
                                        "[[intermediate]]\ntasks = [\"mood\"]\nmax_steps = 2\n"
                                        "[[target]]\ntask = \"mood\"\nmax_steps = 2\n"
                                        "[[target]]\ntask = \"names\"\nmax_steps = 2\n");
  const std::vector<std::string> grid = {folder_ / "grid.toml", "--data", folder_ / "data"};
  const Outcome estimated = run({"estimate", grid[0], grid[1], grid[2], "--product-rate", "1"}, {});
  ASSERT_EQ(estimated.exit_code, 0) << estimated.errors;
  EXPECT_NE(estimated.output.find("target names"), std::string::npos) << estimated.output;
  const auto once = [&] { return run({"run", grid[0], grid[1], grid[2], "--output", folder_ / "out"}); };
  const Outcome first = once();
  ASSERT_EQ(first.exit_code, 0) << first.errors;
  EXPECT_EQ(read_json(folder_ / "out/results.json").size(), 2u + 2u * 4u);  // accuracy; f1, precision, recall, accuracy
  // What a run leaves says its tasks itself: it runs again without the file.
  const Outcome again = run_koine({"run", folder_ / "out/config.toml", "--output", folder_ / "out", "--quiet"});
  EXPECT_EQ(again.exit_code, 0) << again.errors;
  EXPECT_EQ(again.output, first.output);
  // With another description it is another training.
  std::string changed = kTaskFile;
  changed.replace(changed.find("\"good\", \"bad\""), 13, "\"bad\", \"good\"");
  write_text(folder_ / "own.toml", changed);
  expect_mistake(once(), {"was made with other settings", "definition"});
}

}  // namespace
}  // namespace koine
