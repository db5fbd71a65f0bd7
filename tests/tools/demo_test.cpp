// `koine demo` by its families: every phase of the one that answers with texts, and what cannot be asked for together.

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "program.h"
#include "small_mt5.h"
#include "tasks/experiment/experiment.h"

namespace koine {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// The whole of examples/demo-mt5.toml, on next to no data.
TEST(DemoOfAFamily, Mt5GoesThroughEveryPhase) {
  const Folder folder;
  const Outcome demo =
      run_koine({"demo", "--family", "mt5", "--quick", "--threads", "1", "--output", folder / "demo", "--quiet"});
  ASSERT_EQ(demo.exit_code, 0) << demo.errors;
  const json config = json::parse(read_text(folder / "demo/pretraining/model/config.json"));
  EXPECT_EQ(config.at("model_type"), "mt5");
  EXPECT_TRUE(fs::exists(folder / "demo/report.html"));

  const Experiment experiment = read_experiment(fs::path(KOINE_SOURCE_DIR) / "examples/demo-mt5.toml");
  EXPECT_EQ(config.at("d_model"), experiment.model.config.hidden_size);
  std::map<std::string, std::set<std::string>> languages;  // of arm/target
  for (const json& row : json::parse(read_text(folder / "demo/results.json"))) {
    const std::string target = row.at("target");
    languages[row.at("intermediate").get<std::string>() + "/" + target].insert(row.at("language"));
    EXPECT_EQ(row.contains("unreadable"), target != "tatoeba") << "all but vectors are answers that are written: " << row;
    EXPECT_EQ(row.at("seed"), experiment.seeds.front()) << row;
  }
  EXPECT_EQ(languages.size(), experiment.intermediate.size() * experiment.targets.size());
  for (const IntermediateSpec& arm : experiment.intermediate) {
    for (const TargetSpec& target : experiment.targets)
      EXPECT_EQ(languages[arm.name + "/" + target.name].size(), target.task == "tatoeba" ? 4U : 5U)
          << arm.name << target.name;
  }
}

TEST(DemoOfAFamily, NamesMistakes) {
  const Folder folder;
  expect_mistake(run_koine({"demo", "--family", "bert", "--output", folder / "no"}), {"--family", "bert", "xlmr", "mt5"});
  write_small_data(folder / "data");
  write_small_model(folder / "xlmr", folder / "data");
  write_small_mt5(folder / "mt5", "a few words of a text, no more\n", 280, 275);
  const auto demo = [&](const std::string& family, const std::string& model) {
    return run_koine({"demo", "--family", family, "--model", folder / model, "--output", folder / "no", "--quiet"});
  };
  expect_mistake(demo("mt5", "xlmr"), {"--family mt5", folder / "xlmr", "XLM-R", "config.json", "remove --family"});
  expect_mistake(demo("xlmr", "mt5"), {"--family xlmr", folder / "mt5", "family mT5", "remove --family"});
  EXPECT_FALSE(fs::exists(folder / "no")) << "refused before anything is written";
  // What fits is taken: this model is refused for its positions alone.
  expect_mistake(demo("xlmr", "xlmr"), {"max_seq_length"});
}

}  // namespace
}  // namespace koine
