// The optimizers beside AdamW, against what published implementations leave after 20 steps: tests/fixtures/optimizers, which
// tools/make_optimizer_fixtures.py writes.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "engine/optimizer/optimizer.h"
#include "engine/settings/setting_keys.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/cuda/runtime.h"
#include "tests/engine/temporary_folder.h"

namespace koine {
namespace {

constexpr int kFixtureSteps = 20;
constexpr double kFixtureRate = 0.01;

ParameterTable fixture_table() {
  ParameterTable table;
  table.add({"small.weight", {6, 10}, true});
  table.add({"small.bias", {10}, false});
  table.add({"table", {32, 6}, true});
  table.add({"large.weight", {130, 129}, true});
  table.add({"tall.weight", {300, 20}, true});
  table.add({"norm", {33}, false});
  return table;
}

/// value() of tools/make_optimizer_fixtures.py.
std::vector<float> fixture_values(const ParameterSpec& spec, int place, int step) {
  std::vector<float> values(static_cast<std::size_t>(spec.count()));
  const std::int64_t width = spec.shape.back();
  for (std::int64_t i = 0; i < spec.count(); ++i) {
    std::uint64_t mixed = static_cast<std::uint64_t>(i) * 2654435761u + static_cast<std::uint64_t>(step) * 40503 +
                          static_cast<std::uint64_t>(place) * 977 + 12345;
    mixed %= std::uint64_t{1} << 32;
    mixed = (mixed ^ (mixed >> 15)) * 2246822519u % (std::uint64_t{1} << 32);
    const double uniform = static_cast<double>(mixed >> 16) / 65536 - 0.5;
    const auto exponent = step == 0 ? -3 : static_cast<int>(i / width % 5 - i % width % 3);
    values[static_cast<std::size_t>(i)] = static_cast<float>(std::ldexp(uniform, exponent));
  }
  return values;
}

/// A store with the fixture's weights, and an optimizer.
struct RuleRun {
  RuleRun(const TrainingSettings& settings, Device device, DType type = DType::kFloat32, ParameterTable of = fixture_table())
      : store(std::move(of), type, true, device), optimizer(store, settings, false) {
    context.device = device;
    if (device == Device::kCuda) {
      stream = std::make_unique<cuda::Stream>();
      context.stream = stream->handle();
      context.architecture = cuda::device_properties(0).architecture;
    }
    for (int index = 0; index < store.table().size(); ++index) {
      store.write(ParameterStore::Values::kMaster, index, fixture_values(store.table()[index], index, 0).data());
    }
    store.refresh_working(context);
  }
  void take_steps(int first, int last) {
    for (int step = first; step <= last; ++step) {
      for (int index = 0; index < store.table().size(); ++index) {
        store.write(ParameterStore::Values::kGradient, index, fixture_values(store.table()[index], index, step).data());
      }
      EXPECT_TRUE(std::isfinite(optimizer.step(context, kFixtureRate)));
    }
  }
  std::vector<float> weights() const { return store.read_all(ParameterStore::Values::kMaster); }
  std::unique_ptr<cuda::Stream> stream;
  Context context;
  ParameterStore store;
  Optimizer optimizer;
};

/// As bytes: what a checkpoint would hold of the state.
std::vector<std::byte> state_bytes_of(Optimizer& optimizer) {
  std::vector<std::byte> all;
  for (const TensorSource& source : optimizer.state().tensors()) {
    std::int64_t count = 1;
    for (const std::int64_t side : source.shape) count *= side;
    const std::size_t begin = all.size();
    all.resize(begin + static_cast<std::size_t>(count) * (source.dtype == "F32" ? 4 : 1));
    source.read(all.data() + begin);
  }
  return all;
}

/// A rule, its settings and the fixture it is held against.
struct RuleCase {
  const char* fixture;
  OptimizerKind kind;
  bool scale_parameter = false;
  double decay = 0;
};
void PrintTo(const RuleCase& rule, std::ostream* stream) { *stream << rule.fixture; }

TrainingSettings settings_of_rule(const RuleCase& rule) {
  TrainingSettings settings;
  settings.optimizer = rule.kind;
  settings.weight_decay = rule.decay;
  settings.max_grad_norm = 0;
  settings.adam_epsilon = 1e-6;
  settings.adafactor_scale_parameter = rule.scale_parameter;
  return settings;
}

constexpr RuleCase kRuleCases[] = {{"adafactor", OptimizerKind::kAdafactor, false, 0.1},
                                   {"adafactor_scaled", OptimizerKind::kAdafactor, true, 0.1},
                                   {"adafactor_t5", OptimizerKind::kAdafactorT5, false, 0.0},
                                   {"adamw_rms", OptimizerKind::kAdamWRms, false, 0.1},
                                   {"adamw_8bit", OptimizerKind::kAdamW8Bit, false, 0.1}};

class OptimizerRule : public testing::TestWithParam<std::tuple<RuleCase, Device>> {
 protected:
  void SetUp() override {
    if (device() == Device::kCuda && cuda::device_count() == 0) GTEST_SKIP() << "no device";
  }
  const RuleCase& rule() const { return std::get<0>(GetParam()); }
  Device device() const { return std::get<1>(GetParam()); }
};
class PublishedRule : public OptimizerRule {};  // what is kept in 8 bits is this project's own
class RuleOnThreads : public OptimizerRule {};  // of the CPU

TEST_P(PublishedRule, IsAgreedWith) {
  RuleRun run(settings_of_rule(rule()), device());
  run.take_steps(1, kFixtureSteps);
  const SafetensorsFile expected(std::filesystem::path(KOINE_SOURCE_DIR) / "tests/fixtures/optimizers" /
                                 concatenate(rule().fixture, ".safetensors"));
  const std::vector<float> weights = run.weights();
  for (const ParameterSpec& spec : run.store.table().specs()) {
    const std::vector<float> trained = expected.read_float("trained." + spec.name);
    const std::int64_t stride = spec.count() > 1000 ? 7 : 1;
    ASSERT_EQ(std::ssize(trained), (spec.count() + stride - 1) / stride);
    double error = 0;
    double size = 0;
    for (std::size_t i = 0; i < trained.size(); ++i) {
      const double ours =
          static_cast<double>(weights[static_cast<std::size_t>(spec.offset) + i * static_cast<std::size_t>(stride)]);
      error = std::max(error, std::fabs(ours - static_cast<double>(trained[i])));
      size = std::max(size, std::fabs(ours));
    }
    // Weights up to `size` are rounded to fp32 in each of 20 steps; a step adds at most 10 kFixtureRate (the RMS is 1 at most)
    // with the error of about ten roundings, 2^-24 each: together below 20 (size + 1) 2^-24.
    EXPECT_LT(error, kFixtureSteps * (size + 1) * 0x1p-24) << spec.name;
  }
  // State: decayed means of positive numbers, some roundings of each relative to it. R and C of the first step are means over
  // columns or rows, whose sums are in double.
  int compared = 0;
  for (const TensorSource& source : run.optimizer.state().tensors()) {
    if (!expected.tensors().contains(source.name)) continue;
    const std::vector<float> there = expected.read_float(source.name);
    std::vector<float> ours(there.size());
    source.read(ours.data());
    for (std::size_t i = 0; i < there.size(); ++i) EXPECT_NEAR(ours[i] / there[i], 1, 2e-6) << source.name << " " << i;
    ++compared;
  }
  if (rule().kind != OptimizerKind::kAdamWRms) {
    EXPECT_GE(compared, 5);
  }
}

TEST_P(OptimizerRule, ResumedFromItsTensorsContinuesBitForBit) {
  const TemporaryFolder folder;
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    if (device() == Device::kCuda && type == DType::kFloat32) continue;  // once is enough where it is slow
    RuleRun whole(settings_of_rule(rule()), device(), type);
    whole.take_steps(1, 6);
    RuleRun first(settings_of_rule(rule()), device(), type);
    first.take_steps(1, 3);
    write_safetensors(folder / "state.safetensors", first.optimizer.state().tensors());
    RuleRun second(settings_of_rule(rule()), device(), type);
    second.store.write_all(ParameterStore::Values::kMaster, first.weights());
    second.optimizer.state().read(SafetensorsFile(folder / "state.safetensors"));
    second.store.refresh_working(second.context);
    second.optimizer.restore(3);
    second.take_steps(4, 6);
    EXPECT_EQ(whole.weights(), second.weights());
    EXPECT_EQ(state_bytes_of(whole.optimizer), state_bytes_of(second.optimizer));
  }
}

TEST_P(RuleOnThreads, OneIsThreeAndWhatIsCountedIsKept) {
  const int threads = thread_count();
  std::vector<float> results[2];
  for (const int count : {1, 3}) {
    set_thread_count(count);
    RuleRun run(settings_of_rule(rule()), device());
    run.take_steps(1, 2);
    results[count == 1 ? 0 : 1] = run.weights();
    std::size_t bytes = 0;
    for (const auto& part : optimizer_footprint(rule().kind, run.store.table())) bytes += part.bytes;
    // The flat buffers of moments hold what aligns their parameters, too: at most 64 elements each.
    const std::size_t kept = state_bytes_of(run.optimizer).size();
    EXPECT_GE(bytes, kept);
    EXPECT_LE(bytes, kept + 2 * 6 * 64 * sizeof(float));
  }
  set_thread_count(threads);
  EXPECT_EQ(results[0], results[1]);
}

std::string name_of_case(const testing::TestParamInfo<std::tuple<RuleCase, Device>>& info) {
  return concatenate(std::get<0>(info.param).fixture, "_", name_of(std::get<1>(info.param)));
}
const auto kEveryRule = testing::ValuesIn(kRuleCases);
const auto kBothDevices = testing::Values(Device::kCpu, Device::kCuda);
INSTANTIATE_TEST_SUITE_P(Rules, OptimizerRule, testing::Combine(kEveryRule, kBothDevices), name_of_case);
INSTANTIATE_TEST_SUITE_P(Rules, PublishedRule,
                         testing::Combine(testing::ValuesIn(std::begin(kRuleCases), std::end(kRuleCases) - 1), kBothDevices),
                         name_of_case);
INSTANTIATE_TEST_SUITE_P(Rules, RuleOnThreads, testing::Combine(kEveryRule, testing::Values(Device::kCpu)), name_of_case);

// Large matrices in 8 bits; small ones, vectors and embeddings as AdamW has them, to the bit.
TEST(OptimizerRules, EightBitsAreForLargeMatricesAlone) {
  ParameterTable table = fixture_table();
  ParameterSpec embedding{"embedding", {100, 60}, true};
  embedding.embedding = true;
  table.add(embedding);
  RuleRun coded(settings_of_rule({"", OptimizerKind::kAdamW8Bit}), Device::kCpu, DType::kFloat32, table);
  RuleRun plain(settings_of_rule({"", OptimizerKind::kAdamW}), Device::kCpu, DType::kFloat32, table);
  coded.take_steps(1, 5);
  plain.take_steps(1, 5);
  std::vector<std::string> in_codes;
  for (const TensorSource& source : coded.optimizer.state().tensors()) {
    if (source.name.starts_with("second_root_codes.")) in_codes.push_back(source.name.substr(18));
  }
  EXPECT_EQ(in_codes, (std::vector<std::string>{"large.weight", "tall.weight"}));
  const std::vector<float> ours = coded.weights();
  const std::vector<float> exact = plain.weights();
  for (const ParameterSpec& spec : table.specs()) {
    const bool same =
        std::equal(ours.begin() + spec.offset, ours.begin() + spec.offset + spec.count(), exact.begin() + spec.offset);
    EXPECT_EQ(same, std::find(in_codes.begin(), in_codes.end(), spec.name) == in_codes.end()) << spec.name;
  }
  // 2 codes and 2 scales of 4 bytes for each 256 elements; 8 bytes of the others.
  std::size_t bytes = 0;
  for (const auto& part : optimizer_footprint(OptimizerKind::kAdamW8Bit, table)) bytes += part.bytes;
  const std::size_t codes = (16770 + 255) / 256 * 256 + 24 * 256;
  EXPECT_EQ(bytes, 2 * codes + 8 * codes / 256 + 8 * (60 + 10 + 192 + 33 + 6000));
}

TEST(OptimizerRules, FactorsWhatEachFormFactors) {
  const auto names = [](OptimizerKind kind) {
    TrainingSettings settings;
    settings.optimizer = kind;
    ParameterTable table = fixture_table();
    table.add({"middle.weight", {100, 130}, true});  // mesh_tensorflow's own default would factor it
    RuleRun run(settings, Device::kCpu, DType::kFloat32, table);
    std::vector<std::string> factored;
    for (const TensorSource& source : run.optimizer.state().tensors()) {
      if (source.name.starts_with("row_second_moment.")) factored.push_back(source.name.substr(18));
    }
    return factored;
  };
  EXPECT_EQ(names(OptimizerKind::kAdafactor),
            (std::vector<std::string>{"small.weight", "table", "large.weight", "tall.weight", "middle.weight"}));
  EXPECT_EQ(names(OptimizerKind::kAdafactorT5), std::vector<std::string>{"large.weight"});
}

// T5 went on with the step of its pretraining: at 1,000,000 the moments keep all but 1.58e-5 (anything else would be the first
// step's, which keeps nothing).
TEST(OptimizerRules, TheDecayCountsFromTheOffset) {
  TrainingSettings settings = settings_of_rule({"", OptimizerKind::kAdafactorT5});
  settings.adafactor_step_offset = 999999;
  RuleRun run(settings, Device::kCpu);
  run.take_steps(1, 1);
  const std::vector<float> gradient = fixture_values(run.store.table()[1], 1, 1);
  std::vector<float> moments(10);
  for (const TensorSource& source : run.optimizer.state().tensors()) {
    if (source.name == "second_moment.small.bias") source.read(moments.data());
  }
  for (std::size_t i = 0; i < 10; ++i) {
    EXPECT_NEAR(moments[i], std::pow(1e6, -0.8) * std::pow(double{gradient[i]}, 2), 1e-6 * double{moments[i]} + 1e-34);
  }
}

TEST(OptimizerRules, T5sRuleRefusesWeightDecay) {
  TrainingSettings settings;
  settings.optimizer = OptimizerKind::kAdafactorT5;
  try {
    check_settings(settings);
    ADD_FAILURE();
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("weight_decay is 0.01, but must be 0 under optimizer = adafactor_t5"),
              std::string::npos)
        << error.what();
  }
  settings.weight_decay = 0;
  check_settings(settings);
}

}  // namespace
}  // namespace koine
