#pragma once

// The phases of an experiment in several processes of this machine at a time.

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "tasks/experiment/plan.h"
#include "tools/koine/commands.h"

namespace koine {

/// `words` (of this command) without these options and their values.
std::vector<std::string> without_options(const std::vector<std::string>& words, const std::vector<std::string>& options);

/// Carries out the chosen phases of a plan in up to `jobs` processes at a time, each this command with --only and one phase: on GPUs with a
/// device of its own, else with its part of the threads. A phase begins when the one whose model it begins with is done; those that
/// most others wait for come first, and those with an end mark are left out unless `redo` says that they may be others'. What a process writes goes to `output`/jobs/N.log. When one fails none begins any more, those that
/// run are waited for, and its message is printed. SIGINT, SIGTERM and SIGUSR1 are passed on. Returns 0, the exit code of the phase that failed,
/// or kExitInterrupted. UserError for more jobs than devices.
int run_phase_jobs(const Plan& plan, const std::vector<std::size_t>& chosen, int jobs, bool redo,
                   const CommonOptions& common, const std::filesystem::path& output);

}  // namespace koine
