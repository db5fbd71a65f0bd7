// Attention for 9.0 beyond what the suite of all variants asks (attention_test.cpp): against the portable one bit for bit,
// under several schedules and with sums that are cut, over sequences of one and of several tiles; what the next sequence
// holds; what it takes.

#if !defined(KOINE_HAVE_CUDA)

#include "kernels/attention/attention_sm90.h"

#include <cstring>
#include <functional>
#include <limits>

#include "kernels/attention/attention_cases.h"
#include "tests/kernels/cuda_layer.h"
#include "tests/kernels/hopper_host.h"
#include "tests/kernels/suite.h"

namespace koine {

void attention_forward_portable(const Context& context, const AttentionForwardArguments& a, void* workspace);
std::size_t attention_backward_portable_workspace(const AttentionBackwardArguments& a);
void attention_backward_portable(const Context& context, const AttentionBackwardArguments& a, void* workspace);

namespace {

using cuda::DeviceArray;
using cuda::Emulated;
using testing::AttentionBatch;

using AttentionForwardFunction = void (*)(const Context&, const AttentionForwardArguments&, void*);

struct AttentionResult {
  std::vector<BFloat16> output;
  std::vector<float> log_sum_exp;
};
template <class T>
bool equal_bits(const std::vector<T>& left, const std::vector<T>& right) {
  return left.size() == right.size() && std::memcmp(left.data(), right.data(), left.size() * sizeof(T)) == 0;
}

std::vector<BFloat16> random_rows(std::int64_t count, std::uint64_t seed) {
  testing::TestRandom random(seed);
  std::vector<BFloat16> rows(static_cast<std::size_t>(count));
  for (BFloat16& value : rows) value = to_bfloat16(static_cast<float>(random.normal()));
  return rows;
}
std::vector<BFloat16> random_rows(const AttentionBatch& batch) { return random_rows(batch.qkv_count(), 5); }

bool operator==(const AttentionResult& left, const AttentionResult& right) {
  return equal_bits(left.output, right.output) && equal_bits(left.log_sum_exp, right.log_sum_exp);
}

AttentionForwardArguments forward_arguments(const AttentionBatch& batch) {
  AttentionForwardArguments a;
  a.shape = batch.shape;
  a.shape.type = DType::kBFloat16;
  return a;
}

/// The whole batch's results, those of `tokens` first rows.
AttentionResult attend(AttentionForwardFunction forward, const AttentionBatch& batch, const std::vector<BFloat16>& rows,
                       std::int64_t tokens) {
  AttentionForwardArguments a = forward_arguments(batch);
  const DeviceArray<BFloat16> qkv(rows);
  const DeviceArray<BFloat16> output(std::vector<BFloat16>(static_cast<std::size_t>(batch.output_count())));
  const DeviceArray<float> log_sum_exp(std::vector<float>(static_cast<std::size_t>(batch.statistics_count())));
  testing::bind_qkv(a, qkv.data());
  a.output = output.data();
  a.log_sum_exp = log_sum_exp.data();
  forward(Context{}, a, nullptr);
  AttentionResult result = {output.values(), log_sum_exp.values()};
  result.output.resize(static_cast<std::size_t>(tokens * batch.shape.output_stride));
  result.log_sum_exp.resize(static_cast<std::size_t>(tokens * batch.shape.heads));
  return result;
}

// One tile for two heads and, of an odd number, for one; a second consumer with rows and without; more tiles of keys than the
// ring has stages.
TEST(AttentionSm90, HasTheBitsOfThePortableOne) {
  const Emulated device(90);
  struct Lengths {
    std::vector<std::int64_t> of;
    std::int64_t heads;
    std::int64_t head_size;
    float rate;
  };
  const Lengths all[] = {{{5, 64, 1, 0, 33}, 3, 64, 0.1f},
                         {{65, 129, 2}, 1, 64, 0},
                         {{330}, 1, 64, 0.1f},
                         {{20, 100}, 2, 80, 0.1f},
                         {{70, 9}, 1, 128, 0}};
  for (const Lengths& lengths : all) {
    const AttentionBatch batch(lengths.of, lengths.heads, lengths.head_size, lengths.rate);
    const std::vector<BFloat16> rows = random_rows(batch);
    const std::int64_t tokens = batch.shape.queries.tokens;
    const AttentionResult expected = attend(attention_forward_portable, batch, rows, tokens);
    cuda::for_schedules(
        [&] { EXPECT_TRUE(attend(attention_forward_sm90, batch, rows, tokens) == expected) << lengths.of[0]; });
  }
}

// Copies of 64 rows reach into the next sequence; a NaN there has no part in any sum, be the copy shared by two heads' or by
// two tiles' consumers.
TEST(AttentionSm90, WhatTheNextSequenceHoldsStaysThere) {
  const Emulated device(90);
  for (const std::int64_t head_size : {64, 80}) {
    for (const std::int64_t length : {10, 70}) {
      const AttentionBatch batch({length, 30}, 2, head_size);
      std::vector<BFloat16> rows = random_rows(batch);
      const AttentionResult expected = attend(attention_forward_sm90, batch, rows, length);
      const auto behind = rows.begin() + length * batch.shape.queries.stride;
      std::fill(behind, rows.end(), to_bfloat16(std::numeric_limits<float>::quiet_NaN()));
      EXPECT_TRUE(attend(attention_forward_sm90, batch, rows, length) == expected) << head_size << ' ' << length;
    }
  }
}

TEST(AttentionSm90, SaysWhatItTakes) {
  const AttentionBatch batch({5}, 2, 64);
  AttentionForwardArguments good = forward_arguments(batch);
  EXPECT_TRUE(attention_forward_sm90_supports(good));
  const auto with = [&](auto change) {
    AttentionForwardArguments a = good;
    change(a);
    return attention_forward_sm90_supports(a);
  };
  EXPECT_FALSE(with([](auto& a) { a.shape.type = DType::kFloat32; }));
  EXPECT_FALSE(with([](auto& a) { a.shape.mask = AttentionMask::kCausal; }));
  EXPECT_FALSE(with([](auto& a) { a.shape.scale = 0; }));
  EXPECT_FALSE(with([](auto& a) { a.shape.head_size = 96; }));
  EXPECT_FALSE(with([](auto& a) { a.shape.queries.stride += 4, a.shape.keys.stride += 4; })) << "8 bytes";
  EXPECT_FALSE(with([](auto& a) { a.value = reinterpret_cast<const void*>(8); }));
  EXPECT_FALSE(with([](auto& a) { a.shape.keys.cumulative_lengths = nullptr; })) << "two sides";
}

// --- backward

using AttentionBackwardFunction = std::function<void(const AttentionBackwardArguments&, void* workspace)>;

/// What a backward reads: of a real forward, and a gradient.
struct BackwardOperands {
  std::vector<BFloat16> qkv;
  AttentionResult forward;
  std::vector<BFloat16> d_output;

  explicit BackwardOperands(const AttentionBatch& batch)
      : qkv(random_rows(batch)),
        forward(attend(attention_forward_portable, batch, qkv, batch.shape.queries.tokens)),
        d_output(random_rows(batch.output_count(), 6)) {}
};

AttentionBackwardArguments backward_arguments(const AttentionBatch& batch) {
  AttentionBackwardArguments a;
  a.shape = batch.shape;
  a.shape.type = DType::kBFloat16;
  return a;
}

/// The gradients of query, key and value of the first `tokens` rows. Where nothing is written they are NaN, and so is the
/// workspace before.
std::vector<BFloat16> attend_backward(const AttentionBackwardFunction& backward, const AttentionBatch& batch,
                                      const BackwardOperands& operands, std::int64_t tokens, std::size_t workspace_bytes) {
  AttentionBackwardArguments a = backward_arguments(batch);
  const DeviceArray<BFloat16> qkv(operands.qkv), output(operands.forward.output), d_output(operands.d_output);
  const DeviceArray<float> log_sum_exp(operands.forward.log_sum_exp);
  const DeviceArray<BFloat16> d_qkv(std::vector<BFloat16>(operands.qkv.size(), BFloat16{0x7fc1}));
  const DeviceArray<float> workspace(
      std::vector<float>(workspace_bytes / sizeof(float) + 1, std::numeric_limits<float>::quiet_NaN()));
  testing::bind_qkv(a, qkv.data());
  a.output = output.data();
  a.log_sum_exp = log_sum_exp.data();
  a.d_output = d_output.data();
  testing::bind_d_qkv(a, d_qkv.data());
  backward(a, workspace.data());
  std::vector<BFloat16> result = d_qkv.values();
  result.resize(static_cast<std::size_t>(tokens * batch.shape.queries.stride));
  return result;
}
std::vector<BFloat16> attend_backward_portable(const AttentionBatch& batch, const BackwardOperands& operands) {
  return attend_backward(
      [](const AttentionBackwardArguments& a, void* workspace) { attention_backward_portable(Context{}, a, workspace); },
      batch, operands, batch.shape.queries.tokens, attention_backward_portable_workspace(backward_arguments(batch)));
}
std::vector<BFloat16> attend_backward_sm90(const AttentionBatch& batch, const BackwardOperands& operands,
                                           std::int64_t tokens, std::int64_t blocks = kAttentionSm90Blocks) {
  return attend_backward([blocks](const AttentionBackwardArguments& a,
                                  void* workspace) { launch_attention_backward_sm90(Context{}, a, workspace, blocks); },
                         batch, operands, tokens, attention_backward_sm90_workspace(backward_arguments(batch)));
}

struct BackwardLengths {
  std::vector<std::int64_t> of;
  std::int64_t heads;
  std::int64_t head_size;
  float rate;
  std::int64_t blocks;
};
// Two heads side by side and, of an odd number, one; one pass with a second consumer and without; several passes, the last one
// with keys for one consumer alone. Few blocks: each has passes of all kinds one after the other, and more than its rings hold.
const BackwardLengths kBackwardLengths[] = {{{5, 64, 1, 0, 33, 70, 9}, 3, 64, 0.1f, 2},
                                            {{129, 2, 65}, 3, 64, 0, 1},
                                            {{260}, 1, 64, 0.1f, 132},
                                            {{20, 140, 70}, 2, 80, 0.1f, 1},
                                            {{9, 130}, 2, 128, 0.1f, 1}};

TEST(AttentionBackwardSm90, HasTheBitsOfThePortableOne) {
  const Emulated device(90);
  for (const BackwardLengths& lengths : kBackwardLengths) {
    const AttentionBatch batch(lengths.of, lengths.heads, lengths.head_size, lengths.rate);
    const BackwardOperands operands(batch);
    const std::vector<BFloat16> expected = attend_backward_portable(batch, operands);
    const auto compare = [&] {
      EXPECT_TRUE(equal_bits(attend_backward_sm90(batch, operands, batch.shape.queries.tokens, lengths.blocks), expected))
          << lengths.of[0] << " of " << lengths.head_size;
    };
    if (testing::watches_accesses()) {
      compare();  // as good as all
    } else {
      cuda::for_schedules(compare);
    }
  }
}

// As tensor cores cut their sums: the order of these is one.
TEST(AttentionBackwardSm90, HasTheBitsOfThePortableOneWithSumsThatAreCut) {
  const Emulated device(90);
  for (const AttentionBatch& batch : {AttentionBatch({150, 20}, 2, 80, 0.1f), AttentionBatch({66}, 1, 128, 0.1f)}) {
    const BackwardOperands operands(batch);
    const std::vector<BFloat16> rounded = attend_backward_portable(batch, operands);
    cuda::host::set_truncating_sums(true);
    const std::vector<BFloat16> expected = attend_backward_portable(batch, operands);
    const std::vector<BFloat16> found = attend_backward_sm90(batch, operands, batch.shape.queries.tokens);
    cuda::host::set_truncating_sums(false);
    EXPECT_TRUE(equal_bits(found, expected)) << batch.shape.head_size;
    EXPECT_FALSE(equal_bits(rounded, expected)) << "nothing was cut";
  }
}

// Copies of 64 rows reach into the next sequence; a NaN there has no part in any sum, in any operand.
TEST(AttentionBackwardSm90, WhatTheNextSequenceHoldsStaysThere) {
  const Emulated device(90);
  for (const std::int64_t head_size : {64, 80, 128}) {
    for (const std::int64_t length : {10, 70, 140}) {
      const AttentionBatch batch({length, 30}, 2, head_size);
      BackwardOperands operands(batch);
      const std::vector<BFloat16> expected = attend_backward_sm90(batch, operands, length);
      const auto spoil = [&](auto& values, std::int64_t stride, auto nan) {
        std::fill(values.begin() + length * stride, values.end(), nan);
      };
      const BFloat16 nan = to_bfloat16(std::numeric_limits<float>::quiet_NaN());
      spoil(operands.qkv, batch.shape.queries.stride, nan);
      spoil(operands.forward.output, batch.shape.output_stride, nan);
      spoil(operands.d_output, batch.shape.output_stride, nan);
      spoil(operands.forward.log_sum_exp, batch.shape.heads, std::numeric_limits<float>::quiet_NaN());
      EXPECT_TRUE(equal_bits(attend_backward_sm90(batch, operands, length), expected)) << head_size << ' ' << length;
    }
  }
}

TEST(AttentionBackwardSm90, SaysWhatItTakes) {
  const AttentionBatch batch({5}, 2, 64);
  const AttentionBackwardArguments good = backward_arguments(batch);
  EXPECT_TRUE(attention_backward_sm90_supports(good));
  const auto with = [&](auto change) {
    AttentionBackwardArguments a = good;
    change(a);
    return attention_backward_sm90_supports(a);
  };
  EXPECT_FALSE(with([](auto& a) { a.shape.type = DType::kFloat32; }));
  EXPECT_FALSE(with([](auto& a) { a.shape.mask = AttentionMask::kCausal; }));
  EXPECT_TRUE(with([](auto& a) { a.shape.head_size = 80, a.shape.queries.stride = a.shape.keys.stride = 480; }));
  EXPECT_FALSE(with([](auto& a) { a.shape.head_size = 32; }));
  EXPECT_TRUE(with([](auto& a) { a.shape.head_size = 128, a.shape.queries.stride = a.shape.keys.stride = 768; }));
  EXPECT_FALSE(with([](auto& a) { a.shape.head_size = 96; }));
  EXPECT_FALSE(with([](auto& a) { a.shape.output_stride += 4; })) << "8 bytes";
  EXPECT_FALSE(with([](auto& a) { a.output = reinterpret_cast<const void*>(8); }));
  EXPECT_FALSE(with([](auto& a) { a.d_key = reinterpret_cast<void*>(8); }));
}

// Sums of d_query wait where a block has more than one pass for a head, at most of as many blocks as there are.
TEST(AttentionBackwardSm90, TakesAWorkspaceForLongSequencesOnly) {
  const auto bytes = [](const AttentionBatch& batch) {
    return attention_backward_sm90_workspace(backward_arguments(batch));
  };
  EXPECT_EQ(bytes(AttentionBatch({128, 5}, 3, 64)), 0u);
  EXPECT_EQ(bytes(AttentionBatch({129, 5}, 3, 64)), 4u * 192 * 64 * 4) << "two sequences, two pairs of heads";
  EXPECT_EQ(bytes(AttentionBatch(std::vector<std::int64_t>(100, 256), 16, 80)), 132u * 256 * 80 * 4);
}

}  // namespace
}  // namespace koine

#endif
