// The table of settings: complete, and what a run resumes under follows from it.

#include "engine/settings/setting_keys.h"

#include <gtest/gtest.h>

#include <set>
#include <utility>

#include "bag_model.h"
#include "engine/training/trainer.h"
#include "kernels/common/check.h"

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
        } else if constexpr (std::is_same_v<Value, OptimizerKind>) {
          value = static_cast<OptimizerKind>(optimizer_names().size() - 1);
        } else if constexpr (std::is_same_v<Value, MasterKind>) {
          value = MasterKind::kNone;
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
  const auto& [optimizer, master, learning_rate, adam_beta1, adam_beta2, adam_epsilon, weight_decay,
               adafactor_clip_threshold, adafactor_scale_parameter, adafactor_step_offset, max_grad_norm, lr_scheduler_type,
               warmup_ratio, warmup_steps, num_train_epochs, max_steps, per_device_train_batch_size,
               gradient_accumulation_steps, max_tokens_per_batch, gradient_parts, zero, overlap_communication, recompute,
               eval_steps, eval_examples, early_stopping_patience, load_best_model_at_end, save_steps, save_minutes,
               save_total_limit, logging_steps, restarts, seed] = TrainingSettings{};
  const std::set<const void*> members = {&optimizer,
                                         &master,
                                         &learning_rate,
                                         &adam_beta1,
                                         &adam_beta2,
                                         &adam_epsilon,
                                         &weight_decay,
                                         &adafactor_clip_threshold,
                                         &adafactor_scale_parameter,
                                         &adafactor_step_offset,
                                         &max_grad_norm,
                                         &lr_scheduler_type,
                                         &warmup_ratio,
                                         &warmup_steps,
                                         &num_train_epochs,
                                         &max_steps,
                                         &per_device_train_batch_size,
                                         &gradient_accumulation_steps,
                                         &max_tokens_per_batch,
                                         &gradient_parts,
                                         &zero,
                                         &overlap_communication,
                                         &recompute,
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

TEST(SettingKeys, AnUnknownChoiceIsRefusedWithWhatThereIs) {
  TrainingSettings settings;
  for (const auto& [key, choice] :
       {std::pair("optimizer", "adamw"), std::pair("master", "remainder"), std::pair("lr_scheduler_type", "linear")}) {
    try {
      set_setting(settings, key, "none such", "--option");
      ADD_FAILURE() << key;
    } catch (const UserError& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("--option is \"none such\"; it must be "), std::string::npos) << text;
      EXPECT_NE(text.find(choice), std::string::npos) << text;
    }
  }
  for (std::size_t kind = 0; kind < optimizer_names().size(); ++kind) {
    set_setting(settings, "optimizer", optimizer_names()[kind], "--optimizer");
    EXPECT_EQ(settings.optimizer, static_cast<OptimizerKind>(kind));
    EXPECT_EQ(name_of(settings.optimizer), optimizer_names()[kind]);
  }
  for (std::size_t kind = 0; kind < master_names().size(); ++kind) {
    set_setting(settings, "master", master_names()[kind], "--master");
    EXPECT_EQ(settings.master, static_cast<MasterKind>(kind));
    EXPECT_EQ(name_of(settings.master), master_names()[kind]);
  }
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
