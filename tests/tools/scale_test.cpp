// koine scale: simulated tables and files, real ranks measured, mistakes named.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "program.h"

namespace koine {
namespace {

std::vector<std::string> simulation(const std::vector<std::string>& more = {}) {
  std::vector<std::string> words = {"scale", "--simulate", "--model", "xlm-roberta-base", "--device-kind", "h200"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(ScaleCommand, SimulatesToThousandsOfDevices) {
  const Folder folder;
  const Outcome outcome =
      run_koine(simulation({"--devices", "1,8,4096", "--output", folder / "scale.json", "--output", folder / "scale.svg"}));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  for (const char* part :
       {"simulated, not measured", "weak scaling: 16,384 tokens", "strong scaling: 1,048,576 tokens", "4096"})
    EXPECT_NE(outcome.output.find(part), std::string::npos) << part << "\n" << outcome.output;
  const nlohmann::json json = read_json(folder / "scale.json");
  EXPECT_EQ(json.at("simulated"), true);
  ASSERT_EQ(json.at("weak").size(), 3U);
  EXPECT_EQ(json.at("weak")[0].at("efficiency"), 1.0);
  EXPECT_EQ(json.at("weak")[2].at("devices"), 4096);
  EXPECT_GT(json.at("weak")[2].at("network_bytes_sent"), 0);
  EXPECT_EQ(json.at("strong")[2].at("tokens_per_device"), 256);
  const std::string svg = read_text(folder / "scale.svg");
  EXPECT_EQ(svg.substr(0, 4), "<svg");
  EXPECT_NE(svg.find("simulated"), std::string::npos);
}

TEST(ScaleCommand, TakesTheSizesThatEstimateTakes) {
  const Folder folder;
  const std::vector<std::string> words = {"scale", "--simulate", "--device-kind", "h200", "--devices", "1,8"};
  const auto simulated = [&](const std::string& option, const std::string& model, const std::string& output) {
    std::vector<std::string> all = words;
    all.insert(all.end(), {option, model, "--output", folder / output});
    EXPECT_EQ(run_koine(all).exit_code, 0) << model;
    return read_text(folder / output);
  };
  EXPECT_EQ(simulated("--model-size", "base", "size.json"), simulated("--model", "xlm-roberta-base", "name.json"));
  std::vector<std::string> both = words;
  both.insert(both.end(), {"--model-size", "base", "--model", "xlm-roberta-base"});
  expect_mistake(run_koine(both), {"--model and --model-size", "give one"});
  std::vector<std::string> unknown = words;
  unknown.insert(unknown.end(), {"--model-size", "huge"});
  expect_mistake(run_koine(unknown), {"huge", "base, large, xl, xxl"});
}

TEST(ScaleCommand, OptionsChangeWhatTheySay) {
  const Folder folder;
  const auto weak_of = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words = simulation({"--devices", "64", "--output", folder / "x.json"});
    words.insert(words.end(), more.begin(), more.end());
    const Outcome outcome = run_koine(words);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
    return read_json(folder / "x.json").at("weak")[0];
  };
  const nlohmann::json plain = weak_of({});
  EXPECT_GT(weak_of({"--no-overlap"}).at("exposed_seconds"), plain.at("exposed_seconds"));
  EXPECT_LT(weak_of({"--zero", "1"}).at("compute_seconds"), plain.at("compute_seconds"));
  EXPECT_LT(weak_of({"--gradient-bytes", "2"}).at("communication_seconds"), plain.at("communication_seconds"));
  EXPECT_GT(weak_of({"--algorithm", "all-to-all"}).at("communication_seconds"), plain.at("communication_seconds"));
  EXPECT_LT(weak_of({"--product-rate", "2000"}).at("compute_seconds"), plain.at("compute_seconds"));
  write_text(folder / "slow.toml", "[network]\ngigabytes_per_second = 3.1\n");
  EXPECT_GT(weak_of({"--parameters", folder / "slow.toml"}).at("communication_seconds"), plain.at("communication_seconds"));
}

TEST(ScaleCommand, NamesWhatCannotBeSimulated) {
  const Folder folder;
  write_text(folder / "wrong.toml", "slowdown = 0.1\nslow = 3\n");
  expect_mistake(run_koine({"scale"}), {"give one of: --simulate, --ranks 1,2,4"});
  expect_mistake(run_koine({"scale", "--simulate", "--device-kind", "h200"}), {"say which model"});
  expect_mistake(run_koine({"scale", "--simulate", "--model", "xlm-roberta-base"}),
                 {"--device-kind h200 or --parameters FILE"});
  expect_mistake(run_koine({"scale", "--simulate", "--model", "xlm-roberta-huge", "--device-kind", "h200"}),
                 {"--model xlm-roberta-huge", "base, large, xl, xxl"});
  expect_mistake(
      run_koine({"scale", "--simulate", "--model", "mt5-small", "--device-kind", "h200", "--head", "text-to-text"}),
      {"not of encoder-decoders"});
  expect_mistake(run_koine({"scale", "--simulate", "--model", "xlm-roberta-base", "--device-kind", "h300"}),
                 {"--device-kind h300", "koine knows h200"});
  expect_mistake(run_koine({"scale", "--simulate", "--model", "xlm-roberta-base", "--device-kind", "rtx4090"}),
                 {"--device-kind rtx4090", "--parameters FILE"});
  expect_mistake(run_koine({"scale", "--simulate", "--model", "xlm-roberta-base", "--device-kind", "a100-80gb"}),
                 {"no rate of a100-80gb", "--product-rate"});
  expect_mistake(run_koine(simulation({"--devices", "0,8"})), {"--devices 0,8", "\"0\" is no number from 1"});
  expect_mistake(run_koine(simulation({"--devices", "12"})), {"12 devices are not whole nodes of 8"});
  expect_mistake(run_koine(simulation({"--devices", "24"})), {"1048576 tokens of a step do not divide among 24 devices"});
  expect_mistake(run_koine(simulation({"--tokens", "1000"})), {"1000 tokens", "not whole sequences of 128"});
  expect_mistake(run_koine(simulation({"--algorithm", "butterfly"})), {"--algorithm butterfly: there are fastest, ring"});
  expect_mistake(run_koine(simulation({"--parameters", folder / "wrong.toml"})), {"wrong.toml:2", "slow"});
  expect_mistake(run_koine(simulation({"--parameters", folder / "none.toml"})), {"no file", "none.toml"});
  expect_mistake(run_koine(simulation({"--output", folder / "x.png"})), {"x.png", "neither .json nor .svg"});
}

TEST(ScaleCommand, NamesWhatCannotBeMeasured) {
  expect_mistake(run_koine({"scale", "--ranks", "0"}), {"--ranks 0", "is no number from 1 to 1024"});
  expect_mistake(run_koine({"scale", "--ranks", "2,x"}), {"\"x\" is no number"});
  expect_mistake(run_koine({"scale", "--ranks", "3"}), {"--total-tokens 1024 do not divide among 3 ranks"});
  expect_mistake(run_koine({"scale", "--ranks", "3", "--algorithm", "all-to-all"}), {"--ranks 3", "power of two"});
  expect_mistake(run_koine({"scale", "--ranks", "2", "--device-kind", "h200"}), {"belong to --simulate"});
  expect_mistake(run_koine({"scale", "--ranks", "2", "--tokens", "100"}), {"--tokens 100 are not whole sequences of 32"});
}

/// Two processes, whose steps add up in a fixed order and whose messages by ring: that they meet, measure and are predicted. How well, a test cannot say on a busy machine.
TEST(ScaleCommand, MeasuresRanksOfThisMachine) {
#ifndef KOINE_HAVE_GLOO
  GTEST_SKIP() << "this build has no Gloo";
#endif
  const Folder folder;
  for (const char* algorithm : {"all-to-all"}) {
    const Outcome outcome = run_koine({"scale", "--ranks", "2", "--algorithm", algorithm, "--tokens", "32", "--total-tokens",
                                       "64", "--repetitions", "1", "--output", folder / "scale.json"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
    EXPECT_NE(outcome.output.find("median error of the fit"), std::string::npos) << outcome.output;
    const nlohmann::json json = read_json(folder / "scale.json");
    EXPECT_EQ(json.at("simulated"), false);
    ASSERT_EQ(json.at("measurements").size(), 2U) << "one rank goes first";
    EXPECT_GT(json.at("measurements")[1].at("fit").at("bytes_per_second"), 1e6);
    ASSERT_EQ(json.at("steps").size(), 4U);
    for (const nlohmann::json& step : json.at("steps")) {
      EXPECT_GT(step.at("seconds"), 0);
      EXPECT_GT(step.at("predicted").at("seconds"), 0);
      EXPECT_EQ(step.at("predicted").at("bytes_sent") > 0, step.at("ranks") > 1);
    }
  }
}

}  // namespace
}  // namespace koine
