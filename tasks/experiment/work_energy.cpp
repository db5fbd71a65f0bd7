#include "tasks/experiment/work_energy.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {

namespace {

using nlohmann::json;

void write_joules(const std::filesystem::path& file, const std::optional<double>& joules) {
  const json record = {{"joules", joules ? json(*joules) : json(nullptr)}};
  write_file_atomically(file, record.dump() + "\n");
}

bool has_checkpoint(const std::filesystem::path& folder) {
  std::error_code none;
  for (const std::filesystem::directory_entry& entry : std::filesystem::directory_iterator(folder / "checkpoints", none)) {
    if (entry.path().filename().string().starts_with("step-")) return true;
  }
  return false;
}

/// What the parts before this one took: nothing known where one of them was not measured to its end.
std::optional<double> joules_before(const std::filesystem::path& folder, const std::filesystem::path& file) {
  if (!has_checkpoint(folder)) return 0.0;
  if (!std::filesystem::exists(file)) return std::nullopt;
  const json joules = read_json(file).value("joules", json());
  return joules.is_number() ? std::optional<double>(joules.get<double>()) : std::nullopt;
}

}  // namespace

WorkEnergy::WorkEnergy(const RunOptions& options) : options_(options) {
  if (options.execution.device == Device::kCpu) meter_.emplace(options.powercap);
}

std::optional<double> WorkEnergy::joules() {
  if (!meter_) return std::nullopt;
  const std::optional<double> joules = meter_->joules();
  if (!joules && !std::exchange(*options_.told_of_energy, true))
    options_.message("energy is not measured: " + meter_->reason());
  return joules;
}

TrainingEnergy::TrainingEnergy(std::filesystem::path folder, const RunOptions& options) : file_(folder / "energy.json") {
  const Communicator* const ranks = options.execution.communicator;
  if (ranks != nullptr && ranks->size() > 1) return;
  part_.emplace(options);
  const bool readable = part_->joules().has_value();
  if (!readable && !std::filesystem::exists(file_)) {
    part_.reset();
    return;
  }
  before_ = joules_before(folder, file_);
  write_joules(file_, std::nullopt);
}

std::optional<double> TrainingEnergy::finish() {
  if (!part_) return std::nullopt;
  std::optional<double> joules = part_->joules();
  joules = joules && before_ ? std::optional<double>(*joules + *before_) : std::nullopt;
  write_joules(file_, joules);
  return joules;
}

}  // namespace koine
