#include "engine/settings/settings.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/settings/setting_keys.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

template <class Value>
void require_range(bool ok, const char* name, Value value, const char* allowed) {
  require(ok, "setting ", name, " is ", value, ", but must be ", allowed);
}

}  // namespace

std::int64_t warmup_steps_of(const TrainingSettings& settings, std::int64_t total) {
  if (settings.warmup_steps >= 0) return settings.warmup_steps;
  return static_cast<std::int64_t>(std::ceil(settings.warmup_ratio * static_cast<double>(total)));
}

std::int64_t gradient_parts_of(const TrainingSettings& settings, std::int64_t ranks) {
  if (settings.gradient_parts >= 0) return settings.gradient_parts;
  if (ranks == 1) return 0;
  std::int64_t parts = 8;
  while (parts < ranks) parts *= 2;
  return parts;
}

double learning_rate_at(const TrainingSettings& settings, std::int64_t step, std::int64_t total) {
  const std::int64_t warmup = warmup_steps_of(settings, total);
  if (step < warmup) return settings.learning_rate * (static_cast<double>(step) / static_cast<double>(warmup));
  const double decaying = static_cast<double>(std::max<std::int64_t>(1, total - warmup));
  switch (settings.lr_scheduler_type) {
    case Schedule::kConstant:
      return settings.learning_rate;
    case Schedule::kLinear:
      return settings.learning_rate * std::max(0.0, static_cast<double>(total - step) / decaying);
    case Schedule::kCosine: {
      const double progress = static_cast<double>(step - warmup) / decaying;
      return settings.learning_rate * std::max(0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * progress)));
    }
  }
  throw Error("unknown schedule");
}

void check_settings(const TrainingSettings& settings) {
  const TrainingSettings& s = settings;
  const auto finite = [](double value) { return std::isfinite(value); };
  require_range(finite(s.learning_rate) && s.learning_rate >= 0, "learning_rate", s.learning_rate, "a number, 0 or more");
  require_range(s.adam_beta1 >= 0 && s.adam_beta1 < 1, "adam_beta1", s.adam_beta1, "in [0, 1)");
  require_range(s.adam_beta2 >= 0 && s.adam_beta2 < 1, "adam_beta2", s.adam_beta2, "in [0, 1)");
  require_range(finite(s.adam_epsilon) && s.adam_epsilon > 0, "adam_epsilon", s.adam_epsilon, "above 0");
  require_range(finite(s.weight_decay) && s.weight_decay >= 0, "weight_decay", s.weight_decay, "a number, 0 or more");
  require_range(s.optimizer != OptimizerKind::kAdafactorT5 || s.weight_decay == 0, "weight_decay", s.weight_decay,
                "0 under optimizer = adafactor_t5, whose rule has none");
  const bool splits = s.optimizer == OptimizerKind::kAdamW || s.optimizer == OptimizerKind::kAdamW8Bit;
  require_range(s.master == MasterKind::kFloat32 || splits, "master", name_of(s.master),
                "fp32 under this optimizer; adamw and adamw_8bit can do with less");
  require_range(s.zero == 0 || (s.zero > 0 && s.zero <= 2 && splits), "zero", s.zero,
                "0, or 1 or 2 under optimizer = adamw or adamw_8bit, whose update of an element is its own");
  require_range(s.zero < 2 || s.gradient_parts != 0, "zero", s.zero,
                "0 or 1 with gradient_parts = 0: gradients that are shared out are added up in parts");
  require_range(finite(s.adafactor_clip_threshold) && s.adafactor_clip_threshold > 0, "adafactor_clip_threshold",
                s.adafactor_clip_threshold, "above 0");
  require_range(s.adafactor_step_offset >= 0, "adafactor_step_offset", s.adafactor_step_offset, "0 or more");
  require_range(finite(s.max_grad_norm) && s.max_grad_norm >= 0, "max_grad_norm", s.max_grad_norm,
                "a number, 0 (no clipping) or more");
  require_range(s.warmup_ratio >= 0 && s.warmup_ratio <= 1, "warmup_ratio", s.warmup_ratio, "in [0, 1]");
  require_range(s.max_steps > 0 || (finite(s.num_train_epochs) && s.num_train_epochs > 0), "num_train_epochs",
                s.num_train_epochs, "above 0 where max_steps is not set");
  require_range(s.per_device_train_batch_size > 0, "per_device_train_batch_size", s.per_device_train_batch_size, "above 0");
  require_range(s.gradient_accumulation_steps > 0, "gradient_accumulation_steps", s.gradient_accumulation_steps, "above 0");
  require_range(s.max_tokens_per_batch > 0, "max_tokens_per_batch", s.max_tokens_per_batch, "above 0");
  const auto power_of_two = [](std::int64_t value) { return value > 0 && (value & (value - 1)) == 0; };
  require_range(s.gradient_parts == -1 || s.gradient_parts == 0 || power_of_two(s.gradient_parts), "gradient_parts",
                s.gradient_parts, "-1 (8 where several ranks train), 0 (none) or a power of two");
  require_range(s.eval_steps >= 0, "eval_steps", s.eval_steps, "0 (only at the end) or more");
  require_range(s.eval_examples >= 0, "eval_examples", s.eval_examples, "0 (all) or more");
  require_range(s.early_stopping_patience >= 0, "early_stopping_patience", s.early_stopping_patience, "0 (never) or more");
  require_range(s.save_steps >= 0, "save_steps", s.save_steps, "0 (only when interrupted) or more");
  require_range(s.save_total_limit > 0, "save_total_limit", s.save_total_limit, "above 0");
  require_range(s.logging_steps > 0, "logging_steps", s.logging_steps, "above 0");
}

}  // namespace koine
