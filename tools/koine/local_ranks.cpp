#include "tools/koine/local_ranks.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <map>
#include <thread>

#include "engine/ranks/rank_store.h"
#include "kernels/common/check.h"
#include "tools/koine/children.h"
#include "tools/koine/commands.h"

namespace koine {

namespace {

namespace fs = std::filesystem;

constexpr const char* kStartedVariable = "KOINE_RANKS_STARTED";
constexpr int kSecondsToEnd = 20;  ///< that the others have when one has failed, before they are killed

/// A folder where the ranks meet, gone with it.
class MeetingFolder {
 public:
  MeetingFolder() {
    std::string name = (fs::temp_directory_path() / "koine-ranks-XXXXXX").string();
    check(mkdtemp(name.data()) != nullptr, "no folder can be made in ", fs::temp_directory_path().string());
    path_ = name;
  }
  ~MeetingFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  MeetingFolder(const MeetingFolder&) = delete;
  MeetingFolder& operator=(const MeetingFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::map<std::string, std::string> variables_of(int rank, int count, const fs::path& folder) {
  const std::string number = std::to_string(rank);
  const std::string size = std::to_string(count);
  return {{"RANK", number},
          {"LOCAL_RANK", number},
          {"WORLD_SIZE", size},
          {"LOCAL_WORLD_SIZE", size},
          {"KOINE_RANKS_FOLDER", folder.string()},
          {"KOINE_RANKS_RUN", "local"},
          {"KOINE_RANKS_ADDRESS", "127.0.0.1"},
          {kStartedVariable, "yes"}};
}

class LocalRanks {
 public:
  LocalRanks(int count, const std::vector<std::string>& words) : store_(folder_.path(), "local") {
    for (int rank = 0; rank < count; ++rank)
      processes_.push_back(start_child(words, variables_of(rank, count, folder_.path()), rank == 0 ? "" : log_of(rank)));
    running_ = count;
  }
  LocalRanks(const LocalRanks&) = delete;
  LocalRanks& operator=(const LocalRanks&) = delete;
  ~LocalRanks() { send_all_of(SIGKILL); }

  int watch() {
    while (running_ > 0) {
      if (const int signal = take_signal()) send_all_of(signal);
      int status = 0;
      const pid_t ended = waitpid(-1, &status, WNOHANG);
      if (ended > 0) note_end(ended, status);
      if (failed() && Clock::now() > deadline_) send_all_of(SIGKILL);
      if (ended <= 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    if (!failed()) return code_of_first_;
    // Rank 0 has told it, unless it could not.
    if (code_of_first_ != 1 && code_of_first_ != 2) std::cerr << "koine: " << printable(cause_) << std::endl;
    return code_of_first_ == 2 ? 2 : 1;
  }

 private:
  using Clock = std::chrono::steady_clock;

  bool failed() const { return !cause_.empty(); }
  fs::path log_of(int rank) const { return folder_.path() / concatenate("output-", rank); }

  void send_all_of(int signal) const {
    for (const pid_t process : processes_) {
      if (process > 0) kill(process, signal);
    }
  }

  void note_end(pid_t process, int status) {
    const auto found = std::find(processes_.begin(), processes_.end(), process);
    if (found == processes_.end()) return;
    const auto rank = static_cast<int>(found - processes_.begin());
    *found = 0;
    --running_;
    const int code = exit_code_of(status);
    if (rank == 0) code_of_first_ = code;
    if (failed() || (WIFEXITED(status) && (code == 0 || code == kExitInterrupted))) return;
    cause_ = concatenate("rank ", rank, " (process ", process, ")", describe_end(status, log_of(rank)));
    store_.set("failed", cause_);
    deadline_ = Clock::now() + std::chrono::seconds(kSecondsToEnd);
  }

  MeetingFolder folder_;
  FolderStore store_;
  std::vector<pid_t> processes_;  ///< 0: ended
  int running_ = 0;
  int code_of_first_ = 0;
  std::string cause_;
  Clock::time_point deadline_;
};

}  // namespace

bool is_local_rank() { return std::getenv(kStartedVariable) != nullptr; }

int run_local_ranks(int count, const std::vector<std::string>& words) {
  keep_signals();
  return LocalRanks(count, words).watch();
}

}  // namespace koine
