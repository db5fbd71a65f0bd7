#include <algorithm>
#include <cmath>

#include "kernels/optimizer/adamw_8bit_cases.h"
#include "kernels/optimizer/adamw_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

/// Moments of up to 5 with a handful of roundings; updates of 1e-3 times at most some hundred (0.3 over 0.001).
void grant_adamw_8bit(Case<AdamW8BitArguments>& test_case) {
  test_case.operand("parameter").accumulation = fp32_error(3, 0.1) + fp32_error(8, 0.1);
  test_case.operand("first_moment").accumulation = fp32_error(3, 5);
  test_case.operand("second_moment").accumulation = fp32_error(3, 0.5);
  test_case.operand("gradient").exact = true;
  for (auto& operand : test_case.operands) {  // a parameter between two bf16 may go to either
    if (operand.name == "working") operand.accumulation = std::ldexp(0.1, -8);
  }
}

// Numbers of create_dynamic_map of bitsandbytes: 256 ascending ones, no -1, zero at place 127 where there are signs.
TEST(AdamW8Bit, TheMapsAreThoseOfTheLibraries) {
  const std::array<float, 256> with = dynamic_map(true);
  const std::array<float, 256> without = dynamic_map(false);
  for (const auto& map : {with, without}) {
    EXPECT_TRUE(std::is_sorted(map.begin(), map.end()));
    EXPECT_EQ(std::adjacent_find(map.begin(), map.end()), map.end());
    EXPECT_EQ(map[255], 1.0f);
  }
  EXPECT_EQ(with[127], 0.0f);
  EXPECT_FLOAT_EQ(with[128], 5.5e-7f);
  EXPECT_NEAR(with[0], -0.99297, 1e-5);
  EXPECT_EQ(without[0], 0.0f);
  EXPECT_FLOAT_EQ(without[1], 3.25e-7f);
  EXPECT_FLOAT_EQ(without[2], 7.75e-7f);
  EXPECT_NEAR(without[254], 0.9965, 5e-5);
}

// Tensors that are not coded: the suite compares operands, and codes are none. Those of codes are below.
TEST(AdamW8Bit, VariantsOfWhatIsNotCoded) {
  for (const std::vector<std::array<std::int64_t, 2>>& tensors :
       {std::vector<std::array<std::int64_t, 2>>{{1, 0}}, {{7, 0}, {255, 0}, {256, 0}, {8193, 0}}}) {
    Case<AdamW8BitArguments> test_case = adamw_8bit_case(tensors, true);
    grant_adamw_8bit(test_case);
    check_variants(test_case);
  }
}

TEST(AdamW8Bit, TakesTheFactorAndKeepsTheGradientWhereAsked) {
  Case<AdamW8BitArguments> test_case = adamw_8bit_case({{300, 0}, {10, 0}}, false);
  test_case.arguments.gradient_factor = test_case.keep(std::vector<float>{0.25f});
  test_case.arguments.zero_gradient = false;
  grant_adamw_8bit(test_case);
  check_variants(test_case);
}

TEST(AdamW8Bit, ANormThatIsNotFiniteChangesNothing) {
  Case<AdamW8BitArguments> nothing = adamw_8bit_case({{300, 1}, {10, 0}}, false);
  nothing.arguments.gradient_factor = nothing.keep(std::vector<float>{0.0f});
  for (const char* name : {"parameter", "gradient", "first_moment", "second_moment"}) nothing.operand(name).exact = true;
  check_variants(nothing);
}

/// A run of one coded tensor.
struct CodedRun {
  explicit CodedRun(std::int64_t elements)
      : tensors{{0, elements, 1, 0, 0, 0}},
        parameter(static_cast<std::size_t>(elements)),
        gradient(parameter.size()),
        first_codes((parameter.size() + 255) / 256 * 256),
        second_codes(first_codes.size()),
        first_scales(first_codes.size() / 256),
        second_scales(first_scales.size()) {}
  AdamW8BitArguments arguments(const AdamWStep& step) {
    AdamW8BitArguments a;
    a.elements = std::ssize(parameter), a.tensors = 1, a.pieces = number_coded_pieces(tensors);
    a.tensor_list = tensors.data(), a.steps = &step;
    a.parameter = parameter.data(), a.gradient = gradient.data();
    a.first_codes = first_codes.data(), a.second_codes = second_codes.data();
    a.first_scales = first_scales.data(), a.second_scales = second_scales.data();
    a.first_map = first_map.data(), a.second_map = second_map.data();
    return a;
  }
  std::vector<Region> regions() const {
    return {region_of(tensors),       region_of(parameter),    region_of(gradient),
            region_of(first_codes),   region_of(second_codes), region_of(first_scales),
            region_of(second_scales), region_of(first_map),    region_of(second_map)};
  }
  static std::vector<float> map_of(bool with_signs) {
    const std::array<float, 256> map = dynamic_map(with_signs);
    return {map.begin(), map.end()};
  }
  std::vector<CodedTensor> tensors;
  std::vector<float> parameter;
  std::vector<float> gradient;
  std::vector<std::uint8_t> first_codes;
  std::vector<std::uint8_t> second_codes;
  std::vector<float> first_scales;
  std::vector<float> second_scales;
  std::vector<float> first_map = map_of(true);
  std::vector<float> second_map = map_of(false);
};

bool launch_coded(const Variant<AdamW8BitArguments>& variant, CodedRun& run, const AdamWStep& step) {
  const AdamW8BitArguments arguments = run.arguments(step);
  operation<AdamW8BitArguments>().validate(arguments);
  if (variant.device == Device::kCpu) {
    variant.launch(Context{}, arguments, nullptr);
    return true;
  }
  if (cuda::device_count() == 0) return false;
  std::vector<Region> regions = run.regions();
  regions.push_back({const_cast<AdamWStep*>(&step), sizeof step});
  return launch_on_device(context_for(variant.device), variant, arguments, regions, {}, nullptr);
}

bool same_run(const CodedRun& a, const CodedRun& b) {
  return a.parameter == b.parameter && a.first_codes == b.first_codes && a.second_codes == b.second_codes &&
         a.first_scales == b.first_scales && a.second_scales == b.second_scales && a.gradient == b.gradient;
}

/// One step of `run` by a variant in every way that must not change a bit; false where there is no device.
bool step_in_every_way(const Variant<AdamW8BitArguments>& variant, CodedRun& run, const AdamWStep& step) {
  const CodedRun before = run;
  if (!launch_coded(variant, run, step)) return false;
  const auto again = [&](const std::string& how) {
    CodedRun other = before;
    launch_coded(variant, other, step);
    EXPECT_TRUE(same_run(run, other)) << variant.name << " " << how;
  };
  if (variant.device == Device::kCuda) {
    for_each_schedule(again);
  } else {
    for_each_thread_count([&](int threads) { again(concatenate(threads, " threads")); });
  }
  return true;
}

/// `run` behind a step that the reference has made of the same beginning. The reference rounds once where a variant rounds
/// twice, so a number between two codes may fall to either, seldom.
void expect_as_the_reference(const CodedRun& run, const CodedRun& expected, const std::string& where) {
  int others = 0;
  for (std::size_t i = 0; i < run.parameter.size(); ++i) {
    const int first = int{run.first_codes[i]} - int{expected.first_codes[i]};
    const int second = int{run.second_codes[i]} - int{expected.second_codes[i]};
    EXPECT_LE(std::abs(second), 1) << where << " " << i;
    // Where r is kept otherwise so is m / r, which may be some codes away.
    if (second == 0) {
      EXPECT_LE(std::abs(first), 1) << where << " " << i;
    }
    others += (first != 0 ? 1 : 0) + (second != 0 ? 1 : 0);
    // Updates of 1e-3 times at most 10.
    EXPECT_NEAR(run.parameter[i], expected.parameter[i], fp32_error(3, 0.1) + fp32_error(12, 0.01)) << where << " " << i;
  }
  EXPECT_LE(others, 4 + std::ssize(run.parameter) / 250) << where;
  for (std::size_t block = 0; block < run.first_scales.size(); ++block) {
    EXPECT_NEAR(run.second_scales[block] / expected.second_scales[block], 1, 1e-6) << where;
  }
}

TEST(AdamW8Bit, IsTheReferenceInWhatItKeepsAndWhereItGoes) {
  for (const std::int64_t elements : {1, 255, 256, 257, 8500}) {
    for (const auto& variant : operation<AdamW8BitArguments>().variants) {
      const auto run_steps = [&](const std::string& instructions) {
        CodedRun run(elements);
        TestRandom random(7);
        for (int step = 1; step <= 3; ++step) {
          for (float& value : run.gradient) value = static_cast<float>(std::exp(2 * random.normal()) * random.normal());
          CodedRun expected = run;
          const AdamWStep scalars = adamw_step(step, 1e-3, 0.9, 0.999, 1e-8, 0.1);
          if (!step_in_every_way(variant, run, scalars)) return;
          launch_coded(reference_variant<AdamW8BitArguments>(), expected, scalars);
          expect_as_the_reference(run, expected,
                                  concatenate(variant.name, " ", instructions, " ", elements, " step ", step));
        }
      };
      if (variant.name == std::string_view("cpu")) {
        for_each_instruction_set(run_steps);
      } else {
        run_steps("");
      }
    }
  }
}

// The gradients' sizes within a block are lognormal, sigma 2: there a second moment that is kept itself, in the same codes,
// makes updates of several thousand (bitsandbytes, by the same arithmetic), and ones of at most 3 are right. Blocks of 256,
// 60 steps, beta 0.9 and 0.999.
TEST(AdamW8Bit, UpdatesStayNearTheExactOnesUnderLognormalGradients) {
  constexpr std::int64_t kElements = 16384;
  CodedRun coded(kElements);
  std::vector<float> exact(kElements);
  std::vector<float> gradient(kElements);
  std::vector<float> first(kElements);
  std::vector<float> second(kElements);
  std::vector<double> sizes(kElements);
  TestRandom random(3);
  for (double& size : sizes) size = std::exp(2 * random.normal());
  double largest = 0;
  double largest_exact = 0;
  double square_of_error = 0;
  double square_of_exact = 0;
  for (int step = 1; step <= 60; ++step) {
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      gradient[i] = coded.gradient[i] = static_cast<float>(sizes[i] * random.normal());
    }
    std::fill(exact.begin(), exact.end(), 0.0f);  // so that they hold the update alone
    std::fill(coded.parameter.begin(), coded.parameter.end(), 0.0f);
    const AdamWStep scalars = adamw_step(step, 1, 0.9, 0.999, 1e-8, 0);
    adamw_8bit(Context{}, coded.arguments(scalars));
    AdamWArguments arguments;
    arguments.count = kElements, arguments.step = scalars;
    arguments.parameter = exact.data(), arguments.gradient = gradient.data();
    arguments.first_moment = first.data(), arguments.second_moment = second.data();
    adamw(Context{}, arguments);
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      const auto right = static_cast<double>(exact[i]);
      const auto ours = static_cast<double>(coded.parameter[i]);
      largest = std::max(largest, std::fabs(ours));
      largest_exact = std::max(largest_exact, std::fabs(right));
      if (step == 60) square_of_error += (ours - right) * (ours - right), square_of_exact += right * right;
    }
  }
  EXPECT_LE(largest, 2 * largest_exact) << largest_exact;
  EXPECT_GT(largest_exact, 1) << "the test shows nothing";
  // 0.13 by the same arithmetic in double; 0.20 where m itself is coded.
  EXPECT_LT(std::sqrt(square_of_error / square_of_exact), 0.16);
}

// An element 1e-9 of its block's largest is below half of the first code, and yet kept by it; only what is zero is zero.
TEST(AdamW8Bit, ASecondMomentAboveZeroIsNeverKeptAsZero) {
  for (const auto& variant : operation<AdamW8BitArguments>().variants) {
    CodedRun run(300);
    run.gradient[0] = 1;
    run.gradient[1] = run.gradient[299] = 1e-9f;
    run.gradient[260] = -1;
    if (!launch_coded(variant, run, adamw_step(1, 1e-2, 0.9, 0.999, 1e-8, 0))) return;
    for (const std::size_t i : {1, 299}) {
      EXPECT_EQ(run.second_codes[i], 1) << variant.name << " " << i;
      EXPECT_GT(run.first_codes[i], 127) << variant.name << " " << i;
    }
    EXPECT_EQ(run.second_codes[2], 0) << variant.name;
    EXPECT_EQ(run.second_codes[260], 255) << variant.name;
    EXPECT_LT(run.first_codes[260], 127) << variant.name;
  }
}

// Where neither moment nor gradient is, nothing moves: a row that was never touched.
TEST(AdamW8Bit, WhatNoGradientReachedStaysWhereItIs) {
  for (const auto& variant : operation<AdamW8BitArguments>().variants) {
    CodedRun run(300);
    std::fill(run.parameter.begin(), run.parameter.end(), 0.5f);
    run.gradient[0] = 1;
    for (int step = 1; step <= 2; ++step) {
      if (!launch_coded(variant, run, adamw_step(step, 1e-2, 0.9, 0.999, 1e-8, 0))) return;
    }
    EXPECT_NE(run.parameter[0], 0.5f);
    for (std::size_t i = 1; i < 300; ++i) EXPECT_EQ(run.parameter[i], 0.5f) << variant.name << " " << i;
  }
}

}  // namespace
}  // namespace koine::testing
