#pragma once

// Running an experiment, or as much of it as is not done yet.
//
// The data and the tokenizer are prepared, the phases planned (plan.h), and carried out one after the other. Folders below
// the output:
//
//   config.toml                               the experiment with every default written out
//   data/  tokenizer/  pretraining/           phases (phase.h)
//   intermediate/<arm>/seed-<n>/              phases; each model is trained once and used by every target
//   target/<arm>/<task>/seed-<n>/             phases; predictions/<task>/... in XTREME's layout, evaluations.json
//   results.json  costs.json  report.html     all figures so far, and what each training took (outcome.h)
//
// The same call again skips what is done and continues what was interrupted, bit for bit. The seed of an arm's run is the
// seed of the target runs that build on it.

#include "tasks/experiment/experiment.h"
#include "tasks/experiment/outcome.h"

namespace koine {

/// UserErrors for data that is missing, before the first phase begins, and for data that is wrong, before the phase that
/// reads it.
RunOutcome run_experiment(Experiment experiment, const RunOptions& options);

}  // namespace koine
