#include "tools/koine/children.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {

namespace {

namespace fs = std::filesystem;

std::atomic<int> kept_signal{0};

extern "C" void on_kept_signal(int signal) { kept_signal.store(signal); }

/// Between fork and exec.
void become_child(const std::vector<std::string>& words, const std::map<std::string, std::string>& variables,
                  const fs::path& log, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  for (const auto& [name, value] : variables) setenv(name.c_str(), value.c_str(), 1);
  if (!log.empty()) {
    const int file = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    const int nothing = open("/dev/null", O_RDONLY);
    if (file < 0 || nothing < 0 || dup2(nothing, 0) < 0 || dup2(file, 1) < 0 || dup2(file, 2) < 0) _exit(1);
  }
  std::vector<std::string> copies = words;
  std::vector<char*> pointers;
  for (std::string& word : copies) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  execv("/proc/self/exe", pointers.data());
  _exit(1);
}

std::string last_line(const fs::path& file) {
  if (!fs::exists(file)) return "";
  std::string text = read_file(file);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

}  // namespace

void keep_signals() {
  struct sigaction action = {};
  action.sa_handler = on_kept_signal;
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) sigaction(signal, &action, nullptr);
}

int take_signal() { return kept_signal.exchange(0); }

pid_t start_child(const std::vector<std::string>& words, const std::map<std::string, std::string>& variables,
                  const fs::path& log) {
  const pid_t parent = getpid();
  const pid_t process = fork();
  if (process == 0) become_child(words, variables, log, parent);
  check(process > 0, "no process can be started: ", std::strerror(errno));
  return process;
}

int exit_code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

std::string describe_end(int status, const fs::path& log) {
  if (WIFSIGNALED(status))
    return concatenate(" was killed by signal ", WTERMSIG(status), " (", strsignal(WTERMSIG(status)), ")");
  const std::string said = last_line(log);
  return concatenate(" ended with exit code ", exit_code_of(status), said.empty() ? "" : ": ", said);
}

}  // namespace koine
