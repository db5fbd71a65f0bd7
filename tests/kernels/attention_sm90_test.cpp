// Attention for 9.0 beyond what the suite of all variants asks (attention_test.cpp): against the portable one bit for bit,
// under several schedules, over sequences of one and of several tiles; what the next sequence holds; what it takes.

#if !defined(KOINE_HAVE_CUDA)

#include "kernels/attention/attention_sm90.h"

#include <cstring>
#include <limits>

#include "kernels/attention/attention_cases.h"
#include "tests/kernels/cuda_layer.h"
#include "tests/kernels/hopper_host.h"
#include "tests/kernels/suite.h"

namespace koine {

void attention_forward_portable(const Context& context, const AttentionForwardArguments& a, void* workspace);

namespace {

using cuda::DeviceArray;
using cuda::Emulated;
using testing::AttentionBatch;

using AttentionForwardFunction = void (*)(const Context&, const AttentionForwardArguments&, void*);

struct AttentionResult {
  std::vector<BFloat16> output;
  std::vector<float> log_sum_exp;
};
bool operator==(const AttentionResult& left, const AttentionResult& right) {
  const auto same = [](const auto& a, const auto& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])) == 0;
  };
  return same(left.output, right.output) && same(left.log_sum_exp, right.log_sum_exp);
}

std::vector<BFloat16> random_rows(const AttentionBatch& batch) {
  testing::TestRandom random(5);
  std::vector<BFloat16> rows(static_cast<std::size_t>(batch.qkv_count()));
  for (BFloat16& value : rows) value = to_bfloat16(static_cast<float>(random.normal()));
  return rows;
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

}  // namespace
}  // namespace koine

#endif
