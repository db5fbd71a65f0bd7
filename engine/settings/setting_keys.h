#pragma once

// TrainingSettings as a table of keys: experiment files, the command line's options, the written config.toml and what a
// checkpoint resumes under all walk it.

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "engine/settings/settings.h"

namespace koine {

/// What a setting has to do with the bits of a run.
enum class SettingEffect {
  kDecides,  ///< a run resumes only under the same value
  kCounts,   ///< decides through the number of steps, of warm-up steps, or of examples of a step: these must stay the same
  kReports,  ///< when a run reports and saves, what memory it takes: may differ
};

struct SettingKey {
  const char* name;
  std::variant<double TrainingSettings::*, std::int64_t TrainingSettings::*, bool TrainingSettings::*,
               Schedule TrainingSettings::*, OptimizerKind TrainingSettings::*, MasterKind TrainingSettings::*>
      member;
  SettingEffect effect;
  double minimum;
  double maximum;
  const char* help;
};

/// All of them except the seed, which the grid sets.
const std::vector<SettingKey>& setting_keys();

/// "linear", "constant", "cosine", in the order of Schedule.
const std::vector<std::string>& schedule_names();
const std::string& name_of(Schedule schedule);
/// "adamw", "adafactor_t5" ..., in the order of OptimizerKind.
const std::vector<std::string>& optimizer_names();
const std::string& name_of(OptimizerKind kind);
/// "fp32", "remainder", "none", in the order of MasterKind.
const std::vector<std::string>& master_names();
const std::string& name_of(MasterKind kind);

/// The names a setting chooses among; null where it is a number or a flag.
const std::vector<std::string>* choices_of(const SettingKey& key);
/// Which of them it is.
const std::string& choice_of(const TrainingSettings& settings, const SettingKey& key);

/// Sets one key from text ("2e-5", "true", "linear"). UserError naming `where` for an unknown name (with the nearest), a
/// wrong type or range.
void set_setting(TrainingSettings& settings, const std::string& key, const std::string& value, const std::string& where);

}  // namespace koine
