#include "engine/execution/execution.h"

#include <gtest/gtest.h>

#include <fstream>

#include "engine/execution/energy_meter.h"
#include "kernels/common/check.h"
#include "kernels/cuda/runtime.h"
#include "temporary_folder.h"

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

/// A folder as powercap shows it. Two packages; their parts, the whole platform and the second way to the first package are
/// not counted.
TEST(EnergyMeter, AddsUpThePackages) {
  const TemporaryFolder folder;
  const auto zone = [&](const std::string& path, const std::string& name, const std::string& energy) {
    std::filesystem::create_directories(folder / path);
    std::ofstream(folder / (path + "/name")) << name << "\n";
    std::ofstream(folder / (path + "/energy_uj")) << energy << "\n";
    std::ofstream(folder / (path + "/max_energy_range_uj")) << "262143328850\n";
  };
  EnergyMeter none(folder.path());
  EXPECT_FALSE(none.joules().has_value());
  EXPECT_EQ(none.reason(), folder.path().string() + ": there is no counter of a processor's package");
  zone("intel-rapl:0", "package-0", "1000000");
  zone("intel-rapl:1", "package-1", "262143000000");
  zone("intel-rapl:2", "psys", "5");
  zone("intel-rapl:0:0", "core", "7");
  zone("intel-rapl-mmio:0", "package-0", "9");
  EnergyMeter meter(folder.path());
  EXPECT_DOUBLE_EQ(meter.joules().value(), 0);
  zone("intel-rapl:0", "package-0", "3500000");
  for (const char* other : {"intel-rapl:2", "intel-rapl:0:0", "intel-rapl-mmio:0"}) zone(other, "core", "900000000");
  EXPECT_DOUBLE_EQ(meter.joules().value(), 2.5);
  zone("intel-rapl:1", "package-1", "1000000");  // began anew: 0.32885 J to its end, then 1 J
  EXPECT_DOUBLE_EQ(meter.joules().value(), 2.5 + 1.32885);
  EXPECT_EQ(meter.reason(), "");
  zone("intel-rapl:1", "package-1", "not a number");
  EXPECT_FALSE(meter.joules().has_value());
  EnergyMeter unreadable(folder.path());
  EXPECT_FALSE(unreadable.joules().has_value());
  for (EnergyMeter* one : {&meter, &unreadable}) {
    EXPECT_NE(one->reason().find("intel-rapl:1/energy_uj cannot be read"), std::string::npos) << one->reason();
  }
}

}  // namespace
}  // namespace koine
