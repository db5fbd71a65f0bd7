#pragma once

// Several processes as the ranks of a run.

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace koine {

struct RankOutcome {
  int exit_code = -1;  ///< 128 + signal where one ended it
  std::string errors;
  double seconds = 0;  ///< until it ended, from the start of all
};

/// Each rank's environment, besides RANK, WORLD_SIZE and where they meet: in a folder of their own, unless that sets MASTER_ADDR.
using RankVariables = std::function<std::vector<std::string>(int rank)>;

/// Runs build/rank_probe with these arguments as ranks 0 .. size - 1 to their ends. What is not over in 60 s is killed.
std::vector<RankOutcome> run_ranks(int size, const std::vector<std::string>& arguments, const RankVariables& variables = {});

}  // namespace koine
