#include "tasks/experiment/settings_keys.h"

#include <charconv>
#include <limits>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {

namespace {

constexpr double kMany = 9e15;
const std::vector<std::string> kSchedules = {"linear", "constant", "cosine"};

Schedule schedule_of(const std::string& name) {
  return name == "linear" ? Schedule::kLinear : name == "constant" ? Schedule::kConstant : Schedule::kCosine;
}
std::string name_of_schedule(Schedule schedule) { return kSchedules[static_cast<std::size_t>(schedule)]; }

double parse_number(const std::string& value, const std::string& where) {
  double result = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), result);
  require(error == std::errc() && end == value.data() + value.size(), where, " is \"", value, "\"; it must be a number");
  return result;
}

void check_range(double value, const SettingKey& key, const std::string& where) {
  require(value >= key.minimum && value <= key.maximum, where, " is ", value, "; it must lie between ", key.minimum, " and ",
          key.maximum);
}

}  // namespace

const std::vector<SettingKey>& setting_keys() {
  using S = TrainingSettings;
  static const std::vector<SettingKey> keys = {
      {"learning_rate", &S::learning_rate, 0, 10, "peak rate of AdamW"},
      {"adam_beta1", &S::adam_beta1, 0, 0.999999, "decay of the first moment"},
      {"adam_beta2", &S::adam_beta2, 0, 0.9999999, "decay of the second moment"},
      {"adam_epsilon", &S::adam_epsilon, 0, 1, "added to the root of the second moment"},
      {"weight_decay", &S::weight_decay, 0, 10, "decoupled decay of matrices; biases and layer norms have none"},
      {"max_grad_norm", &S::max_grad_norm, 0, 1e9, "gradients are scaled down to this norm; 0: not"},
      {"lr_scheduler_type", &S::lr_scheduler_type, 0, 0, "linear, constant or cosine"},
      {"warmup_ratio", &S::warmup_ratio, 0, 1, "share of the steps with a rising rate"},
      {"warmup_steps", &S::warmup_steps, -1, kMany, "the same in steps; -1: by warmup_ratio"},
      {"num_train_epochs", &S::num_train_epochs, 0, 1e6, "passes over the training data"},
      {"max_steps", &S::max_steps, -1, kMany, "optimizer steps, where > 0, instead of epochs"},
      {"per_device_train_batch_size", &S::per_device_train_batch_size, 1, 1e9, "examples"},
      {"gradient_accumulation_steps", &S::gradient_accumulation_steps, 1, 1e9,
       "times that many examples make an optimizer step"},
      {"max_tokens_per_batch", &S::max_tokens_per_batch, 1, 1e9, "tokens in memory at a time"},
      {"eval_steps", &S::eval_steps, 0, kMany, "evaluate on dev every so many steps; 0: at the end"},
      {"eval_examples", &S::eval_examples, 0, kMany, "first examples of dev used while training; 0: all"},
      {"early_stopping_patience", &S::early_stopping_patience, 0, kMany,
       "evaluations without improvement; 0: never stop early"},
      {"load_best_model_at_end", &S::load_best_model_at_end, 0, 1, "keep the weights of the best evaluation"},
      {"save_steps", &S::save_steps, 0, kMany, "checkpoint every so many steps; 0: only when interrupted"},
      {"save_total_limit", &S::save_total_limit, 1, 1e6, "checkpoints kept"},
      {"logging_steps", &S::logging_steps, 1, kMany, "log every so many steps"},
  };
  return keys;
}

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
      settings.lr_scheduler_type =
          schedule_of(section.choice(key.name, name_of_schedule(settings.lr_scheduler_type), kSchedules));
    }
  }
}

void set_setting(TrainingSettings& settings, const std::string& key, const std::string& value, const std::string& where) {
  std::vector<std::string> names;
  for (const SettingKey& known : setting_keys()) {
    names.emplace_back(known.name);
    if (key != known.name) continue;
    if (const auto* member = std::get_if<double TrainingSettings::*>(&known.member)) {
      const double number = parse_number(value, where);
      check_range(number, known, where);
      settings.** member = number;
    } else if (const auto* whole = std::get_if<std::int64_t TrainingSettings::*>(&known.member)) {
      const double number = parse_number(value, where);
      check_range(number, known, where);
      require(number == static_cast<double>(static_cast<std::int64_t>(number)), where, " is ", value,
              "; it must be a whole number");
      settings.** whole = static_cast<std::int64_t>(number);
    } else if (const auto* flag = std::get_if<bool TrainingSettings::*>(&known.member)) {
      require(value == "true" || value == "false", where, " is \"", value, "\"; it must be true or false");
      settings.** flag = value == "true";
    } else {
      require(value == "linear" || value == "constant" || value == "cosine", where, " is \"", value,
              "\"; it must be linear, constant or cosine");
      settings.lr_scheduler_type = schedule_of(value);
    }
    return;
  }
  const std::string near = nearest_name(key, names);
  fail_user(where, ": unknown setting \"", key, "\"", near.empty() ? "" : "; did you mean \"" + near + "\"?");
}

std::string settings_toml(const TrainingSettings& settings) {
  std::string result;
  for (const SettingKey& key : setting_keys()) {
    result += std::string(key.name) + " = ";
    if (const auto* member = std::get_if<double TrainingSettings::*>(&key.member)) {
      result += toml_number(settings.**member);
    } else if (const auto* whole = std::get_if<std::int64_t TrainingSettings::*>(&key.member)) {
      result += std::to_string(settings.**whole);
    } else if (const auto* flag = std::get_if<bool TrainingSettings::*>(&key.member)) {
      result += settings.**flag ? "true" : "false";
    } else {
      result += toml_text(name_of_schedule(settings.lr_scheduler_type));
    }
    result += "\n";
  }
  return result;
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
