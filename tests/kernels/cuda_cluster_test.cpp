// Clusters of blocks, and the device the host implementation says it is.

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "kernels/common/check.h"
#include "kernels/cuda/runtime.h"
#include "tests/kernels/cluster_probe.h"

namespace koine::cuda {
namespace {

std::vector<std::int32_t> probe(Index3 grid, Index3 cluster) {
  const std::size_t bytes = std::size_t{grid.x} * grid.y * grid.z * 2 * sizeof(std::int32_t);
  const DeviceMemory memory("a probe", bytes);
  const Stream stream;
  launch_cluster_probe(grid, cluster, static_cast<std::int32_t*>(memory.data()), stream.handle());
  std::vector<std::int32_t> result(bytes / sizeof(std::int32_t));
  copy_to_host(result.data(), memory.data(), bytes, stream.handle());
  synchronize(stream.handle());
  return result;
}

#if !defined(KOINE_HAVE_CUDA)
/// The host implementation is such a device as long as this lives.
class Emulated {
 public:
  explicit Emulated(int architecture) : before_(host::architecture()) { host::set_architecture(architecture); }
  ~Emulated() { host::set_architecture(before_); }
  Emulated(const Emulated&) = delete;
  Emulated& operator=(const Emulated&) = delete;

 private:
  int before_;
};

std::string refusal(Index3 grid, Index3 cluster) {
  try {
    probe(grid, cluster);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(CudaClusters, TheHostIsTheDeviceItIsToldToBe) {
  EXPECT_EQ(device_properties(0).architecture, 80);
  for (const int architecture : {90, 100}) {
    const Emulated device(architecture);
    EXPECT_EQ(device_properties(0).architecture, architecture);
  }
  EXPECT_EQ(device_properties(0).architecture, 80);
}

TEST(CudaClusters, WhatADeviceRefusesIsRefused) {
  const auto says = [](const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; };
  EXPECT_TRUE(says(refusal({4}, {2}), "clusters of blocks need compute capability 9.0, this device has 8.0"));
  const Emulated device(90);
  EXPECT_EQ(refusal({4}, {2}), "");
  EXPECT_TRUE(says(refusal({5}, {2}), "extent x of the grid, 5, is not a multiple of the cluster's, 2"));
  EXPECT_TRUE(says(refusal({4, 3}, {2, 2}), "extent y of the grid, 3, is not a multiple of the cluster's, 2"));
  EXPECT_TRUE(says(refusal({16}, {16}), "a cluster has 1 to 8 blocks, not 16"));
  EXPECT_TRUE(says(refusal({4}, {0}), "a cluster has 1 to 8 blocks, not 0"));
  const std::string text = refusal({5}, {2});
  EXPECT_TRUE(says(text, "cluster_probe") && says(text, "grid 5 x 1 x 1 in clusters of 2 x 1 x 1")) << text;
}
#endif

TEST(CudaClusters, ABlockKnowsItsCluster) {
#if defined(KOINE_HAVE_CUDA)
  if (device_count() == 0 || device_properties(0).architecture != 90) GTEST_SKIP() << "no device of 9.0";
#else
  const Emulated device(90);
#endif
  EXPECT_EQ(probe({4}, {2}), (std::vector<std::int32_t>{0, 2, 1, 2, 0, 2, 1, 2}));
  EXPECT_EQ(probe({2, 2}, {1, 2}), (std::vector<std::int32_t>{0, 2, 0, 2, 1, 2, 1, 2}));
  EXPECT_EQ(probe({3}, {}), (std::vector<std::int32_t>{0, 1, 0, 1, 0, 1}));
}

}  // namespace
}  // namespace koine::cuda
