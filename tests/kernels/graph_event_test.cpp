// An event within a recorded graph: streams outside wait for it, launch after launch.

#include <gtest/gtest.h>

#include <cstdint>

#include "kernels/common/buffer.h"
#include "kernels/cuda/runtime.h"

namespace koine::cuda {
namespace {

TEST(CudaGraph, MarksItsEventsAnewAtEveryLaunch) {
  if (device_count() == 0) GTEST_SKIP() << "CUDA finds no device";
  const Buffer source = Buffer::zeroed(Device::kCuda, "source", sizeof(std::int64_t));
  const Buffer target = Buffer::zeroed(Device::kCuda, "target", sizeof(std::int64_t));
  const PinnedMemory given(sizeof(std::int64_t));
  const PinnedMemory found(sizeof(std::int64_t));
  const Stream working, waiting;
  Event copied;
  Graph::begin_recording(working.handle());
  copy_on_device(target.data(), source.data(), sizeof(std::int64_t), working.handle());
  copied.record(working.handle());
  fill_with_zero(source.data(), sizeof(std::int64_t), working.handle());
  const Graph graph = Graph::end_recording(working.handle());
  EXPECT_TRUE(copied.passed()) << "nothing has been launched";
  for (std::int64_t round = 1; round <= 40; ++round) {
    *static_cast<std::int64_t*>(given.data()) = round;
    copy_to_device(source.data(), given.data(), sizeof(std::int64_t), working.handle());
    graph.launch(working.handle());
    copied.wait_on(waiting.handle());
    copy_to_host(found.data(), target.data(), sizeof(std::int64_t), waiting.handle());
    synchronize(waiting.handle());
    ASSERT_EQ(*static_cast<const std::int64_t*>(found.data()), round);
    EXPECT_TRUE(copied.passed());
    synchronize(working.handle());
  }
}

}  // namespace
}  // namespace koine::cuda
