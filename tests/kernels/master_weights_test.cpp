// Weights kept in bf16, with a remainder or none: what they stand for, how they are rounded, and that an update of them is the
// update of fp32 weights.

#include "kernels/optimizer/master_weights.h"

#include <cmath>
#include <set>

#include "kernels/optimizer/adamw_8bit_cases.h"
#include "kernels/optimizer/adamw_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

std::uint32_t bits_of(float value) { return __builtin_bit_cast(std::uint32_t, value); }
float float_of(std::uint32_t bits) { return __builtin_bit_cast(float, bits); }

/// Lower halves around where rounding turns.
constexpr std::uint32_t kLowerHalves[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};

// Every upper half there is: all exponents, denormals, both zeros, infinities, NaNs; carries into the exponent.
TEST(MasterWeights, ARemainderKeepsEveryBit) {
  std::int64_t ties = 0;
  for (std::uint32_t upper = 0; upper < 0x10000; ++upper) {
    for (const std::uint32_t lower : kLowerHalves) {
      const float value = float_of(upper << 16 | lower);
      const SplitFloat split = split_float(value);
      const float joined = join_float(split.weight, split.remainder);
      if (std::isnan(value)) {
        ASSERT_EQ(bits_of(joined), bits_of(value) | 0x400000u) << "quiet, and else the same";
        ASSERT_TRUE(std::isnan(to_float(split.weight)));
        continue;
      }
      ASSERT_EQ(bits_of(joined), bits_of(value));
      // The nearest bf16: of two as near the one farther from zero.
      const BFloat16 nearest = to_bfloat16(value);
      const bool other = lower == 0x8000 && upper % 2 == 0;
      ties += other ? 1 : 0;
      ASSERT_EQ(split.weight.bits, nearest.bits + (other ? 1 : 0)) << std::hex << bits_of(value);
    }
  }
  EXPECT_EQ(ties, 0x7f80) << "half of all numbers that lie in the middle";
  TestRandom random(1);
  for (int i = 0; i < 1000000; ++i) {
    const auto bits = static_cast<std::uint32_t>(random.below(std::int64_t{1} << 32));
    const SplitFloat split = split_float(float_of(bits));
    const std::uint32_t expected = std::isnan(float_of(bits)) ? bits | 0x400000u : bits;
    ASSERT_EQ(bits_of(join_float(split.weight, split.remainder)), expected);
  }
}

// Of all 65,536 draws, which are as likely, as many round away from zero as the lower half says.
TEST(MasterWeights, RoundingAtRandomHasTheExactProbability) {
  for (const std::uint32_t upper : {0x0000u, 0x0001u, 0x007fu, 0x3f7fu, 0x3f80u, 0x7f7eu, 0x8000u, 0xbf80u, 0xff7eu}) {
    for (const std::uint32_t lower : {0u, 1u, 0x1234u, 0x7fffu, 0x8000u, 0xfffeu, 0xffffu}) {
      std::uint32_t away = 0;
      for (std::uint32_t draw = 0; draw < 0x10000; ++draw) {
        const std::uint32_t bits = round_at_random(float_of(upper << 16 | lower), draw).bits;
        ASSERT_TRUE(bits == upper || bits == upper + 1);
        away += bits - upper;
      }
      EXPECT_EQ(away, lower) << std::hex << upper;
    }
  }
}

TEST(MasterWeights, RoundingAtRandomMakesNoInfinity) {
  for (const std::uint32_t sign : {0u, 0x8000u}) {
    for (const std::uint32_t lower : kLowerHalves) {
      for (const std::uint32_t draw : {0u, 0x8000u, 0xffffu}) {
        const auto rounded = [&](std::uint32_t upper) {
          return std::uint32_t{round_at_random(float_of((sign | upper) << 16 | lower), draw).bits};
        };
        EXPECT_EQ(rounded(0x7f7f), sign | 0x7f7f) << "the largest bf16, and what lies above it";
        EXPECT_LE(rounded(0x7f7e) & 0x7fff, 0x7f7fu);
        if (lower == 0) {
          EXPECT_EQ(rounded(0x7f80), sign | 0x7f80) << "infinity is infinity";
        } else {
          EXPECT_TRUE(std::isnan(to_float(BFloat16{static_cast<std::uint16_t>(rounded(0x7f80))})));
        }
        EXPECT_TRUE(std::isnan(to_float(BFloat16{static_cast<std::uint16_t>(rounded(0x7fff))})));
      }
    }
  }
}

// A block is named by all of seed, step and place, the upper word of the place too.
TEST(MasterWeights, DrawsAreOfSeedStepAndElement) {
  std::set<PhiloxCounter> blocks;
  for (const std::uint32_t seed : {1u, 2u}) {
    for (const std::int64_t step : {1, 2, 1000000}) {
      for (const std::int64_t block : {std::int64_t{0}, std::int64_t{1}, std::int64_t{1} << 32})
        blocks.insert(rounding_block(seed, step, block));
    }
  }
  EXPECT_EQ(blocks.size(), 18u);
  double sum = 0;
  for (std::int64_t element = 0; element < 80000; ++element)
    sum += philox_draw(rounding_block(7, 3, element / 8), static_cast<int>(element % 8));
  EXPECT_NEAR(sum / 80000, 32767.5, 4 * 18918 / std::sqrt(80000.0)) << "four standard deviations of the mean";
}

// --- updates --------------------------------------------------------------------------------------------------------------

constexpr std::int64_t kElements = 9500;
constexpr std::int64_t kApartBegin = 8300;  ///< elements whose weights lie apart
constexpr std::int64_t kApartCount = 300;
constexpr std::int64_t kStep = 7;

/// Everything an update reads and writes: two tensors, one of each group, and between them one whose weights lie apart.
struct WeightsRun {
  explicit WeightsRun(MasterKind master) : kind(master) {
    TestRandom random(5);
    for (std::size_t i = 0; i < parameter.size(); ++i) {
      parameter[i] = static_cast<float>(0.02 * random.normal());
      gradient[i] = static_cast<float>(random.normal());
      first[i] = static_cast<float>(0.1 * random.normal());
      second[i] = static_cast<float>(0.01 * random.uniform());
      first_codes[i] = static_cast<std::uint8_t>(random.below(256));
      second_codes[i] = static_cast<std::uint8_t>(200 + random.below(56));
    }
    // In the middle between two bf16, at the end of a binade, denormal, zeros, the largest, infinite, no number.
    const std::uint32_t special[] = {0x3c008000u, 0x3c018000u, 0x3c7fffffu, 0x00000001u, 0x80000000u,
                                     0x00000000u, 0x7f7fffffu, 0xff800000u, 0x7fffffffu, 0xbf7f8000u};
    for (std::size_t i = 0; i < std::size(special); ++i) parameter[17 + i] = float_of(special[i]);
    if (kind == MasterKind::kNone) {
      for (float& value : parameter) value = to_float(to_bfloat16(value));
    }
    for (std::size_t i = 0; i < parameter.size(); ++i) {
      const SplitFloat split = split_float(parameter[i]);
      working[i] = kind == MasterKind::kNone ? to_bfloat16(parameter[i]) : split.weight;
      remainder[i] = split.remainder;
    }
    std::copy_n(parameter.begin() + kApartBegin, kApartCount, apart.begin() + 2);
  }

  template <class Arguments>
  void point(Arguments& a) {
    a.elements = kElements - 3;
    if (kind == MasterKind::kFloat32) a.parameter = parameter.data();
    a.gradient = gradient.data();
    a.first_moment = first.data();
    a.second_moment = second.data();
    if (kind != MasterKind::kFloat32) a.working = working.data();
    a.master.kind = kind;
    if (kind != MasterKind::kFloat32) a.master.apart = apart.data();
    if (kind == MasterKind::kRemainder) a.master.remainder = remainder.data();
    a.master.seed = 11;
    if (kind == MasterKind::kNone) a.master.step = step.data();
    a.steps = scalars.data();
  }
  AdamWSegmentsArguments arguments(const AdamWSegmentsArguments*) {
    const std::int64_t place = kind == MasterKind::kFloat32 ? -1 : 2;
    segments = {{3, 1, kApartBegin - 3, 0, 1, -1},
                {kApartBegin, 1, kApartCount, 0, 0, place},
                {kApartBegin + kApartCount, 1, kElements - kApartBegin - kApartCount, 0, 1, -1}};
    AdamWSegmentsArguments a;
    a.segments = 3, a.pieces = number_pieces(segments), a.segment_list = segments.data();
    point(a);
    return a;
  }
  AdamW8BitArguments arguments(const AdamW8BitArguments*) {
    const std::int64_t place = kind == MasterKind::kFloat32 ? -1 : 2;
    tensors = {{3, kApartBegin - 3, 1, 0, 1, 0, -1},
               {kApartBegin, kApartCount, 0, kApartBegin, 0, 0, place},
               {kApartBegin + kApartCount, kElements - kApartBegin - kApartCount, 1, 8448, 1, 0, -1}};
    AdamW8BitArguments a;
    a.tensors = 3, a.pieces = number_coded_pieces(tensors), a.tensor_list = tensors.data();
    a.first_codes = first_codes.data(), a.second_codes = second_codes.data();
    a.first_scales = first_scales.data(), a.second_scales = second_scales.data();
    a.first_map = first_map.data(), a.second_map = second_map.data();
    point(a);
    return a;
  }
  std::vector<Region> regions() const {
    return {region_of(parameter),    region_of(gradient),      region_of(first),       region_of(second),
            region_of(working),      region_of(remainder),     region_of(apart),       region_of(segments),
            region_of(tensors),      region_of(scalars),       region_of(first_codes), region_of(second_codes),
            region_of(first_scales), region_of(second_scales), region_of(first_map),   region_of(second_map),
            region_of(step)};
  }
  /// The weights in fp32, wherever they lie.
  std::vector<float> weights() const {
    std::vector<float> values = parameter;
    if (kind == MasterKind::kFloat32) return values;
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = kind == MasterKind::kNone ? to_float(working[i]) : join_float(working[i], remainder[i]);
    std::copy_n(apart.begin() + 2, kApartCount, values.begin() + kApartBegin);
    return values;
  }
  static std::vector<float> map_of(bool with_signs) {
    const std::array<float, 256> map = dynamic_map(with_signs);
    return {map.begin(), map.end()};
  }

  MasterKind kind;
  std::vector<float> parameter = std::vector<float>(kElements);
  std::vector<float> gradient = parameter;
  std::vector<float> first = parameter;
  std::vector<float> second = parameter;
  std::vector<BFloat16> working = std::vector<BFloat16>(kElements);
  std::vector<std::uint16_t> remainder = std::vector<std::uint16_t>(kElements);
  std::vector<float> apart = std::vector<float>(kApartCount + 4, 0.5f);
  std::vector<std::uint8_t> first_codes = std::vector<std::uint8_t>(9984);
  std::vector<std::uint8_t> second_codes = first_codes;
  std::vector<float> first_scales = std::vector<float>(39, 0.3f);
  std::vector<float> second_scales = std::vector<float>(39, 0.1f);
  std::vector<float> first_map = map_of(true);
  std::vector<float> second_map = map_of(false);
  std::vector<FlatSegment> segments;
  std::vector<CodedTensor> tensors;
  std::vector<AdamWStep> scalars = {adamw_step(kStep, 1e-3, 0.9, 0.999, 1e-8, 0),
                                    adamw_step(kStep, 1e-3, 0.9, 0.999, 1e-8, 0.1)};
  std::vector<std::int64_t> step = {kStep};
};

template <class T>
bool same_bytes(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}
bool same_state(const WeightsRun& a, const WeightsRun& b) {
  return same_bytes(a.gradient, b.gradient) && same_bytes(a.first, b.first) && same_bytes(a.second, b.second) &&
         same_bytes(a.first_codes, b.first_codes) && same_bytes(a.second_codes, b.second_codes) &&
         same_bytes(a.first_scales, b.first_scales) && same_bytes(a.second_scales, b.second_scales);
}

/// The first place where numbers differ in a bit, NaNs but for their sign and payload; -1.
std::int64_t first_difference(const std::vector<float>& a, const std::vector<float>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (bits_of(a[i]) != bits_of(b[i]) && !(std::isnan(a[i]) && std::isnan(b[i]))) return static_cast<std::int64_t>(i);
  }
  return -1;
}

/// One update; false where there is no device.
template <class Arguments>
bool update(const Variant<Arguments>& variant, WeightsRun& run) {
  const Arguments arguments = run.arguments(static_cast<const Arguments*>(nullptr));
  operation<Arguments>().validate(arguments);
  if (variant.device == Device::kCpu) {
    variant.launch(Context{}, arguments, nullptr);
    return true;
  }
  if (cuda::device_count() == 0) return false;
  return launch_on_device(context_for(variant.device), variant, arguments, run.regions(), {}, nullptr);
}

/// An update of weights of this kind against the one of the same variant on fp32 weights, in every way to run it.
template <class Arguments>
void expect_the_update_of_fp32(const Variant<Arguments>& variant, MasterKind kind, const std::string& way) {
  WeightsRun expected(MasterKind::kFloat32);
  WeightsRun run(kind);
  expected.parameter = run.weights();
  const std::vector<float> before = expected.parameter;
  if (!update(variant, expected)) return;
  update(variant, run);
  const std::string where = concatenate(operation<Arguments>().name, ":", variant.name, " ", way);
  EXPECT_TRUE(same_state(run, expected)) << where;
  EXPECT_EQ(run.apart[1], 0.5f) << where;
  EXPECT_EQ(run.apart[kApartCount + 2], 0.5f) << where;
  if (kind == MasterKind::kNone) {
    int rounded_up = 0;
    for (std::int64_t i = 3; i < kElements; ++i) {
      float& value = expected.parameter[static_cast<std::size_t>(i)];
      if (i >= kApartBegin && i < kApartBegin + kApartCount) continue;
      const BFloat16 rounded =
          round_at_random(value, philox_draw(rounding_block(11, kStep, i / 8), static_cast<int>(i % 8)));
      rounded_up += std::fabs(to_float(rounded)) > std::fabs(value) ? 1 : 0;
      value = to_float(rounded);
    }
    EXPECT_GT(rounded_up, kElements / 3) << where;
  }
  EXPECT_EQ(first_difference(run.weights(), expected.parameter), -1) << where;
  EXPECT_NE(first_difference(run.weights(), before), -1) << where << ": nothing was updated";
  EXPECT_EQ(first_difference(std::vector<float>(before.begin(), before.begin() + 3), run.weights()), -1);
}

template <class Arguments>
class MasterUpdates : public ::testing::Test {};
using UpdateTypes = ::testing::Types<AdamWSegmentsArguments, AdamW8BitArguments>;
TYPED_TEST_SUITE(MasterUpdates, UpdateTypes);

TYPED_TEST(MasterUpdates, AreThoseOfFp32Weights) {
  for (const MasterKind kind : {MasterKind::kRemainder, MasterKind::kNone}) {
    for (const auto& variant : operation<TypeParam>().variants) {
      const auto expect = [&](const std::string& way) { expect_the_update_of_fp32(variant, kind, way); };
      if (variant.device == Device::kCuda) {
        for_each_schedule(expect);
      } else if (variant.name == kReference) {
        expect("");
      } else {
        for_each_instruction_set([&](const std::string& instructions) {
          for_each_thread_count([&](int threads) { expect(concatenate(instructions, ", ", threads, " threads")); });
        });
      }
    }
  }
}

// A norm that is not finite changes no half of a weight.
TYPED_TEST(MasterUpdates, ChangeNothingWhereTheFactorIsZero) {
  for (const auto& variant : operation<TypeParam>().variants) {
    WeightsRun run(MasterKind::kRemainder);
    const WeightsRun before = run;
    std::vector<float> factor = {0.0f};
    TypeParam arguments = run.arguments(static_cast<const TypeParam*>(nullptr));
    arguments.gradient_factor = factor.data();
    if (variant.device == Device::kCpu) {
      variant.launch(Context{}, arguments, nullptr);
    } else if (cuda::device_count() > 0) {
      std::vector<Region> regions = run.regions();
      regions.push_back(region_of(factor));
      launch_on_device(context_for(variant.device), variant, arguments, regions, {}, nullptr);
    }
    EXPECT_TRUE(same_state(run, before)) << variant.name;
    EXPECT_TRUE(same_bytes(run.weights(), before.weights())) << variant.name;
  }
}

}  // namespace
}  // namespace koine::testing
