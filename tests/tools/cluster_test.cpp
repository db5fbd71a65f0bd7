// One experiment carried out by several processes in one folder, each with phases of its own.

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <fstream>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/files/folder_lock.h"
#include "program.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

const std::string kGrid = std::string(R"(
name = "grid"
precision = "fp32"
)") + kSmallModel + R"(
[[intermediate]]
name = "none"

[[intermediate]]
name = "mnli"
tasks = ["mnli"]
max_steps = 6
learning_rate = 1e-3

[[target]]
task = "xnli"
max_steps = 6
learning_rate = 1e-3

[[target]]
task = "tatoeba"
)";

class Cluster : public ::testing::Test {
 protected:
  void SetUp() override {
    write_small_data(folder_ / "data");
    write_text(folder_ / "grid.toml", kGrid);
  }
  Outcome run(const std::string& output, std::vector<std::string> more, const ProgramOptions& options = {}) {
    std::vector<std::string> words = {"run",      folder_ / "grid.toml", "--data",    folder_ / "data",
                                      "--output", folder_ / output,      "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return run_koine(words, options);
  }
  /// A file of results without what clock and meter decide.
  nlohmann::json timeless(const std::string& file) {
    nlohmann::json rows = nlohmann::json::parse(read_text(folder_ / file));
    for (nlohmann::json& row : rows) {
      row.erase("seconds");
      row.erase("joules");
    }
    return rows;
  }

  Folder folder_;
};

TEST_F(Cluster, TwoProcessesWithOtherPhasesEndInTheResultsOfOneRun) {
  const Outcome whole = run("whole", {"--quiet"});
  ASSERT_EQ(whole.exit_code, 0) << whole.errors;
  const auto start = [&](const std::string& only) {
    return std::async(std::launch::async, [this, only] { return run("shared", {"--quiet", "--only", only}); });
  };
  // Both begin in an empty folder: one trains the tokenizer, the other waits for it.
  std::future<Outcome> baseline = start("none/*/*");
  std::future<Outcome> arm = start("mnli/1,mnli/*/1");
  const Outcome first = baseline.get();
  const Outcome second = arm.get();
  ASSERT_EQ(first.exit_code, 0) << first.errors;
  ASSERT_EQ(second.exit_code, 0) << second.errors;
  EXPECT_EQ(timeless("shared/results.json"), timeless("whole/results.json"));
  EXPECT_EQ(timeless("shared/costs.json"), timeless("whole/costs.json"));
  EXPECT_FALSE(fs::exists(folder_ / "shared/run.lock"));
}

// One scheduler for a machine: the arm's targets wait for its training, the others do not.
TEST_F(Cluster, SeveralPhasesAtATimeEndInTheResultsOfOneRun) {
  ASSERT_EQ(run("whole", {"--quiet"}).exit_code, 0);
  const Outcome jobs = run("jobs", {"--jobs", "3"});
  ASSERT_EQ(jobs.exit_code, 0) << jobs.errors;
  EXPECT_EQ(timeless("jobs/results.json"), timeless("whole/results.json"));
  const auto place_of = [&](const std::string& line) {
    const std::size_t place = jobs.errors.find(line);
    EXPECT_NE(place, std::string::npos) << line << " is not in\n" << jobs.errors;
    return place;
  };
  EXPECT_LT(place_of("[3/5] mnli/1 begins"), place_of("[1/5] none/xnli/1 begins")) << "two others wait for it";
  EXPECT_LT(place_of("[3/5] mnli/1 done"), place_of("[4/5] mnli/xnli/1 begins"));
  EXPECT_LT(place_of("[2/5] none/tatoeba/1 begins"), place_of("[3/5] mnli/1 done")) << "three at a time";
  EXPECT_TRUE(fs::exists(folder_ / "jobs/jobs/5.log"));
  expect_mistake(run("jobs", {"--jobs", "2", "--ranks", "2"}), {"--jobs and --ranks", "give one"});
  const Outcome again = run("jobs", {"--jobs", "2"});
  EXPECT_EQ(again.exit_code, 0) << again.errors;
  EXPECT_EQ(again.errors.find("begins\n"), std::string::npos) << "all was done: " << again.errors;
}

TEST_F(Cluster, OfSeveralPhasesAtATimeTheOneThatFailsIsNamed) {
  fs::create_directories(folder_ / "out/target/none/xnli/seed-1");
  const FolderLock held(folder_ / "out/target/none/xnli/seed-1");
  fs::create_directories(folder_ / "out/jobs");
  std::ofstream(folder_ / "out/jobs/1.log") << "what the one that holds it says\n";
  const Outcome outcome = run("out", {"--quiet", "--jobs", "2", "--only", "1,3"});
  EXPECT_EQ(outcome.exit_code, 2) << outcome.errors;
  EXPECT_NE(outcome.errors.find("koine: phase 1 ended with exit code 2: koine: "), std::string::npos) << outcome.errors;
  EXPECT_NE(outcome.errors.find("is being written by another koine"), std::string::npos) << outcome.errors;
  EXPECT_EQ(read_text(folder_ / "out/jobs/1.log").rfind("what the one that holds it says\nkoine: ", 0), 0u)
      << "a log is continued";
}

TEST_F(Cluster, PhasesAreListedChosenAndMissedByNumberAndName) {
  const Outcome listed = run("out", {"--list-phases"});
  ASSERT_EQ(listed.exit_code, 0) << listed.errors;
  EXPECT_EQ(listed.output,
            "1  none/xnli/1     model\n"
            "2  none/tatoeba/1  model\n"
            "3  mnli/1          model\n"
            "4  mnli/xnli/1     mnli/1\n"
            "5  mnli/tatoeba/1  mnli/1\n");
  EXPECT_FALSE(fs::exists(folder_ / "out")) << "nothing is run";
  expect_mistake(run("out", {"--list-phases", "--only", "6"}), {"--only 6", "1 to 5", "--list-phases"});
  expect_mistake(run("out", {"--list-phases", "--only", "3-2"}), {"--only 3-2"});
  expect_mistake(run("out", {"--list-phases", "--only", "mnli/xnl/1"}),
                 {"--only mnli/xnl/1", "did you mean \"mnli/xnli/1\"?"});

  expect_mistake(run("out", {"--quiet", "--only", "5"}), {"--only 5", "mnli/tatoeba/1 begins with the model of mnli/1",
                                                          "not done", "intermediate/mnli/seed-1", "--only mnli/1"});
  const Outcome arm = run("out", {"--quiet", "--only", "3"});
  ASSERT_EQ(arm.exit_code, 0) << arm.errors;
  EXPECT_NE(arm.output.find("1 of 5 phases"), std::string::npos) << arm.output;
  EXPECT_FALSE(fs::exists(folder_ / "out/target"));
  EXPECT_EQ(timeless("out/results.json").size(), 0u);
  const Outcome target = run("out", {"--quiet", "--only", "5"});
  ASSERT_EQ(target.exit_code, 0) << target.errors;
  EXPECT_EQ(timeless("out/results.json").size(), 3u) << "accuracy and MTEB's two figures";
  EXPECT_EQ(run("out", {"--list-phases", "--only", "3-5"}).output,
            "3  mnli/1          model   done\n"
            "4  mnli/xnli/1     mnli/1\n"
            "5  mnli/tatoeba/1  mnli/1  done\n");
}

TEST_F(Cluster, WhoeverPreparesOrCollectsIsWaitedFor) {
  fs::create_directories(folder_ / "out");
  auto other = std::make_unique<FolderLock>(folder_ / "out");
  int looks = 0;
  ProgramOptions options;
  options.while_running = [&](int) {  // every five milliseconds
    std::error_code ignored;
    if (++looks < 100) {
      EXPECT_FALSE(fs::exists(folder_ / "out/config.toml")) << "prepared while another process prepares";
      return false;
    }
    if (looks == 100) other.reset();
    // Behind the preparation, while the phase trains, another process begins to collect.
    if (other == nullptr && fs::exists(folder_ / "out/target/none/xnli/seed-1/metrics.jsonl", ignored))
      other = std::make_unique<FolderLock>(folder_ / "out");
    if (other == nullptr || !fs::exists(folder_ / "out/target/none/xnli/seed-1/done.json", ignored)) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    EXPECT_FALSE(fs::exists(folder_ / "out/results.json")) << "collected while another process collects";
    other.reset();
    return true;
  };
  const Outcome outcome = run("out", {"--only", "none/xnli/1"}, options);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_NE(outcome.errors.find("waiting for another koine"), std::string::npos) << outcome.errors;
  EXPECT_EQ(timeless("out/results.json").size(), 2u);
}

TEST_F(Cluster, StoppedWhileItWaitsItEndsAsInterrupted) {
  fs::create_directories(folder_ / "out");
  const FolderLock other(folder_ / "out");
  int looks = 0;
  ProgramOptions options;
  options.while_running = [&](int process) {
    if (++looks < 60) return false;
    kill(process, SIGTERM);
    return true;
  };
  const Outcome outcome = run("out", {"--only", "1"}, options);
  EXPECT_EQ(outcome.exit_code, 130) << outcome.errors;
  EXPECT_NE(outcome.errors.find("continues"), std::string::npos) << outcome.errors;
}

}  // namespace
}  // namespace koine
