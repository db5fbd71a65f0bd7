// The vector functions against the C library in double, on every instruction set, and bit for bit where they promise it.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/kernels/vector_test.cpp"
#include "kernels/common/vector_targets.h"
#include "kernels/common/vector-inl.h"
#include "kernels/random/dropout_mask-inl.h"
// clang-format on

#include <cmath>
#include <limits>
#include <vector>

#include "tests/kernels/suite.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace {

void apply(int function, const float* input, float* output, std::int64_t count) {
  const hn::ScalableTag<float> d;
  for_lanes(d, count, [&](std::int64_t i, auto lanes) KOINE_LANES {
    const auto x = lanes.load(d, input + i);
    auto y = x;
    switch (function) {
      case 0:
        y = exp(d, x);
        break;
      case 1:
        y = erf(d, x);
        break;
      case 2:
        y = tanh(d, x);
        break;
      case 3:
        y = gelu_erf(d, x);
        break;
      case 4:
        y = gelu_erf_gradient(d, x);
        break;
      case 5:
        y = gelu_tanh(d, x);
        break;
      case 6:
        y = gelu_tanh_gradient(d, x);
        break;
    }
    lanes.store(d, y, output + i);
  });
}

void to_bf16(const float* input, BFloat16* output, std::int64_t count) {
  const hn::ScalableTag<float> d;
  for_lanes(d, count, [&](std::int64_t i, auto lanes) KOINE_LANES { lanes.store(d, lanes.load(d, input + i), output + i); });
}
void from_bf16(const BFloat16* input, float* output, std::int64_t count) {
  const hn::ScalableTag<float> d;
  for_lanes(d, count, [&](std::int64_t i, auto lanes) KOINE_LANES { lanes.store(d, lanes.load(d, input + i), output + i); });
}
float sum(const float* input, std::int64_t count) {
  const hn::ScalableTag<float> d;
  hn::Vec<decltype(d)> slots[kSlots] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  for_lanes_in_slots(d, count, [&](std::int64_t i, auto lanes, auto slot) KOINE_LANES {
    slots[slot] = hn::Add(slots[slot], lanes.load(d, input + i));
  });
  return sum_slots(d, slots);
}
void hidden_multipliers(const Dropout& dropout, std::uint32_t example, std::uint32_t position, std::int64_t column,
                        std::int64_t count, float* multipliers) {
  const hn::ScalableTag<float> d;
  std::vector<std::uint16_t> draws(static_cast<std::size_t>(count + kDrawPadding));
  fill_hidden_draws(dropout, example, position, column, count, draws.data());
  for_lanes(d, count, [&](std::int64_t i, auto lanes) KOINE_LANES {
    lanes.store(d, keep_multiplier(d, draws.data() + i, dropout.threshold(), dropout.scale()), multipliers + i);
  });
}
void attention_draws(const Dropout& dropout, std::uint32_t example, std::uint32_t head, std::int64_t row, std::int64_t rows,
                     std::int64_t column, std::int64_t columns, std::uint16_t* draws, std::int64_t stride) {
  fill_attention_draws(dropout, example, head, row, rows, column, columns, draws, stride);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace koine {
namespace {

HWY_EXPORT(apply);
HWY_EXPORT(to_bf16);
HWY_EXPORT(from_bf16);
HWY_EXPORT(sum);
HWY_EXPORT(hidden_multipliers);
HWY_EXPORT(attention_draws);

constexpr double kPi = 3.14159265358979323846;

double gate(double x) { return 1 / (1 + std::exp(-2 * std::sqrt(2 / kPi) * (x + 0.044715 * x * x * x))); }
double normal_distribution(double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; }

double expected(int function, double x) {
  switch (function) {
    case 0:
      return std::exp(x);
    case 1:
      return std::erf(x);
    case 2:
      return std::tanh(x);
    case 3:
      return x * normal_distribution(x);
    case 4:
      return normal_distribution(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * kPi);
    case 5:
      return x * gate(x);
    default:
      return gate(x) + x * gate(x) * (1 - gate(x)) * 2 * std::sqrt(2 / kPi) * (1 + 3 * 0.044715 * x * x);
  }
}

// Inputs over [-bound, bound], half of them evenly, half of them by magnitude down to 1e-8.
std::vector<float> inputs(double bound) {
  std::vector<float> values;
  for (int i = -20000; i <= 20000; ++i) {
    values.push_back(static_cast<float>(bound * i / 20000));
    values.push_back(static_cast<float>(std::copysign(bound * std::pow(10.0, -8.0 * std::abs(i) / 20000), i)));
  }
  return values;
}

struct Bound {
  int function;
  const char* name;
  double range;
  double absolute;  // accepted where either holds
  double relative;
};

TEST(Vector, FunctionsKeepTheirErrorBounds) {
  const double inf = std::numeric_limits<double>::infinity();
  const Bound bounds[] = {
      {0, "exp", 87.3, 0, 1.2e-7},
      {1, "erf", 10, 0, 2e-7},
      {1, "erf", 10, 1.5e-7, inf},
      {2, "tanh", 100, 0, 3e-7},
      // Beyond three standard deviations the rounding of x^2 / 2 enters the exponential: relative error x^2 / 2 * 2^-24.
      {3, "gelu_erf", 3, 0, 6e-7},
      {3, "gelu_erf", 12, 1e-7, 3e-7},
      {4, "gelu_erf_gradient", 12, 3e-7, inf},
      {5, "gelu_tanh", 3, 0, 1e-6},
      {5, "gelu_tanh", 10, 2e-7, 3e-7},
      {6, "gelu_tanh_gradient", 12, 4e-7, inf},
  };
  testing::for_each_instruction_set([&](const std::string& instructions) {
    for (const Bound& bound : bounds) {
      const std::vector<float> x = inputs(bound.range);
      std::vector<float> y(x.size());
      HWY_DYNAMIC_DISPATCH(apply)(bound.function, x.data(), y.data(), static_cast<std::int64_t>(x.size()));
      double worst = 0;
      float place = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double truth = expected(bound.function, static_cast<double>(x[i]));
        const double error = std::fabs(static_cast<double>(y[i]) - truth);
        const double allowed = bound.relative == inf ? bound.absolute : bound.absolute + bound.relative * std::fabs(truth);
        if (!(error - allowed <= worst)) {
          worst = error - allowed;
          place = x[i];
        }
      }
      EXPECT_EQ(worst, 0) << instructions << " " << bound.name << " at " << place;
    }
  });
}

TEST(Vector, SpecialValues) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> x = {inf, -inf, nan, 0.0f, -200.0f, 200.0f};
  testing::for_each_instruction_set([&](const std::string& instructions) {
    const auto at = [&](int function) {
      std::vector<float> y(x.size());
      HWY_DYNAMIC_DISPATCH(apply)(function, x.data(), y.data(), static_cast<std::int64_t>(x.size()));
      return y;
    };
    const std::vector<float> exps = at(0);
    EXPECT_EQ(exps[0], inf) << instructions;
    EXPECT_EQ(exps[1], 0.0f);
    EXPECT_EQ(exps[3], 1.0f);
    EXPECT_EQ(exps[4], 0.0f);
    EXPECT_EQ(exps[5], inf);
    for (const int function : {1, 2}) {
      EXPECT_EQ(at(function)[0], 1.0f) << instructions;
      EXPECT_EQ(at(function)[1], -1.0f);
      EXPECT_EQ(at(function)[3], 0.0f);
    }
    for (const int function : {3, 5}) {
      EXPECT_EQ(at(function)[3], 0.0f);
      EXPECT_NEAR(at(function)[4], 0.0f, 1e-30f) << instructions;
      EXPECT_EQ(at(function)[5], 200.0f);
    }
    for (const int function : {4, 6}) {
      EXPECT_EQ(at(function)[3], 0.5f);
      EXPECT_NEAR(at(function)[4], 0.0f, 1e-28f) << instructions;
      EXPECT_EQ(at(function)[5], 1.0f);
    }
    for (int function = 0; function <= 6; ++function) EXPECT_TRUE(std::isnan(at(function)[2])) << instructions << function;
  });
}

// Every upper half of an fp32 with lower halves around the ties; NaNs, infinities, denormals and both zeros among them.
TEST(Vector, BFloat16RoundsAsTheScalarFunction) {
  std::vector<float> x;
  for (std::uint32_t upper = 0; upper < 65536; ++upper) {
    for (const std::uint32_t lower : {0x0000u, 0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      const std::uint32_t bits = upper << 16 | lower;
      float value;
      std::memcpy(&value, &bits, sizeof value);
      x.push_back(value);
    }
  }
  x.pop_back();  // an end that is no whole vector
  const auto count = static_cast<std::int64_t>(x.size());
  testing::for_each_instruction_set([&](const std::string& instructions) {
    std::vector<BFloat16> y(x.size());
    HWY_DYNAMIC_DISPATCH(to_bf16)(x.data(), y.data(), count);
    std::vector<float> back(x.size());
    HWY_DYNAMIC_DISPATCH(from_bf16)(y.data(), back.data(), count);
    std::int64_t differing = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float scalar = to_float(to_bfloat16(x[i]));
      differing += y[i].bits != to_bfloat16(x[i]).bits || std::memcmp(&back[i], &scalar, sizeof scalar) != 0;
    }
    EXPECT_EQ(differing, 0) << instructions;
  });
}

TEST(Vector, SumsCountEveryElementOnce) {
  testing::for_each_instruction_set([&](const std::string& instructions) {
    for (std::int64_t count = 0; count <= 150; ++count) {
      std::vector<float> x(static_cast<std::size_t>(count));
      for (std::int64_t i = 0; i < count; ++i) x[static_cast<std::size_t>(i)] = static_cast<float>(i + 1);
      EXPECT_EQ(HWY_DYNAMIC_DISPATCH(sum)(x.data(), count), static_cast<float>(count * (count + 1) / 2)) << instructions;
    }
  });
}

TEST(Vector, HiddenMasksAreTheScalarOnes) {
  Dropout dropout;
  dropout.rate = 0.3f;
  dropout.seed = 99;
  dropout.step = 31;
  dropout.site = 65535;
  testing::for_each_instruction_set([&](const std::string& instructions) {
    for (const std::int64_t count : {1, 7, 8, 64, 65, 768, 1000}) {
      for (const std::int64_t column : {0, 8, 1024}) {
        std::vector<float> multipliers(static_cast<std::size_t>(count));
        HWY_DYNAMIC_DISPATCH(hidden_multipliers)(dropout, 4000000000u, 511, column, count, multipliers.data());
        for (std::int64_t i = 0; i < count; ++i) {
          const bool kept = keeps_hidden(dropout, 4000000000u, 511, static_cast<std::uint32_t>(column + i));
          ASSERT_EQ(multipliers[static_cast<std::size_t>(i)], kept ? dropout.scale() : 0.0f)
              << instructions << " column " << column + i;
        }
      }
    }
  });
}

TEST(Vector, AttentionMasksAreTheScalarOnes) {
  Dropout dropout;
  dropout.rate = 0.1f;
  dropout.seed = 1;
  dropout.step = 2;
  dropout.site = 3;
  testing::for_each_instruction_set([&](const std::string& instructions) {
    for (const std::int64_t columns : {1, 16, 33, 100}) {
      constexpr std::int64_t kRows = 20;
      const std::int64_t stride = (columns + 15) / 16 * 16;
      std::vector<std::uint16_t> draws(static_cast<std::size_t>(32 * stride));
      HWY_DYNAMIC_DISPATCH(attention_draws)(dropout, 12, 7, 48, kRows, 32, columns, draws.data(), stride);
      for (std::int64_t i = 0; i < 32; ++i) {
        for (std::int64_t j = 0; j < stride; ++j) {
          const bool kept = draws[static_cast<std::size_t>(i * stride + j)] >= dropout.threshold();
          ASSERT_EQ(kept,
                    keeps_attention(dropout, 12, 7, static_cast<std::uint32_t>(48 + i), static_cast<std::uint32_t>(32 + j)))
              << instructions << " row " << 48 + i << " column " << 32 + j;
        }
      }
    }
  });
}

}  // namespace
}  // namespace koine
#endif
