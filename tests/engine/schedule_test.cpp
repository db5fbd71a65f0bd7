// Expected factors are what transformers 5.23.0 computes:
//   python -c "import torch, transformers as t
//   o = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
//   s = t.get_linear_schedule_with_warmup(o, 3, 10)   # or get_cosine_..., get_constant_schedule_with_warmup(o, 3)
//   for k in range(11): print(s.get_last_lr()[0]); o.step(); s.step()"

#include <gtest/gtest.h>

#include <vector>

#include "engine/settings/settings.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

void expect_factors(Schedule schedule, std::int64_t warmup, const std::vector<double>& expected) {
  TrainingSettings settings;
  settings.learning_rate = 1;
  settings.lr_scheduler_type = schedule;
  settings.warmup_steps = warmup;
  for (std::size_t step = 0; step < expected.size(); ++step) {
    // One rounding of the quotient or the cosine: 2^-53, twice that for libraries that differ in the last bit.
    EXPECT_NEAR(learning_rate_at(settings, static_cast<std::int64_t>(step), 10), expected[step], 0x1p-52) << "step " << step;
  }
}

TEST(Schedule, LinearIsThatOfTransformers) {
  expect_factors(Schedule::kLinear, 3,
                 {0.0, 0.3333333333333333, 0.6666666666666666, 1.0, 0.8571428571428571, 0.7142857142857143,
                  0.5714285714285714, 0.42857142857142855, 0.2857142857142857, 0.14285714285714285, 0.0});
  expect_factors(Schedule::kLinear, 0, {1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0});
}

TEST(Schedule, CosineIsThatOfTransformers) {
  expect_factors(Schedule::kCosine, 3,
                 {0.0, 0.3333333333333333, 0.6666666666666666, 1.0, 0.9504844339512095, 0.8117449009293668,
                  0.6112604669781572, 0.38873953302184283, 0.18825509907063326, 0.04951556604879048, 0.0});
  expect_factors(Schedule::kCosine, 0,
                 {1.0, 0.9755282581475768, 0.9045084971874737, 0.7938926261462366, 0.6545084971874737, 0.5,
                  0.34549150281252633, 0.2061073738537635, 0.09549150281252633, 0.024471741852423234, 0.0});
}

TEST(Schedule, ConstantIsThatOfTransformers) {
  expect_factors(Schedule::kConstant, 3,
                 {0.0, 0.3333333333333333, 0.6666666666666666, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0});
}

TEST(Schedule, WarmupIsARatioOfAllStepsUnlessStepsAreGiven) {
  TrainingSettings settings;
  EXPECT_EQ(warmup_steps_of(settings, 100), 10);
  EXPECT_EQ(warmup_steps_of(settings, 101), 11);  // rounded up, as transformers does
  settings.warmup_steps = 4;
  EXPECT_EQ(warmup_steps_of(settings, 100), 4);
  settings.warmup_steps = 0;
  EXPECT_EQ(warmup_steps_of(settings, 100), 0);
}

TEST(Schedule, SettingsOutOfRangeAreNamed) {
  const auto message_of = [](auto change) -> std::string {
    TrainingSettings settings;
    change(settings);
    try {
      check_settings(settings);
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message_of([](TrainingSettings&) {}), "");
  EXPECT_NE(message_of([](TrainingSettings& s) { s.adam_epsilon = 0; }).find("adam_epsilon is 0"), std::string::npos);
  EXPECT_NE(message_of([](TrainingSettings& s) { s.num_train_epochs = 0; }).find("num_train_epochs"), std::string::npos);
  EXPECT_NE(message_of([](TrainingSettings& s) { s.learning_rate = -1; }).find("learning_rate is -1"), std::string::npos);
  EXPECT_NE(message_of([](TrainingSettings& s) { s.save_total_limit = 0; }).find("save_total_limit"), std::string::npos);
  EXPECT_EQ(message_of([](TrainingSettings& s) { s.num_train_epochs = 0, s.max_steps = 5; }), "");
}

}  // namespace
}  // namespace koine
