#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "engine/parameters/parameter_store.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "tests/engine/temporary_folder.h"

namespace koine {
namespace {

ParameterTable small_table() {
  ParameterTable table;
  table.add({"head.weight", {3, 24}, true, Initialisation::kNormal, true});
  table.add({"head.bias", {3}, false, Initialisation::kZero, true});
  table.add({"query.weight", {10, 7}, true});
  ParameterSpec key{"key.weight", {10, 7}, true};
  key.adjoins_previous = true;
  table.add(key);
  table.add({"norm.weight", {24}, false, Initialisation::kOne});
  return table;
}

TEST(ParameterTable, OffsetsAreAlignedUnlessAParameterAdjoins) {
  const ParameterTable table = small_table();
  EXPECT_EQ(table[0].offset, 0);
  EXPECT_EQ(table[1].offset, 128);  // 72 elements, up to a multiple of 64
  EXPECT_EQ(table[2].offset, 192);
  EXPECT_EQ(table[3].offset, 192 + 70);  // directly behind
  EXPECT_EQ(table[4].offset, 384);       // 192 + 140, up
  EXPECT_EQ(table.elements(), 448);
  EXPECT_EQ(table.parameters(), 72 + 3 + 70 + 70 + 24);
  EXPECT_EQ(table.find("key.weight"), 3);
  EXPECT_EQ(table.find("value.weight"), -1);
  EXPECT_EQ(table[2].rows(), 10);
  EXPECT_EQ(table[2].width(), 7);
}

TEST(ParameterTable, RefusesWhatCannotBe) {
  ParameterTable table = small_table();
  EXPECT_THROW(table.add({"head.bias", {3}}), Error);
  EXPECT_THROW(table.add({"", {3}}), Error);
  EXPECT_THROW(table.add({"empty", {3, 0}}), Error);
  ParameterTable empty;
  ParameterSpec first{"first", {3}};
  first.adjoins_previous = true;
  EXPECT_THROW(empty.add(first), Error);
}

TEST(ParameterStore, InitialValuesFollowTheTableAndDependOnTheNameAlone) {
  ParameterStore store(small_table(), DType::kFloat32, false);
  store.initialise(5, 0.02);
  ParameterTable other_table;
  other_table.add({"something.else", {1000}});
  other_table.add({"query.weight", {10, 7}, true});
  ParameterStore other(other_table, DType::kFloat32, false);
  other.initialise(5, 0.02);
  EXPECT_EQ(std::memcmp(store.master(2), other.master(1), 70 * sizeof(float)), 0);
  EXPECT_NE(std::memcmp(store.master(2), store.master(3), 70 * sizeof(float)), 0);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(store.master(1)[i], 0.0f);
  for (int i = 0; i < 24; ++i) EXPECT_EQ(store.master(4)[i], 1.0f);
  ParameterStore reseeded(small_table(), DType::kFloat32, false);
  reseeded.initialise(6, 0.02);
  EXPECT_NE(std::memcmp(store.master(2), reseeded.master(2), 70 * sizeof(float)), 0);
}

TEST(ParameterStore, NormalValuesHaveTheirMomentsOnAnyNumberOfThreads) {
  constexpr std::int64_t kCount = 1 << 20;
  ParameterTable table;
  table.add({"large", {1024, 1024}});
  const int threads = thread_count();
  std::vector<float> first(kCount);
  for (const int count : {1, 2}) {
    set_thread_count(count);
    ParameterStore store(table, DType::kFloat32, false);
    store.initialise(1, 0.5);
    if (count == 1) std::copy(store.master(0), store.master(0) + kCount, first.begin());
    EXPECT_EQ(std::memcmp(first.data(), store.master(0), kCount * sizeof(float)), 0);
  }
  set_thread_count(threads);
  double mean = 0, square = 0, fourth = 0;
  for (const float value : first) {
    mean += value / kCount;
    square += double{value} * value / kCount;
    fourth += std::pow(double{value}, 4) / kCount;
  }
  // Five standard errors of each moment of 2^20 normal numbers of deviation 0.5: 0.5 / 1024, 0.25 sqrt(2) / 1024 and
  // 0.0625 sqrt(96) / 1024.
  EXPECT_NEAR(mean, 0, 5 * 0.5 / 1024);
  EXPECT_NEAR(square, 0.25, 5 * 0.25 * std::sqrt(2.0) / 1024);
  EXPECT_NEAR(fourth, 3 * 0.0625, 5 * 0.0625 * std::sqrt(96.0) / 1024);
}

TEST(ParameterStore, HeadsOnlyLeavesTheEncoder) {
  ParameterStore store(small_table(), DType::kFloat32, false);
  store.initialise(5, 0.02, true);
  EXPECT_NE(store.master(0)[0], 0.0f);
  for (int i = 0; i < 70; ++i) EXPECT_EQ(store.master(2)[i], 0.0f);
  EXPECT_EQ(store.master(4)[0], 0.0f);
}

TEST(ParameterStore, WorkingCopiesFollowThePrecision) {
  const Context context;
  ParameterStore single(small_table(), DType::kFloat32, false);
  EXPECT_EQ(single.working(2), single.master(2));
  EXPECT_EQ(single.working_bfloat16(2), nullptr);
  ParameterStore mixed(small_table(), DType::kBFloat16, false);
  mixed.initialise(5, 0.02);
  mixed.refresh_working(context);
  ParameterStore wide(small_table(), DType::kFloat64, false);
  wide.initialise(5, 0.02);
  wide.refresh_working(context);
  EXPECT_EQ(wide.working_bfloat16(2), nullptr);
  for (int index = 0; index < mixed.table().size(); ++index) {
    EXPECT_EQ(mixed.working(index), mixed.working_bfloat16(index));
    for (std::int64_t i = 0; i < mixed.table()[index].count(); ++i) {
      EXPECT_EQ(mixed.working_bfloat16(index)[i].bits, to_bfloat16(mixed.master(index)[i]).bits);
      EXPECT_EQ(static_cast<const double*>(wide.working(index))[i], double{wide.master(index)[i]});
    }
  }
}

/// Values whose lower halves are all there is, ties among them.
std::vector<float> uneven_values(std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i) * 0.01f - 0.3f;
    if (i % 5 == 0) values[i] = to_float(to_bfloat16(values[i])) * (1 + 0x1p-8f);
  }
  return values;
}

TEST(ParameterStore, MastersWithoutFp32HoldWhatTheySay) {
  const std::vector<float> values = uneven_values(small_table().elements());
  for (const MasterKind kind : {MasterKind::kRemainder, MasterKind::kNone}) {
    ParameterStore store(small_table(), DType::kBFloat16, true, Device::kCpu, kind);
    store.write_all(ParameterStore::Values::kMaster, values);
    const std::vector<float> all = store.read_all(ParameterStore::Values::kMaster);
    for (int index = 0; index < store.table().size(); ++index) {
      const ParameterSpec& spec = store.table()[index];
      std::vector<float> read(static_cast<std::size_t>(spec.count()));
      store.read(ParameterStore::Values::kMaster, index, read.data());
      for (std::int64_t i = 0; i < spec.count(); ++i) {
        const float value = values[static_cast<std::size_t>(spec.offset + i)];
        const bool exact = spec.in_fp32() || kind == MasterKind::kRemainder;
        EXPECT_EQ(read[static_cast<std::size_t>(i)], exact ? value : to_float(to_bfloat16(value))) << spec.name;
        EXPECT_EQ(all[static_cast<std::size_t>(spec.offset + i)], read[static_cast<std::size_t>(i)]);
        if (spec.in_fp32()) {
          EXPECT_EQ(store.master(index)[i], value) << spec.name;
        } else {
          EXPECT_NEAR(to_float(store.working_bfloat16(index)[i]), value, std::fabs(value) * 0x1p-8) << spec.name;
        }
      }
      if (!spec.in_fp32()) {
        EXPECT_THROW(store.master(index), Error) << spec.name;
      }
    }
  }
}

TEST(ParameterStore, BeginsWithTheSameWeightsUnderAnyMaster) {
  ParameterStore usual(small_table(), DType::kBFloat16, true);
  ParameterStore split(small_table(), DType::kBFloat16, true, Device::kCpu, MasterKind::kRemainder);
  for (ParameterStore* store : {&usual, &split}) store->initialise(5, 0.02);
  EXPECT_EQ(usual.read_all(ParameterStore::Values::kMaster), split.read_all(ParameterStore::Values::kMaster));
  expect_user_error([] { ParameterStore(small_table(), DType::kFloat32, true, Device::kCpu, MasterKind::kRemainder); },
                    {"master = remainder", "mixed precision", "fp32", "--precision bf16"});
}

TEST(ParameterStore, GradientsBeginAtZeroAndAreAbsentWithoutTraining) {
  ParameterStore plain(small_table(), DType::kFloat32, false);
  EXPECT_EQ(plain.gradient(0), nullptr);
  EXPECT_THROW(plain.reset_gradients(), Error);
  ParameterStore store(small_table(), DType::kFloat32, true);
  const auto all_zero = [&] {
    const float* gradient = store.gradient(0);
    return std::all_of(gradient, gradient + store.table().elements(), [](float value) { return value == 0.0f; });
  };
  EXPECT_TRUE(all_zero());
  store.gradient(2)[5] = 1;
  store.gradient(4)[23] = 1;
  EXPECT_FALSE(all_zero());
  store.reset_gradients();
  EXPECT_TRUE(all_zero());
}

/// Stages of 3, 1, 2 and 1 parameters, of which the fifth collects.
ParameterTable table_in_stages() {
  ParameterTable table;
  int added = 0;
  for (const int stage : {3, 1, 2, 1}) {
    for (int i = 0; i < stage; ++i) {
      ParameterSpec spec{concatenate("p", added), {10 + 3 * added, 70}};
      spec.collects = ++added == 5;
      table.add(spec);
    }
    table.end_stage();
  }
  return table;
}

// What is written while a stage's backward runs lies apart from the stage before, which may be on its way, and from what
// collects; and two stages have memory, not four.
TEST(PassingGradients, OfNeighbouringStagesLieApart) {
  const ParameterTable table = table_in_stages();
  const PassingGradients passing = plan_passing_gradients(table);
  ASSERT_EQ(passing.runs.size(), 5u);
  std::int64_t element = 0;
  int parameter = 0;
  std::int64_t of_two_stages = 0;
  for (const PassingRun& a : passing.runs) {
    EXPECT_EQ(a.begin, element);
    EXPECT_EQ(a.first, parameter);
    element = a.end;
    parameter = a.last;
    EXPECT_LE(a.place + a.count(), passing.elements);
    for (const PassingRun& b : passing.runs) {
      if (a.first == b.first) continue;
      const bool collects = table[a.first].collects || table[b.first].collects;
      const bool apart = a.place + a.count() <= b.place || b.place + b.count() <= a.place;
      EXPECT_TRUE(apart || (!collects && std::abs(a.stage - b.stage) > 1)) << a.first << " and " << b.first;
      if (!collects && std::abs(a.stage - b.stage) == 1) of_two_stages = std::max(of_two_stages, a.count() + b.count());
    }
  }
  EXPECT_EQ(element, table.elements());
  EXPECT_EQ(parameter, table.size());
  EXPECT_EQ(passing.elements, of_two_stages + table[5].offset - table[4].offset);
}

// Each cell is one rank's, and no rank's range cuts one.
TEST(PassingGradients, CellsOfTheNormAreSharedOut) {
  ParameterTable table = table_in_stages();
  ParameterSpec words{"words", {300, 1100}};
  words.lazy_rows = true;
  table.add(words);
  for (const Device device : {Device::kCpu, Device::kCuda}) {
    for (const int ranks : {1, 2, 3, 8}) {
      std::int64_t end = 0;
      for (const ElementRange& range : cut_into_shards(table, ranks)) {
        const ElementRange cells = norm_cells_from(table, device, range);
        EXPECT_EQ(cells.begin, end);
        EXPECT_EQ(norm_cells_from(table, device, cells).end, cells.end) << "a cut of cells is none";
        const ElementRange kept = kept_gradients(table, device, range);
        EXPECT_EQ(kept.begin, range.begin);
        EXPECT_GE(kept.end, std::max(range.end, cells.end));
        end = cells.end;
      }
      EXPECT_EQ(end, table.elements());
    }
  }
}

TEST(ParameterStore, FootprintNamesEveryBuffer) {
  const ParameterTable table = small_table();
  const auto elements = static_cast<std::size_t>(table.elements());
  const auto total = [&](DType type, bool training) {
    std::size_t sum = 0;
    for (const ParameterStore::Footprint& part : ParameterStore::footprint(table, type, training)) sum += part.bytes;
    return sum;
  };
  EXPECT_EQ(total(DType::kFloat32, false), 4 * elements);
  EXPECT_EQ(total(DType::kBFloat16, false), 6 * elements);
  EXPECT_EQ(total(DType::kFloat32, true), 8 * elements);
  EXPECT_EQ(total(DType::kBFloat16, true), 10 * elements);
  std::size_t apart = 0;
  for (const auto& [name, bytes] : ParameterStore::footprint(table, DType::kBFloat16, true, MasterKind::kNone)) {
    if (name == "weights that are read in fp32") apart = bytes;
  }
  const auto under = [&](MasterKind kind) {
    std::size_t sum = 0;
    for (const auto& part : ParameterStore::footprint(table, DType::kBFloat16, true, kind)) sum += part.bytes;
    return sum - apart;
  };
  EXPECT_GT(apart, 0u);
  EXPECT_LT(apart, 4 * elements);
  EXPECT_EQ(under(MasterKind::kNone), 6 * elements);
  EXPECT_EQ(under(MasterKind::kRemainder), 8 * elements);
}

}  // namespace
}  // namespace koine
