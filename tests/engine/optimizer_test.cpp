#include "engine/optimizer/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <tuple>
#include <vector>

#include "engine/settings/setting_keys.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/cuda/runtime.h"
#include "kernels/random/random.h"

namespace koine {
namespace {

constexpr std::int64_t kRows = 60;
constexpr std::int64_t kWidth = 13;

ParameterTable table_with_rows() {
  ParameterTable table;
  table.add({"head.weight", {5, kWidth}, true});
  table.add({"head.bias", {5}, false});
  table.add({"norm", {kWidth}, false, Initialisation::kOne});
  ParameterSpec word{"word", {kRows, kWidth}, true};
  word.lazy_rows = true;
  table.add(word);
  table.add({"position", {9, kWidth}, true});
  return table;
}

/// A batch that reads these rows; only by_id counts here.
PackedBatch batch_of(const std::set<std::int32_t>& rows) {
  PackedBatch batch;
  batch.source.by_id.keys.assign(rows.begin(), rows.end());
  return batch;
}

std::set<std::int32_t> some_rows(RandomStream& random, std::int64_t most) {
  std::set<std::int32_t> rows;
  for (std::int64_t i = random.below(most) + 1; i > 0; --i) rows.insert(static_cast<std::int32_t>(random.below(kRows)));
  return rows;
}

using Values = ParameterStore::Values;

void add_gradients(ParameterStore& store, const std::set<std::int32_t>& rows, RandomStream& random) {
  std::vector<float> gradients = store.read_all(Values::kGradient);
  for (int index = 0; index < store.table().size(); ++index) {
    const ParameterSpec& spec = store.table()[index];
    for (std::int64_t i = 0; i < spec.count(); ++i) {
      const bool touched = !spec.lazy_rows || rows.count(static_cast<std::int32_t>(i / kWidth)) != 0;
      if (touched) gradients[static_cast<std::size_t>(spec.offset + i)] += static_cast<float>(random.normal());
    }
  }
  store.write_all(Values::kGradient, gradients);
}

/// The bytes of the working copies, or of the weights where there are none.
std::vector<std::byte> working_bytes(ParameterStore& store) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(store.table().elements()) * size_of(store.compute_type()));
  if (store.device() == Device::kCpu) {
    std::memcpy(bytes.data(), store.working(0), bytes.size());
  } else {
    cuda::copy_to_host(bytes.data(), store.working(0), bytes.size(), nullptr);
    cuda::synchronize(nullptr);
  }
  return bytes;
}

struct Side {
  Side(DType type, bool lazy, const TrainingSettings& settings, Device device = Device::kCpu)
      : store(table_with_rows(), type, true, device, settings.master), optimizer(store, settings, lazy) {
    context.device = device;
    if (device == Device::kCuda) {
      stream = std::make_unique<cuda::Stream>();
      context.stream = stream->handle();
      context.architecture = cuda::device_properties(0).architecture;
    }
    store.initialise(3, 0.1);
    store.refresh_working(context);
  }
  std::unique_ptr<cuda::Stream> stream;
  Context context;
  ParameterStore store;
  Optimizer optimizer;
};

/// The tensors of a state of fp32, one behind the other.
std::vector<float> state_values(Optimizer& optimizer) {
  std::vector<float> all;
  for (const TensorSource& source : optimizer.state().tensors()) {
    std::size_t count = 1;
    for (const std::int64_t side : source.shape) count *= static_cast<std::size_t>(side);
    all.resize(all.size() + count);
    source.read(all.data() + all.size() - count);
  }
  return all;
}

bool same_values(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

bool same_state(Side& a, Side& b) {
  for (const Values values : {Values::kMaster, Values::kGradient}) {
    if (!same_values(a.store.read_all(values), b.store.read_all(values))) return false;
  }
  return same_values(state_values(a.optimizer), state_values(b.optimizer)) &&
         working_bytes(a.store) == working_bytes(b.store);
}

/// The same random sparse gradients for all, `batches` micro-batches a step.
void run_steps(Side& side, std::int64_t first, std::int64_t last, int batches) {
  for (std::int64_t step = first; step < last; ++step) {
    RandomStream random(11, static_cast<std::uint64_t>(step));
    for (int batch = 0; batch < batches; ++batch) {
      const std::set<std::int32_t> rows = some_rows(random, 8);
      side.optimizer.prepare_rows(side.context, batch_of(rows));
      add_gradients(side.store, rows, random);
    }
    side.optimizer.step(side.context, 1e-2 / static_cast<double>(step + 1));
  }
}

bool no_device() { return cuda::device_count() == 0; }

class LazyIsDense : public testing::TestWithParam<std::tuple<DType, Device>> {
 protected:
  void SetUp() override {
    if (device() == Device::kCuda && no_device()) GTEST_SKIP() << "no device";
  }
  DType type() const { return std::get<0>(GetParam()); }
  Device device() const { return std::get<1>(GetParam()); }
};

TEST_P(LazyIsDense, BitForBitOverManySparseSteps) {
  const TrainingSettings settings;
  Side dense(type(), false, settings, device());
  Side lazy(type(), true, settings, device());
  run_steps(dense, 0, 40, 2);
  run_steps(lazy, 0, 40, 2);
  EXPECT_FALSE(same_state(dense, lazy)) << "no row was left behind: the test shows nothing";
  lazy.optimizer.catch_up(lazy.context);
  EXPECT_TRUE(same_state(dense, lazy));
}

TEST_P(LazyIsDense, CatchingUpInBetweenChangesNothing) {
  const TrainingSettings settings;
  Side plain(type(), true, settings, device());
  Side interrupted(type(), true, settings, device());
  run_steps(plain, 0, 20, 1);
  plain.optimizer.catch_up(plain.context);
  run_steps(interrupted, 0, 7, 1);
  interrupted.optimizer.catch_up(interrupted.context);
  interrupted.optimizer.catch_up(interrupted.context);
  run_steps(interrupted, 7, 20, 1);
  interrupted.optimizer.catch_up(interrupted.context);
  EXPECT_TRUE(same_state(plain, interrupted));
}

TEST_P(LazyIsDense, RestoredContinuesBitForBit) {
  const TrainingSettings settings;
  Side plain(type(), true, settings, device());
  run_steps(plain, 0, 20, 1);
  plain.optimizer.catch_up(plain.context);
  Side first(type(), true, settings, device());
  run_steps(first, 0, 9, 1);
  first.optimizer.catch_up(first.context);
  Side second(type(), true, settings, device());
  second.store.write_all(Values::kMaster, first.store.read_all(Values::kMaster));
  second.optimizer.moments().first().copy_from(first.optimizer.moments().first(), first.optimizer.moments().first().bytes());
  second.optimizer.moments().second().copy_from(first.optimizer.moments().second(),
                                                first.optimizer.moments().second().bytes());
  second.store.refresh_working(second.context);
  second.optimizer.restore(9);
  run_steps(second, 9, 20, 1);
  second.optimizer.catch_up(second.context);
  EXPECT_EQ(second.optimizer.steps(), 20);
  EXPECT_TRUE(same_state(plain, second));
}

// Rows of an embedding have fp32 moments there, too.
TEST_P(LazyIsDense, WithOtherMomentsIn8Bits) {
  TrainingSettings settings;
  settings.optimizer = OptimizerKind::kAdamW8Bit;
  Side dense(type(), false, settings, device());
  Side lazy(type(), true, settings, device());
  run_steps(dense, 0, 12, 2);
  run_steps(lazy, 0, 12, 2);
  EXPECT_FALSE(same_state(dense, lazy)) << "no row was left behind: the test shows nothing";
  lazy.optimizer.catch_up(lazy.context);
  EXPECT_TRUE(same_state(dense, lazy));
}

INSTANTIATE_TEST_SUITE_P(Precisions, LazyIsDense,
                         testing::Combine(testing::Values(DType::kFloat32, DType::kBFloat16),
                                          testing::Values(Device::kCpu, Device::kCuda)),
                         [](const auto& info) {
                           return concatenate(name_of(std::get<0>(info.param)), "_", name_of(std::get<1>(info.param)));
                         });

// --- on a device --------------------------------------------------------------------------------------------------------

/// The update is the same operations in the same order on both devices, but that a processor without fused multiply-adds
/// rounds more often. The norm is summed in another order, in double: the factor made of it could differ in the last bit of
/// its float, with a chance of about 2^-29 a step.
bool processor_fuses() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("fma") != 0;
#else
  return true;
#endif
}

TrainingSettings clipping_settings() {
  TrainingSettings settings;
  settings.max_grad_norm = 0.5;  // far below the norm of hundreds of normal numbers
  return settings;
}

class OptimizerOnDevice : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (no_device()) GTEST_SKIP() << "no device";
    if (!processor_fuses()) GTEST_SKIP() << "this processor has no fused multiply-add";
  }
};

TEST_P(OptimizerOnDevice, AgreesWithTheCpuBitForBit) {
  for (const bool lazy : {false, true}) {
    Side cpu(GetParam(), lazy, clipping_settings());
    Side device(GetParam(), lazy, clipping_settings(), Device::kCuda);
    run_steps(cpu, 0, 20, 2);
    run_steps(device, 0, 20, 2);
    EXPECT_TRUE(same_state(cpu, device)) << "lazy " << lazy;
    cpu.optimizer.catch_up(cpu.context);
    device.optimizer.catch_up(device.context);
    EXPECT_TRUE(same_state(cpu, device)) << "lazy " << lazy;
    EXPECT_EQ(cpu.optimizer.norm(cpu.context), device.optimizer.norm(device.context));
    EXPECT_GT(cpu.optimizer.norm(cpu.context), 0.5);
  }
}

// Steps without a wait in between, many more than there are slots for uploads; gradients only in the first.
TEST_P(OptimizerOnDevice, TheHostMayRunAhead) {
  Side cpu(GetParam(), true, clipping_settings());
  Side device(GetParam(), true, clipping_settings(), Device::kCuda);
  for (Side* side : {&cpu, &device}) {
    run_steps(*side, 0, 1, 1);
    for (std::int64_t step = 1; step < 5 * Optimizer::kUploads; ++step) {
      RandomStream random(12, static_cast<std::uint64_t>(step));
      side->optimizer.prepare_rows(side->context, batch_of(some_rows(random, 8)));
      side->optimizer.enqueue_step(side->context, 1e-2 / static_cast<double>(step + 1));
    }
  }
  EXPECT_EQ(device.optimizer.steps(), 5 * Optimizer::kUploads);
  EXPECT_TRUE(same_state(cpu, device));
}

TEST_P(OptimizerOnDevice, ARecordedStepIsReplayed) {
  constexpr std::int64_t kMostRows = 32;
  Side cpu(GetParam(), true, clipping_settings());
  Side device(GetParam(), true, clipping_settings(), Device::kCuda);
  cuda::Graph rows;
  cuda::Graph step;
  run_steps(cpu, 0, 20, 2);
  run_steps(device, 0, 3, 2);
  for (std::int64_t number = 3; number < 20; ++number) {
    RandomStream random(11, static_cast<std::uint64_t>(number));
    for (int batch = 0; batch < 2; ++batch) {
      const std::set<std::int32_t> touched = some_rows(random, 8);
      device.optimizer.upload_rows(device.context, batch_of(touched));
      if (rows.empty()) {
        cuda::Graph::begin_recording(device.context.stream);
        device.optimizer.launch_rows(device.context, kMostRows);
        rows = cuda::Graph::end_recording(device.context.stream);
      }
      rows.launch(device.context.stream);
      add_gradients(device.store, touched, random);
    }
    device.optimizer.upload_step(device.context, 1e-2 / static_cast<double>(number + 1));
    if (step.empty()) {
      cuda::Graph::begin_recording(device.context.stream);
      device.optimizer.launch_step(device.context, kMostRows);
      step = cuda::Graph::end_recording(device.context.stream);
    }
    step.launch(device.context.stream);
  }
  EXPECT_TRUE(same_state(cpu, device));
}

TEST_P(OptimizerOnDevice, AStepNeitherWaitsNorAllocates) {
  Side side(GetParam(), true, clipping_settings(), Device::kCuda);
  run_steps(side, 0, 2, 2);
  for (std::int64_t step = 2; step < 12; ++step) {
    RandomStream random(11, static_cast<std::uint64_t>(step));
    const std::set<std::int32_t> rows = some_rows(random, 8);
    add_gradients(side.store, rows, random);  // waits, so that the slots are free again
    const cuda::Trace before = cuda::trace();
    side.optimizer.prepare_rows(side.context, batch_of(rows));
    side.optimizer.enqueue_step(side.context, 1e-3);
    const cuda::Trace after = cuda::trace();
    EXPECT_EQ(after.allocations, before.allocations);
    EXPECT_EQ(after.synchronizations, before.synchronizations);
    EXPECT_EQ(after.launches - before.launches, 5);
    EXPECT_EQ(after.copies - before.copies, 3);
  }
}

// The history of the lazy table starts with room for some thousand steps.
TEST_P(OptimizerOnDevice, TheHistoryGrows) {
  Side cpu(GetParam(), true, clipping_settings());
  Side device(GetParam(), true, clipping_settings(), Device::kCuda);
  for (Side* side : {&cpu, &device}) {
    side->optimizer.restore((1 << 14) - 3);
    run_steps(*side, 0, 8, 1);
    side->optimizer.catch_up(side->context);
  }
  EXPECT_TRUE(same_state(cpu, device));
}

INSTANTIATE_TEST_SUITE_P(Precisions, OptimizerOnDevice, testing::Values(DType::kFloat32, DType::kBFloat16),
                         [](const auto& info) { return std::string(name_of(info.param)); });

// --- masters that are not fp32 ------------------------------------------------------------------------------------------

class OptimizerMasters : public testing::TestWithParam<std::tuple<OptimizerKind, Device>> {
 protected:
  void SetUp() override {
    if (device() == Device::kCuda && no_device()) GTEST_SKIP() << "no device";
  }
  Device device() const { return std::get<1>(GetParam()); }
  static TrainingSettings settings_with(MasterKind master) {
    TrainingSettings settings;
    settings.optimizer = std::get<0>(GetParam());
    settings.master = master;
    settings.adam_epsilon = 1e-4;
    return settings;
  }
};

// Weights, moments and cleared gradients of many steps. The working weights are the nearest bf16, too, but that a tie goes to
// the one farther from zero.
TEST_P(OptimizerMasters, RemaindersAreFp32MastersBitForBit) {
  Side usual(DType::kBFloat16, false, settings_with(MasterKind::kFloat32), device());
  Side split(DType::kBFloat16, true, settings_with(MasterKind::kRemainder), device());
  for (Side* side : {&usual, &split}) run_steps(*side, 0, 25, 2);
  split.optimizer.catch_up(split.context);
  for (const Values values : {Values::kMaster, Values::kGradient})
    EXPECT_TRUE(same_values(usual.store.read_all(values), split.store.read_all(values)));
  EXPECT_TRUE(same_values(state_values(usual.optimizer), state_values(split.optimizer)));
  const std::vector<std::byte> rounded_bytes = working_bytes(usual.store);
  const std::vector<std::byte> kept_bytes = working_bytes(split.store);
  const auto* rounded = reinterpret_cast<const std::uint16_t*>(rounded_bytes.data());
  const auto* kept = reinterpret_cast<const std::uint16_t*>(kept_bytes.data());
  for (int index = 0; index < split.store.table().size(); ++index) {
    const ParameterSpec& spec = split.store.table()[index];
    for (std::int64_t i = spec.offset; i < spec.offset + spec.count() && !spec.in_fp32(); ++i)
      EXPECT_LE(static_cast<std::uint16_t>(kept[i] - rounded[i]), 1) << spec.name;
  }
}

// Of 25 steps of 1e-4 of weights of 0.1, each a fifth of the distance to the next bf16, all would be lost to the nearest one.
TEST_P(OptimizerMasters, WithoutAMasterTheUpdatesArriveOnAverage) {
  TrainingSettings settings = settings_with(MasterKind::kNone);
  settings.weight_decay = 0;
  Side side(DType::kBFloat16, false, settings, device());
  const int word = side.store.table().find("word");
  const auto count = static_cast<std::size_t>(side.store.table()[word].count());
  side.store.write(Values::kMaster, word, std::vector<float>(count, 0.09375f).data());
  for (int step = 0; step < 25; ++step) {
    side.store.write(Values::kGradient, word, std::vector<float>(count, 1.0f).data());
    side.optimizer.step(side.context, 1e-4);
  }
  std::vector<float> weights(count);
  side.store.read(Values::kMaster, word, weights.data());
  double mean = 0;
  for (const float weight : weights) {
    EXPECT_EQ(weight, to_float(to_bfloat16(weight)));
    mean += static_cast<double>(weight) / static_cast<double>(count);
  }
  // 25 roundings of standard deviation below half of 2^-11 each; the mean of 780 of them, four of its deviations. An update is
  // 1e-4 to 1 % (epsilon against gradients that were clipped to a norm of 1).
  EXPECT_NEAR(mean, 0.09375 - 25 * 1e-4, 4 * 2.5 * 0x1p-11 / std::sqrt(780.0) + 25e-6);
}

TEST_P(OptimizerMasters, RoundingDoesNotDependOnThreads) {
  const int threads = thread_count();
  std::vector<std::vector<float>> weights;
  for (const int count : {1, 3}) {
    set_thread_count(count);
    Side side(DType::kBFloat16, false, settings_with(MasterKind::kNone), device());
    run_steps(side, 0, 6, 1);
    weights.push_back(side.store.read_all(Values::kMaster));
  }
  set_thread_count(threads);
  EXPECT_TRUE(same_values(weights[0], weights[1]));
  TrainingSettings other = settings_with(MasterKind::kNone);
  other.seed += 1;
  Side side(DType::kBFloat16, false, other, device());
  run_steps(side, 0, 6, 1);
  EXPECT_FALSE(same_values(weights[0], side.store.read_all(Values::kMaster))) << "the seed names the draws";
}

INSTANTIATE_TEST_SUITE_P(Rules, OptimizerMasters,
                         testing::Combine(testing::Values(OptimizerKind::kAdamW, OptimizerKind::kAdamW8Bit),
                                          testing::Values(Device::kCpu, Device::kCuda)),
                         [](const auto& info) {
                           return concatenate(name_of(std::get<0>(info.param)), "_", name_of(std::get<1>(info.param)));
                         });

TEST(OptimizerSettings, OthersNeedFp32Masters) {
  TrainingSettings settings;
  settings.optimizer = OptimizerKind::kAdafactor;
  settings.master = MasterKind::kRemainder;
  EXPECT_THROW(check_settings(settings), UserError);
  settings.optimizer = OptimizerKind::kAdamW8Bit;
  EXPECT_NO_THROW(check_settings(settings));
}

// --- what a step is -----------------------------------------------------------------------------------------------------

// One step in double, as adamw.h and clip_grad_norm_ define it.
TEST(Optimizer, AStepIsClippedAdamWWithDecayGroups) {
  TrainingSettings settings;
  settings.weight_decay = 0.1;
  settings.max_grad_norm = 0.5;
  Side side(DType::kFloat32, false, settings);
  RandomStream random(2, 0);
  add_gradients(side.store, {1, 5}, random);
  const ParameterTable& table = side.store.table();
  double square = 0;
  std::vector<std::vector<double>> expected;
  for (int index = 0; index < table.size(); ++index) {
    for (std::int64_t i = 0; i < table[index].count(); ++i) square += std::pow(double{side.store.gradient(index)[i]}, 2);
  }
  const double norm = std::sqrt(square);
  const double factor = std::min(1.0, 0.5 / (norm + 1e-6));
  for (int index = 0; index < table.size(); ++index) {
    expected.emplace_back();
    for (std::int64_t i = 0; i < table[index].count(); ++i) {
      const double g = factor * side.store.gradient(index)[i];
      const double m = 0.1 * g / (1 - 0.9);
      const double v = 0.001 * g * g / (1 - 0.999);
      const double decayed = side.store.master(index)[i] * (1 - 1e-3 * (table[index].decay ? 0.1 : 0.0));
      expected.back().push_back(decayed - 1e-3 * m / (std::sqrt(v) + 1e-8));
    }
  }
  // A float norm: one rounding of the square root.
  EXPECT_NEAR(side.optimizer.step(side.context, 1e-3), norm, norm * 0x1p-23);
  for (int index = 0; index < table.size(); ++index) {
    for (std::int64_t i = 0; i < table[index].count(); ++i) {
      const double value = expected[static_cast<std::size_t>(index)][static_cast<std::size_t>(i)];
      // The update is 1e-3 computed with about ten fp32 roundings, the weight is rounded twice.
      EXPECT_NEAR(side.store.master(index)[i], value, 1e-3 * 10 * 0x1p-24 + 2 * std::abs(value) * 0x1p-24 + 1e-12)
          << table[index].name << " " << i;
      EXPECT_EQ(side.store.gradient(index)[i], 0.0f);
    }
  }
}

TEST(Optimizer, WithoutClippingTheNormIsStillReported) {
  TrainingSettings settings;
  settings.max_grad_norm = 0;
  Side side(DType::kFloat32, true, settings);
  side.store.gradient(0)[0] = 3;
  side.store.gradient(1)[2] = 4;
  EXPECT_EQ(side.optimizer.step(side.context, 1e-3), 5.0);
  EXPECT_FLOAT_EQ(static_cast<float*>(side.optimizer.moments().first(1))[2], 0.4f);  // 0.1 * 4: not scaled
}

TEST(Optimizer, ANormThatIsNotFiniteChangesNothing) {
  for (const Device device : {Device::kCpu, Device::kCuda}) {
    if (device == Device::kCuda && no_device()) continue;
    for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
      const TrainingSettings settings;
      Side side(DType::kBFloat16, true, settings, device);
      Side untouched(DType::kBFloat16, true, settings, device);
      const std::int64_t place = side.store.table()[3].offset + 4 * kWidth + 1;
      for (Side* each : {&side, &untouched}) {
        run_steps(*each, 0, 2, 1);
        each->optimizer.prepare_rows(each->context, batch_of({4}));
        std::vector<float> gradients = each->store.read_all(Values::kGradient);
        gradients[static_cast<std::size_t>(place)] = bad;
        each->store.write_all(Values::kGradient, gradients);
      }
      EXPECT_FALSE(std::isfinite(side.optimizer.step(side.context, 1e-3)));
      EXPECT_EQ(side.optimizer.steps(), 2);
      EXPECT_TRUE(same_state(side, untouched));
      side.optimizer.enqueue_step(side.context, 1e-3);
      EXPECT_FALSE(std::isfinite(side.optimizer.norm(side.context)));
      EXPECT_EQ(side.optimizer.steps(), 3);
      EXPECT_TRUE(same_state(side, untouched));
    }
  }
}

TEST(Optimizer, OneThreadIsTwoThreads) {
  const int threads = thread_count();
  const TrainingSettings settings;
  set_thread_count(1);
  Side one(DType::kBFloat16, true, settings);
  run_steps(one, 0, 10, 2);
  set_thread_count(2);
  Side two(DType::kBFloat16, true, settings);
  run_steps(two, 0, 10, 2);
  set_thread_count(threads);
  EXPECT_TRUE(same_state(one, two));
}

TEST(Optimizer, RefusesRowsOutsideOfTheTableAndStoresWithoutGradients) {
  const TrainingSettings settings;
  Side side(DType::kFloat32, true, settings);
  EXPECT_THROW(side.optimizer.prepare_rows(side.context, batch_of({static_cast<std::int32_t>(kRows)})), Error);
  EXPECT_THROW(side.optimizer.prepare_rows(side.context, batch_of({-1})), Error);
  ParameterStore plain(table_with_rows(), DType::kFloat32, false);
  EXPECT_THROW(Optimizer(plain, settings, false), Error);
  Context elsewhere;
  elsewhere.device = Device::kCuda;
  EXPECT_THROW(side.optimizer.step(elsewhere, 1e-3), Error);
}

}  // namespace
}  // namespace koine
