#pragma once

// Some of the phases of a plan, by number or by name: what `koine run --only` carries out.

#include <cstddef>
#include <string>
#include <vector>

#include "tasks/experiment/plan.h"

namespace koine {

/// What people call a phase: "pretraining", "mnli/1" (the intermediate training of arm mnli with seed 1), "mnli/xnli/1"
/// (target xnli behind it).
std::string phase_name(const Plan& plan, const PlannedPhase& phase);

/// The phases that `selection` names, by their places in plan.phases, in the order of the plan. It holds, between commas:
/// numbers from 1 as `koine run --list-phases` prints them ("7", "4-9"), names (phase_name), and names with the wildcards of
/// a shell in their parts ("*/xnli/1": a star does not reach beyond a slash). Empty: all. UserError, beginning with "--only",
/// for a number or a name that no phase has.
std::vector<std::size_t> select_phases(const Plan& plan, const std::string& selection);

}  // namespace koine
