#include "kernels/common/registry.h"

#include <filesystem>
#include <fstream>
#include <set>

#include "tests/kernels/suite.h"

namespace koine {
namespace {

TEST(Registry, EveryOperationHasAReferenceAndAVariantForEachDevice) {
  std::set<std::string> names;
  for (const OperationSummary& summary : all_operations()) {
    EXPECT_TRUE(names.insert(summary.name).second) << summary.name << " is there twice";
    std::set<std::string> variants;
    std::set<Device> devices;
    for (const OperationSummary::Variant& variant : summary.variants) {
      EXPECT_TRUE(variants.insert(variant.name).second) << summary.name << " has two variants " << variant.name;
      if (variant.name != kReference) devices.insert(variant.device);
    }
    EXPECT_EQ(variants.count(std::string(kReference)), 1u) << summary.name;
    EXPECT_EQ(summary.variants.back().name, kReference) << summary.name;
    EXPECT_EQ(devices.count(Device::kCpu), 1u) << summary.name << " has nothing a user could run on a CPU";
    EXPECT_EQ(devices.count(Device::kCuda), 1u) << summary.name << " has nothing a user could run on a GPU";
  }
}

// Every header under kernels/ that runs arguments through the registry is in the list: as many run(context, arguments) as
// names.
TEST(Registry, ListsEveryOperation) {
  std::size_t runs = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(KOINE_SOURCE_DIR "/kernels")) {
    if (entry.path().extension() != ".h" || entry.path().filename() == "registry.h") continue;
    std::ifstream file(entry.path());
    const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const std::string call = "run(context, arguments)";
    for (std::size_t at = text.find(call); at != std::string::npos; at = text.find(call, at + 1)) ++runs;
  }
  EXPECT_GT(runs, 0u);
  EXPECT_EQ(all_operations().size(), runs);
}

TEST(Registry, NamesAreSorted) {
  const std::vector<OperationSummary> operations = all_operations();
  EXPECT_TRUE(std::is_sorted(operations.begin(), operations.end(),
                             [](const auto& left, const auto& right) { return left.name < right.name; }));
}

}  // namespace
}  // namespace koine
