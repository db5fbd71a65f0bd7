#include <array>

#include "kernels/optimizer/adamw_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

/// Buffers of `count` elements that begin `shift` elements behind where their memory does.
struct State {
  explicit State(std::int64_t elements, std::int64_t first = 0) : count(elements), shift(first) {
    const auto size = static_cast<std::size_t>(count + shift);
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
  void randomise(std::uint64_t seed) {
    TestRandom random(seed);
    for (std::size_t i = 0; i < parameter.size(); ++i) {
      gradient[i] = static_cast<float>(random.normal());
      first_moment[i] = static_cast<float>(0.1 * random.normal());
      second_moment[i] = static_cast<float>(0.01 * random.uniform());
    }
  }
  template <class Arguments>
  void point(Arguments& arguments) {
    arguments.parameter = parameter.data() + shift;
    arguments.gradient = gradient.data() + shift;
    arguments.first_moment = first_moment.data() + shift;
    arguments.second_moment = second_moment.data() + shift;
    arguments.working = working.data() + shift;
  }
  AdamWArguments dense(const AdamWStep& step, const float* factor = nullptr) {
    AdamWArguments arguments;
    point(arguments);
    arguments.count = count;
    arguments.step = step;
    arguments.gradient_factor = factor;
    return arguments;
  }
  AdamWRowsArguments rows(std::int64_t width, std::vector<std::int32_t>& last_step, const std::vector<AdamWStep>& history,
                          std::int64_t step) {
    AdamWRowsArguments arguments;
    point(arguments);
    arguments.rows = static_cast<std::int64_t>(last_step.size());
    arguments.width = width;
    arguments.last_step = last_step.data();
    arguments.history = history.data();
    arguments.step = step;
    return arguments;
  }
  std::vector<Region> regions() const {
    return {region_of(parameter), region_of(gradient), region_of(first_moment), region_of(second_moment),
            region_of(working)};
  }
  std::int64_t count;
  std::int64_t shift;
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

Region region_of_value(const float& value) { return {const_cast<float*>(&value), sizeof value}; }

/// Launches a variant whose arguments point into `state` and `regions`: on copies of them in device memory where it is for a
/// device. False where there is none.
template <class Arguments>
bool launch_on(const Variant<Arguments>& variant, const Arguments& arguments, const State& state,
               std::vector<Region> regions = {}) {
  operation<Arguments>().validate(arguments);
  if (variant.device == Device::kCpu) {
    variant.launch(Context{}, arguments, nullptr);
    return true;
  }
  if (cuda::device_count() == 0) return false;
  for (const Region& region : state.regions()) regions.push_back(region);
  launch_on_device(context_for(variant.device), variant, arguments, regions, {}, nullptr);
  return true;
}

/// Calls `body(name)` under everything that must not change the bits of a variant.
template <class Arguments>
void for_each_way_to_run(const Variant<Arguments>& variant, const std::function<void(const std::string&)>& body) {
  if (variant.device == Device::kCuda) {
    for_each_schedule([&](const std::string& schedule) { body(concatenate(variant.name, ", ", schedule)); });
  } else if (variant.name == kReference) {
    body("reference");
  } else {
    for_each_instruction_set([&](const std::string& instructions) {
      for_each_thread_count(
          [&](int threads) { body(concatenate(variant.name, " ", instructions, ", ", threads, " threads")); });
    });
  }
}

/// The instruction sets without fused multiply-adds round differently from all the others.
bool processor_fuses() {
#if defined(__x86_64__)
  return (hwy::SupportedTargets() & (HWY_AVX2 | HWY_AVX3)) != 0;
#else
  return true;
#endif
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
      if (!launch_on(variant, state.dense(adamw_step(step, 0.01, 0.9, 0.98, 1e-6, 0.1)), state)) return;
    }
    for (std::size_t i = 0; i < 4; ++i) {
      // Five steps of fp32, a handful of roundings each, of numbers no larger than these (the parameter: 0.5).
      EXPECT_NEAR(static_cast<double>(state.parameter[i]), parameter[i], 5 * fp32_error(4, 0.5)) << variant.name;
      EXPECT_NEAR(static_cast<double>(state.first_moment[i]), first_moment[i], 1e-6 * std::fabs(first_moment[i]));
      EXPECT_NEAR(static_cast<double>(state.second_moment[i]), second_moment[i], 1e-6 * std::fabs(second_moment[i]));
      EXPECT_EQ(state.working[i].bits, to_bfloat16(state.parameter[i]).bits);
      EXPECT_EQ(state.gradient[i], 0.0f);
    }
  }
}

Case<AdamWArguments> dense_case(std::int64_t count) {
  Case<AdamWArguments> test_case = adamw_case(count, false);
  // Eight roundings of the change, a few learning rates, and those of the parameter; the moments are at most 1 and 0.1.
  test_case.operand("parameter").accumulation = fp32_error(8, 0.02) + fp32_error(2, 0.1);
  test_case.operand("gradient").exact = true;
  test_case.operand("first_moment").accumulation = fp32_error(4, 1);
  test_case.operand("second_moment").accumulation = fp32_error(4, 0.1);
  return test_case;
}

TEST(AdamW, VariantsAgreeWithTheReference) {
  const std::vector<float> factor = {0.37f};
  for (const std::int64_t count : {0, 1, 7, 64, 1000, 20001}) {
    Case<AdamWArguments> test_case = dense_case(count);
    test_case.array(factor);
    test_case.arguments.gradient_factor = factor.data();
    check_variants(test_case);
  }
}

TEST(AdamW, TakesTheStepFromMemory) {
  const std::vector<AdamWStep> step = {adamw_step(7, 1e-3, 0.9, 0.999, 1e-8, 0.01)};
  Case<AdamWArguments> test_case = dense_case(100);
  test_case.array(step);
  test_case.arguments.step = {};
  test_case.arguments.step_from = step.data();
  check_variants(test_case);
}

// The device computes the very bits of the CPU, working copy included, wherever the buffers begin.
TEST(AdamW, TheDeviceAgreesWithTheCpuBitForBit) {
  if (!processor_fuses()) GTEST_SKIP() << "this processor has no fused multiply-add";
  const auto& table = operation<AdamWArguments>();
  const float factor = 0.37f;
  const AdamWStep step = adamw_step(7, 1e-3, 0.9, 0.999, 1e-8, 0.01);
  for (const std::int64_t shift : {0, 1, 2}) {
    for (const std::int64_t count : {1, 4, 1027, 8192, 20001}) {
      State cpu(count, shift);
      cpu.randomise(2);
      State device = cpu;
      adamw(Context{}, cpu.dense(step, &factor));
      if (!launch_on(table.variants.front(), device.dense(step, &factor), device, {region_of_value(factor)})) return;
      EXPECT_TRUE(same_bits(cpu, device)) << count << " elements, shift " << shift;
    }
  }
}

TEST(AdamW, AFactorOfZeroChangesNothing) {
  const float factor = 0;
  const std::vector<AdamWStep> steps(3, adamw_step(2, 1e-3, 0.9, 0.999, 1e-8, 0.01));
  State before(3 * 40);
  before.randomise(2);
  for (const auto& variant : operation<AdamWArguments>().variants) {
    State state = before;
    launch_on(variant, state.dense(steps[0], &factor), state, {region_of_value(factor)});
    EXPECT_TRUE(same_bits(before, state)) << variant.name;
  }
  for (const auto& variant : operation<AdamWRowsArguments>().variants) {
    State state = before;
    std::vector<std::int32_t> last_step = {0, 1, 1};
    AdamWRowsArguments arguments = state.rows(40, last_step, steps, 2);
    arguments.with_gradient = true;
    arguments.gradient_factor = &factor;
    launch_on(variant, arguments, state, {region_of_value(factor), region_of(last_step), region_of(steps)});
    EXPECT_TRUE(same_bits(before, state)) << variant.name;
    EXPECT_EQ(last_step, (std::vector<std::int32_t>{0, 1, 1})) << variant.name;
  }
}

TEST(AdamW, KeepsTheGradientWhenAsked) {
  for (const auto& variant : operation<AdamWArguments>().variants) {
    State state(10);
    state.gradient.assign(10, 0.5f);
    AdamWArguments arguments = state.dense(adamw_step(1, 1e-3, 0.9, 0.999, 1e-8, 0));
    arguments.zero_gradient = false;
    launch_on(variant, arguments, state);
    EXPECT_EQ(state.gradient, std::vector<float>(10, 0.5f)) << variant.name;
  }
}

// --- segments -----------------------------------------------------------------------------------------------------------

/// Segments of three groups with gaps between them: some empty, some longer than a piece, at odd places.
std::vector<FlatSegment> odd_segments() {
  std::vector<FlatSegment> segments = {{0, 1, 5, 0, 0},   {64, 3, 64, 0, 1},    {256, 1, 0, 0, 2},      {256, 7, 13, 0, 2},
                                       {347, 1, 9, 0, 0}, {512, 2, 8192, 0, 1}, {16896, 1, 20011, 0, 2}};
  EXPECT_EQ(number_pieces(segments), 9);
  return segments;
}
constexpr std::int64_t kFlatElements = 16896 + 20011;

TEST(AdamWSegments, AreAdamWOfEachOfThem) {
  const std::vector<FlatSegment> segments = odd_segments();
  const std::vector<AdamWStep> steps = {adamw_step(3, 1e-3, 0.9, 0.999, 1e-8, 0.01),
                                        adamw_step(3, 1e-3, 0.9, 0.999, 1e-8, 0), adamw_step(3, 2e-3, 0.8, 0.99, 1e-6, 0.1)};
  const float factor = 0.37f;
  for (const std::int64_t shift : {0, 1}) {
    for (const auto& variant : operation<AdamWSegmentsArguments>().variants) {
      const Variant<AdamWArguments>* alone = nullptr;
      for (const auto& dense : operation<AdamWArguments>().variants) {
        if (dense.name == variant.name) alone = &dense;
      }
      ASSERT_NE(alone, nullptr) << variant.name;
      for_each_way_to_run(variant, [&](const std::string& way) {
        State expected(kFlatElements, shift);
        expected.randomise(5);
        State state = expected;
        AdamWSegmentsArguments arguments;
        state.point(arguments);
        arguments.segments = std::ssize(segments);
        arguments.pieces = 9;
        arguments.segment_list = segments.data();
        arguments.steps = steps.data();
        arguments.gradient_factor = &factor;
        for (const FlatSegment& segment : segments) {
          arguments.elements += segment.count();
          AdamWArguments one = expected.dense(steps[static_cast<std::size_t>(segment.group)], &factor);
          one.count = segment.count();
          one.parameter += segment.offset;
          one.gradient += segment.offset;
          one.first_moment += segment.offset;
          one.second_moment += segment.offset;
          one.working += segment.offset;
          launch_on(*alone, one, expected, {region_of_value(factor)});
        }
        launch_on(variant, arguments, state, {region_of_value(factor), region_of(segments), region_of(steps)});
        EXPECT_TRUE(same_bits(expected, state)) << way << ", shift " << shift;
      });
    }
  }
}

// --- rows ---------------------------------------------------------------------------------------------------------------

// Many steps in which random rows have a gradient: dense AdamW on everything beside lazy rows that are brought up to date
// only before they are read and at the end. Row 0 is never touched; the learning rate changes at every step. Numbers that
// change lie in memory in every other step, behind longer lists than are meant.
struct LazyRows {
  static constexpr std::int64_t kRows = 40;
  LazyRows(std::int64_t row_width, std::int64_t shift)
      : width(row_width), all(kRows * width, shift), rows(kRows * width, shift), last_step(kRows, 0) {
    // Row 39 starts with a second moment alone: it has no momentum, but is not without moments.
    for (State* state : {&all, &rows}) {
      std::fill(state->second_moment.begin() + shift + 39 * width, state->second_moment.end(), 0.5f);
    }
  }
  std::int64_t width;
  State all;
  State rows;
  std::vector<std::int32_t> last_step;
  std::vector<AdamWStep> history = std::vector<AdamWStep>(1);
  std::vector<std::int32_t> touched;
  std::vector<std::int64_t> numbers = {0, 0};  ///< listed, step
  float factor = 1;

  std::vector<Region> regions() const {
    return {region_of(last_step), region_of(history), region_of(touched), region_of(numbers), region_of_value(factor)};
  }
  AdamWRowsArguments at_step(std::int64_t step, bool with_gradient) {
    AdamWRowsArguments arguments = rows.rows(width, last_step, history, step);
    arguments.row_list = touched.data();
    arguments.listed = std::ssize(touched);
    arguments.with_gradient = with_gradient;
    if (with_gradient) arguments.gradient_factor = &factor;
    if (step % 2 == 0) return arguments;
    numbers = {arguments.listed, step};
    arguments.listed_from = &numbers[0];
    arguments.step_from = &numbers[1];
    arguments.step = 1 << 20;
    touched.resize(touched.size() + 2, 0);
    arguments.row_list = touched.data();
    arguments.listed += 2;
    return arguments;
  }
};

void check_lazy_rows(const Variant<AdamWArguments>& dense, const Variant<AdamWRowsArguments>& lazy, std::int64_t width,
                     double decay, std::int64_t steps, std::int64_t shift, const std::string& label) {
  LazyRows test(width, shift);
  TestRandom random(3);
  for (std::int64_t step = 1; step <= steps; ++step) {
    test.history.push_back(adamw_step(step, 1e-3 * (1 - static_cast<double>(step) / 400), 0.9, 0.98, 1e-6, decay));
    std::vector<std::int32_t> touched;
    for (std::int32_t row = 1; row < LazyRows::kRows; ++row) {
      if (random.below(row) == 0) touched.push_back(row);  // row 1 at every step, row 39 rarely
    }
    test.touched = touched;
    const AdamWRowsArguments before_reading = test.at_step(step - 1, false);
    if (!launch_on(lazy, before_reading, test.rows, test.regions())) return;
    for (const std::int32_t row : touched) {
      const auto begin = static_cast<std::size_t>(shift + row * width);
      const auto size = static_cast<std::size_t>(width) * sizeof(float);
      ASSERT_EQ(std::memcmp(&test.rows.parameter[begin], &test.all.parameter[begin], size), 0)
          << label << " step " << step << " row " << row;
      for (std::size_t i = begin; i < begin + static_cast<std::size_t>(width); ++i) {
        test.rows.gradient[i] = test.all.gradient[i] = static_cast<float>(random.normal());
      }
    }
    test.factor = static_cast<float>(1 - random.uniform());
    launch_on(dense, test.all.dense(test.history.back(), &test.factor), test.all, test.regions());
    test.touched = touched;
    const AdamWRowsArguments apply = test.at_step(step, true);
    launch_on(lazy, apply, test.rows, test.regions());
  }
  launch_on(lazy, test.rows.rows(width, test.last_step, test.history, steps), test.rows, test.regions());
  EXPECT_TRUE(same_bits(test.all, test.rows)) << label;
  EXPECT_EQ(test.last_step, std::vector<std::int32_t>(LazyRows::kRows, static_cast<std::int32_t>(steps))) << label;
}

TEST(AdamWRows, LazyIsDenseBitForBit) {
  const auto& dense = operation<AdamWArguments>().variants;
  const auto& lazy = operation<AdamWRowsArguments>().variants;
  for (std::size_t i = 0; i < lazy.size(); ++i) {
    ASSERT_EQ(dense[i].name, lazy[i].name);
    const bool on_device = lazy[i].device == Device::kCuda;
    for (const double decay : {0.0, 0.01}) {
      for (const std::int64_t width : {1, 7, 64, 200}) {
        if (on_device && (width == 1 || (width != 7 && decay == 0))) continue;  // every launch there copies everything
        for_each_way_to_run(lazy[i], [&](const std::string& way) {
          const std::string label = concatenate(way, ", width ", width, ", decay ", decay);
          check_lazy_rows(dense[i], lazy[i], width, decay, on_device ? 24 : 300, on_device && width == 64 ? 1 : 0, label);
        });
      }
    }
  }
}

// A row wider than a block takes at once, and one for which a block is a single warp.
TEST(AdamWRows, TheDeviceAgreesWithTheCpuBitForBit) {
  if (!processor_fuses()) GTEST_SKIP() << "this processor has no fused multiply-add";
  std::vector<AdamWStep> history(1);
  for (int step = 1; step <= 30; ++step) history.push_back(adamw_step(step, 1e-3 / step, 0.9, 0.999, 1e-8, 0.01));
  for (const std::int64_t width : {3, 128, 1030, 2560}) {
    for (const std::int64_t shift : {0, 1}) {
      State cpu(5 * width, shift);
      cpu.randomise(6);
      std::fill_n(cpu.first_moment.begin() + shift, width + 2, 0.0f);  // row 0 has no moments, row 1 partly
      std::fill_n(cpu.second_moment.begin() + shift, width + 2, 0.0f);
      State device = cpu;
      const std::vector<std::int32_t> list = {4, 0, 1};
      const auto run = [&](State& state, const Variant<AdamWRowsArguments>& variant) {
        std::vector<std::int32_t> last_step = {0, 12, 30, 30, 29};
        AdamWRowsArguments arguments = state.rows(width, last_step, history, 30);
        arguments.row_list = list.data();
        arguments.listed = 3;
        arguments.with_gradient = true;
        launch_on(variant, arguments, state, {region_of(last_step), region_of(history), region_of(list)});
        return last_step;
      };
      const auto& variants = operation<AdamWRowsArguments>().variants;
      const std::vector<std::int32_t> last_step = run(cpu, variants[1]);
      EXPECT_EQ(last_step, (std::vector<std::int32_t>{30, 30, 30, 30, 30}));
      if (cuda::device_count() == 0) return;
      EXPECT_EQ(run(device, variants[0]), last_step);
      EXPECT_TRUE(same_bits(cpu, device)) << "width " << width << ", shift " << shift;
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

}  // namespace
}  // namespace koine::testing
