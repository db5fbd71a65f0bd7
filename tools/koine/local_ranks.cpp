#include "tools/koine/local_ranks.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <thread>

#include "engine/files/text_file.h"
#include "engine/ranks/rank_store.h"
#include "kernels/common/check.h"
#include "tools/koine/commands.h"

namespace koine {

namespace {

namespace fs = std::filesystem;

constexpr const char* kStartedVariable = "KOINE_RANKS_STARTED";
constexpr int kSecondsToEnd = 20;  ///< that the others have when one has failed, before they are killed

std::atomic<int> signal_to_pass{0};

extern "C" void on_signal_to_pass(int signal) { signal_to_pass.store(signal); }

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

/// Between fork and exec. A process group of its own: Ctrl-C on a terminal comes to this program alone, which passes it on.
void become_local_rank(int rank, int count, const fs::path& folder, const std::vector<std::string>& words, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  const std::string number = std::to_string(rank);
  const std::string size = std::to_string(count);
  for (const char* name : {"RANK", "LOCAL_RANK"}) setenv(name, number.c_str(), 1);
  for (const char* name : {"WORLD_SIZE", "LOCAL_WORLD_SIZE"}) setenv(name, size.c_str(), 1);
  setenv("KOINE_RANKS_FOLDER", folder.c_str(), 1);
  setenv("KOINE_RANKS_RUN", "local", 1);
  setenv("KOINE_RANKS_ADDRESS", "127.0.0.1", 1);
  setenv(kStartedVariable, "yes", 1);
  if (rank != 0) {
    const int log = open((folder / ("output-" + number)).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int nothing = open("/dev/null", O_RDONLY);
    if (log < 0 || nothing < 0 || dup2(nothing, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0) _exit(1);
  }
  std::vector<std::string> copies = words;
  std::vector<char*> pointers;
  for (std::string& word : copies) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  execv("/proc/self/exe", pointers.data());
  _exit(1);
}

/// "koine: --task ...: what it said last".
std::string last_line(const fs::path& file) {
  if (!fs::exists(file)) return "";
  std::string text = read_file(file);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

class LocalRanks {
 public:
  LocalRanks(int count, const std::vector<std::string>& words) : store_(folder_.path(), "local") {
    const pid_t parent = getpid();
    for (int rank = 0; rank < count; ++rank) {
      const pid_t process = fork();
      if (process == 0) become_local_rank(rank, count, folder_.path(), words, parent);
      check(process > 0, "no process can be started: ", std::strerror(errno));
      processes_.push_back(process);
    }
    running_ = count;
  }
  LocalRanks(const LocalRanks&) = delete;
  LocalRanks& operator=(const LocalRanks&) = delete;
  ~LocalRanks() { send_all_of(SIGKILL); }

  int watch() {
    while (running_ > 0) {
      if (const int signal = signal_to_pass.exchange(0)) send_all_of(signal);
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
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    const bool killed = WIFSIGNALED(status);
    if (rank == 0) code_of_first_ = code;
    if (failed() || (!killed && (code == 0 || code == kExitInterrupted))) return;
    cause_ = concatenate("rank ", rank, " (process ", process, ")");
    if (killed) {
      cause_ += concatenate(" was killed by signal ", WTERMSIG(status), " (", strsignal(WTERMSIG(status)), ")");
    } else {
      const std::string said = last_line(folder_.path() / concatenate("output-", rank));
      cause_ += concatenate(" ended with exit code ", code, said.empty() ? "" : ": ", said);
    }
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
  struct sigaction action = {};
  action.sa_handler = on_signal_to_pass;
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) sigaction(signal, &action, nullptr);
  return LocalRanks(count, words).watch();
}

}  // namespace koine
