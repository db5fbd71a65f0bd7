// The program as several ranks: started by itself or by a launcher, they leave what one process leaves, and end together.

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "kernels/random/random.h"
#include "program.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

const std::string kRanksExperiment = std::string(kSmallestExperiment) + R"(per_device_train_batch_size = 12
gradient_parts = 8
learning_rate = 1e-3

[[target]]
task = "xnli"
languages = ["en", "de"]
max_steps = 3
max_tokens_per_batch = 64
per_device_train_batch_size = 12
gradient_parts = 8
learning_rate = 1e-3
)";

/// The processes this one has started, in order.
std::vector<int> children_of(int process) {
  std::ifstream file(concatenate("/proc/", process, "/task/", process, "/children"));
  std::vector<int> children;
  for (int child = 0; file >> child;) children.push_back(child);
  return children;
}

class RanksOfTheProgram : public ::testing::Test {
 protected:
  void SetUp() override {
#ifndef KOINE_HAVE_GLOO
    GTEST_SKIP() << "this build has no Gloo";
#endif
    write_small_data(folder_ / "data");
  }

  std::vector<std::string> words(const std::string& output, const std::string& ranks, std::int64_t steps) {
    if (!fs::exists(folder_ / "model")) write_small_model(folder_ / "model", folder_ / "data");
    return {"train",
            "--task",
            "mnli",
            "--model",
            folder_ / "model",
            "--data",
            folder_ / "data",
            "--output",
            folder_ / output,
            "--ranks",
            ranks,
            "--gradient-parts",
            "8",
            "--max-steps",
            std::to_string(steps),
            "--save-steps",
            "20",
            "--eval-steps",
            "30",
            "--per-device-train-batch-size",
            "12",
            "--precision",
            "fp32",
            "--device",
            "cpu",
            "--threads",
            "2",
            "--quiet"};
  }

  std::string weights(const std::string& output) const {
    return xxh3_file(folder_.path() / output / "model/model.safetensors");
  }

  Folder folder_;
};

TEST_F(RanksOfTheProgram, TrainWhatOneProcessTrains) {
  for (const char* ranks : {"1", "2", "4"}) {
    const Outcome outcome = run_koine(words(ranks, ranks, 6));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
    EXPECT_EQ(weights(ranks), weights("1")) << ranks << " ranks";
    const std::string metrics = read_text(folder_ / (std::string(ranks) + "/metrics.jsonl"));
    EXPECT_EQ(std::count(metrics.begin(), metrics.end(), '\n'), 3) << metrics;  // two steps and an evaluation
  }
  // Again: nothing is left to do, and all ranks learn of it.
  const Outcome again = run_koine(words("4", "4", 6));
  EXPECT_EQ(again.exit_code, 0) << again.errors;
}

// Masters, moments and activations in less memory each, and the model that is saved is the same; so is what is measured of it.
TEST_F(RanksOfTheProgram, ShareTheOptimizerAndRecompute) {
  const auto trained = [&](const std::string& output, const std::string& ranks, const std::vector<std::string>& more) {
    std::vector<std::string> all = words(output, ranks, 6);
    *std::find(all.begin(), all.end(), "fp32") = "bf16";
    all.insert(all.end(), {"--optimizer", "adamw_8bit", "--master", "remainder", "--logging-steps", "1"});
    all.insert(all.end(), more.begin(), more.end());
    const Outcome outcome = run_koine(all);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
    return weights(output);
  };
  const std::string one = trained("alone", "1", {});
  EXPECT_EQ(trained("sharing", "3", {"--zero", "2", "--recompute", "true"}), one);
  const std::string metrics = read_text(folder_ / "sharing/metrics.jsonl");
  const nlohmann::json step = nlohmann::json::parse(metrics.substr(0, metrics.find('\n')));
  EXPECT_GT(step.at("communication_seconds").get<double>(), 0);
  EXPECT_GT(step.at("communication_waited_seconds").get<double>(), 0);
  EXPECT_EQ(read_text(folder_ / "alone/metrics.jsonl").find("communication"), std::string::npos);
  std::vector<std::string> refused = words("refused", "2", 6);
  refused.insert(refused.end(), {"--zero", "1", "--optimizer", "adamw_rms"});
  expect_mistake(run_koine(refused), {"zero is 1", "adamw_8bit"});
}

/// Each file below a folder, by its path there.
std::map<std::string, std::string> texts_below(const std::string& folder) {
  std::map<std::string, std::string> texts;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) texts[fs::relative(entry.path(), folder).string()] = read_text(entry.path());
  }
  return texts;
}

// Evaluations are of batches of two or three examples, so that all ranks have some of them.
TEST_F(RanksOfTheProgram, RunAWholeExperiment) {
  write_text(folder_ / "ranks.toml", kRanksExperiment);
  const auto run = [&](const std::string& ranks) {
    const Outcome outcome = run_koine({"run", folder_ / "ranks.toml", "--data", folder_ / "data", "--output",
                                       folder_ / ranks, "--ranks", ranks, "--threads", "2", "--quiet"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
    nlohmann::json figures = read_json(folder_ / (ranks + "/target/mnli/xnli/seed-1/evaluations.json"));
    for (nlohmann::json& language : figures) language.erase("seconds");
    return figures;
  };
  const nlohmann::json one = run("1");
  EXPECT_EQ(one.size(), 2u) << one;
  EXPECT_EQ(run("3"), one);
  for (const char* kind : {"predictions", "outcomes"}) {
    const std::string below = concatenate("/target/mnli/xnli/seed-1/", kind);
    const std::map<std::string, std::string> files = texts_below(folder_ / ("1" + below));
    EXPECT_EQ(files.size(), 2u) << kind;
    EXPECT_EQ(texts_below(folder_ / ("3" + below)), files);
  }
  EXPECT_EQ(xxh3_file(folder_.path() / "3/target/mnli/xnli/seed-1/model/model.safetensors"),
            xxh3_file(folder_.path() / "1/target/mnli/xnli/seed-1/model/model.safetensors"));
}

TEST_F(RanksOfTheProgram, AreFoundThroughALauncher) {
  const std::string meeting = folder_ / "meeting";
  std::vector<Outcome> outcomes(2);
  std::vector<std::thread> launched;
  for (std::size_t rank = 0; rank < outcomes.size(); ++rank) {
    launched.emplace_back([&, rank, words = words("launched", "launcher", 6)] {
      ProgramOptions options;
      options.environment = {concatenate("OMPI_COMM_WORLD_RANK=", rank),
                             "OMPI_COMM_WORLD_SIZE=2",
                             concatenate("OMPI_COMM_WORLD_LOCAL_RANK=", rank),
                             "OMPI_COMM_WORLD_LOCAL_SIZE=2",
                             "KOINE_RANKS_ADDRESS=127.0.0.1",
                             "KOINE_RANKS_FOLDER=" + meeting};
      outcomes[rank] = run_koine(words, options);
    });
  }
  for (std::thread& one : launched) one.join();
  for (const Outcome& outcome : outcomes) ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  ASSERT_EQ(run_koine(words("alone", "1", 6)).exit_code, 0);
  EXPECT_EQ(weights("launched"), weights("alone"));
  EXPECT_EQ(outcomes[1].output, "") << "rank 0 alone says what came of it";
}

TEST_F(RanksOfTheProgram, OneThatIsKilledEndsAllAndTheRunResumes) {
  RandomStream random(static_cast<std::uint64_t>(getpid()), 9);
  const std::size_t culprit = static_cast<std::size_t>(random.below(4));
  const std::int64_t milliseconds = random.below(100);
  constexpr std::int64_t kSteps = 80;
  ProgramOptions options;
  options.while_running = [&](int process) {
    if (!fs::exists(folder_ / "killed/checkpoints/step-20")) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    const std::vector<int> ranks = children_of(process);
    if (ranks.size() == 4) kill(ranks[culprit], SIGKILL);
    return true;
  };
  const auto begin = std::chrono::steady_clock::now();
  const Outcome outcome = run_koine(words("killed", "4", kSteps), options);
  EXPECT_EQ(outcome.exit_code, 1) << outcome.errors;
  EXPECT_NE(outcome.errors.find(concatenate("rank ", culprit, " ")), std::string::npos) << outcome.errors;
  EXPECT_EQ(std::count(outcome.errors.begin(), outcome.errors.end(), '\n'), 1) << outcome.errors;
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), 40);
  std::vector<std::string> again = words("killed", "3", kSteps);
  again.push_back("--resume");
  const Outcome resumed = run_koine(again);
  ASSERT_EQ(resumed.exit_code, 0) << resumed.errors;
  ASSERT_EQ(run_koine(words("whole", "1", kSteps)).exit_code, 0);
  EXPECT_EQ(weights("killed"), weights("whole")) << "rank " << culprit << ", " << milliseconds << " ms";
}

// Several ranks have eight parts where nothing else is said; one process goes on under that number.
TEST_F(RanksOfTheProgram, StopTogetherAndResumeInOneProcess) {
  ProgramOptions options;
  options.while_running = [&](int process) {
    if (!fs::exists(folder_ / "stopped/checkpoints/step-20")) return false;
    kill(process, SIGTERM);
    return true;
  };
  std::vector<std::string> first = words("stopped", "3", 60);
  first.erase(first.begin() + 11, first.begin() + 13);  // --gradient-parts 8
  const Outcome stopped = run_koine(first, options);
  EXPECT_EQ(stopped.exit_code, 130) << stopped.errors;
  EXPECT_NE(stopped.errors.find("interrupted at step"), std::string::npos) << stopped.errors;
  std::vector<std::string> again = words("stopped", "1", 60);
  again.push_back("--resume");
  const Outcome resumed = run_koine(again);
  ASSERT_EQ(resumed.exit_code, 0) << resumed.errors;
  ASSERT_EQ(run_koine(words("whole", "1", 60)).exit_code, 0);
  EXPECT_EQ(weights("stopped"), weights("whole"));
}

TEST_F(RanksOfTheProgram, TellAMistakeOnce) {
  std::vector<std::string> wrong = words("wrong", "3", 6);
  wrong[2] = "mnlli";
  expect_mistake(run_koine(wrong), {"mnlli"});
  expect_mistake(run_koine(words("wrong", "0", 6)), {"--ranks", "1 to 1024"});
  expect_mistake(run_koine(words("wrong", "launcher", 6)), {"RANK and WORLD_SIZE"});
  wrong = words("wrong", "3", 6);
  wrong[12] = "2";  // parts
  expect_mistake(run_koine(wrong), {"gradient_parts is 2", "3 ranks"});
}

}  // namespace
}  // namespace koine
