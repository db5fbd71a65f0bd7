#pragma once

// What would end a run later than it has to: found before its first step.
//
// A plan says itself what of its data, languages, lengths and layers does not fit (PlannedPhase::missing). These look at the
// rest: whether the files can be read to their ends and have labels, whether models and checkpoints have room on the disk,
// and whether the trainings fit into the device's memory. `phases` are places in plan.phases; each problem is a sentence as
// people read it, and stands there once.

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/execution/execution.h"
#include "tasks/experiment/plan.h"

namespace koine {

using Problems = std::vector<std::string>;

/// What is missing of the phases (PlannedPhase::missing), and what is wrong in the files they train on and validate with:
/// all are read as training reads them. (Those that are evaluated were read when the plan was made.)
Problems data_problems(const Plan& plan, const std::vector<std::size_t>& phases);

/// Bytes that the phases write at most at a time: the models that stay, and of the largest training its checkpoints, one
/// more than are kept, and its model. fp32, two moments, and the best weights where they are kept.
double disk_bytes(const Plan& plan, const std::vector<std::size_t>& phases);
/// Whether the file system of `output`, which need not be there, has that much room beside what the phases' folders hold.
Problems disk_problems(const Plan& plan, const std::vector<std::size_t>& phases, const std::filesystem::path& output);

/// Bytes a run may take on the device that `execution` names; nothing where that is not known.
std::optional<double> device_room(const Execution& execution);
/// The trainings that need more (estimate_memory), each with the token budget that would fit.
Problems memory_problems(const Plan& plan, const std::vector<std::size_t>& phases, const Execution& execution, double room);

/// UserError with all of them; nothing where there are none.
void refuse(const Problems& problems);

}  // namespace koine
