#pragma once

// Ranks of this machine as children of this process.

#include <string>
#include <vector>

namespace koine {

/// Whether this process was started by run_local_ranks.
bool is_local_rank();

/// Runs this program with the same words `count` times, each as a rank that finds the others in a folder of their own; returns the
/// exit code of rank 0, or 1 where another failed. Rank 0 has standard output and error; what the others write there is kept until one fails,
/// and the last line of it told. SIGINT, SIGTERM and SIGUSR1 are passed on.
int run_local_ranks(int count, const std::vector<std::string>& words);

}  // namespace koine
