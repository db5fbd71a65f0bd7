#include "kernels/optimizer/adamw.h"

#include <limits>

#include "tests/kernels/suite.h"

namespace koine {
namespace {

using testing::TestRandom;

struct State {
  explicit State(std::int64_t count) {
    const auto size = static_cast<std::size_t>(count);
    parameter.resize(size);
    gradient.assign(size, 0.0f);
    first_moment.assign(size, 0.0f);
    second_moment.assign(size, 0.0f);
    working.resize(size);
    TestRandom random(1);
    for (std::size_t i = 0; i < size; ++i) {
      parameter[i] = static_cast<float>(0.02 * random.normal());
      working[i] = to_bfloat16(parameter[i]);
    }
  }
  AdamWArguments dense(const AdamWStep& step, const float* factor = nullptr) {
    AdamWArguments arguments;
    arguments.count = static_cast<std::int64_t>(parameter.size());
    arguments.parameter = parameter.data();
    arguments.gradient = gradient.data();
    arguments.first_moment = first_moment.data();
    arguments.second_moment = second_moment.data();
    arguments.working = working.data();
    arguments.step = step;
    arguments.gradient_factor = factor;
    return arguments;
  }
  AdamWRowsArguments rows(std::int64_t width, std::vector<std::int32_t>& last_step, const std::vector<AdamWStep>& history,
                          std::int64_t step) {
    AdamWRowsArguments arguments;
    arguments.rows = static_cast<std::int64_t>(last_step.size());
    arguments.width = width;
    arguments.parameter = parameter.data();
    arguments.gradient = gradient.data();
    arguments.first_moment = first_moment.data();
    arguments.second_moment = second_moment.data();
    arguments.working = working.data();
    arguments.last_step = last_step.data();
    arguments.history = history.data();
    arguments.step = step;
    return arguments;
  }
  std::vector<float> parameter;
  std::vector<float> gradient;
  std::vector<float> first_moment;
  std::vector<float> second_moment;
  std::vector<BFloat16> working;
};

bool same_bits(const State& left, const State& right) {
  const auto same = [](const auto& a, const auto& b) {
    return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof a[0]) == 0;
  };
  return same(left.parameter, right.parameter) && same(left.first_moment, right.first_moment) &&
         same(left.second_moment, right.second_moment) && same(left.working, right.working) &&
         same(left.gradient, right.gradient);
}

// Numbers of PyTorch 2.15:
//   p = torch.nn.Parameter(torch.tensor([0.5, -0.25, 0.03125, 0.0]))
//   o = torch.optim.AdamW([p], lr=0.01, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.1, foreach=False)
//   for g in gradients: p.grad = torch.tensor(g); o.step()
//   print(['%.9g' % v for v in p.tolist()]), and exp_avg and exp_avg_sq of o.state[p]
TEST(AdamW, AgreesWithPyTorch) {
  const float gradients[5][4] = {
      {1, -0.5, 0.001, 0.25}, {0.5, 0.5, -0.002, 0}, {0, -1, 0, 0.5}, {-0.25, 0.125, 0.004, -0.75}, {2, 0, -0.001, 0}};
  const double parameter[4] = {0.459890902, -0.227955833, 0.0216265917, -0.023300495};
  const double first_moment[4] = {0.27956, -0.0661050007, 0.000179809998, -0.0105975019};
  const double second_moment[4] = {0.104378328, 0.0288320538, 4.27342769e-07, 0.0169799589};
  for (const auto& variant : operation<AdamWArguments>().variants) {
    State state(4);
    state.parameter = {0.5f, -0.25f, 0.03125f, 0.0f};
    for (int step = 1; step <= 5; ++step) {
      std::copy(gradients[step - 1], gradients[step - 1] + 4, state.gradient.begin());
      variant.launch(Context{}, state.dense(adamw_step(step, 0.01, 0.9, 0.98, 1e-6, 0.1)), nullptr);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      // Five steps of fp32, a handful of roundings each, of numbers no larger than these (the parameter: 0.5).
      EXPECT_NEAR(static_cast<double>(state.parameter[i]), parameter[i], 5 * testing::fp32_error(4, 0.5)) << variant.name;
      EXPECT_NEAR(static_cast<double>(state.first_moment[i]), first_moment[i], 1e-6 * std::fabs(first_moment[i]));
      EXPECT_NEAR(static_cast<double>(state.second_moment[i]), second_moment[i], 1e-6 * std::fabs(second_moment[i]));
      EXPECT_EQ(state.working[i].bits, to_bfloat16(state.parameter[i]).bits);
      EXPECT_EQ(state.gradient[i], 0.0f);
    }
  }
}

// One step from random moments: each variant against the reference, on every instruction set and number of threads.
TEST(AdamW, VariantsAgreeWithTheReference) {
  for (const std::int64_t count : {0, 1, 7, 64, 1000, 40000}) {
    State before(count);
    TestRandom random(2);
    for (std::size_t i = 0; i < before.parameter.size(); ++i) {
      before.gradient[i] = static_cast<float>(random.normal());
      before.first_moment[i] = static_cast<float>(0.1 * random.normal());
      before.second_moment[i] = static_cast<float>(0.01 * random.uniform());
    }
    const AdamWStep step = adamw_step(7, 1e-3, 0.9, 0.999, 1e-8, 0.01);
    const float factor = 0.37f;
    State truth = before;
    operation<AdamWArguments>().variants.back().launch(Context{}, truth.dense(step, &factor), nullptr);
    testing::for_each_instruction_set([&](const std::string& instructions) {
      State first = before;
      operation<AdamWArguments>().variants.front().launch(Context{}, first.dense(step, &factor), nullptr);
      for (std::size_t i = 0; i < truth.parameter.size(); ++i) {
        // Six roundings of the change (at most some learning rates), one of the parameter.
        ASSERT_NEAR(first.parameter[i], truth.parameter[i], testing::fp32_error(8, 0.02) + testing::fp32_error(2, 0.1))
            << instructions;
        ASSERT_NEAR(first.first_moment[i], truth.first_moment[i], testing::fp32_error(4, 1)) << instructions;
        ASSERT_NEAR(first.second_moment[i], truth.second_moment[i], testing::fp32_error(4, 0.1)) << instructions;
      }
      testing::for_each_thread_count([&](int threads) {
        State again = before;
        operation<AdamWArguments>().variants.front().launch(Context{}, again.dense(step, &factor), nullptr);
        EXPECT_TRUE(same_bits(first, again)) << instructions << " " << threads << " threads";
      });
    });
  }
}

TEST(AdamW, KeepsTheGradientWhenAsked) {
  State state(10);
  state.gradient.assign(10, 0.5f);
  AdamWArguments arguments = state.dense(adamw_step(1, 1e-3, 0.9, 0.999, 1e-8, 0));
  arguments.zero_gradient = false;
  adamw(Context{}, arguments);
  EXPECT_EQ(state.gradient, std::vector<float>(10, 0.5f));
}

// Hundreds of steps in which random rows have a gradient: dense AdamW on everything beside lazy rows that are brought up to
// date only before they are read and at the end. Row 0 is never touched; the learning rate changes at every step.
void check_lazy_rows(const Variant<AdamWArguments>& dense, const Variant<AdamWRowsArguments>& lazy, std::int64_t width,
                     double decay, const std::string& label) {
  constexpr std::int64_t kRows = 40;
  constexpr std::int64_t kSteps = 300;
  State all(kRows * width);
  State rows(kRows * width);
  std::vector<std::int32_t> last_step(kRows, 0);
  std::vector<AdamWStep> history(1);
  // Row 39 starts with a second moment alone: it has no momentum, but is not without moments.
  for (State* state : {&all, &rows}) {
    std::fill(state->second_moment.begin() + 39 * width, state->second_moment.end(), 0.5f);
  }
  TestRandom random(3);
  for (std::int64_t step = 1; step <= kSteps; ++step) {
    history.push_back(adamw_step(step, 1e-3 * (1 - static_cast<double>(step) / 400), 0.9, 0.98, 1e-6, decay));
    std::vector<std::int32_t> touched;
    for (std::int32_t row = 1; row < kRows; ++row) {
      if (random.below(row) == 0) touched.push_back(row);  // row 1 at every step, row 39 rarely
    }
    AdamWRowsArguments before_reading = rows.rows(width, last_step, history, step - 1);
    before_reading.row_list = touched.data();
    before_reading.listed = static_cast<std::int64_t>(touched.size());
    lazy.launch(Context{}, before_reading, nullptr);
    for (const std::int32_t row : touched) {
      const auto begin = static_cast<std::size_t>(row * width);
      const auto size = static_cast<std::size_t>(width) * sizeof(float);
      ASSERT_EQ(std::memcmp(&rows.parameter[begin], &all.parameter[begin], size), 0)
          << label << " step " << step << " row " << row;
      for (std::size_t i = begin; i < begin + static_cast<std::size_t>(width); ++i) {
        rows.gradient[i] = all.gradient[i] = static_cast<float>(random.normal());
      }
    }
    const float factor = static_cast<float>(random.uniform());
    dense.launch(Context{}, all.dense(history.back(), &factor), nullptr);
    AdamWRowsArguments apply = before_reading;
    apply.step = step;
    apply.with_gradient = true;
    apply.gradient_factor = &factor;
    apply.history = history.data();
    lazy.launch(Context{}, apply, nullptr);
  }
  lazy.launch(Context{}, rows.rows(width, last_step, history, kSteps), nullptr);
  EXPECT_EQ(std::memcmp(all.parameter.data(), rows.parameter.data(), all.parameter.size() * sizeof(float)), 0) << label;
  EXPECT_TRUE(same_bits(all, rows)) << label;
  EXPECT_EQ(last_step, std::vector<std::int32_t>(kRows, kSteps)) << label;
}

TEST(AdamWRows, LazyIsDenseBitForBit) {
  const auto& dense = operation<AdamWArguments>().variants;
  const auto& lazy = operation<AdamWRowsArguments>().variants;
  for (const double decay : {0.0, 0.01}) {
    for (const std::int64_t width : {1, 7, 64, 200}) {
      const std::string label = concatenate("width ", width, ", decay ", decay);
      check_lazy_rows(dense.back(), lazy.back(), width, decay, "reference " + label);
      testing::for_each_instruction_set([&](const std::string& instructions) {
        testing::for_each_thread_count(
            [&](int) { check_lazy_rows(dense.front(), lazy.front(), width, decay, concatenate(instructions, " ", label)); });
      });
    }
  }
}

TEST(AdamWRows, RefusesToGoBack) {
  State state(8);
  std::vector<std::int32_t> last_step = {3, 2};
  const std::vector<AdamWStep> history(4, adamw_step(1, 1e-3, 0.9, 0.999, 1e-8, 0));
  EXPECT_THROW(adamw_rows(Context{}, state.rows(4, last_step, history, 2)), Error);
  AdamWRowsArguments again = state.rows(4, last_step, history, 3);
  again.with_gradient = true;
  EXPECT_THROW(adamw_rows(Context{}, again), Error);
}

TEST(AdamWStep, ScalarsAreComputedInDouble) {
  const AdamWStep step = adamw_step(3, 1e-5, 0.9, 0.999, 1e-8, 0.01);
  EXPECT_EQ(step.one_minus_beta1, 0.1f);
  EXPECT_EQ(step.one_minus_beta2, 0.001f);
  EXPECT_EQ(step.step_size, static_cast<float>(1e-5 / (1 - 0.9 * 0.9 * 0.9)));
  EXPECT_EQ(step.sqrt_correction2, static_cast<float>(std::sqrt(1 - 0.999 * 0.999 * 0.999)));
  EXPECT_EQ(step.one_minus_rate_decay, static_cast<float>(1 - 1e-7));
  EXPECT_THROW(adamw_step(0, 1e-5, 0.9, 0.999, 1e-8, 0), Error);
}

TEST(ClipFactor, IsPyTorchs) {
  for (const auto& variant : operation<ClipFactorArguments>().variants) {
    const auto clip = [&](double squares, float maximum) {
      float norm = -1;
      float factor = -1;
      variant.launch(Context{}, {&squares, maximum, &norm, &factor}, nullptr);
      return std::pair<float, float>(norm, factor);
    };
    EXPECT_EQ(clip(16, 1), (std::pair<float, float>(4, static_cast<float>(1 / (4 + 1e-6)))));
    EXPECT_EQ(clip(0.25, 1), (std::pair<float, float>(0.5f, 1)));
    EXPECT_EQ(clip(16, 0), (std::pair<float, float>(4, 1)));
    EXPECT_EQ(clip(0, 1), (std::pair<float, float>(0, 1)));
    const double inf = std::numeric_limits<double>::infinity();
    EXPECT_EQ(clip(inf, 1), (std::pair<float, float>(std::numeric_limits<float>::infinity(), 0)));
    EXPECT_TRUE(std::isnan(clip(std::nan(""), 1).first));
    EXPECT_EQ(clip(std::nan(""), 1).second, 0.0f);
  }
}

}  // namespace
}  // namespace koine
