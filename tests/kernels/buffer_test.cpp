// Memory of the CPU or of CUDA, and scratch sized by a dry run.

#include "kernels/common/buffer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "kernels/common/check.h"
#include "kernels/common/own_scratch.h"
#include "kernels/cuda/runtime.h"
#include "kernels/topk/topk.h"

namespace koine {
namespace {

class BufferOn : public ::testing::TestWithParam<Device> {
 protected:
  void SetUp() override {
    if (GetParam() == Device::kCuda && cuda::device_count() == 0) GTEST_SKIP() << "CUDA finds no device";
  }
};

std::vector<std::uint8_t> bytes_of(const Buffer& buffer) {
  std::vector<std::uint8_t> bytes(buffer.bytes());
  buffer.read(bytes.data(), bytes.size());
  return bytes;
}

TEST_P(BufferOn, IsCopiedAndCleared) {
  Buffer buffer = Buffer::zeroed(GetParam(), "test", 1000);
  EXPECT_EQ(buffer.device(), GetParam());
  EXPECT_EQ(buffer.device_index(), 0);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 256, 0u);
  EXPECT_EQ(bytes_of(buffer), std::vector<std::uint8_t>(1000, 0));
  const std::vector<std::uint8_t> part = {1, 2, 3};
  buffer.write(part.data(), part.size(), 997);
  std::vector<std::uint8_t> expected(1000, 0);
  expected[997] = 1, expected[998] = 2, expected[999] = 3;
  EXPECT_EQ(bytes_of(buffer), expected);

  Buffer longer = Buffer::zeroed(GetParam(), "longer", 2000);
  longer.copy_from(buffer, 998);
  expected.assign(2000, 0);
  expected[997] = 1;
  EXPECT_EQ(bytes_of(longer), expected);
  longer.fill_with_zero();
  EXPECT_EQ(bytes_of(longer), std::vector<std::uint8_t>(2000, 0));
}

TEST_P(BufferOn, MovesWithWhatItHolds) {
  Buffer first = Buffer::zeroed(GetParam(), "first", 8);
  const std::uint64_t value = 77;
  first.write(&value, sizeof value);
  const void* place = first.data();
  Buffer second = std::move(first);
  EXPECT_EQ(second.data(), place);
  EXPECT_EQ(second.name(), "first");
  Buffer third(GetParam(), "third", 16);
  third = std::move(second);
  std::uint64_t found = 0;
  third.read(&found, sizeof found);
  EXPECT_EQ(found, value);
}

TEST_P(BufferOn, RefusesWhatLiesBeyondItsEnd) {
  Buffer buffer(GetParam(), "a named buffer", 16);
  std::uint64_t value = 0;
  for (const std::size_t offset : {std::size_t{9}, std::size_t{17}, SIZE_MAX}) {
    EXPECT_THROW(buffer.write(&value, sizeof value, offset), Error) << offset;
    EXPECT_THROW(buffer.read(&value, sizeof value, offset), Error) << offset;
  }
  const Buffer shorter(GetParam(), "shorter", 4);
  EXPECT_THROW(buffer.copy_from(shorter, 5), Error);
  try {
    buffer.read(&value, sizeof value, 16);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("a named buffer"), std::string::npos) << error.what();
  }
}

TEST_P(BufferOn, CarriesAStack) {
  StackMemory stack("stack", 1024, GetParam());
  EXPECT_EQ(stack.capacity(), 1024u);
  stack.allocate("part", 256);
  EXPECT_THROW(stack.allocate("too much", 1024), Error);
}

INSTANTIATE_TEST_SUITE_P(Devices, BufferOn, ::testing::Values(Device::kCpu, Device::kCuda),
                         [](const auto& info) { return std::string(name_of(info.param)); });

TEST(OwnScratch, IsWhatTheCallsTake) {
  const std::vector<float> vectors = {1, 0, 0, 1, 1, 1};
  std::vector<std::int32_t> indices(3);
  std::vector<float> scores(3);
  TopKArguments arguments;
  arguments.queries_count = arguments.candidates_count = 3;
  arguments.width = 2;
  arguments.queries = arguments.candidates = vectors.data();
  arguments.indices = indices.data();
  arguments.scores = scores.data();
  const Context context;
  int calls = 0;
  const OwnScratch scratch(context, "test", [&](const Context& dry) {
    EXPECT_TRUE(dry.dry_run);
    ++calls;
    top_k(dry, arguments);
  });
  EXPECT_EQ(calls, 1);
  ASSERT_TRUE(scratch.made());
  EXPECT_FALSE(OwnScratch().made());
  EXPECT_EQ(scores, std::vector<float>(3, 0)) << "nothing has run";
  const Context real = scratch.in(context);
  EXPECT_FALSE(real.dry_run);
  top_k(real, arguments);
  EXPECT_EQ(indices, (std::vector<std::int32_t>{0, 1, 2}));
  EXPECT_GT(real.scratch->peak(), 0u);
  EXPECT_EQ(real.scratch->peak(), real.scratch->capacity());
}

}  // namespace
}  // namespace koine
