#pragma once

// The energy of trainings and evaluations, where the processor tells it (engine/execution/energy_meter.h). On a device
// nothing is measured: the packages' counters would miss what it takes.

#include <filesystem>
#include <optional>

#include "engine/execution/energy_meter.h"
#include "tasks/experiment/training_phase.h"

namespace koine {

/// Work that begins now.
class WorkEnergy {
 public:
  explicit WorkEnergy(const RunOptions& options);
  /// Nothing where it is not measured; why is told once in a run.
  std::optional<double> joules();

 private:
  const RunOptions& options_;
  std::optional<EnergyMeter> meter_;
};

/// A training with its evaluations, in all its parts. `folder`/energy.json keeps the joules of the parts that ended, null while
/// one is under way: a part that was killed has taken nobody knows how much, and so has all of it.
class TrainingEnergy {
 public:
  /// A part begins, continued from a checkpoint in `folder` where there is one. With several ranks, which may be on several
  /// machines, nothing is measured.
  TrainingEnergy(std::filesystem::path folder, const RunOptions& options);
  /// The part has ended: joules of all of them.
  std::optional<double> finish();

 private:
  std::filesystem::path file_;
  std::optional<WorkEnergy> part_;
  std::optional<double> before_;  ///< of the earlier parts
};

}  // namespace koine
