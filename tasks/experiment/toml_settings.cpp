#include "tasks/experiment/toml_settings.h"

#include <charconv>
#include <limits>
#include <set>

#include "kernels/common/check.h"

namespace koine {

void read_settings(TomlSection& section, TrainingSettings& settings) {
  for (const SettingKey& key : setting_keys()) {
    if (const auto* member = std::get_if<double TrainingSettings::*>(&key.member)) {
      settings.** member = section.number(key.name, settings.**member, key.minimum, key.maximum);
    } else if (const auto* whole = std::get_if<std::int64_t TrainingSettings::*>(&key.member)) {
      settings.** whole = section.integer(key.name, settings.**whole, static_cast<std::int64_t>(key.minimum),
                                          static_cast<std::int64_t>(key.maximum));
    } else if (const auto* flag = std::get_if<bool TrainingSettings::*>(&key.member)) {
      settings.** flag = section.flag(key.name, settings.**flag);
    } else {
      const std::string name = section.choice(key.name, choice_of(settings, key), *choices_of(key));
      set_setting(settings, key.name, name, section.where(key.name));
    }
  }
  require(settings.optimizer != OptimizerKind::kAdafactorT5 || settings.weight_decay == 0, section.where("optimizer"),
          " is adafactor_t5, whose rule has no weight decay, and weight_decay is ", settings.weight_decay,
          "; set weight_decay = 0");
}

namespace {

std::string all_settings_toml(const TrainingSettings& settings, const std::set<std::string>& left_out) {
  std::string result;
  for (const SettingKey& key : setting_keys()) {
    if (left_out.contains(key.name)) continue;
    result += std::string(key.name) + " = ";
    if (const auto* member = std::get_if<double TrainingSettings::*>(&key.member)) {
      result += toml_number(settings.**member);
    } else if (const auto* whole = std::get_if<std::int64_t TrainingSettings::*>(&key.member)) {
      result += std::to_string(settings.**whole);
    } else if (const auto* flag = std::get_if<bool TrainingSettings::*>(&key.member)) {
      result += settings.**flag ? "true" : "false";
    } else {
      result += toml_text(choice_of(settings, key));
    }
    result += "\n";
  }
  return result;
}

}  // namespace

std::string settings_toml(const TrainingSettings& settings) { return all_settings_toml(settings, {}); }

std::string phase_settings_toml(const TrainingSettings& settings) {
  std::set<std::string> left_out = {"save_minutes", "gradient_parts", "zero", "overlap_communication", "recompute"};
  if (settings.master == MasterKind::kFloat32) left_out.insert("master");  // what phases did that knew no other
  return all_settings_toml(settings, left_out);
}

std::string toml_number(double value) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  std::string text(buffer, end);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

std::string toml_text(std::string_view value) {
  std::string result = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04X", static_cast<unsigned>(static_cast<unsigned char>(c)));
      result += escaped;
    } else {
      result += c;
    }
  }
  return result + "\"";
}

std::string toml_list(const std::vector<std::string>& values) {
  std::string result = "[";
  for (const std::string& value : values) result += (result.size() > 1 ? ", " : "") + toml_text(value);
  return result + "]";
}

}  // namespace koine
