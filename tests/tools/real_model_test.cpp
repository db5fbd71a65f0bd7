// A real pretrained encoder (KOINE_MODEL: multilingual-e5-small as a transformers directory in XLM-R's layout), by the program.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "program.h"

namespace koine {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// What transformers 5 gives (fp32, eager; SentencePiece's ids, mean over all tokens, cosine, English searched for among the
// foreign sentences as XTREME does): percent right. One sentence of 1,000 is 0.1, of Swahili's 390 it is 0.26; a near tie may
// fall otherwise in another order of sums, so two sentences are granted.
struct Figure {
  std::int64_t layer;
  const char* language;
  double accuracy;
  double granted;
};
const Figure kFigures[] = {{7, "de", 92.7, 0.21}, {12, "de", 97.1, 0.21}, {7, "sw", 61.795, 0.52}, {12, "sw", 81.282, 0.52}};

nlohmann::json evaluated(const Folder& folder, const std::string& task, const std::string& languages,
                         const std::string& layers) {
  const std::string output = folder / (task + layers);
  std::vector<std::string> arguments = {"evaluate",
                                        "--task",
                                        task,
                                        "--model",
                                        variable("KOINE_MODEL"),
                                        "--data",
                                        variable("KOINE_DATA"),
                                        "--languages",
                                        languages,
                                        "--precision",
                                        "fp32",
                                        "--output",
                                        output,
                                        "--quiet"};
  if (!layers.empty()) arguments.insert(arguments.end(), {"--layer", layers});
  const Outcome outcome = run_koine(arguments);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  return read_json(output + "/evaluations.json");
}

std::map<std::int64_t, nlohmann::json> by_layer(const nlohmann::json& evaluation) {
  std::map<std::int64_t, nlohmann::json> layers;
  for (const nlohmann::json& layer : evaluation.at("layers")) layers[layer.at("layer")] = layer.at("metrics");
  return layers;
}

class RealModel : public testing::Test {
 protected:
  void SetUp() override {
    if (variable("KOINE_MODEL").empty()) GTEST_SKIP() << "KOINE_MODEL is not set: no real encoder to run";
    if (variable("KOINE_DATA").empty()) GTEST_SKIP() << "KOINE_DATA is not set: no real data to read";
  }
  Folder folder_;
};

// Both layers from one pass, and Swahili's layer 7 from a pass of its own: the same bits.
TEST_F(RealModel, RetrievesTatoebaAsInTransformers) {
  const nlohmann::json both = evaluated(folder_, "tatoeba", "de,sw", "7,12");
  for (const Figure& figure : kFigures) {
    const nlohmann::json metrics = by_layer(both.at(figure.language)).at(figure.layer);
    EXPECT_NEAR(metrics.at("accuracy").get<double>(), figure.accuracy, figure.granted)
        << figure.language << ", layer " << figure.layer;
  }
  const nlohmann::json own = evaluated(folder_, "tatoeba", "sw", "7");
  EXPECT_EQ(own.at("sw").at("metrics"), by_layer(both.at("sw")).at(7));
  const std::string file = "/predictions/tatoeba/test-sw.tsv";
  EXPECT_EQ(read_text(folder_ / "tatoeba7" + file), read_text(folder_ / "tatoeba7,12" + file));
}

// mexa() and cosine_similarity() of cisnlp/MEXA's compute_mexa.py on hidden states computed by numpy (fp32, SentencePiece's
// ids), the first 100 pairs. A near tie may fall otherwise in another order of sums: a sentence is granted.
TEST_F(RealModel, AlignsAsMexaSaysOfNumpysHiddenStates) {
  const std::map<std::string, std::vector<double>> expected = {{"de", {30, 44, 56, 63, 76, 89, 91, 93, 93, 92, 96, 97, 97}},
                                                               {"sw", {10, 25, 21, 26, 38, 52, 62, 69, 64, 70, 76, 83, 90}}};
  const nlohmann::json evaluations = evaluated(folder_, "mexa", "de,sw", "");
  for (const auto& [language, layers] : expected) {
    const nlohmann::json& evaluation = evaluations.at(language);
    ASSERT_EQ(evaluation.at("layers").size(), layers.size());
    double sum = 0;
    for (const auto& [layer, metrics] : by_layer(evaluation)) {
      const double mexa = metrics.at("mexa").get<double>();
      EXPECT_NEAR(mexa, layers[static_cast<std::size_t>(layer)], 1 + 1e-9) << language << ", layer " << layer;
      sum += mexa;
    }
    EXPECT_NEAR(evaluation.at("metrics").at("mexa_mean").get<double>(), sum / 13, 1e-9);
    EXPECT_EQ(evaluation.at("examples"), 100);
  }
}

}  // namespace
}  // namespace koine
