// The table of settings: complete, and what a run resumes under follows from it.

#include "engine/settings/setting_keys.h"

#include <gtest/gtest.h>

#include <set>

#include "bag_model.h"
#include "engine/training/trainer.h"

namespace koine {
namespace {

/// Another value of a setting, within its range.
TrainingSettings changed(TrainingSettings settings, const SettingKey& key) {
  std::visit(
      [&](auto member) {
        auto& value = settings.*member;
        using Value = std::remove_reference_t<decltype(value)>;
        if constexpr (std::is_same_v<Value, Schedule>) {
          value = Schedule::kCosine;
        } else if constexpr (std::is_same_v<Value, bool>) {
          value = !value;
        } else if constexpr (std::is_same_v<Value, double>) {
          value /= 2;
        } else {
          value += 3;
        }
      },
      key.member);
  return settings;
}

// A member that is added to TrainingSettings fails to compile here: give it a row of the table, and a name below.
TEST(SettingKeys, EveryMemberHasARow) {
  const auto& [learning_rate, adam_beta1, adam_beta2, adam_epsilon, weight_decay, max_grad_norm, lr_scheduler_type,
               warmup_ratio, warmup_steps, num_train_epochs, max_steps, per_device_train_batch_size,
               gradient_accumulation_steps, max_tokens_per_batch, eval_steps, eval_examples, early_stopping_patience,
               load_best_model_at_end, save_steps, save_minutes, save_total_limit, logging_steps, restarts, seed] =
      TrainingSettings{};
  const std::set<const void*> members = {&learning_rate,
                                         &adam_beta1,
                                         &adam_beta2,
                                         &adam_epsilon,
                                         &weight_decay,
                                         &max_grad_norm,
                                         &lr_scheduler_type,
                                         &warmup_ratio,
                                         &warmup_steps,
                                         &num_train_epochs,
                                         &max_steps,
                                         &per_device_train_batch_size,
                                         &gradient_accumulation_steps,
                                         &max_tokens_per_batch,
                                         &eval_steps,
                                         &eval_examples,
                                         &early_stopping_patience,
                                         &load_best_model_at_end,
                                         &save_steps,
                                         &save_minutes,
                                         &save_total_limit,
                                         &logging_steps,
                                         &restarts,
                                         &seed};
  const TrainingSettings settings;
  std::set<const void*> rows;
  std::set<std::string> names;
  for (const SettingKey& key : setting_keys()) {
    std::visit([&](auto member) { rows.insert(&(settings.*member)); }, key.member);
    names.insert(key.name);
  }
  EXPECT_EQ(rows.size() + 1, members.size()) << "all but the seed";
  EXPECT_EQ(names.size(), setting_keys().size());
}

/// What a setting's row says of its effect is what a checkpoint asks for.
TEST(SettingKeys, EffectsDecideWhatARunResumesUnder) {
  BagModel model;
  const Dataset data = bag_dataset(150);
  TrainingRun run;
  run.model = &model;
  run.tasks.push_back({"bag", 0, &data});
  run.settings.warmup_ratio = 0.5;
  const auto before = deciding_settings(run);
  for (const SettingKey& key : setting_keys()) {
    TrainingRun other = run;
    other.settings = changed(run.settings, key);
    const auto after = deciding_settings(other);
    EXPECT_EQ(after.count(key.name), key.effect == SettingEffect::kDecides ? 1u : 0u) << key.name;
    EXPECT_EQ(after == before, key.effect == SettingEffect::kReports) << key.name;
  }
  run.settings.seed += 1;
  EXPECT_NE(deciding_settings(run), before);
}

}  // namespace
}  // namespace koine
