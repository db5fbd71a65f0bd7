#include "engine/training/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
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
  batch.by_id.keys.assign(rows.begin(), rows.end());
  return batch;
}

std::set<std::int32_t> some_rows(RandomStream& random, std::int64_t most) {
  std::set<std::int32_t> rows;
  for (std::int64_t i = random.below(most) + 1; i > 0; --i) rows.insert(static_cast<std::int32_t>(random.below(kRows)));
  return rows;
}

void add_gradients(ParameterStore& store, const std::set<std::int32_t>& rows, RandomStream& random) {
  for (int index = 0; index < store.table().size(); ++index) {
    const ParameterSpec& spec = store.table()[index];
    for (std::int64_t i = 0; i < spec.count(); ++i) {
      const bool touched = !spec.lazy_rows || rows.count(static_cast<std::int32_t>(i / kWidth)) != 0;
      if (touched) store.gradient(index)[i] += static_cast<float>(random.normal());
    }
  }
}

bool same_state(ParameterStore& a, ParameterStore& b) {
  for (int index = 0; index < a.table().size(); ++index) {
    const std::size_t bytes = static_cast<std::size_t>(a.table()[index].count()) * sizeof(float);
    if (std::memcmp(a.master(index), b.master(index), bytes) != 0) return false;
    if (std::memcmp(a.first_moment(index), b.first_moment(index), bytes) != 0) return false;
    if (std::memcmp(a.second_moment(index), b.second_moment(index), bytes) != 0) return false;
    if (std::memcmp(a.gradient(index), b.gradient(index), bytes) != 0) return false;
    if (std::memcmp(a.working(index), b.working(index), bytes / 4 * size_of(a.compute_type())) != 0) return false;
  }
  return true;
}

struct Side {
  Side(DType type, bool lazy, const TrainingSettings& settings)
      : store(table_with_rows(), type, true), optimizer(store, settings, lazy) {
    store.initialise(3, 0.1);
    store.refresh_working(context);
  }
  Context context;
  ParameterStore store;
  Optimizer optimizer;
};

/// The same random sparse gradients for both, `batches` micro-batches a step.
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

class LazyIsDense : public testing::TestWithParam<DType> {};

TEST_P(LazyIsDense, BitForBitOverManySparseSteps) {
  const TrainingSettings settings;
  Side dense(GetParam(), false, settings);
  Side lazy(GetParam(), true, settings);
  run_steps(dense, 0, 40, 2);
  run_steps(lazy, 0, 40, 2);
  EXPECT_FALSE(same_state(dense.store, lazy.store)) << "no row was left behind: the test shows nothing";
  lazy.optimizer.catch_up(lazy.context);
  EXPECT_TRUE(same_state(dense.store, lazy.store));
}

TEST_P(LazyIsDense, CatchingUpInBetweenChangesNothing) {
  const TrainingSettings settings;
  Side plain(GetParam(), true, settings);
  Side interrupted(GetParam(), true, settings);
  run_steps(plain, 0, 20, 1);
  plain.optimizer.catch_up(plain.context);
  run_steps(interrupted, 0, 7, 1);
  interrupted.optimizer.catch_up(interrupted.context);
  interrupted.optimizer.catch_up(interrupted.context);
  run_steps(interrupted, 7, 20, 1);
  interrupted.optimizer.catch_up(interrupted.context);
  EXPECT_TRUE(same_state(plain.store, interrupted.store));
}

TEST_P(LazyIsDense, RestoredContinuesBitForBit) {
  const TrainingSettings settings;
  Side plain(GetParam(), true, settings);
  run_steps(plain, 0, 20, 1);
  plain.optimizer.catch_up(plain.context);
  Side first(GetParam(), true, settings);
  run_steps(first, 0, 9, 1);
  first.optimizer.catch_up(first.context);
  Side second(GetParam(), true, settings);
  for (int index = 0; index < first.store.table().size(); ++index) {
    const std::int64_t count = first.store.table()[index].count();
    std::copy_n(first.store.master(index), count, second.store.master(index));
    std::copy_n(first.store.first_moment(index), count, second.store.first_moment(index));
    std::copy_n(first.store.second_moment(index), count, second.store.second_moment(index));
  }
  second.store.refresh_working(second.context);
  second.optimizer.restore(9);
  run_steps(second, 9, 20, 1);
  second.optimizer.catch_up(second.context);
  EXPECT_EQ(second.optimizer.steps(), 20);
  EXPECT_TRUE(same_state(plain.store, second.store));
}

INSTANTIATE_TEST_SUITE_P(Precisions, LazyIsDense, testing::Values(DType::kFloat32, DType::kBFloat16),
                         [](const auto& info) { return std::string(name_of(info.param)); });

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
  EXPECT_FLOAT_EQ(side.store.first_moment(1)[2], 0.4f);  // 0.1 * 4: not scaled
}

TEST(Optimizer, ANormThatIsNotFiniteChangesNothing) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    const TrainingSettings settings;
    Side side(DType::kFloat32, true, settings);
    Side untouched(DType::kFloat32, true, settings);
    for (Side* each : {&side, &untouched}) {
      each->optimizer.prepare_rows(each->context, batch_of({4}));
      each->store.gradient(3)[4 * kWidth + 1] = bad;
    }
    EXPECT_FALSE(std::isfinite(side.optimizer.step(side.context, 1e-3)));
    EXPECT_EQ(side.optimizer.steps(), 0);
    EXPECT_TRUE(same_state(side.store, untouched.store));
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
  EXPECT_TRUE(same_state(one.store, two.store));
}

TEST(Optimizer, RefusesRowsOutsideOfTheTableAndStoresWithoutTrainingState) {
  const TrainingSettings settings;
  Side side(DType::kFloat32, true, settings);
  EXPECT_THROW(side.optimizer.prepare_rows(side.context, batch_of({static_cast<std::int32_t>(kRows)})), Error);
  EXPECT_THROW(side.optimizer.prepare_rows(side.context, batch_of({-1})), Error);
  ParameterStore plain(table_with_rows(), DType::kFloat32, false);
  EXPECT_THROW(Optimizer(plain, settings, false), Error);
}

}  // namespace
}  // namespace koine
