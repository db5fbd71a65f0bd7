#pragma once

// TrainingSettings as TOML: the table of keys (engine/settings/setting_keys.h), read and written.

#include <string>
#include <string_view>
#include <vector>

#include "engine/settings/setting_keys.h"
#include "tasks/experiment/toml_section.h"

namespace koine {

/// Takes the keys that are there from a section.
void read_settings(TomlSection& section, TrainingSettings& settings);
/// "key = value" lines in the order of the table.
std::string settings_toml(const TrainingSettings& settings);
/// The same for the config.toml of a phase: without save_minutes, which changes no result and may change between the parts
/// of a run, and without gradient_parts, which like the number of ranks decides where sums are rounded: a checkpoint knows
/// under which it was made.
std::string phase_settings_toml(const TrainingSettings& settings);

/// Values as TOML spells them: shortest decimal that reads back the same, always with a point or an exponent; a quoted text;
/// a list.
std::string toml_number(double value);
std::string toml_text(std::string_view value);
std::string toml_list(const std::vector<std::string>& values);

}  // namespace koine
