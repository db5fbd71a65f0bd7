// Where KOINE_KERNEL_COUNTS names a folder, this program leaves there what the host implementation ran, a file a process:
// for tools/gpu/compile_kernels.py --counts, which compares the shared memory of each launch with the committed table.

#if !defined(KOINE_HAVE_CUDA)

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "kernels/cuda/host/execution.h"

namespace koine {
namespace {

class KernelCounts : public ::testing::Environment {
 public:
  void TearDown() override {
    const char* folder = std::getenv("KOINE_KERNEL_COUNTS");
    const std::vector<cuda::host::KernelCount> counts = cuda::host::kernel_counts();
    if (folder == nullptr || *folder == '\0' || counts.empty() || cuda::host::watches_races())
      return;  // they are counted once
    std::filesystem::create_directories(folder);
    // Processes of one run of ctest may have the same number one after the other.
    const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
    const std::string name = std::to_string(getpid()) + "-" + std::to_string(now) + ".json";
    std::ofstream file(std::filesystem::path(folder) / name);
    const char* separator = "[";
    for (const cuda::host::KernelCount& one : counts) {
      file << separator << "{\"kernel\": \"" << one.kernel << "\", \"launches\": " << one.launches
           << ", \"threads\": " << one.threads << ", \"largest_block\": " << one.largest_block
           << ", \"largest_shared_bytes\": " << one.largest_shared_bytes << "}";
      separator = ",\n";
    }
    file << "]\n";
    EXPECT_TRUE(file.good()) << folder << ": cannot be written";
  }
};

const auto* const environment = ::testing::AddGlobalTestEnvironment(new KernelCounts);

}  // namespace
}  // namespace koine

#endif
