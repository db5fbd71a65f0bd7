#pragma once

// Running an experiment, or as much of it as is not done yet.
//
// The data and the tokenizer are prepared, the phases planned (plan.h), and carried out one after the other. Folders below
// the output:
//
//   config.toml                               the experiment with every default written out
//   data/  tokenizer/  pretraining/           phases (phase.h)
//   intermediate/<arm>/seed-<n>/              phases; each model is trained once and used by every target
//   target/<arm>/<task>/seed-<n>/             phases; predictions/<task>/... in XTREME's layout, outcomes/<task>/...
//                                             (common/example_outcomes.h), evaluations.json
//   results.json  costs.json  report.html     all figures so far, and what each training took (outcome.h)
//
// The same call again skips what is done and continues what was interrupted, bit for bit. The seed of an arm's run is the
// seed of the target runs that build on it.
//
// Several processes may work in one output, each on other phases (RunOptions::only). A phase's folder has one writer
// (phase.h). What they all write, the files directly below the output, data/ and tokenizer/, is written by whoever holds the
// lock of the output, for which the others wait: while a run is prepared, and while its results are collected. These are
// made from the end marks of all phases that are done, whoever carried them out.

#include <memory>

#include "engine/files/folder_lock.h"
#include "tasks/experiment/experiment.h"
#include "tasks/experiment/outcome.h"

namespace koine {

/// The lock of an output folder, which is made where it is not there. Waits as long as another process has it, which is told;
/// Interrupted (tasks/common/prediction.h) when options.stop was set meanwhile.
std::unique_ptr<FolderLock> lock_output(const std::filesystem::path& output, const RunOptions& options);

/// Writes results.json, costs.json and report.html. `preparing`: lock_output of options.output, where the caller has taken
/// it already; it is let go when the first phase begins. UserErrors for data that is missing, and for a phase that begins
/// with the model of another which is neither done nor chosen, before the first phase begins; for data that is wrong, before
/// the phase that reads it. Interrupted as lock_output. Where there are several ranks, this is for rank 0, and the others call
/// follow_experiment; the caller tells them of the end.
RunOutcome run_experiment(Experiment experiment, const RunOptions& options, std::unique_ptr<FolderLock> preparing = {});

/// A rank that follows: trains what rank 0 trains, until that is done with the experiment. options.execution.precision is
/// what rank 0 decided.
void follow_experiment(Experiment experiment, const RunOptions& options);

}  // namespace koine
