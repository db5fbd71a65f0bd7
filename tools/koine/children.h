#pragma once

// This program as children of this process.

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace koine {

/// From now on SIGINT, SIGTERM and SIGUSR1 are kept for whoever passes them on to children.
void keep_signals();
/// The last of them; 0: none since the last call.
int take_signal();

/// Starts this program with these words (the first its name) and variables besides its own. It dies with this process, and is in a
/// process group of its own: Ctrl-C on a terminal comes to this program alone. Where `log` is not empty, what it writes goes to the
/// end of that file: what an interrupted child left there stays, and one that still writes is not disturbed.
pid_t start_child(const std::vector<std::string>& words, const std::map<std::string, std::string>& variables,
                  const std::filesystem::path& log);

/// The exit code that waitpid's status says, 128 + signal where one ended it.
int exit_code_of(int status);
/// " was killed by signal 9 (Killed)", " ended with exit code 1: what it said last in its log".
std::string describe_end(int status, const std::filesystem::path& log);

}  // namespace koine
