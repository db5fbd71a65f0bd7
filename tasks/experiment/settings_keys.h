#pragma once

// TrainingSettings as keys: one table from which the TOML reader, the command line's options and the written config.toml
// come.

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/training/settings.h"
#include "tasks/experiment/toml_section.h"

namespace koine {

struct SettingKey {
  const char* name;
  std::variant<double TrainingSettings::*, std::int64_t TrainingSettings::*, bool TrainingSettings::*,
               Schedule TrainingSettings::*>
      member;
  double minimum;
  double maximum;
  const char* help;
};

/// All of them except the seed, which the grid sets.
const std::vector<SettingKey>& setting_keys();

/// Takes the keys that are there from a section.
void read_settings(TomlSection& section, TrainingSettings& settings);
/// Sets one key from text ("2e-5", "true", "linear"). UserError naming `where` for an unknown name (with the nearest), a
/// wrong type or range.
void set_setting(TrainingSettings& settings, const std::string& key, const std::string& value, const std::string& where);
/// "key = value" lines in the order of the table.
std::string settings_toml(const TrainingSettings& settings);

/// Values as TOML spells them: shortest decimal that reads back the same, always with a point or an exponent; a quoted text;
/// a list.
std::string toml_number(double value);
std::string toml_text(std::string_view value);
std::string toml_list(const std::vector<std::string>& values);

}  // namespace koine
