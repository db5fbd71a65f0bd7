#include "kernels/random/random.h"

#include <cmath>
#include <set>

#include "kernels/random/dropout_mask.h"
#include "tests/kernels/suite.h"

namespace koine {
namespace {

// tests/kat_vectors of the authors' Random123, the lines "philox4x32 10".
TEST(Philox, AuthorsKnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(philox({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

Dropout some_dropout(float rate) {
  Dropout dropout;
  dropout.rate = rate;
  dropout.seed = 17;
  dropout.step = 1234;
  dropout.site = 5;
  return dropout;
}

// The share kept of n independent draws has standard deviation sqrt(p (1 - p) / n); five of them are allowed.
TEST(DropoutMask, KeepsTheStatedShare) {
  for (const float rate : {0.1f, 0.5f, 0.01f}) {
    const Dropout dropout = some_dropout(rate);
    std::int64_t hidden = 0;
    std::int64_t attention = 0;
    constexpr std::uint32_t kSide = 512;
    for (std::uint32_t row = 0; row < kSide; ++row) {
      for (std::uint32_t column = 0; column < kSide; ++column) {
        hidden += keeps_hidden(dropout, 3, row, column);
        attention += keeps_attention(dropout, 3, 2, row, column);
      }
    }
    const double n = static_cast<double>(kSide) * kSide;
    const double keep = 1 - dropout.threshold() / 65536.0;
    const double deviation = std::sqrt(keep * (1 - keep) / n);
    EXPECT_NEAR(static_cast<double>(hidden) / n, keep, 5 * deviation);
    EXPECT_NEAR(static_cast<double>(attention) / n, keep, 5 * deviation);
    EXPECT_NEAR(dropout.scale() * keep, 1, 1e-7);  // what is kept makes up for what is dropped, to one fp32 rounding
  }
}

// Every part of an element's name matters: changing one leaves about the share of agreements that chance gives (keep^2 +
// drop^2 = 0.5 at rate 0.5; 4096 elements, five standard deviations = 0.04).
TEST(DropoutMask, EveryPartOfTheNameMatters) {
  const Dropout base = some_dropout(0.5f);
  Dropout other_seed = base;
  Dropout other_step = base;
  Dropout other_site = base;
  ++other_seed.seed;
  ++other_step.step;
  ++other_site.site;
  std::int64_t agreements[8] = {};
  for (std::uint32_t row = 0; row < 64; ++row) {
    for (std::uint32_t column = 0; column < 64; ++column) {
      const bool hidden = keeps_hidden(base, 7, row, column);
      const bool attention = keeps_attention(base, 7, 1, row, column);
      agreements[0] += hidden == keeps_hidden(other_seed, 7, row, column);
      agreements[1] += hidden == keeps_hidden(other_step, 7, row, column);
      agreements[2] += hidden == keeps_hidden(other_site, 7, row, column);
      agreements[3] += hidden == keeps_hidden(base, 8, row, column);
      agreements[4] += hidden == keeps_hidden(base, 7, row + 64, column);
      agreements[5] += hidden == keeps_hidden(base, 7, row, column + 64);
      agreements[6] += attention == keeps_attention(base, 7, 2, row, column);
      agreements[7] += attention == keeps_attention(base, 7, 1, row + 16, column);
    }
  }
  for (const std::int64_t count : agreements) EXPECT_NEAR(static_cast<double>(count) / 4096, 0.5, 0.04);
}

// Within an attention matrix no two elements share a draw: the map to (call, draw) is one to one.
TEST(DropoutMask, AttentionElementsHaveDrawsOfTheirOwn) {
  std::set<std::uint64_t> places;
  for (std::uint32_t row = 0; row < 48; ++row) {
    for (std::uint32_t column = 0; column < 48; ++column) {
      const std::uint32_t r = row % 16;
      const std::uint32_t c = column % 16;
      const std::uint64_t block = column / 16 * 4 + c % 8 / 2;
      const std::uint64_t line = row / 16 * 8 + r % 8;
      places.insert((block << 32 | line) * 8 + (r / 8 * 4 + c / 8 * 2 + c % 2));
    }
  }
  EXPECT_EQ(places.size(), 48u * 48u);
}

TEST(RandomStream, IsReproducibleAndStreamsDiffer) {
  RandomStream first(42, 1);
  RandomStream again(42, 1);
  RandomStream other_stream(42, 2);
  RandomStream other_seed(43, 1);
  int same_as_stream = 0;
  int same_as_seed = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::uint32_t word = first.next_uint32();
    EXPECT_EQ(word, again.next_uint32());
    same_as_stream += word == other_stream.next_uint32();
    same_as_seed += word == other_seed.next_uint32();
  }
  EXPECT_EQ(same_as_stream, 0);
  EXPECT_EQ(same_as_seed, 0);
  EXPECT_EQ(RandomStream(42, 1).next_uint32(), random_block(42, 1, 0)[0]);
}

TEST(RandomStream, MomentsAreRight) {
  RandomStream random(7, 0);
  constexpr int kCount = 100000;
  double uniform = 0;
  double normal = 0;
  double normal_squared = 0;
  std::vector<int> counts(7);
  for (int i = 0; i < kCount; ++i) {
    uniform += random.uniform();
    const double value = random.normal();
    normal += value;
    normal_squared += value * value;
    ++counts[static_cast<std::size_t>(random.below(7))];
  }
  // Five standard deviations of a mean of 100,000: uniform 0.29, normal 1, squared normal 1.41, counts sqrt(n p (1 - p)) =
  // 111.
  EXPECT_NEAR(uniform / kCount, 0.5, 5 * 0.29 / std::sqrt(kCount));
  EXPECT_NEAR(normal / kCount, 0, 5 / std::sqrt(kCount));
  EXPECT_NEAR(normal_squared / kCount, 1, 5 * 1.42 / std::sqrt(kCount));
  for (const int count : counts) EXPECT_NEAR(count, kCount / 7.0, 5 * 111);
  EXPECT_THROW(random.below(0), Error);
}

TEST(RandomStream, ShuffleMakesEveryOrder) {
  RandomStream random(1, 9);
  std::set<std::vector<int>> orders;
  for (int i = 0; i < 500; ++i) {
    std::vector<int> values = {1, 2, 3, 4};
    shuffle(values, random);
    orders.insert(values);
  }
  EXPECT_EQ(orders.size(), 24u);  // all 4! orders; the chance to miss one in 500 is 24 (23/24)^500 < 2e-8
}

TEST(FillNormal, DependsOnPlaceAloneAndHasTheMoments) {
  std::vector<float> whole(50001);
  fill_normal(whole.data(), 50001, 0.5, 0.02, 3, 8);
  testing::for_each_thread_count([&](int) {
    std::vector<float> again(50001);
    fill_normal(again.data(), 50001, 0.5, 0.02, 3, 8);
    EXPECT_EQ(whole, again);
  });
  std::vector<float> shorter(1003);
  fill_normal(shorter.data(), 1003, 0.5, 0.02, 3, 8);
  EXPECT_TRUE(std::equal(shorter.begin(), shorter.end(), whole.begin()));
  double sum = 0;
  double squares = 0;
  for (const float value : whole) {
    sum += static_cast<double>(value) - 0.5;
    squares += std::pow(static_cast<double>(value) - 0.5, 2);
  }
  const double n = 50001;
  EXPECT_NEAR(sum / n, 0, 5 * 0.02 / std::sqrt(n));
  EXPECT_NEAR(squares / n / 0.0004, 1, 5 * 1.42 / std::sqrt(n));
}

}  // namespace
}  // namespace koine
