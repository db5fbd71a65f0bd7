#include "tests/engine/rank_processes.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "tests/engine/temporary_folder.h"

namespace koine {

namespace {

namespace fs = std::filesystem;

/// Between fork and exec.
void become_rank(const std::vector<std::string>& variables, const std::vector<std::string>& arguments,
                 const std::string& errors) {
  for (const char* name : {"MASTER_ADDR", "MASTER_PORT", "KOINE_RANKS_FOLDER", "KOINE_RANKS_PORT"}) unsetenv(name);
  for (const std::string& entry : variables) {
    const std::size_t equals = entry.find('=');
    setenv(entry.substr(0, equals).c_str(), entry.substr(equals + 1).c_str(), 1);
  }
  const int file = open(errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (file < 0 || dup2(file, STDERR_FILENO) < 0) _exit(99);
  std::vector<std::string> words = arguments;
  words.insert(words.begin(), KOINE_BINARY_DIR "/rank_probe");
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  execv(pointers.front(), pointers.data());
  _exit(98);
}

}  // namespace

std::vector<RankOutcome> run_ranks(int size, const std::vector<std::string>& arguments, const RankVariables& variables) {
  const TemporaryFolder folder;
  const auto errors_of = [&](int rank) { return (folder.path() / ("errors-" + std::to_string(rank))).string(); };
  std::vector<pid_t> processes;
  for (int rank = 0; rank < size; ++rank) {
    std::vector<std::string> all = {"RANK=" + std::to_string(rank), "WORLD_SIZE=" + std::to_string(size),
                                    "KOINE_RANKS_ADDRESS=127.0.0.1"};
    const std::vector<std::string> more = variables ? variables(rank) : std::vector<std::string>();
    bool meets_elsewhere = false;
    for (const std::string& entry : more) meets_elsewhere = meets_elsewhere || entry.starts_with("MASTER_ADDR");
    if (!meets_elsewhere) all.push_back("KOINE_RANKS_FOLDER=" + (folder.path() / "meeting").string());
    all.insert(all.end(), more.begin(), more.end());
    const pid_t process = fork();
    if (process == 0) become_rank(all, arguments, errors_of(rank));
    processes.push_back(process);
  }
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin = Clock::now();
  std::vector<RankOutcome> outcomes(static_cast<std::size_t>(size));
  std::size_t ended = 0;
  std::set<pid_t> stopped;  // by SIGSTOP: these never end by themselves
  while (ended < outcomes.size()) {
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    const bool over = seconds > 60 || ended + stopped.size() == outcomes.size();
    for (std::size_t rank = 0; rank < outcomes.size(); ++rank) {
      if (processes[rank] == 0) continue;
      if (over) kill(processes[rank], SIGKILL);
      int status = 0;
      if (waitpid(processes[rank], &status, WNOHANG | WUNTRACED) != processes[rank]) continue;
      if (WIFSTOPPED(status)) {
        stopped.insert(processes[rank]);
        continue;
      }
      outcomes[rank].exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      outcomes[rank].seconds = seconds;
      stopped.erase(processes[rank]);
      processes[rank] = 0;
      ++ended;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  for (int rank = 0; rank < size; ++rank) {
    std::ifstream file(errors_of(rank));
    std::ostringstream text;
    text << file.rdbuf();
    outcomes[static_cast<std::size_t>(rank)].errors = text.str();
  }
  return outcomes;
}

}  // namespace koine
