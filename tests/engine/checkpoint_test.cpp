#include "engine/training/checkpoint.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <vector>

#include "engine/files/text_file.h"
#include "engine/optimizer/moments.h"
#include "tests/engine/file_size_limit.h"
#include "tests/engine/temporary_folder.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

ParameterTable two_parameters(std::int64_t width = 10) {
  ParameterTable table;
  table.add({"layer.weight", {7, width}, true});
  table.add({"layer.bias", {7}, false});
  return table;
}

struct TrainedStore {
  explicit TrainedStore(std::uint32_t seed)
      : store(two_parameters(), DType::kFloat32, true), moments(store.table(), Device::kCpu) {
    store.initialise(seed, 0.3);
    for (std::int64_t i = 0; i < 70; ++i) {
      static_cast<float*>(moments.first(0))[i] = static_cast<float>(i + seed) * 0.37f;
      static_cast<float*>(moments.second(0))[i] = static_cast<float>(i + seed) * 1e-9f;
    }
    static_cast<float*>(moments.first(1))[6] = -1.5f;
    best.assign(store.master(0), store.master(0) + store.table().elements());
    best[3] = 42;
    state.step = 12;
    state.tokens = 123456789012;
    state.seconds = 0.1 + 0.2;
    state.flops = 1e21 / 3;
    state.last_loss = 1.0 / 3;
    state.evaluated_step = 10;
    state.has_best = true;
    state.best_step = 10;
    state.best_score = 200.0 / 3;
    state.best_metrics = {{"accuracy", 2.0 / 3}};
    state.evaluations_without_improvement = 4;
    state.settings = {{"learning_rate", "1e-05"}, {"seed", "1"}};
  }
  ParameterStore store;
  Moments moments;
  std::vector<float> best;
  TrainingState state;
};

void save_at(const fs::path& directory, TrainedStore& run, std::int64_t step, std::int64_t keep = 10) {
  run.state.step = step;
  save_checkpoint(directory, run.state, run.store, run.moments, run.best, keep);
}

void damage(const fs::path& path) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-1, std::ios::end);
  const int last = file.get();
  file.seekp(-1, std::ios::end);
  file.put(static_cast<char>(last ^ 1));
}

TEST(Checkpoint, HoldsEverythingBitForBit) {
  const TemporaryFolder folder;
  TrainedStore run(1);
  save_at(folder.path(), run, 12);
  const auto newest = newest_checkpoint(folder.path());
  ASSERT_TRUE(newest);
  EXPECT_EQ(*newest, folder / "checkpoints/step-12");
  TrainedStore other(2);
  std::vector<float> best;
  const TrainingState state = load_checkpoint(*newest, other.store, other.moments, best);
  for (int index = 0; index < 2; ++index) {
    const std::size_t bytes = static_cast<std::size_t>(run.store.table()[index].count()) * sizeof(float);
    EXPECT_EQ(std::memcmp(run.store.master(index), other.store.master(index), bytes), 0);
    EXPECT_EQ(std::memcmp(run.moments.first(index), other.moments.first(index), bytes), 0);
    EXPECT_EQ(std::memcmp(run.moments.second(index), other.moments.second(index), bytes), 0);
  }
  EXPECT_EQ(best, run.best);
  EXPECT_EQ(state.step, 12);
  EXPECT_EQ(state.tokens, run.state.tokens);
  EXPECT_EQ(state.seconds, run.state.seconds);
  EXPECT_EQ(state.flops, run.state.flops);
  EXPECT_EQ(state.last_loss, run.state.last_loss);
  EXPECT_EQ(state.evaluated_step, 10);
  EXPECT_TRUE(state.has_best);
  EXPECT_EQ(state.best_step, 10);
  EXPECT_EQ(state.best_score, run.state.best_score);
  EXPECT_EQ(state.best_metrics, run.state.best_metrics);
  EXPECT_EQ(state.evaluations_without_improvement, 4);
  EXPECT_EQ(state.settings, run.state.settings);
}

// The names on disk are what runs of any version of this program resume from.
TEST(Checkpoint, NamesTheOptimizersTensors) {
  const TemporaryFolder folder;
  TrainedStore run(1);
  save_at(folder.path(), run, 12);
  const SafetensorsFile file(folder / "checkpoints/step-12/optimizer.safetensors");
  EXPECT_EQ(file.tensors().size(), 4u);
  for (const char* name : {"first_moment.layer.weight", "second_moment.layer.weight"}) {
    EXPECT_EQ(file.entry(name).shape, (std::vector<std::int64_t>{7, 10})) << name;
  }
  for (const char* name : {"first_moment.layer.bias", "second_moment.layer.bias"}) {
    EXPECT_EQ(file.entry(name).shape, std::vector<std::int64_t>{7}) << name;
  }
  EXPECT_EQ(file.read_float("first_moment.layer.bias")[6], -1.5f);
  EXPECT_EQ(file.read_float("second_moment.layer.weight")[69], 70 * 1e-9f);
}

TEST(Checkpoint, WithoutBestWeightsThereIsNoFileOfThem) {
  const TemporaryFolder folder;
  TrainedStore run(1);
  run.best.clear();
  save_at(folder.path(), run, 3);
  EXPECT_FALSE(fs::exists(folder / "checkpoints/step-3/best.safetensors"));
  std::vector<float> best = {1, 2, 3};
  load_checkpoint(folder / "checkpoints/step-3", run.store, run.moments, best);
  EXPECT_TRUE(best.empty());
}

TEST(Checkpoint, NewestIsByNumberAndOldOnesGo) {
  const TemporaryFolder folder;
  EXPECT_FALSE(newest_checkpoint(folder.path()));
  TrainedStore run(1);
  for (const std::int64_t step : {9, 10, 100}) save_at(folder.path(), run, step, 2);
  EXPECT_EQ(*newest_checkpoint(folder.path()), folder / "checkpoints/step-100");
  EXPECT_FALSE(fs::exists(folder / "checkpoints/step-9"));
  EXPECT_TRUE(fs::exists(folder / "checkpoints/step-10"));
  save_at(folder.path(), run, 100, 2);  // again: replaced
  EXPECT_EQ(*newest_checkpoint(folder.path()), folder / "checkpoints/step-100");
}

TEST(Checkpoint, LeftOversOfAKilledWriterAreIgnoredAndGo) {
  const TemporaryFolder folder;
  TrainedStore run(1);
  save_at(folder.path(), run, 5);
  fs::create_directories(folder / "checkpoints/step-6.partial");
  std::ofstream(folder / "checkpoints/step-6.partial/model.safetensors") << "half";
  EXPECT_EQ(*newest_checkpoint(folder.path()), folder / "checkpoints/step-5");
  save_at(folder.path(), run, 7);
  EXPECT_FALSE(fs::exists(folder / "checkpoints/step-6.partial"));
}

TEST(Checkpoint, WithoutItsEndMarkItIsRefusedByName) {
  const TemporaryFolder folder;
  TrainedStore run(1);
  save_at(folder.path(), run, 5);
  fs::remove(folder / "checkpoints/step-5/complete.json");
  std::vector<float> best;
  expect_user_error([&] { newest_checkpoint(folder.path()); }, {"step-5", "end mark", "delete"});
  expect_user_error([&] { load_checkpoint(folder / "checkpoints/step-5", run.store, run.moments, best); },
                    {"step-5", "end mark"});
}

TEST(Checkpoint, DamagedFilesAreRefusedByName) {
  for (const std::string file : {"model.safetensors", "optimizer.safetensors", "best.safetensors", "state.json"}) {
    const TemporaryFolder folder;
    TrainedStore run(1);
    save_at(folder.path(), run, 5);
    const fs::path path = folder.path() / "checkpoints/step-5" / file;
    std::vector<float> best;
    damage(path);
    expect_user_error([&] { load_checkpoint(path.parent_path(), run.store, run.moments, best); },
                      {"step-5", file, "damaged"});
    fs::resize_file(path, fs::file_size(path) - 1);
    expect_user_error([&] { newest_checkpoint(folder.path()); }, {"step-5", file, "damaged"});
    fs::remove(path);
    expect_user_error([&] { newest_checkpoint(folder.path()); }, {"step-5", file, "lacks"});
  }
}

TEST(Checkpoint, AnotherModelIsRefusedByTensor) {
  const TemporaryFolder folder;
  TrainedStore run(1);
  save_at(folder.path(), run, 5);
  std::vector<float> best;
  ParameterStore wider(two_parameters(11), DType::kFloat32, true);
  Moments of_wider(wider.table(), Device::kCpu);
  expect_user_error([&] { load_checkpoint(folder / "checkpoints/step-5", wider, of_wider, best); },
                    {"layer.weight", "shape"});
  ParameterTable more = two_parameters();
  more.add({"extra", {3}});
  ParameterStore larger(more, DType::kFloat32, true);
  Moments of_larger(larger.table(), Device::kCpu);
  expect_user_error([&] { load_checkpoint(folder / "checkpoints/step-5", larger, of_larger, best); }, {"2 tensors", "3"});
}

TEST(Checkpoint, ASettingThatEarlierProgramsHadNotIsWhatTheyDid) {
  require_same_settings("run/step-5", {{"seed", "1"}}, {{"optimizer", "adamw"}, {"seed", "1"}});
  expect_user_error(
      [&] {
        require_same_settings("run/step-5", {{"seed", "1"}}, {{"optimizer", "another"}, {"seed", "1"}});
      },
      {"step-5", "optimizer = adamw", "another"});
}

TEST(Checkpoint, OtherSettingsAreRefusedByName) {
  const std::map<std::string, std::string> saved = {{"learning_rate", "1e-05"}, {"seed", "1"}};
  require_same_settings("run/step-5", saved, saved);
  expect_user_error(
      [&] {
        require_same_settings("run/step-5", saved, {{"learning_rate", "2e-05"}, {"seed", "1"}});
      },
      {"run/step-5", "learning_rate = 1e-05", "2e-05"});
  expect_user_error(
      [&] {
        require_same_settings("run/step-5", saved, {{"learning_rate", "1e-05"}});
      },
      {"seed = 1", "not set"});
}

TEST(Checkpoint, AFullDiskLeavesTheEarlierOneAndNothingElse) {
  const TemporaryFolder folder;
  TrainedStore run(1);
  save_at(folder.path(), run, 5, 1);
  {
    const FileSizeLimit limit(600);  // enough for the weights, not for the moments
    expect_user_error([&] { save_at(folder.path(), run, 6, 1); }, {"step-6", "optimizer.safetensors", "File too large"});
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "checkpoints"), fs::directory_iterator()), 1);
  std::vector<float> best;
  EXPECT_EQ(load_checkpoint(*newest_checkpoint(folder.path()), run.store, run.moments, best).step, 5);
}

}  // namespace
}  // namespace koine
