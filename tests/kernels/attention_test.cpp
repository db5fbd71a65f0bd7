#include <cstdlib>
#include <numeric>
#include <utility>

#include "kernels/attention/attention_cases.h"
#include "tests/kernels/suite.h"

namespace koine::testing {
namespace {

using Lengths = std::vector<std::int64_t>;

using Batch = AttentionBatch;

// An element passes through one FMA chain over the head's columns (its score) and one over positions; the error of each step
// is at most one rounding of the partial sum, of either sign, so that they add up as the root of their number. Six standard
// deviations over the tens of thousands of elements a case compares, at partial sums of the size of the largest result.
double chain_error(std::int64_t steps, const std::vector<double>& results) {
  double largest = 0;
  for (const double result : results) {
    if (std::isfinite(result)) largest = std::max(largest, std::fabs(result));
  }
  return fp32_error(6 * std::sqrt(static_cast<double>(steps)), largest);
}
double chain_error(const AttentionShape& shape, const std::vector<double>& results) {
  return chain_error(shape.head_size + std::max(shape.queries.maximum_length, shape.keys.maximum_length), results);
}

Case<AttentionForwardArguments> forward_case(const std::string& name, const Batch& batch, std::vector<double> qkv) {
  Case<AttentionForwardArguments> test_case = attention_forward_case(batch, std::move(qkv));
  test_case.name = name;
  const Outcome truth = reference_in_double(test_case);
  test_case.operands[1].accumulation = chain_error(batch.shape, truth.values(1));
  test_case.operands[2].accumulation = chain_error(batch.shape, truth.values(2));
  return test_case;
}

Case<AttentionBackwardArguments> backward_case(const Batch& batch, const Case<AttentionForwardArguments>& forward) {
  const Outcome outcome = reference_in_double(forward);
  Case<AttentionBackwardArguments> test_case =
      attention_backward_case(batch, forward.operands[0].values, outcome.values(1), outcome.values(2));
  test_case.name = forward.name;
  const Outcome truth = reference_in_double(test_case);
  test_case.operands[4].accumulation = chain_error(batch.shape, truth.values(4));
  if (!batch.relative_bias.empty()) {
    // Chains over the pairs of all sequences.
    const std::int64_t pairs = batch.shape.queries.tokens * batch.shape.keys.maximum_length;
    test_case.operands[6].accumulation = chain_error(batch.shape.head_size + pairs, truth.values(6));
  }
  return test_case;
}

// The operands are bf16 numbers in either type, so that log_sum_exp, which stays fp32, belongs to what the backward reads.
// `large`: as in Case.
void check_both(const std::string& name, const Batch& batch, bool large = false,
                const std::vector<DType>& types = {DType::kFloat32, DType::kBFloat16}) {
  std::vector<double> qkv = random_values(batch.qkv_count());
  for (double& value : qkv) value = round_to(DType::kBFloat16, value);
  Case<AttentionForwardArguments> forward = forward_case(name, batch, std::move(qkv));
  Case<AttentionBackwardArguments> backward = backward_case(batch, forward);
  forward.large = backward.large = large;
  forward.types = backward.types = types;
  check_variants(forward);
  check_variants(backward);
}

TEST(Attention, OneToken) { check_both("one token", Batch({1}, 2, 64)); }
TEST(Attention, NothingAtAll) { check_both("no tokens", Batch({0, 0}, 2, 64)); }
TEST(Attention, MixedLengthsAndEmptySequences) {
  check_both("mixed", Batch({0, 45, 0, 7, 64, 1, 20, 0}, 2, 64));
  check_both("mixed, dropout", Batch({0, 45, 0, 7, 64, 1, 20, 0}, 2, 64, 0.1f));
}
TEST(Attention, LengthsAroundBlocks) { check_both("leaving 64 over", Batch({15, 16, 17, 65, 127, 129, 192}, 1, 16, 0.1f)); }
TEST(Attention, HeadSizes) {
  check_both("head size 80", Batch({33, 5}, 2, 80, 0.1f));
  check_both("head size 96", Batch({18, 3}, 2, 96, 0.2f));
  check_both("head size 128", Batch({17, 40}, 2, 128, 0.3f));
  check_both("head size 136", Batch({6, 35}, 1, 136, 0.1f));
  check_both("head size 24", Batch({19, 3}, 2, 24));
  check_both("head size 7", Batch({21, 4}, 3, 7, 0.5f));
  check_both("head size 1", Batch({9}, 2, 1));
}
// Sequences of more than one tile in every width the tensor-core kernels are made for.
TEST(Attention, HeadSizesInSeveralTiles) {
  for (const std::int64_t head_size : {64, 80, 96, 128}) {
    check_both("two tiles of " + std::to_string(head_size), Batch({70}, 1, head_size, 0.1f), false, {DType::kBFloat16});
  }
}

#if !defined(KOINE_HAVE_CUDA)
std::int64_t launches_of(const std::string& kernel) {
  std::int64_t launches = 0;
  for (const cuda::host::KernelCount& count : cuda::host::kernel_counts()) {
    if (count.kernel == kernel) launches = count.launches;
  }
  return launches;
}
// A long sequence in the batch is no reason for short ones to be taken to pieces.
TEST(Attention, BackwardTakesShortSequencesWholeBesideLongOnes) {
  for (const bool two_sides : {false, true}) {
    const std::int64_t before = launches_of("attention_backward_whole");
    const std::int64_t pieces = launches_of("attention_backward_key");
    if (two_sides) {
      check_both("short and long, two sides", Batch({3, 70, 64, 9}, {64, 5, 64, 70}, 1, 16, 0.1f), false,
                 {DType::kBFloat16});
    } else {
      check_both("short and long", Batch({3, 70, 64}, 1, 16, 0.1f), false, {DType::kBFloat16});
    }
    EXPECT_GT(launches_of("attention_backward_whole"), before);
    EXPECT_GT(launches_of("attention_backward_key"), pieces);
  }
}
#endif

// Every score is about -256, its exponential 0 in fp32, and that of minus log_sum_exp infinite: rows and keys that are not
// there, whose scores are 0, must not enter. In bf16, whose rounding hides that of such scores.
TEST(Attention, ScoresFarBelowZero) {
  for (const std::int64_t length : {37, 83}) {
    const Batch batch({length}, 1, 16);
    std::vector<double> qkv = random_values(batch.qkv_count(), 3, 0.25);
    for (std::int64_t token = 0; token < length; ++token) {
      for (std::int64_t c = 0; c < 16; ++c) {
        qkv[static_cast<std::size_t>(token * 48 + c)] = -8;
        qkv[static_cast<std::size_t>(token * 48 + 16 + c)] += 8;
      }
    }
    for (double& value : qkv) value = round_to(DType::kBFloat16, value);
    Case<AttentionForwardArguments> forward = forward_case("far below zero", batch, std::move(qkv));
    Case<AttentionBackwardArguments> backward = backward_case(batch, forward);
    forward.types = backward.types = {DType::kBFloat16};
    check_variants(forward);
    check_variants(backward);
  }
}

// On the host implementation of the CUDA kernels one of them, in the type whose kernels walk over tiles asynchronously.
TEST(Attention, LongSequences) {
  check_both("long", Batch({511, 512, 513}, 1, 8, 0.1f), true);
  check_both("long, one", Batch({513}, 1, 16, 0.1f), false, {DType::kBFloat16});
}

// The order of the scores turned round, and all scores equal.
TEST(Attention, ScalesThatAreNotPositive) {
  for (const float scale : {-0.5f, 0.0f}) {
    Batch batch({37, 2}, 1, 16);
    batch.shape.scale = scale;
    check_both("scale " + std::to_string(scale), batch);
  }
}

// Lengths of the two sides that have nothing to do with each other: either empty, shorter or longer than the other; in one
// tile and in several; tensor cores and plain kernels.
TEST(Attention, QueriesAndKeysOfDifferentLengths) {
  check_both("two sides", Batch({0, 45, 0, 7, 64, 1, 20, 0}, {5, 20, 0, 64, 7, 0, 33, 1}, 2, 64));
  check_both("two sides, dropout", Batch({0, 45, 0, 7, 64, 1, 20, 0}, {5, 20, 0, 64, 7, 0, 33, 1}, 2, 32, 0.1f));
  check_both("two sides, several tiles", Batch({70, 3, 130, 0}, {10, 129, 66, 71}, 1, 16, 0.1f));
  check_both("two sides, head size 80", Batch({17, 70}, {40, 5}, 1, 80, 0.1f), false, {DType::kBFloat16});
  check_both("two sides, head size 136", Batch({6, 35}, {33, 2}, 1, 136, 0.1f));
  check_both("two sides, head size 7", Batch({21, 4}, {3, 40}, 3, 7, 0.5f));
}
TEST(Attention, NothingOnOneSide) {
  check_both("no queries", Batch({0, 0}, {3, 70}, 2, 16));
  check_both("no queries, short", Batch({0, 0}, {3, 7}, 2, 16));
  check_both("no keys", Batch({3, 70}, {0, 0}, 2, 16));
  check_both("no keys, short", Batch({3, 7}, {0, 0}, 2, 16));
}

TEST(Attention, Causal) {
  check_both("causal, mixed", Batch({0, 45, 0, 7, 64, 1, 20, 0}, 2, 64).causal());
  check_both("causal, mixed, dropout", Batch({0, 45, 0, 7, 64, 1, 20, 0}, 2, 32, 0.1f).causal());
  check_both("causal, leaving 64 over", Batch({15, 16, 17, 65, 127, 129, 192}, 1, 16, 0.1f).causal());
  check_both("causal, head size 136", Batch({6, 35}, 1, 136, 0.1f).causal());
  check_both("causal, head size 7", Batch({21, 4}, 3, 7, 0.5f).causal());
  for (const std::int64_t head_size : {80, 96, 128}) {
    check_both("causal, two tiles of " + std::to_string(head_size), Batch({70}, 1, head_size, 0.1f).causal(), false,
               {DType::kBFloat16});
  }
}
// Fewer queries than keys: the last ones of a longer sequence. More: the first see nothing.
TEST(Attention, CausalOfDifferentLengths) {
  check_both("causal, short", Batch({5, 64, 1, 0, 9, 40}, {64, 5, 30, 7, 0, 41}, 2, 32, 0.1f).causal());
  check_both("causal, several tiles", Batch({70, 3, 130, 1, 129}, {10, 129, 66, 200, 130}, 1, 16, 0.1f).causal());
  check_both("causal, head size 136", Batch({6, 35, 3}, {33, 2, 3}, 1, 136, 0.1f).causal());
}

// More sequences than warps that share them out; distances in several tiles; heads that several blocks share; longer
// sequences allowed than there are; buckets of either kind.
TEST(Attention, RelativeBias) {
  Batch mixed({0, 45, 0, 7, 64, 1, 32, 0, 31, 33, 5, 2}, 2, 16, 0.1f);
  mixed.allow_length(70);
  check_both("relative bias, mixed", mixed.with_relative_bias());
  check_both("relative bias, several tiles", Batch({127, 66}, 1, 8, 0.1f).with_relative_bias(), false, {DType::kFloat32});
  check_both("relative bias, wide heads", Batch({9, 40}, 2, 130).with_relative_bias(8, 20), false, {DType::kBFloat16});
  check_both("relative bias, one token", Batch({1}, 2, 16).with_relative_bias());
  check_both("relative bias, two sides", Batch({3, 70, 0, 5}, {40, 9, 2, 0}, 2, 16, 0.1f).with_relative_bias(8, 30));
  check_both("relative bias, causal", Batch({45, 1, 70}, 2, 16, 0.1f).causal().with_relative_bias(32, 128, false));
  check_both("relative bias, causal, two sides",
             Batch({5, 70, 33, 9, 0, 2}, {64, 30, 97, 0, 9, 2}, 2, 16, 0.1f).causal().with_relative_bias(6, 40, false));
  Batch nothing({0, 0}, 2, 16);
  const float bias = 0;
  nothing.shape.relative_bias.table = &bias;
  check_both("relative bias, no tokens", nothing);
}

TEST(Attention, RelativeBiasWithoutItsGradient) {
  Batch batch({40, 3}, 2, 16, 0.1f);
  batch.with_relative_bias();
  Case<AttentionForwardArguments> forward = forward_case("bias without gradient", batch, random_values(batch.qkv_count()));
  Case<AttentionBackwardArguments> backward = backward_case(batch, forward);
  backward.operands.pop_back();
  check_variants(backward);
}

// Queries of 0, and a bias of 200 for the key two ahead, which has a bucket of its own: every query has that key's value,
// or, where there is none, the mean of its sequence's values.
TEST(Attention, RelativeBiasIsOfKeyMinusQuery) {
  Batch batch({6, 4}, 1, 2);
  batch.with_relative_bias(32, 128, true);
  batch.relative_bias.assign(32, 0);
  batch.relative_bias[16 + 2] = 200;
  std::vector<double> qkv(60, 0);
  for (std::int64_t token = 0; token < 10; ++token)
    qkv[static_cast<std::size_t>(token * 6 + 4)] = static_cast<double>(token);
  Case<AttentionForwardArguments> forward = forward_case("two ahead", batch, std::move(qkv));
  check_variants(forward);
  const Outcome outcome = reference_in_double(forward);
  const std::vector<double> expected = {2, 3, 4, 5, 2.5, 2.5, 8, 9, 7.5, 7.5};
  for (std::int64_t i = 0; i < 10; ++i) EXPECT_NEAR(outcome.value(1, 2 * i), expected[static_cast<std::size_t>(i)], 1e-12);
}

// `transformers`' T5Attention._relative_position_bucket, in the precision it computes with.
int bucket_in_single_precision(int relative, bool bidirectional, int buckets, int max_distance) {
  int bucket = 0;
  if (bidirectional) {
    buckets /= 2;
    if (relative > 0) bucket += buckets;
    relative = std::abs(relative);
  } else {
    relative = -std::min(relative, 0);
  }
  const int exact = buckets / 2;
  if (relative < exact) return bucket + relative;
  const float steps = std::log(static_cast<float>(relative) / static_cast<float>(exact)) /
                      static_cast<float>(std::log(static_cast<double>(max_distance) / exact)) *
                      static_cast<float>(buckets - exact);
  return bucket + std::min(exact + static_cast<int>(steps), buckets - 1);
}

TEST(Attention, RelativeBucketsAreT5s) {
  for (const bool bidirectional : {true, false}) {
    for (const int buckets : {4, 6, 8, 12, 32, 64, 128}) {
      for (const int max_distance : {20, 64, 100, 128, 200, 512}) {
        if (max_distance <= buckets / (bidirectional ? 4 : 2)) continue;
        const RelativeBuckets bucket = relative_buckets({nullptr, buckets, max_distance, bidirectional});
        for (int relative = -1100; relative <= 1100; ++relative) {
          ASSERT_EQ(bucket(relative), bucket_in_single_precision(relative, bidirectional, buckets, max_distance))
              << relative << " of " << buckets << ", " << max_distance << ", " << bidirectional;
        }
      }
    }
  }
  // Encoders of T5 and mT5: eight near distances, then ones that begin at 8, 12, 16, 23, 32, 46, 64 and 91.
  const RelativeBuckets encoder = relative_buckets({nullptr, 32, 128, true});
  const std::vector<int> begins = {0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91};
  for (std::size_t i = 0; i < begins.size(); ++i) {
    EXPECT_EQ(encoder(-begins[i]), static_cast<int>(i));
    if (i == 0) continue;
    EXPECT_EQ(encoder(begins[i]), static_cast<int>(16 + i));
    EXPECT_EQ(encoder(1 - begins[i]), static_cast<int>(i) - 1);
  }
  EXPECT_EQ(encoder(-100000), 15);
  EXPECT_EQ(encoder(100000), 31);
}

// Rows [first, first + rows) of an operand with `row` elements each.
std::vector<double> cut_rows(const std::vector<double>& values, std::int64_t first, std::int64_t rows, std::int64_t row) {
  return {values.begin() + first * row, values.begin() + (first + rows) * row};
}

// Under a causal mask a query's output is that of attention, without one, over the keys up to its own; and as the only query
// of as many keys it is the last of them.
TEST(Attention, ACausalQuerySeesItsPrefix) {
  constexpr std::int64_t kLength = 9, kHidden = 6;
  Batch sequence(Lengths{kLength}, Lengths{kLength}, 2, 3);
  sequence.causal().with_relative_bias(8, 20, false);
  const std::vector<double> values = random_values(sequence.qkv_count());
  const std::vector<double> keys = cut_rows(values, kLength, 2 * kLength, kHidden);
  const Outcome whole = reference_in_double(forward_case("whole", sequence, values));
  for (const bool masked : {false, true}) {
    for (std::int64_t i = 0; i < kLength; ++i) {
      Batch prefix(Lengths{1}, Lengths{i + 1}, 2, 3);
      prefix.with_relative_bias(8, 20, false);
      if (masked) prefix.causal();
      std::vector<double> some = cut_rows(values, i, 1, kHidden);
      some.insert(some.end(), keys.begin(), keys.begin() + (i + 1) * 2 * kHidden);
      const Outcome one = reference_in_double(forward_case("prefix", prefix, some));
      for (std::int64_t c = 0; c < kHidden; ++c) EXPECT_NEAR(one.value(1, c), whole.value(1, i * kHidden + c), 1e-13) << i;
      for (std::int64_t head = 0; head < 2; ++head) EXPECT_EQ(one.value(2, head), whole.value(2, i * 2 + head)) << i;
    }
  }
}

// What nobody sees has no gradient, and who sees nothing has none to give.
TEST(Attention, SeeingNothing) {
  Batch batch({4, 2, 3}, {2, 0, 3}, 1, 4);
  batch.causal();
  Case<AttentionForwardArguments> forward = forward_case("seeing nothing", batch, random_values(batch.qkv_count()));
  Case<AttentionBackwardArguments> backward = backward_case(batch, forward);
  for (const bool device : {false, true}) {
    bool available = true;
    const Context context = context_for(device ? Device::kCuda : Device::kCpu, &available);
    if (!available) continue;
    for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
      AttentionForwardArguments typed = forward.arguments;
      typed.shape.type = type;
      AttentionBackwardArguments typed_backward = backward.arguments;
      typed_backward.shape.type = type;
      const Outcome outcome = launch(forward, choose_variant(context, typed), type, type);
      const Outcome gradients = launch(backward, choose_variant(context, typed_backward), type, type);
      for (const std::int64_t query : {0, 1, 4, 5}) {
        EXPECT_EQ(outcome.value(2, query), -INFINITY);
        for (std::int64_t c = 0; c < 4; ++c) {
          EXPECT_EQ(outcome.value(1, query * 4 + c), 0);
          EXPECT_EQ(gradients.value(4, query * 4 + c), 0);
        }
      }
      for (const std::int64_t query : {2, 3, 6}) EXPECT_TRUE(std::isfinite(outcome.value(2, query)));
    }
  }
}

// What the host knows of a batch on a device.
TEST(Attention, CountsFlopsWithoutTheLengthsOnTheDevice) {
  const Batch batch({5, 3, 0}, 2, 4);
  AttentionForwardArguments arguments{batch.shape};
  arguments.shape.queries.cumulative_lengths = arguments.shape.keys.cumulative_lengths = nullptr;
  const auto flops = operation<AttentionForwardArguments>().flops;
  EXPECT_EQ(flops(arguments), 4.0 * (8 * 5) * 8);
  arguments.shape.queries.host_cumulative_lengths = batch.cumulative_lengths.data();
  arguments.shape.keys.host_cumulative_lengths = batch.cumulative_lengths.data();
  EXPECT_EQ(flops(arguments), 4.0 * (25 + 9) * 8);
  arguments.shape.mask = AttentionMask::kCausal;
  EXPECT_EQ(flops(arguments), 4.0 * (15 + 6) * 8);
  const std::vector<std::int32_t> keys = cumulative_lengths_of({7, 2, 4});
  arguments.shape.keys.host_cumulative_lengths = keys.data();
  EXPECT_EQ(flops(arguments), 4.0 * (3 + 4 + 5 + 6 + 7 + 1 + 2) * 8);
  arguments.shape.mask = AttentionMask::kNone;
  EXPECT_EQ(flops(arguments), 4.0 * (35 + 6) * 8);
}

// Numbers of PyTorch 2.15 in double:
//   q, k, v, do as below, requires_grad; o = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=0.5)
//   o.backward(do); torch.logsumexp(0.5 * q @ k.T, -1)
TEST(Attention, ReferenceIsPyTorchs) {
  const Batch batch({3}, 1, 2);
  Case<AttentionForwardArguments> forward =
      forward_case("torch", batch, {1, -2, 0.5, 1, 1, 2, 0.5, 3, -1, 2, 3, -1, -1, 0.25, 1.5, -0.5, -2, 0.5});
  forward.arguments.shape.scale = 0.5f;
  const Outcome outcome = reference_in_double(forward);
  Case<AttentionBackwardArguments> backward = backward_case(batch, forward);
  backward.arguments.shape.scale = 0.5f;
  backward.operands[3].values = {1, -1, 0.5, 2, -3, 1};
  const std::vector<double> output = {-1.548178616, 0.6447347523, 2.365047251, -0.240193734, 1.843029977, -0.03779358876};
  const std::vector<double> log_sum_exp = {1.397430748, 3.063780575, 1.236414117};
  const std::vector<double> d_qkv = {-0.2267551028, 0.2615833477, -0.2903559357, 1.358373407,  -0.5335020104,
                                     0.6139479664,  0.6475114176, -0.4222820928, 1.206045605,  -1.783943014,
                                     -1.458847778,  2.055891839,  2.821758682,   -2.529137807, -0.915689669,
                                     0.4255696074,  0.4923497885, -0.6698398055};
  // Ten digits were printed; log_sum_exp is stored in fp32.
  for (std::size_t i = 0; i < output.size(); ++i)
    EXPECT_NEAR(outcome.value(1, static_cast<std::int64_t>(i)), output[i], 1e-9);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(outcome.value(2, static_cast<std::int64_t>(i)), log_sum_exp[i], 2e-7);
  const std::vector<double> gradient = reference_in_double(backward).values(4);
  for (std::size_t i = 0; i < d_qkv.size(); ++i) EXPECT_NEAR(gradient[i], d_qkv[i], 3e-9) << i;
}

void check_differences(const Batch& batch) {
  Case<AttentionForwardArguments> forward = forward_case("differences", batch, random_values(batch.qkv_count()));
  Case<AttentionBackwardArguments> backward = backward_case(batch, forward);
  const bool biased = !batch.relative_bias.empty();
  if (biased) backward.operands[6].values = std::vector<double>(backward.operands[6].values.size(), 0);
  const Outcome gradients = reference_in_double(backward);
  const auto loss_of = [&](std::size_t operand) {
    return [&, operand](const std::vector<double>& values) {
      const std::vector<double> before = std::exchange(forward.operands[operand].values, values);
      const double loss = dot(reference_in_double(forward).values(1), backward.operands[3].values);
      forward.operands[operand].values = before;
      return loss;
    };
  };
  check_gradient("qkv", loss_of(0), backward.operands[0].values, gradients.values(4));
  if (biased) check_gradient("relative_bias", loss_of(3), backward.operands[5].values, gradients.values(6));
}

TEST(Attention, GradientsAreDifferencesOfTheForward) {
  for (const float rate : {0.0f, 0.4f}) {
    check_differences(Batch({4, 0, 1, 18}, 2, 3, rate));
    check_differences(Batch({4, 0, 1, 6}, {2, 3, 0, 9}, 2, 3, rate));
    check_differences(Batch({4, 0, 1, 9}, 2, 3, rate).causal());
    check_differences(Batch({4, 5, 1, 6}, {2, 7, 0, 9}, 2, 3, rate).causal());
  }
}

TEST(Attention, GradientsOfARelativeBiasAreDifferencesOfTheForward) {
  for (const float rate : {0.0f, 0.4f}) {
    Batch batch({4, 0, 1, 9}, 2, 3, rate);
    batch.allow_length(10);
    check_differences(batch.with_relative_bias(8, 6));
    check_differences(Batch({4, 2, 1, 7}, {2, 3, 0, 9}, 2, 3, rate).with_relative_bias(8, 6));
    check_differences(Batch({4, 2, 1, 7}, {2, 3, 0, 9}, 2, 3, rate).causal().with_relative_bias(6, 7, false));
  }
}

// The outcome of the variant a user runs, in the order of operands.
template <class Arguments>
Outcome run_first(const Case<Arguments>& test_case, DType type) {
  Arguments typed = test_case.arguments;
  test_case.set_type(typed, type);
  return launch(test_case, choose_variant(Context{}, typed), type, type);
}

// The bytes of the rows [first, first + rows) of an operand with `row` elements each.
std::string rows_of(const Outcome& outcome, std::size_t operand, std::int64_t first, std::int64_t rows, std::int64_t row) {
  const std::size_t size = static_cast<std::size_t>(row) * size_of(outcome.types[operand]);
  const char* start = static_cast<const char*>(outcome.buffers[operand].data()) + static_cast<std::size_t>(first) * size;
  return {start, static_cast<std::size_t>(rows) * size};
}

// A sequence alone, and among neighbours whose every number is NaN: the same bits, forward and backward.
TEST(Attention, NeighboursDoNotMatter) {
  const std::vector<std::int64_t> lengths = {45, 3, 0, 130, 64, 300};
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    const Batch batch(lengths, 2, 20, 0.1f);
    const std::vector<double> qkv = random_values(batch.qkv_count());
    for (std::size_t n = 0; n < lengths.size(); ++n) {
      const std::int64_t first = batch.cumulative_lengths[n];
      const auto only = [&](std::vector<double> values, std::int64_t row) {
        for (std::int64_t i = 0; i < static_cast<std::int64_t>(values.size()); ++i) {
          const std::int64_t token = i / row;
          if (token < first || token >= first + lengths[n]) values[static_cast<std::size_t>(i)] = NAN;
        }
        return values;
      };
      const auto cut = [&](const std::vector<double>& values, std::int64_t row) {
        return std::vector<double>(values.begin() + first * row, values.begin() + (first + lengths[n]) * row);
      };
      const Case<AttentionForwardArguments> packed = forward_case("packed", batch, only(qkv, batch.shape.queries.stride));
      Case<AttentionBackwardArguments> packed_backward = backward_case(batch, packed);
      packed_backward.operands[3].values = only(packed_backward.operands[3].values, batch.hidden());

      Batch single({lengths[n]}, 2, 20, 0.1f);
      single.examples[0] = batch.examples[n];
      const Case<AttentionForwardArguments> alone =
          forward_case("alone", single, cut(packed.operands[0].values, batch.shape.queries.stride));
      Case<AttentionBackwardArguments> alone_backward = backward_case(single, alone);
      alone_backward.operands[3].values = cut(packed_backward.operands[3].values, batch.hidden());

      const Outcome among = run_first(packed, type), by_itself = run_first(alone, type);
      const Outcome among_back = run_first(packed_backward, type), by_itself_back = run_first(alone_backward, type);
      EXPECT_EQ(rows_of(among, 1, first, lengths[n], batch.hidden()), rows_of(by_itself, 1, 0, lengths[n], batch.hidden()));
      EXPECT_EQ(rows_of(among, 2, first, lengths[n], 2), rows_of(by_itself, 2, 0, lengths[n], 2));
      const std::int64_t row = batch.shape.queries.stride;
      EXPECT_EQ(rows_of(among_back, 4, first, lengths[n], row), rows_of(by_itself_back, 4, 0, lengths[n], row));
      for (const double value : by_itself_back.values(4)) ASSERT_TRUE(std::isfinite(value));
    }
  }
}

// The kernel for batches of short sequences and those for longer ones give a sequence the same bits.
TEST(Attention, LongNeighboursDoNotMatterOnADevice) {
  bool available = false;
  const Context context = context_for(Device::kCuda, &available);
  if (!available) GTEST_SKIP() << "no device";
  for (const float rate : {0.0f, 0.1f}) {
    const Batch few({40, 9, 64}, 2, 32, rate), more({40, 9, 64, 70}, 2, 32, rate);
    const auto gradients = [&](const Batch& batch) {
      const Case<AttentionForwardArguments> forward = forward_case("bits", batch, random_values(batch.qkv_count()));
      const Case<AttentionBackwardArguments> backward = backward_case(batch, forward);
      AttentionBackwardArguments typed = backward.arguments;
      typed.shape.type = DType::kBFloat16;
      return launch(backward, choose_variant(context, typed), DType::kBFloat16, DType::kBFloat16, true);
    };
    const std::int64_t row = few.shape.queries.stride;
    EXPECT_EQ(rows_of(gradients(few), 4, 0, 113, row), rows_of(gradients(more), 4, 0, 113, row)) << rate;
  }
}

// With query 0 every weight is 1 / length, and with row j of value the j-th unit vector column j of the output is the weight
// of key j: not 0 exactly where it is kept. With d_output unit vectors likewise, d_value is the transpose.
TEST(Attention, DropsExactlyWhatTheMaskSays) {
  const std::vector<std::int64_t> lengths = {100, 0, 37, 1};
  const Batch batch(lengths, 2, 100, 0.25f);
  std::vector<double> qkv(static_cast<std::size_t>(batch.qkv_count()), 0.0);
  std::vector<double> d_output(static_cast<std::size_t>(batch.output_count()), 0.0);
  for (std::size_t n = 0; n < lengths.size(); ++n) {
    for (std::int64_t j = 0; j < lengths[n]; ++j) {
      for (std::int64_t head = 0; head < 2; ++head) {
        const std::int64_t token = batch.cumulative_lengths[n] + j;
        qkv[static_cast<std::size_t>(token * 600 + 400 + head * 100 + j)] = 1;
        d_output[static_cast<std::size_t>(token * 200 + head * 100 + j)] = 1;
      }
    }
  }
  const Case<AttentionForwardArguments> forward = forward_case("mask", batch, qkv);
  Case<AttentionBackwardArguments> backward = backward_case(batch, forward);
  backward.operands[3].values = d_output;
  for_each_instruction_set([&](const std::string& instructions) {
    const Outcome outcome = run_first(forward, DType::kFloat32), gradients = run_first(backward, DType::kFloat32);
    std::int64_t wrong = 0, dropped = 0;
    for (std::size_t n = 0; n < lengths.size(); ++n) {
      for (std::int64_t head = 0; head < 2; ++head) {
        for (std::int64_t i = 0; i < lengths[n]; ++i) {
          for (std::int64_t j = 0; j < lengths[n]; ++j) {
            const bool kept = keeps_attention(batch.shape.dropout, batch.examples[n], static_cast<std::uint32_t>(head),
                                              static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(j));
            const std::int64_t query = batch.cumulative_lengths[n] + i, key = batch.cumulative_lengths[n] + j;
            wrong += kept != (outcome.value(1, query * 200 + head * 100 + j) != 0);
            wrong += kept != (gradients.value(4, key * 600 + 400 + head * 100 + i) != 0);
            dropped += !kept;
          }
        }
      }
    }
    EXPECT_EQ(wrong, 0) << instructions;
    // A quarter of 22,740 weights, with a standard deviation of 65.
    EXPECT_NEAR(static_cast<double>(dropped), 0.25 * 22740, 5 * 65) << instructions;
  });
}

// Scores of 1e8 on the diagonal and 0 elsewhere: every weight is exactly 0 or 1.
TEST(Attention, LargeScoresDoNotOverflow) {
  const std::int64_t length = 40;
  const Batch batch({length}, 1, 64);
  std::vector<double> qkv = random_values(batch.qkv_count());
  for (std::int64_t i = 0; i < length; ++i) {
    for (std::int64_t c = 0; c < 128; ++c) qkv[static_cast<std::size_t>(i * 192 + c)] = c % 64 == i ? 32768 : 0;
  }
  const Case<AttentionForwardArguments> forward = forward_case("large scores", batch, qkv);
  const Case<AttentionBackwardArguments> backward = backward_case(batch, forward);
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    const Outcome outcome = run_first(forward, type), gradients = run_first(backward, type);
    for (std::int64_t i = 0; i < length; ++i) {
      EXPECT_EQ(outcome.value(2, i), 32768.0 * 32768.0 / 8);
      for (std::int64_t c = 0; c < 64; ++c) {
        EXPECT_EQ(outcome.value(1, i * 64 + c), round_to(type, qkv[static_cast<std::size_t>(i * 192 + 128 + c)]));
        EXPECT_EQ(gradients.value(4, i * 192 + 128 + c),
                  round_to(type, backward.operands[3].values[static_cast<std::size_t>(i * 64 + c)]));
        EXPECT_TRUE(std::isfinite(gradients.value(4, i * 192 + c)));
        EXPECT_TRUE(std::isfinite(gradients.value(4, i * 192 + 64 + c)));
      }
    }
  }
}

TEST(Attention, ScratchGrowsWithTheLengthNotItsSquare) {
  const auto workspace = [](std::int64_t length) {
    const Batch batch({length}, 12, 64, 0.1f);
    AttentionForwardArguments forward{batch.shape};
    AttentionBackwardArguments backward{batch.shape};
    return std::pair(choose_variant(Context{}, forward).workspace_bytes(forward),
                     choose_variant(Context{}, backward).workspace_bytes(backward));
  };
  EXPECT_LE(workspace(8192).first, 2 * workspace(4096).first);
  EXPECT_LE(workspace(8192).second, 2 * workspace(4096).second);
}

TEST(Attention, SaysWhichShapeIsWrong) {
  const auto message = [](auto&& change) -> std::string {
    Batch batch({5, 3}, 2, 4);
    std::vector<float> memory(4096);
    AttentionForwardArguments arguments{batch.shape};
    bind_qkv(arguments, memory.data());
    arguments.output = memory.data() + 1024;
    arguments.log_sum_exp = memory.data() + 2048;
    change(arguments, batch);
    StackMemory scratch("test", 1 << 20);
    Context context;
    context.scratch = &scratch;
    try {
      attention_forward(context, arguments);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  using Arguments = AttentionForwardArguments;
  const auto says = [](const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; };
  EXPECT_EQ(message([](Arguments&, Batch&) {}), "");
  EXPECT_TRUE(says(message([](Arguments& a, Batch&) { a.shape.queries.stride = 7; }),
                   "stride 7 of queries is shorter than a row of 2 x 4"));
  EXPECT_TRUE(
      says(message([](Arguments& a, Batch&) { a.shape.keys.maximum_length = 4; }), "sequence 0 of keys has length 5"));
  EXPECT_TRUE(says(message([](Arguments&, Batch& b) { b.cumulative_lengths[2] = 9; }), "of queries run from 0 to 9"));
  EXPECT_TRUE(says(message([](Arguments& a, Batch&) { a.key = nullptr; }), "over 8 keys: key or value is null"));
  EXPECT_TRUE(says(message([](Arguments& a, Batch&) { a.shape.dropout.rate = 1; }), "dropout rate 1 "));
  static const float bias = 0;
  EXPECT_TRUE(says(message([](Arguments& a, Batch&) { a.shape.relative_bias = {&bias, 31, 128, true}; }), "31 buckets"));
  EXPECT_TRUE(says(message([](Arguments& a, Batch&) { a.shape.relative_bias = {&bias, 32, 8, true}; }), "max_distance 8"));

  std::vector<float> memory(4096);
  const Batch batch({5, 3}, 2, 4);
  AttentionBackwardArguments backward{batch.shape};
  bind_qkv(backward, memory.data());
  bind_d_qkv(backward, memory.data());
  backward.output = backward.d_output = backward.log_sum_exp = backward.d_relative_bias = memory.data();
  EXPECT_THROW(operation<AttentionBackwardArguments>().validate(backward), Error);
}

}  // namespace
}  // namespace koine::testing
