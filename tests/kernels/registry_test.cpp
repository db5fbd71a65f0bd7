#include <filesystem>
#include <fstream>
#include <set>

#include "kernels/gemm/gemm.h"
#include "kernels/operations.h"
#include "tests/kernels/suite.h"

namespace koine {
namespace {

// A false flag beside what a pointer left in the bytes between two members.
TEST(Cases, OnlyPointersAreTakenForPointers) {
  struct Flagged {
    const void* array;
    bool flag;
  };
  constexpr std::uintptr_t kInside = 0x555512345600, kThere = 0x777701;
  alignas(Flagged) unsigned char bytes[sizeof(Flagged)];
  const std::uintptr_t words[] = {kInside, kInside};
  static_assert(sizeof words == sizeof bytes);
  std::memcpy(bytes, words, sizeof bytes);
  const auto translate = [](void* word) {
    return reinterpret_cast<std::uintptr_t>(word) == kInside ? reinterpret_cast<void*>(kThere) : word;
  };
  const Flagged moved = cases::with_pointers(*reinterpret_cast<const Flagged*>(bytes), translate);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(moved.array), kThere);
  EXPECT_FALSE(moved.flag);
}

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
struct WindowArguments {
  std::uint64_t shape = 0;
};
std::string launched;
template <int kWhich>
void launch_window(const Context&, const WindowArguments&, void*) {
  launched = kWhich == 0 ? "sm90" : "portable";
}
int keys_made = 0;

}  // namespace

template <>
const Operation<WindowArguments>& operation<WindowArguments>() {
  static const Operation<WindowArguments> table = {
      "window",
      [](const WindowArguments&) {},
      nullptr,
      nullptr,
      {{"sm90", Device::kCuda, kOnly90, nullptr, nullptr, launch_window<0>},
       {"portable", Device::kCuda, kFrom80, nullptr, nullptr, launch_window<1>},
       {"cpu", Device::kCpu, kAnyArchitecture, nullptr, nullptr, launch_window<2>},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, launch_window<3>}},
      [](const WindowArguments& arguments) {
        ++keys_made;
        return arguments.shape;
      },
      [](std::uint64_t key) { return concatenate("shape ", key); }};
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

constexpr TunedVariant kMeasured[] = {
    {"another", 90, 7, "sm90"}, {"window", 90, 7, "portable"}, {"window", 100, 7, "sm90"},   {"window", 90, 8, "nobody"},
    {"window", 90, 9, "sm90"},  {"window", 80, 9, "portable"}, {"window", 0, 7, "reference"}};

Context tuned_context(Device device, int architecture) {
  Context context;
  context.device = device;
  context.architecture = architecture;
  context.tuning = kMeasured;
  return context;
}

TEST(Registry, TheTableOfMeasurementsDecidesByShapeAndArchitecture) {
  const auto runs = [](int architecture, std::uint64_t shape) {
    return choose_variant(tuned_context(Device::kCuda, architecture), WindowArguments{shape}).name;
  };
  EXPECT_EQ(runs(90, 6), "sm90") << "not measured: the first";
  EXPECT_EQ(runs(90, 7), "portable");
  EXPECT_EQ(runs(90, 8), "sm90") << "a variant that is not there";
  EXPECT_EQ(runs(100, 7), "portable") << "a variant that does not run there";
  EXPECT_EQ(runs(89, 7), "portable");
  EXPECT_EQ(choose_variant(tuned_context(Device::kCpu, 0), WindowArguments{7}).name, "cpu");

  const std::map<std::string, std::string, std::less<>> forced = {{"window", "sm90"}};
  Context context = tuned_context(Device::kCuda, 90);
  context.forced = &forced;
  EXPECT_EQ(choose_variant(context, WindowArguments{7}).name, "sm90") << "forced before measured";
}

TEST(Registry, NoKeyIsMadeForAnEmptyTable) {
  Context context;
  context.device = Device::kCuda;
  context.architecture = 90;
  context.tuning = {};
  keys_made = 0;
  run(context, WindowArguments{7});
  EXPECT_EQ(launched, "sm90");
  EXPECT_EQ(keys_made, 0);
  context.tuning = kMeasured;
  run(context, WindowArguments{7});
  EXPECT_EQ(launched, "portable");
  EXPECT_EQ(keys_made, 1);
}

// `koine doctor` and run() decide by the same table.
TEST(Registry, ASummarySaysWhatRunsByShape) {
  const OperationSummary summary = summary_of(operation<WindowArguments>());
  const VariantChoice hopper = variant_choice(tuned_context(Device::kCuda, 90), summary);
  EXPECT_EQ(hopper.variant, "sm90");
  ASSERT_EQ(hopper.shapes.size(), 1u) << "rows that change nothing are not told";
  EXPECT_EQ(hopper.shapes[0].text, "shape 7");
  EXPECT_EQ(hopper.shapes[0].variant, "portable");
  const VariantChoice later = variant_choice(tuned_context(Device::kCuda, 100), summary);
  EXPECT_EQ(later.variant, "portable");
  EXPECT_TRUE(later.shapes.empty());
  EXPECT_EQ(variant_choice(tuned_context(Device::kCuda, 70), summary).variant, "");
  EXPECT_EQ(variant_choice(tuned_context(Device::kCpu, 0), summary).variant, "cpu");

  const std::map<std::string, std::string, std::less<>> forced = {{"window", "portable"}};
  Context context = tuned_context(Device::kCuda, 90);
  context.forced = &forced;
  const VariantChoice choice = variant_choice(context, summary);
  EXPECT_TRUE(choice.forced && choice.variant == "portable" && choice.shapes.empty());
}

TEST(Registry, TheKeyOfAProductTellsItsParts) {
  const Operation<GemmArguments>& table = operation<GemmArguments>();
  GemmArguments product;
  const auto text = [&] { return table.tuning_text(table.tuning_key(product)); };
  product.m = 3000, product.n = 1, product.k = 1024;
  EXPECT_EQ(text(), "nn 4096x1x1024 fp32 to fp32");
  const float bias = 0;
  product.transpose_b = true;
  product.input_type = DType::kBFloat16;
  product.bias = &bias;
  product.epilogue = GemmEpilogue::kGelu;
  EXPECT_EQ(text(), "nt 4096x1x1024 bf16 to fp32 gelu bias");
  product.transpose_a = product.accumulate = true;
  product.transpose_b = false;
  product.output_type = DType::kBFloat16;
  product.bias = nullptr;
  product.residual = &bias;
  product.epilogue = GemmEpilogue::kGeluGradient;
  product.dropout.rate = 0.1f;
  EXPECT_EQ(text(), "tn 4096x1x1024 bf16 to bf16 gelu gradient residual dropout accumulate");
}

TEST(Registry, NamesAreSorted) {
  const std::vector<OperationSummary> operations = all_operations();
  EXPECT_TRUE(std::is_sorted(operations.begin(), operations.end(),
                             [](const auto& left, const auto& right) { return left.name < right.name; }));
}

}  // namespace
}  // namespace koine
