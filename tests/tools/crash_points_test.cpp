// A run killed at any of its changes to files and then given again ends with the figures and the bits of one that was never
// killed, and leaves nothing behind.
//
// Every point of the small experiment is tried with KOINE_CRASH_POINTS=all, every n-th with KOINE_CRASH_POINTS=n; without it
// a few: those at which earlier programs failed, and some from the beginning to the end.

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "kernels/cuda/host/sanitizers.h"
#include "program.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

const std::string kSmall = std::string(kSmallestExperiment) + R"(save_steps = 2
per_device_train_batch_size = 4
learning_rate = 1e-3

[[target]]
task = "xnli"
languages = ["en", "de"]
max_steps = 4
save_steps = 2
per_device_train_batch_size = 4
learning_rate = 1e-3

[[target]]
task = "tatoeba"
languages = ["de"]
)";

class CrashPoints : public ::testing::Test {
 protected:
  void SetUp() override {
    write_small_data(folder_ / "data");
    write_text(folder_ / "small.toml", kSmall);
  }

  Outcome run(const std::string& output, std::vector<std::string> environment = {}, const std::string& option = "--quiet") {
    ProgramOptions options;
    options.environment = std::move(environment);
    if (!options.environment.empty()) options.environment.push_back("LD_PRELOAD=" KOINE_BINARY_DIR "/tests/crash_point.so");
    return run_koine(
        {"run", folder_ / "small.toml", "--data", folder_ / "data", "--output", folder_ / output, "--threads", "1", option},
        options);
  }

  Outcome run_until(std::int64_t change, const std::string& option = "--quiet") {
    return run("broken", {"CRASH_DIR=" + folder_ / "broken", "CRASH_AT=" + std::to_string(change)}, option);
  }

  /// The files of a finished run by name, of those that clocks and meters have no part in: figures without the times,
  /// predictions, models.
  std::map<std::string, std::string> bits_of(const std::string& output) {
    std::map<std::string, std::string> bits;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder_ / output)) {
      const std::string name = fs::relative(entry.path(), folder_ / output).string();
      const std::string file = entry.path().filename().string();
      // Nothing that is on its way, and no lock.
      EXPECT_TRUE(file.find(".tmp") == std::string::npos && file.find(".partial") == std::string::npos &&
                  file != "checkpoints" && file != "run.lock")
          << "left behind: " << name;
      if (!entry.is_regular_file()) continue;
      if (file == "results.json") {
        nlohmann::json rows = nlohmann::json::parse(read_text(entry.path()));
        for (nlohmann::json& row : rows) row.erase("seconds"), row.erase("joules");
        bits[name] = rows.dump();
      } else if (name.find("/model/") != std::string::npos || name.find("/predictions/") != std::string::npos ||
                 name.find("/outcomes/") != std::string::npos || file == "config.toml") {
        bits[name] = read_text(entry.path());
      }
    }
    return bits;
  }

  /// What the changes of a whole run are, "operation path".
  std::vector<std::string> changes_of(const std::string& output) {
    EXPECT_EQ(run(output, {"CRASH_DIR=" + folder_ / output, "CRASH_LOG=" + folder_ / "log"}).exit_code, 0);
    std::vector<std::string> changes;
    std::istringstream lines(read_text(folder_ / "log"));
    for (std::string line; std::getline(lines, line);) changes.push_back(line.substr(line.find(' ') + 1));
    return changes;
  }

  Folder folder_;
};

/// Numbers of the changes to be killed at.
std::set<std::int64_t> points_of(const std::vector<std::string>& changes) {
  const auto count = static_cast<std::int64_t>(changes.size());
  const char* wanted = std::getenv("KOINE_CRASH_POINTS");
  std::int64_t every = wanted == nullptr ? (count + 1) / 2 : std::string(wanted) == "all" ? 1 : std::atoi(wanted);
  every = std::max<std::int64_t>(every, 1);
  std::set<std::int64_t> points;
  for (std::int64_t number = every / 2 + 1; number <= count; number += every) points.insert(number);
  if (wanted != nullptr) return points;
  // The first change to a path with this in it, of this kind.
  struct Kind {
    const char* operation;
    const char* part;
  };
  for (const Kind& kind : {Kind{"sync", "seed-1/.config.toml"}, Kind{"rename", "step-2"}, Kind{"rename", "trained.json"},
                           Kind{"remove", "checkpoints"}, Kind{"rename", "xnli/seed-1/done.json"}}) {
    const auto found = std::find_if(changes.begin(), changes.end(), [&](const std::string& change) {
      return change.rfind(kind.operation, 0) == 0 && change.find(kind.part) != std::string::npos;
    });
    EXPECT_NE(found, changes.end()) << kind.operation << " " << kind.part;
    if (found != changes.end()) points.insert(found - changes.begin() + 1);
  }
  return points;
}

TEST_F(CrashPoints, AnyOfThemEndsInTheSameBits) {
#if defined(KOINE_ADDRESS_SANITIZER) || defined(KOINE_THREAD_SANITIZER)
  GTEST_SKIP() << "a library cannot be loaded before the sanitizer's";
#endif
  const std::vector<std::string> changes = changes_of("whole");
  ASSERT_GT(changes.size(), 100u) << "the library does not see what the program does";
  const std::map<std::string, std::string> whole = bits_of("whole");
  ASSERT_GT(whole.size(), 8u);
  for (const std::int64_t point : points_of(changes)) {
    SCOPED_TRACE("killed before change " + std::to_string(point) + ": " + changes[static_cast<std::size_t>(point) - 1]);
    fs::remove_all(folder_ / "broken");
    ASSERT_EQ(run_until(point).exit_code, 128 + SIGKILL);
    const Outcome rest = run("broken");
    ASSERT_EQ(rest.exit_code, 0) << rest.errors;
    EXPECT_EQ(bits_of("broken"), whole);
  }
}

TEST_F(CrashPoints, AKillWhileAPhaseIsMadeAgainLeavesAFolderOfTheOldSettings) {
#if defined(KOINE_ADDRESS_SANITIZER) || defined(KOINE_THREAD_SANITIZER)
  GTEST_SKIP() << "a library cannot be loaded before the sanitizer's";
#endif
  ASSERT_EQ(run("broken").exit_code, 0);
  std::string changed = kSmall;
  changed.replace(changed.find("max_steps = 4"), 13, "max_steps = 5");
  write_text(folder_ / "small.toml", changed);
  ASSERT_EQ(run("whole").exit_code, 0);
  const std::map<std::string, std::string> whole = bits_of("whole");
  // Behind the changes to the output itself come those that empty the first phase's folder.
  for (const std::int64_t point : {14, 18, 22}) {
    SCOPED_TRACE("killed before change " + std::to_string(point));
    ASSERT_EQ(run_until(point, "--redo").exit_code, 128 + SIGKILL);
  }
  const Outcome rest = run("broken", {}, "--redo");
  ASSERT_EQ(rest.exit_code, 0) << rest.errors;
  EXPECT_EQ(bits_of("broken"), whole);
}

}  // namespace
}  // namespace koine
