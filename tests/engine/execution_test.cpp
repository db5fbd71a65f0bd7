#include "engine/execution/execution.h"

#include <gtest/gtest.h>

#include "kernels/common/check.h"
#include "kernels/cuda/runtime.h"

namespace koine {
namespace {

TEST(Execution, IsOnTheCpuInFp32UnlessItSaysOtherwise) {
  const Execution execution;
  const Context context = context_of(execution);
  EXPECT_EQ(context.device, Device::kCpu);
  EXPECT_EQ(context.architecture, 0);
  EXPECT_EQ(context.forced, &execution.forced_variants);
  EXPECT_EQ(execution.precision, DType::kFloat32);
  EXPECT_EQ(execution.communicator, nullptr);
}

TEST(Execution, OfADeviceThatIsNotHereIsPlannedFor) {
  Execution execution;
  execution.device = Device::kCuda;
  execution.device_index = cuda::device_count();
  EXPECT_EQ(context_of(execution).device, Device::kCuda);
  EXPECT_EQ(context_of(execution).architecture, kPlannedArchitecture);
  EXPECT_THROW(use_device(execution), Error);
  if (execution.device_index == 0) return;
  execution.device_index = 0;
  EXPECT_EQ(context_of(execution).architecture, cuda::device_properties(0).architecture);
  use_device(execution);
  EXPECT_EQ(cuda::current_device(), 0);
}

}  // namespace
}  // namespace koine
