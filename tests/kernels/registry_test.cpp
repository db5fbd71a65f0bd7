#include <filesystem>
#include <fstream>
#include <set>

#include "kernels/operations.h"
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

// An operation of the tests alone, with a variant for one architecture before the portable one.
struct WindowArguments {};
std::string launched;
template <int kWhich>
void launch_window(const Context&, const WindowArguments&, void*) {
  launched = kWhich == 0 ? "sm90" : "portable";
}

}  // namespace

template <>
const Operation<WindowArguments>& operation<WindowArguments>() {
  static const Operation<WindowArguments> table = {
      "window",
      [](const WindowArguments&) {},
      nullptr,
      nullptr,
      {{"sm90", Device::kCuda, kOnly90, nullptr, nullptr, launch_window<0>},
       {"portable", Device::kCuda, kFrom80, nullptr, nullptr, launch_window<1>}}};
  return table;
}

namespace {

TEST(Registry, CodeForOneArchitectureRunsOnNoOther) {
  const auto runs = [](int architecture) {
    Context context;
    context.device = Device::kCuda;
    context.architecture = architecture;
    run(context, WindowArguments{});
    return launched;
  };
  EXPECT_EQ(runs(80), "portable");
  EXPECT_EQ(runs(89), "portable");
  EXPECT_EQ(runs(90), "sm90");
  EXPECT_EQ(runs(100), "portable");
  EXPECT_EQ(runs(120), "portable");
  EXPECT_THROW(runs(75), Error);
  EXPECT_FALSE(kOnly90.holds(100));
  EXPECT_TRUE(kFrom90.holds(100));
}

// A forced variant is no way round its window.
TEST(Registry, AForcedVariantHasItsWindowToo) {
  const std::map<std::string, std::string, std::less<>> forced = {{"window", "sm90"}};
  Context context;
  context.device = Device::kCuda;
  context.forced = &forced;
  context.architecture = 90;
  EXPECT_EQ(choose_variant(context, WindowArguments{}).name, "sm90");
  context.architecture = 100;
  EXPECT_THROW(choose_variant(context, WindowArguments{}), Error);
}

TEST(Registry, NamesAreSorted) {
  const std::vector<OperationSummary> operations = all_operations();
  EXPECT_TRUE(std::is_sorted(operations.begin(), operations.end(),
                             [](const auto& left, const auto& right) { return left.name < right.name; }));
}

}  // namespace
}  // namespace koine
