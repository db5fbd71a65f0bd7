// Tasks as texts through the program: a tiny mT5 learns a toy MNLI, answers it and XNLI by writing, in one command each and in a grid.

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "program.h"
#include "small_mt5.h"

namespace koine {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// Premise and hypothesis whose last word says the label.
std::string toy_pair(int number, std::string* label) {
  static const std::vector<std::pair<std::string, std::string>> kWords = {
      {"yes", "entailment"}, {"maybe", "neutral"}, {"no", "contradiction"}};
  const auto& [word, name] = kWords[static_cast<std::size_t>(number) % 3];
  *label = name;
  return number % 2 == 0 ? "a " + word : "b " + word;
}

class TextTaskCommands : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new Folder;
    const fs::path data = folder_->path() / "data";
    write_small_data(data);
    std::string rows;
    std::string corpus;
    std::string xnli = "language\tgold_label\tsentence1\tsentence2\n";
    for (int i = 0; i < 24; ++i) {
      std::string label;
      const std::string hypothesis = toy_pair(i, &label);
      rows += json{{"gold_label", label}, {"sentence1", "x"}, {"sentence2", hypothesis}}.dump() + "\n";
      if (i < 12) xnli += std::string(i < 6 ? "en" : "de") + "\t" + label + "\tx\t" + hypothesis + "\n";
      corpus += "xnli: premise: x hypothesis: " + hypothesis + " 0 1 2 tag: question: context:\n";
    }
    write_text(data / "multinli_1.0/multinli_1.0_train.jsonl", rows);
    write_text(data / "multinli_1.0/multinli_1.0_dev_matched.jsonl", rows);
    write_text(data / "XNLI-1.0/xnli.test.tsv", xnli);
    write_text(data / "mlm/en.train.txt", "yes maybe no\nno yes maybe\nmaybe no yes\n");
    write_small_mt5(folder_->path() / "mt5", corpus, 316, 287, 0.1);
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  static std::string at(const std::string& name) { return (folder_->path() / name).string(); }
  static Outcome run(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--data", at("data"), "--precision", "fp32", "--quiet"});
    return run_koine(arguments);
  }
  static Outcome train(const std::string& task, const std::string& output, std::vector<std::string> more) {
    std::vector<std::string> arguments = {"train", "--task", task, "--model", at("mt5"), "--output", at(output)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }
  static json results(const std::string& output) { return json::parse(read_text(at(output) + "/results.json")); }

  static Folder* folder_;
};
Folder* TextTaskCommands::folder_ = nullptr;

TEST_F(TextTaskCommands, LearnAndAnswerByWriting) {
  const Outcome trained = train("mnli", "run",
                                {"--max-steps", "300", "--learning-rate", "0.01", "--lr-scheduler-type", "constant",
                                 "--per-device-train-batch-size", "12", "--gradient-accumulation-steps", "1"});
  ASSERT_EQ(trained.exit_code, 0) << trained.errors;
  EXPECT_EQ(results("run")[0].at("value"), 100) << "the dev set, by greedy generation";

  for (const std::string choices : {"generate", "constrained", "likelihood"}) {
    const Outcome evaluated = run(
        {"evaluate", "--task", "xnli", "--model", at("run/model"), "--output", at("xnli-" + choices), "--choices", choices});
    ASSERT_EQ(evaluated.exit_code, 0) << evaluated.errors;
    for (const json& row : results("xnli-" + choices)) {
      EXPECT_EQ(row.at("value"), 100) << row;
      EXPECT_EQ(row.at("unreadable"), 0) << row;
    }
  }
  write_text(at("asked.jsonl"), R"({"sentence1": "x", "sentence2": "a no"})"
                                "\n");
  ProgramOptions options;
  const Outcome predicted = run_koine({"predict", "--task", "xnli", "--model", at("run/model"), "--input", at("asked.jsonl"),
                                       "--precision", "fp32", "--quiet"},
                                      options);
  EXPECT_EQ(predicted.exit_code, 0) << predicted.errors;
  EXPECT_EQ(json::parse(predicted.output), (json{{"label", "contradiction"}, {"text", "2"}}));
}

TEST_F(TextTaskCommands, UnreadableAnswersAreTold) {
  const Outcome evaluated = run({"evaluate", "--task", "xnli", "--model", at("mt5"), "--output", at("untrained")});
  ASSERT_EQ(evaluated.exit_code, 0) << evaluated.errors;
  for (const json& row : results("untrained")) {
    EXPECT_EQ(row.at("value"), 0);
    EXPECT_EQ(row.at("unreadable"), 6);
  }
  EXPECT_NE(evaluated.output.find("en: 6 of 6 answers unreadable: they count as wrong"), std::string::npos)
      << evaluated.output;
}

TEST_F(TextTaskCommands, SeveralTasksShareTheModelsHead) {
  const Outcome trained =
      train("mnli,squad,mlm", "several", {"--max-steps", "6", "--sampler", "uniform", "--max-seq-length", "48"});
  ASSERT_EQ(trained.exit_code, 0) << trained.errors;
  const json tasks = json::parse(read_text(at("several/done.json"))).at("tasks");
  for (const char* task : {"mnli", "squad", "mlm"}) EXPECT_GT(tasks.at(task).at("tokens").get<int>(), 0) << task;
}

TEST_F(TextTaskCommands, GridsAreTheSame) {
  write_text(at("grid.toml"), R"(
seeds = [1]
precision = "fp32"

[model]
directory = "mt5"

[[intermediate]]
name = "none"

[[intermediate]]
name = "mnli-and-text"
tasks = ["mnli", "mlm"]
max_steps = 3
sampler = "uniform"

[[target]]
task = "xnli"
max_steps = 2
choices = "constrained"
languages = ["de"]

[[target]]
task = "tatoeba"
)");
  const Outcome outcome = run({"run", at("grid.toml"), "--output", at("grid")});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  int unreadable = 0;
  for (const json& row : results("grid")) {
    if (row.at("target") == "xnli") EXPECT_EQ(row.at("unreadable"), 0) << "nothing but labels can be written";
    unreadable += row.contains("unreadable") ? 1 : 0;
  }
  EXPECT_EQ(unreadable, 2);
  const Outcome again = run({"run", at("grid.toml"), "--output", at("grid")});
  EXPECT_EQ(again.exit_code, 0) << again.errors;
  const Outcome estimated = run({"estimate", at("grid.toml")});
  EXPECT_EQ(estimated.exit_code, 0) << estimated.errors;
}

TEST_F(TextTaskCommands, FreshModelsArePretrainedBySpanCorruption) {
  const std::string grid = R"(
seeds = [1]
precision = "fp32"
save_models = true

[model]
family = "mt5"
hidden_size = 16
head_size = 8
num_hidden_layers = 1
num_attention_heads = 2
intermediate_size = 16

[tokenizer]
inputs = ["text/en.txt"]
pieces = 400

[pretraining]
files = ["text/en.txt"]
max_seq_length = 32
mlm_packed = true
max_steps = 4

[[target]]
task = "xnli"
max_steps = 2
languages = ["de"]
)";
  write_text(at("fresh.toml"), grid);
  const Outcome outcome = run({"run", at("fresh.toml"), "--output", at("fresh")});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_EQ(json::parse(read_text(at("fresh/pretraining/model/config.json"))).at("model_type"), "mt5");
  EXPECT_TRUE(results("fresh")[0].contains("unreadable"));
  write_text(at("wrong.toml"),
             "[model]\nfamily = \"mt5\"\nhidden_size = 8\nnum_hidden_layers = 1\nnum_attention_heads = 1\nintermediate_size "
             "= 8\nmax_position_embeddings = 9\n[[target]]\ntask = \"xnli\"\n");
  expect_mistake(run({"run", at("wrong.toml"), "--output", at("no")}), {"max_position_embeddings", "remove it"});
}

TEST_F(TextTaskCommands, NamesMistakes) {
  expect_mistake(run({"evaluate", "--task", "xnli", "--model", at("mt5"), "--output", at("no"), "--labels", "a,b,c"}),
                 {"--labels", "answers with texts"});
  expect_mistake(
      run({"evaluate", "--task", "tatoeba", "--model", at("mt5"), "--output", at("no"), "--choices", "likelihood"}),
      {"--choices", "tatoeba"});
  expect_mistake(train("mnli,squad", "no", {"--heads", "mnli=a"}), {"--heads", "a head for every task"});
  expect_mistake(train("squad_sentences", "no", {}), {"head"});
}

}  // namespace
}  // namespace koine
