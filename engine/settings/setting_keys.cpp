#include "engine/settings/setting_keys.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {

namespace {

constexpr double kMany = 9e15;

double parse_number(const std::string& value, const std::string& where) {
  double result = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), result);
  require(error == std::errc() && end == value.data() + value.size(), where, " is \"", value, "\"; it must be a number");
  return result;
}

/// "1000000", "0.999999".
std::string number_text(double value) {
  return value == std::floor(value) ? std::to_string(static_cast<std::int64_t>(value)) : concatenate(value);
}

/// "linear, constant or cosine".
std::string any_of(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    text += (i == 0 ? "" : i + 1 == names.size() ? " or " : ", ") + names[i];
  }
  return text;
}

void check_range(double value, const SettingKey& key, const std::string& where) {
  if (value >= key.minimum && value <= key.maximum) return;
  if (key.maximum == kMany && value < key.minimum)
    fail_user(where, " is ", value, "; it must be at least ", number_text(key.minimum));
  fail_user(where, " is ", value, "; it must lie between ", number_text(key.minimum), " and ", number_text(key.maximum));
}

}  // namespace

const std::vector<SettingKey>& setting_keys() {
  using S = TrainingSettings;
  using enum SettingEffect;
  static const std::vector<SettingKey> keys = {
      {"optimizer", &S::optimizer, kDecides, 0, 0,
       "what updates the weights: adamw; adafactor_t5, T5's own form; adafactor, that of "
       "transformers; adamw_rms, AdamW times the RMS of each parameter; adamw_8bit, its moments in 8 bits"},
      {"master", &S::master, kDecides, 0, 0,
       "what mixed precision keeps of a weight beside its bf16: fp32; remainder, the 16 bits that it lacks; none, and the "
       "update is rounded at random"},
      {"learning_rate", &S::learning_rate, kDecides, 0, 10, "peak rate of the optimizer"},
      {"adam_beta1", &S::adam_beta1, kDecides, 0, 0.999999, "decay of the first moment"},
      {"adam_beta2", &S::adam_beta2, kDecides, 0, 0.9999999, "decay of the second moment"},
      {"adam_epsilon", &S::adam_epsilon, kDecides, 0, 1, "added to the root of the second moment"},
      {"weight_decay", &S::weight_decay, kDecides, 0, 10, "decoupled decay of matrices; biases and layer norms have none"},
      {"adafactor_clip_threshold", &S::adafactor_clip_threshold, kDecides, 1e-9, 1e9,
       "RMS that an update of Adafactor is cut down to"},
      {"adafactor_scale_parameter", &S::adafactor_scale_parameter, kDecides, 0, 1,
       "adafactor: the rate is multiplied by the RMS of each parameter, as adafactor_t5 always does"},
      {"adafactor_step_offset", &S::adafactor_step_offset, kDecides, 0, kMany,
       "steps that Adafactor's decay counts before the first; T5's fine-tuning went on at 1000000"},
      {"max_grad_norm", &S::max_grad_norm, kDecides, 0, 1e9, "gradients are scaled down to this norm; 0: not"},
      {"lr_scheduler_type", &S::lr_scheduler_type, kDecides, 0, 0, "linear, constant or cosine"},
      {"warmup_ratio", &S::warmup_ratio, kCounts, 0, 1, "share of the steps with a rising rate"},
      {"warmup_steps", &S::warmup_steps, kCounts, -1, kMany, "the same in steps; -1: by warmup_ratio"},
      {"num_train_epochs", &S::num_train_epochs, kCounts, 0, 1e6, "passes over the training data"},
      {"max_steps", &S::max_steps, kCounts, -1, kMany, "optimizer steps, where > 0, instead of epochs"},
      {"per_device_train_batch_size", &S::per_device_train_batch_size, kCounts, 1, 1e9, "examples"},
      {"gradient_accumulation_steps", &S::gradient_accumulation_steps, kCounts, 1, 1e9,
       "times that many examples make an optimizer step"},
      {"max_tokens_per_batch", &S::max_tokens_per_batch, kDecides, 1, 1e9, "tokens in memory at a time"},
      {"gradient_parts", &S::gradient_parts, kCounts, -1, 4096,
       "parts of a step added up in a fixed order, for the same bits on any number of ranks; 0: none; -1: 8 where there are "
       "several ranks"},
      {"zero", &S::zero, kReports, 0, 2,
       "1: ranks share out masters and moments, each updates its share; 2: gradients too; 0: every rank has all of them"},
      {"overlap_communication", &S::overlap_communication, kReports, 0, 1,
       "false: ranks tell each other gradients when backward is over and weights before forward begins; for comparisons"},
      {"recompute", &S::recompute, kReports, 0, 1,
       "true: keep of each block its output alone and run its forward again in backward, in less memory and a third more "
       "time"},
      {"eval_steps", &S::eval_steps, kDecides, 0, kMany, "evaluate on dev every so many steps; 0: at the end"},
      {"eval_examples", &S::eval_examples, kDecides, 0, kMany, "first examples of dev used while training; 0: all"},
      {"early_stopping_patience", &S::early_stopping_patience, kDecides, 0, kMany,
       "evaluations without improvement; 0: never stop early"},
      {"load_best_model_at_end", &S::load_best_model_at_end, kDecides, 0, 1, "keep the weights of the best evaluation"},
      {"save_steps", &S::save_steps, kReports, 0, kMany, "checkpoint every so many steps; 0: not by steps"},
      {"save_minutes", &S::save_minutes, kReports, 0, 1e6,
       "checkpoint when the last is so many minutes ago; 0: not by time"},
      {"save_total_limit", &S::save_total_limit, kReports, 1, 1e6, "checkpoints kept"},
      {"logging_steps", &S::logging_steps, kReports, 1, kMany, "log every so many steps"},
      {"restarts", &S::restarts, kReports, 0, 100,
       "train again with another seed, at most so often, where all answers on dev are one class"},
  };
  return keys;
}

const std::vector<std::string>& schedule_names() {
  static const std::vector<std::string> names = {"linear", "constant", "cosine"};
  return names;
}

const std::string& name_of(Schedule schedule) { return schedule_names()[static_cast<std::size_t>(schedule)]; }

const std::vector<std::string>& optimizer_names() {
  static const std::vector<std::string> names = {"adamw", "adafactor_t5", "adafactor", "adamw_rms", "adamw_8bit"};
  return names;
}

const std::string& name_of(OptimizerKind kind) { return optimizer_names()[static_cast<std::size_t>(kind)]; }

const std::vector<std::string>& master_names() {
  static const std::vector<std::string> names = {"fp32", "remainder", "none"};
  return names;
}

const std::string& name_of(MasterKind kind) { return master_names()[static_cast<std::size_t>(kind)]; }

const std::vector<std::string>* choices_of(const SettingKey& key) {
  if (std::holds_alternative<Schedule TrainingSettings::*>(key.member)) return &schedule_names();
  if (std::holds_alternative<OptimizerKind TrainingSettings::*>(key.member)) return &optimizer_names();
  if (std::holds_alternative<MasterKind TrainingSettings::*>(key.member)) return &master_names();
  return nullptr;
}

const std::string& choice_of(const TrainingSettings& settings, const SettingKey& key) {
  if (const auto* schedule = std::get_if<Schedule TrainingSettings::*>(&key.member)) return name_of(settings.**schedule);
  if (const auto* master = std::get_if<MasterKind TrainingSettings::*>(&key.member)) return name_of(settings.**master);
  return name_of(settings.*std::get<OptimizerKind TrainingSettings::*>(key.member));
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
      const std::vector<std::string>& choices = *choices_of(known);
      const auto found = std::find(choices.begin(), choices.end(), value);
      require(found != choices.end(), where, " is \"", value, "\"; it must be ", any_of(choices));
      const auto place = found - choices.begin();
      if (const auto* schedule = std::get_if<Schedule TrainingSettings::*>(&known.member)) {
        settings.** schedule = static_cast<Schedule>(place);
      } else if (const auto* master = std::get_if<MasterKind TrainingSettings::*>(&known.member)) {
        settings.** master = static_cast<MasterKind>(place);
      } else {
        settings.*std::get<OptimizerKind TrainingSettings::*>(known.member) = static_cast<OptimizerKind>(place);
      }
    }
    return;
  }
  const std::string near = nearest_name(key, names);
  fail_user(where, ": unknown setting \"", key, "\"", near.empty() ? "" : "; did you mean \"" + near + "\"?");
}

}  // namespace koine
