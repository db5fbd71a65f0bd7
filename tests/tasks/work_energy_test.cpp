// The joules of a training in parts, by counters as the processor would show them.

#include "tasks/experiment/work_energy.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "stub_model.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

class TrainingParts : public ::testing::Test {
 protected:
  void SetUp() override {
    make_directory(folder_ / "training");
    options_.powercap = folder_ / "powercap";
    options_.message = [this](const std::string& text) { told_.push_back(text); };
    write_text(options_.powercap / "intel-rapl:0/name", "package-0\n");
    write_text(options_.powercap / "intel-rapl:0/max_energy_range_uj", "10000000\n");
    show(9);
  }
  void show(double joules) {
    write_text(options_.powercap / "intel-rapl:0/energy_uj", std::to_string(static_cast<std::int64_t>(1e6 * joules)) + "\n");
  }
  fs::path training() const { return folder_ / "training"; }

  TemporaryFolder folder_;
  RunOptions options_;
  std::vector<std::string> told_;
};

TEST_F(TrainingParts, AddUp) {
  TrainingEnergy first(training(), options_);
  EXPECT_TRUE(read_json(training() / "energy.json").at("joules").is_null()) << "under way";
  show(2);  // began anew at 10
  EXPECT_EQ(first.finish(), 3);
  make_directory(training() / "checkpoints/step-5");
  TrainingEnergy second(training(), options_);
  show(2.5);
  EXPECT_EQ(second.finish(), 3.5);
  EXPECT_EQ(read_json(training() / "energy.json").at("joules"), 3.5);
  // Begun anew without a checkpoint, what was before does not count.
  fs::remove_all(training() / "checkpoints");
  TrainingEnergy anew(training(), options_);
  show(4);
  EXPECT_EQ(anew.finish(), 1.5);
  EXPECT_TRUE(told_.empty());
}

TEST_F(TrainingParts, OneThatWasNotMeasuredToItsEndLeavesTheWholeUnknown) {
  make_directory(training() / "checkpoints/step-5");
  EXPECT_EQ(TrainingEnergy(training(), options_).finish(), std::nullopt) << "the first part was another program's";
  fs::remove_all(training());
  make_directory(training());
  { const TrainingEnergy killed(training(), options_); }
  make_directory(training() / "checkpoints/step-5");
  EXPECT_EQ(TrainingEnergy(training(), options_).finish(), std::nullopt);
  EXPECT_EQ(TrainingEnergy(training(), options_).finish(), std::nullopt);
}

TEST_F(TrainingParts, CountersThatCannotBeReadAreToldOnce) {
  fs::remove(options_.powercap / "intel-rapl:0/energy_uj");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(TrainingEnergy(training(), options_).finish(), std::nullopt);
    EXPECT_EQ(WorkEnergy(options_).joules(), std::nullopt);
  }
  EXPECT_FALSE(fs::exists(training() / "energy.json"));
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_NE(told_.front().find("intel-rapl:0/energy_uj cannot be read"), std::string::npos) << told_.front();
  options_.told_of_energy = std::make_shared<bool>(false);
  options_.execution.device = Device::kCuda;
  EXPECT_EQ(WorkEnergy(options_).joules(), std::nullopt);
  EXPECT_EQ(told_.size(), 1u) << "of a device nothing is said";
}

}  // namespace
}  // namespace koine
