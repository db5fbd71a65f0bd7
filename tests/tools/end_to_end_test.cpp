// Whole experiments by the program: interrupted and continued they give what an uninterrupted run gives.

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "program.h"
#include "tasks/report/kept_outcomes.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

const std::string kExperiment = std::string(R"(
name = "tiny"
seeds = [1, 2]
precision = "fp32"
)") + kSmallModel + R"(
[pretraining]
files = ["text/en.txt"]
max_seq_length = 16
per_device_train_batch_size = 16
max_steps = 30
learning_rate = 1e-3

[[intermediate]]
name = "none"

[[intermediate]]
name = "mnli"
tasks = ["mnli"]
max_steps = 20
eval_steps = 5
learning_rate = 1e-3

[[target]]
task = "xnli"
max_steps = 20
eval_steps = 5
learning_rate = 1e-3

[[target]]
task = "tatoeba"

[[target]]
task = "mexa"
)";

class EndToEnd : public ::testing::Test {
 protected:
  void SetUp() override {
    write_small_data(folder_ / "data");
    write_text(folder_ / "tiny.toml", kExperiment);
  }
  Outcome run(const std::string& output, const ProgramOptions& options = {}) {
    return run_koine({"run", folder_ / "tiny.toml", "--data", folder_ / "data", "--output", folder_ / output}, options);
  }
  /// results.json without what clock and meter decide.
  nlohmann::json results(const std::string& output) {
    nlohmann::json all = nlohmann::json::parse(read_text(folder_ / (output + "/results.json")));
    remove_times(all);
    return all;
  }
  static void remove_times(nlohmann::json& value) {
    if (value.is_object()) {
      for (auto entry = value.begin(); entry != value.end();)
        entry = entry.key() == "seconds" || entry.key() == "joules" ? value.erase(entry) : std::next(entry);
    }
    if (value.is_structured()) {
      for (nlohmann::json& part : value) remove_times(part);
    }
  }
  void expect_same_predictions(const std::string& a, const std::string& b) {
    int files = 0;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder_ / (a + "/target"))) {
      const std::string name = entry.path().string();
      const bool compared = name.find("/predictions/") != std::string::npos || name.find("/outcomes/") != std::string::npos;
      if (!entry.is_regular_file() || !compared) continue;
      const fs::path other = folder_ / b / fs::relative(entry.path(), folder_ / a);
      EXPECT_EQ(read_text(entry.path()), read_text(other)) << other;
      ++files;
    }
    EXPECT_GT(files, 0);
  }

  Folder folder_;
};

TEST_F(EndToEnd, KilledAndContinuedEqualsUninterrupted) {
  const Outcome whole = run("whole");
  ASSERT_EQ(whole.exit_code, 0) << whole.errors;
  EXPECT_TRUE(fs::exists(folder_ / "whole/report.html"));
  EXPECT_TRUE(fs::exists(folder_ / "whole/config.toml"));
  const nlohmann::json expected = results("whole");

  // Interrupted (SIGINT) once in the middle of each kind of phase, as soon as its metrics show a step, then continued.
  const auto interrupt_in = [&](const std::string& phase) {
    ProgramOptions options;
    options.while_running = [&](int process) {
      std::error_code ignored;
      const fs::path metrics = folder_ / ("broken/" + phase + "/metrics.jsonl");
      if (!fs::exists(metrics, ignored) || fs::file_size(metrics, ignored) == 0) return false;
      kill(process, SIGINT);
      return true;
    };
    return run("broken", options);
  };
  int interrupted = 0;
  for (const char* phase :
       {"pretraining", "intermediate/mnli/seed-1", "target/none/xnli/seed-1", "target/mnli/xnli/seed-2"}) {
    // A phase the interruption before came too late for is done; a signal at once would only meet a program that has not
    // begun.
    if (fs::exists(folder_ / ("broken/" + std::string(phase) + "/metrics.jsonl"))) continue;
    const Outcome outcome = interrupt_in(phase);
    EXPECT_TRUE(outcome.exit_code == 130 || outcome.exit_code == 0) << outcome.errors;
    if (outcome.exit_code != 130) continue;
    ++interrupted;
    EXPECT_NE(outcome.errors.find("continues"), std::string::npos) << outcome.errors;
  }
  EXPECT_GT(interrupted, 0) << "no run was interrupted in time: the phases are too short for this test";
  const Outcome rest = run("broken");
  ASSERT_EQ(rest.exit_code, 0) << rest.errors;
  EXPECT_EQ(results("broken"), expected);
  expect_same_predictions("whole", "broken");
}

// `koine demo --model`: the demo's languages and arms from a model of the user's, named as its folder, which stays as it is.
TEST_F(EndToEnd, TheDemoFromAPretrainedModel) {
  write_text(folder_ / "tiny.toml", R"(
name = "tiny"
precision = "fp32"
[generated_data]
text_passages = 100
[model]
hidden_size = 16
num_hidden_layers = 2
num_attention_heads = 2
intermediate_size = 32
max_position_embeddings = 194
[tokenizer]
pieces = 600
[pretraining]
max_steps = 2
[[intermediate]]
name = "none"
[[target]]
task = "tatoeba"
)");
  const Outcome pretrained =
      run_koine({"run", folder_ / "tiny.toml", "--output", folder_ / "run", "--only", "pretraining", "--quiet"});
  ASSERT_EQ(pretrained.exit_code, 0) << pretrained.errors;
  const fs::path model = folder_ / "mine";
  fs::rename(folder_ / "run/pretraining/model", model);
  const std::string weights = read_text(model / "model.safetensors");
  const Outcome demo = run_koine({"demo", "--model", model, "--output", folder_ / "demo", "--seeds", "1", "--quiet"});
  ASSERT_EQ(demo.exit_code, 0) << demo.errors;
  EXPECT_EQ(read_text(model / "model.safetensors"), weights);
  EXPECT_FALSE(fs::exists(folder_ / "demo/pretraining"));
  std::set<std::string> models;
  std::map<std::string, std::set<std::string>> languages;  // of arm/target
  for (const nlohmann::json& row : results("demo")) {
    models.insert(row.at("model"));
    languages[row.at("intermediate").get<std::string>() + "/" + row.at("target").get<std::string>()].insert(
        row.at("language"));
  }
  EXPECT_EQ(models, std::set<std::string>{"mine"});
  EXPECT_EQ(languages.size(), 3U * 4U);
  for (const char* arm : {"none", "mnli+squad", "mnli+squad+mlm"}) {
    EXPECT_EQ(languages[std::string(arm) + "/xnli"].size(), 6U) << arm;
    EXPECT_EQ(languages[std::string(arm) + "/tatoeba"].size(), 5U) << arm;
  }
}

TEST_F(EndToEnd, KilledOutrightAndContinuedEqualsUninterrupted) {
  ASSERT_EQ(run("whole").exit_code, 0);
  ProgramOptions options;
  options.while_running = [&](int process) {
    std::error_code ignored;
    if (!fs::exists(folder_ / "broken/target/none/xnli/seed-1/config.toml", ignored)) return false;
    kill(process, SIGKILL);
    return true;
  };
  EXPECT_EQ(run("broken", options).exit_code, 128 + SIGKILL);
  ASSERT_EQ(run("broken").exit_code, 0);
  EXPECT_EQ(results("broken"), results("whole"));
  expect_same_predictions("whole", "broken");
}

/// Outcomes of examples are kept beside the figures, which they give; a study's report holds them against their hashes, and does without
/// those of programs that kept none.
void expect_kept_outcomes(const std::string& run) {
  const std::vector<ResultRow> rows = read_results(fs::path(run) / "results.json");
  const std::vector<KeptOutcomes> kept = read_outcomes(run, rows);
  // XNLI in two languages, of two arms with two seeds; Tatoeba in one, of the untrained baseline once.
  EXPECT_EQ(kept.size(), 2u * 2 * 2 + 2 + 1);
  EXPECT_EQ(std::count_if(kept.begin(), kept.end(), [](const KeptOutcomes& one) { return one.outcomes.parallel; }), 8);
  const auto layers = std::count_if(rows.begin(), rows.end(), [](const ResultRow& row) { return row.metric == "mexa"; });
  EXPECT_EQ(layers, 3 * 3) << "hidden states 0 to 2 before the intermediate training, and after it with two seeds";
  const auto report = [&] {
    return run_koine(
        {"report", "--study", "scale-and-robustness", run, "--parameters", "tiny=1e6", "--output", run + "/page.md"});
  };
  const Outcome page = report();
  ASSERT_EQ(page.exit_code, 0) << page.errors;
  EXPECT_NE(page.output.find("Fewer than 30 examples have none"), std::string::npos) << page.output;
  EXPECT_NE(read_text(run + "/page.md").find("## Agreement of answers with the source language"), std::string::npos);
  const fs::path phase = fs::path(run) / "target/mnli/xnli/seed-1";
  const fs::path table = phase / "outcomes/xnli/test-de.tsv";
  const std::string good = read_text(table);
  write_text(table, good + "9\t1\t0,1,2\n");
  expect_mistake(report(), {table.string(), "bytes have changed"});
  write_text(table, good);
  nlohmann::json mark = nlohmann::json::parse(read_text(phase / "done.json"));
  mark["languages"]["de"].erase("outcomes");
  write_text(phase / "done.json", mark.dump(2) + "\n");
  EXPECT_EQ(read_outcomes(run, rows).size(), kept.size() - 1);
  EXPECT_EQ(report().exit_code, 0);
}

TEST_F(EndToEnd, WhatIsDoneIsNotDoneAgainAndChangesAreNoticed) {
  const Outcome first = run("out");
  ASSERT_EQ(first.exit_code, 0) << first.errors;
  const auto time = fs::last_write_time(folder_ / "out/pretraining/model/model.safetensors");
  const Outcome second = run("out");
  ASSERT_EQ(second.exit_code, 0) << second.errors;
  EXPECT_EQ(fs::last_write_time(folder_ / "out/pretraining/model/model.safetensors"), time);
  EXPECT_EQ(first.output, second.output);
  expect_kept_outcomes(folder_ / "out");
  std::string changed = kExperiment;
  changed.replace(changed.find("max_steps = 30"), 14, "max_steps = 31");
  write_text(folder_ / "tiny.toml", changed);
  expect_mistake(
      run_koine({"run", folder_ / "tiny.toml", "--data", folder_ / "data", "--output", folder_ / "out", "--quiet"}),
      {"pretraining", "max_steps = 30 there, max_steps = 31 here"});
}

TEST_F(EndToEnd, TrainEvaluateScoreAgree) {
  write_small_model(folder_ / "model", folder_ / "data");
  const Outcome trained =
      run_koine({"train", "--task", "xnli", "--model", folder_ / "model", "--data", folder_ / "data", "--output",
                 folder_ / "trained", "--max-steps", "10", "--precision", "fp32", "--quiet"});
  ASSERT_EQ(trained.exit_code, 0) << trained.errors;
  const Outcome evaluated =
      run_koine({"evaluate", "--task", "xnli", "--model", folder_ / "trained/model", "--data", folder_ / "data", "--output",
                 folder_ / "evaluated", "--languages", "de,en", "--precision", "fp32", "--quiet"});
  ASSERT_EQ(evaluated.exit_code, 0) << evaluated.errors;
  const Outcome scored = run_koine({"score", "--task", "xnli", "--predictions", folder_ / "evaluated/predictions", "--gold",
                                    folder_ / "data", "--languages", "de,en"});
  ASSERT_EQ(scored.exit_code, 0) << scored.errors;
  EXPECT_EQ(evaluated.output.substr(0, scored.output.size()), scored.output) << "behind it is what was cut";
}

TEST_F(EndToEnd, SeveralTasksFromTheCommandLine) {
  write_small_model(folder_ / "model", folder_ / "data");
  write_text(folder_ / "data/mlm/en.txt", read_text(folder_ / "data/text/en.txt"));
  write_text(folder_ / "data/XNLI-MT-1.0/multinli/multinli.train.de.tsv",
             "premise\thypo\tlabel\nthe king sees a bird\tthe bird\tneutral\na bird\tthe king\tcontradictory\n");
  const auto train = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"train", "--task", "mnli,mlm", "--model", folder_ / "model", "--data", folder_ / "data",
                                 "--output", folder_ / "trained", "--max-seq-length", "30", "--precision", "fp32"});
    return run_koine(words);
  };
  expect_mistake(train({"--weights", "1", "--quiet"}), {"--weights has 1 entries for 2 tasks"});
  expect_mistake(train({"--heads", "mnli=x,mlm=x", "--quiet"}), {"--heads", "mnli and mlm cannot share the head \"x\""});
  expect_mistake(train({"--heads", "squad=x", "--quiet"}), {"--heads", "squad=x"});
  expect_mistake(train({"--batch-sizes", "squad=4", "--quiet"}), {"--batch-sizes", "squad=4", "task=examples"});
  expect_mistake(train({"--batch-sizes", "mlm=0", "--quiet"}), {"--batch-sizes: mlm=0", "0"});
  expect_mistake(train({"--batch-sizes", "mlm=4,mlm=8", "--quiet"}), {"--batch-sizes", "\"mlm\" stands twice"});
  expect_mistake(train({"--languages", "en,sw", "--quiet"}), {"\"sw\"", "XNLI-MT-1.0/multinli/multinli.train.sw.tsv"});
  expect_mistake(train({"--equal-tokens", "--max-steps", "3", "--quiet"}), {"--equal-tokens", "--num-train-epochs"});
  const Outcome trained = train({"--languages", "en,de", "--equal-tokens", "--mlm-languages", "en", "--mlm-packed",
                                 "--sampler", "time_dependent", "--weight-functions", "1", "t/2", "--num-train-epochs", "1",
                                 "--per-device-train-batch-size", "8", "--batch-sizes", "mlm=2"});
  ASSERT_EQ(trained.exit_code, 0) << trained.errors;
  EXPECT_NE(trained.errors.find("tasks: mnli 100.00 % to "), std::string::npos) << trained.errors;
  const nlohmann::json tasks = nlohmann::json::parse(read_text(folder_ / "trained/done.json")).at("tasks");
  EXPECT_LE(tasks.at("mnli").at("tokens"), tasks.at("mnli").at("source_tokens"));
  EXPECT_GT(tasks.at("mnli").at("translated_tokens"), 0);
  EXPECT_LT(tasks.at("mnli").at("translated_tokens").get<int>(), tasks.at("mnli").at("tokens").get<int>() / 2)
      << "two examples in German, all of them";
  EXPECT_NE(read_text(folder_ / "trained/config.toml").find("max_seq_length = 30\nper_device_train_batch_size = 2\n"),
            std::string::npos);
  for (const char* task : {"mnli", "mlm"}) {
    EXPECT_GT(tasks.at(task).at("steps"), 0) << task;
    const std::string line = std::string(task) + ": " + tasks.at(task).at("examples").dump() + " examples, ";
    EXPECT_NE(trained.output.find(line), std::string::npos) << trained.output;
  }
}

TEST_F(EndToEnd, WhatIsLeftOutIsTold) {
  write_small_model(folder_ / "model", folder_ / "data");
  std::string squad = read_text(folder_ / "data/squad/train-v1.1.json");
  // A no-break space is white space in the answer, but no border of the context's words.
  squad.replace(squad.find("\"qas\": ["), 8,
                R"("qas": [{"id": "q0", "question": "who", "answers": [{"text": "king sees", "answer_start": 8}]}, )"
                R"({"id": "q2", "question": "who", "answers": [{"text": "king\u00a0x", "answer_start": 31}]}, )");
  squad.replace(squad.find("green bird"), 10, "green bird king\u00a0x");
  write_text(folder_ / "data/squad/train-v1.1.json", squad);
  const Outcome trained =
      run_koine({"train", "--task", "squad", "--model", folder_ / "model", "--data", folder_ / "data", "--output",
                 folder_ / "trained", "--max-steps", "2", "--max-seq-length", "60", "--precision", "fp32", "--quiet"});
  ASSERT_EQ(trained.exit_code, 0) << trained.errors;
  EXPECT_NE(trained.output.find("squad: 1 of 3 questions left out"), std::string::npos) << trained.output;
  const Outcome checked = run_koine({"data", "check", folder_ / "data"});
  EXPECT_EQ(checked.exit_code, 0) << checked.errors;
  EXPECT_NE(checked.output.find("train-v1.1.json: 1 of 3 questions left out"), std::string::npos) << checked.output;

  const std::string mnli = folder_ / "data/multinli_1.0/multinli_1.0_train.jsonl";
  write_text(mnli, read_text(mnli) + "{\"gold_label\": \"-\", \"sentence1\": \"a\", \"sentence2\": \"b\"}\n");
  const Outcome outcome = run("out");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_NE(outcome.output.find("xnli/seed-1: mnli: 1 of 49 pairs left out"), std::string::npos) << outcome.output;
  for (const nlohmann::json& row : results("out"))
    EXPECT_EQ(row.value("left_out", 0), row.at("target") == "xnli" ? 1 : 0) << row;
}

/// kExperiment's first target alone, with settings after which the model answers but one class: a rate no training survives.
std::string collapsing_experiment(const std::string& restarts) {
  std::string text = kExperiment;
  const std::size_t begin = text.find("[pretraining]");
  text.erase(begin, text.rfind("[[target]]\ntask = \"xnli\"") - begin);
  text.erase(text.find("[[target]]\ntask = \"tatoeba\""));
  text.replace(text.find("seeds = [1, 2]"), 14, "seeds = [1]");
  text.replace(text.find("learning_rate = 1e-3"), 20, "learning_rate = 3.0\nmax_seq_length = 8\nrestarts = " + restarts);
  return text;
}

TEST_F(EndToEnd, ACollapsedTrainingIsToldAndBegunAgainWithAnotherSeed) {
  std::string dev;  // twice, for the guard judges from 20 answers on
  for (int i = 0; i < 2; ++i) dev += read_text(folder_ / "data/multinli_1.0/multinli_1.0_dev_matched.jsonl");
  write_text(folder_ / "data/multinli_1.0/multinli_1.0_dev_matched.jsonl", dev);
  std::string test = read_text(folder_ / "data/XNLI-1.0/xnli.test.tsv");
  const std::string rows = test.substr(test.find('\n') + 1);
  write_text(folder_ / "data/XNLI-1.0/xnli.test.tsv", test + rows + rows);

  write_text(folder_ / "tiny.toml", collapsing_experiment("0"));
  const Outcome once = run("once");
  ASSERT_EQ(once.exit_code, 0) << once.errors;
  EXPECT_NE(once.output.find("mnli validation: 24 of 24 answers are"), std::string::npos) << once.output;
  EXPECT_NE(once.output.find("xnli, seed 1, de: 27 of 27 answers are"), std::string::npos) << once.output;
  EXPECT_NE(once.output.find("mnli train: 48 of 48 examples cut to 8 tokens"), std::string::npos) << once.output;
  EXPECT_NE(once.output.find("xnli, de: 27 of 27 examples cut to 8 tokens"), std::string::npos) << once.output;
  EXPECT_NE(read_text(folder_ / "once/report.html").find("27 of 27 answers are"), std::string::npos);
  for (const nlohmann::json& row : results("once")) {
    EXPECT_EQ(row.at("collapsed").at("predicted"), 27) << row;
    EXPECT_EQ(row.at("truncated").at("examples"), 27) << row;
    EXPECT_EQ(row.at("training_truncated").at("examples"), 48) << row;
  }
  EXPECT_FALSE(fs::exists(folder_ / "once/target/none/xnli/seed-1/attempts.json"));

  write_text(folder_ / "tiny.toml", collapsing_experiment("2"));
  const Outcome again = run("again");
  ASSERT_EQ(again.exit_code, 0) << again.errors;
  const fs::path phase = folder_ / "again/target/none/xnli/seed-1";
  const nlohmann::json training = nlohmann::json::parse(read_text(phase / "done.json")).at("training");
  ASSERT_EQ(training.at("collapsed_attempts").size(), 2u) << training;
  EXPECT_EQ(training.at("collapsed_attempts")[0].at("seed"), 1);
  EXPECT_EQ(training.at("collapsed_attempts")[1].at("seed"), 1'000'001);
  EXPECT_EQ(training.at("seed"), 2'000'001);
  EXPECT_TRUE(training.contains("collapsed")) << "the last attempt stays whatever it answers";
  EXPECT_NE(again.output.find("seed 1000001: 24 of 24"), std::string::npos) << again.output;
  EXPECT_TRUE(fs::exists(phase / "attempt-3/metrics.jsonl"));
  EXPECT_FALSE(fs::exists(phase / "attempt-3/checkpoints"));

  // Killed when the second attempt has begun, and continued: the same attempts, the same figures.
  ProgramOptions options;
  options.while_running = [&](int process) {
    std::error_code ignored;
    if (!fs::exists(folder_ / "killed/target/none/xnli/seed-1/attempt-2/metrics.jsonl", ignored)) return false;
    kill(process, SIGKILL);
    return true;
  };
  EXPECT_EQ(run("killed", options).exit_code, 128 + SIGKILL);
  ASSERT_EQ(run("killed").exit_code, 0);
  EXPECT_EQ(results("killed"), results("again"));
  nlohmann::json continued =
      nlohmann::json::parse(read_text(folder_ / "killed/target/none/xnli/seed-1/done.json")).at("training");
  nlohmann::json whole = training;
  remove_times(continued);
  remove_times(whole);
  EXPECT_EQ(continued, whole);
}

const std::string kManyTasks = std::string(R"(
name = "mixed"
precision = "fp32"
)") + kSmallModel + R"(
[[intermediate]]
name = "mixed"
tasks = ["mnli", "squad", "mlm"]
mlm_languages = ["en"]
sampler = "uniform"
max_seq_length = 60
max_query_length = 8
doc_stride = 16
max_steps = 24
logging_steps = 1
learning_rate = 1e-3

[[target]]
task = "xnli"
max_steps = 4
learning_rate = 1e-3

[[target]]
task = "tatoeba"
)";

TEST_F(EndToEnd, AnArmOfSeveralTasksAndMlmIsTrainedAndCarriedToTheTargets) {
  write_text(folder_ / "tiny.toml", kManyTasks);
  write_text(folder_ / "data/mlm/en.txt", read_text(folder_ / "data/text/en.txt"));
  const Outcome outcome = run("mixed");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  std::map<std::string, int> steps;
  std::istringstream metrics(read_text(folder_ / "mixed/intermediate/mixed/seed-1/metrics.jsonl"));
  for (std::string line; std::getline(metrics, line);) {
    const nlohmann::json entry = nlohmann::json::parse(line);
    if (entry.contains("task")) ++steps[entry.at("task").get<std::string>()];
  }
  // Of 24 steps drawn evenly from three tasks each has some; the draw is that of the seed, so this is no matter of luck.
  EXPECT_EQ(steps.size(), 3u);
  EXPECT_EQ(steps["mnli"] + steps["squad"] + steps["mlm"], 24);
  const Outcome saved = run_koine({"inspect", folder_ / "mixed/intermediate/mixed/seed-1/model"});
  EXPECT_EQ(saved.exit_code, 0) << saved.errors;
  const nlohmann::json rows = results("mixed");
  std::set<std::string> targets;
  for (const nlohmann::json& row : rows) {
    targets.insert(row.at("target").get<std::string>());
    EXPECT_EQ(row.at("intermediate"), "mixed");
  }
  EXPECT_EQ(targets, (std::set<std::string>{"xnli", "tatoeba"}));

  // The encoder the target began with is the arm's, not a fresh one: without the arm retrieval has other sentence vectors.
  std::string other = kManyTasks;
  const std::size_t begin = other.find("[[intermediate]]");
  other.erase(begin, other.find("[[target]]") - begin);
  write_text(folder_ / "tiny.toml", other);
  const Outcome baseline = run("baseline");
  ASSERT_EQ(baseline.exit_code, 0) << baseline.errors;
  const std::string file = "/tatoeba/seed-1/predictions/tatoeba/test-de.tsv";
  ASSERT_TRUE(fs::exists(folder_ / ("mixed/target/mixed" + file)));
  EXPECT_NE(read_text(folder_ / ("mixed/target/mixed" + file)), read_text(folder_ / ("baseline/target/none" + file)));

  // Both runs in one report.
  const Outcome report = run_koine({"report", folder_ / "mixed", folder_ / "baseline", "--output", folder_ / "both.html",
                                    "--csv", folder_ / "rows.csv", "--latex", folder_ / "tables.tex"});
  ASSERT_EQ(report.exit_code, 0) << report.errors;
  const std::string csv = read_text(folder_ / "rows.csv");
  EXPECT_EQ(static_cast<std::size_t>(std::count(csv.begin(), csv.end(), '\n')),
            1 + rows.size() + results("baseline").size());
  EXPECT_NE(csv.find("\r\nfresh,mixed,xnli,en,accuracy,"), std::string::npos) << csv;
  EXPECT_NE(read_text(folder_ / "tables.tex").find("Intermediate training & XNLI & Tatoeba & Avg. \\\\\n"),
            std::string::npos);
  for (const nlohmann::json& row : rows) EXPECT_GT(row.at("flops").get<double>(), 0) << row << " retrieval's too";
  for (const char* part : {"xnli, accuracy", "tatoeba, accuracy", "mixed", "none"}) {
    EXPECT_NE(report.output.find(part), std::string::npos) << part << "\n" << report.output;
  }
  EXPECT_NE(read_text(folder_ / "both.html").find("</html>"), std::string::npos);
  expect_mistake(run_koine({"report", folder_ / "data"}), {"results.json"});
}

}  // namespace
}  // namespace koine
