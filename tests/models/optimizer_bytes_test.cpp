// The tables of docs/optimizers.md: bytes of weights, gradients and state a parameter.

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <functional>
#include <sstream>

#include "engine/optimizer/update_rule.h"
#include "engine/settings/setting_keys.h"
#include "models/models.h"

namespace koine {
namespace {

double state_bytes_per_parameter(OptimizerKind kind, const std::string& size) {
  const ParameterTable table = model_parameter_table(published_model_config(size), {{"", HeadKind::kSequence, 3}});
  double bytes = 0;
  for (const auto& part : optimizer_footprint(kind, table)) bytes += static_cast<double>(part.bytes);
  return bytes / static_cast<double>(table.parameters());
}

double weight_bytes_per_parameter(MasterKind master, const std::string& size) {
  const ParameterTable table = model_parameter_table(published_model_config(size), {{"", HeadKind::kSequence, 3}});
  double bytes = 0;
  for (const auto& part : ParameterStore::footprint(table, DType::kBFloat16, true, master))
    bytes += static_cast<double>(part.bytes);
  return bytes / static_cast<double>(table.parameters());
}

std::string optimizers_document() {
  std::ifstream file(std::string(KOINE_SOURCE_DIR) + "/docs/optimizers.md");
  std::ostringstream document;
  document << file.rdbuf();
  return document.str();
}

/// "| `name` | 1.000 | ...": of each size what `count` says.
void expect_row(const std::string& name, const std::function<double(const std::string& size)>& count) {
  std::string row = "| `" + name + "` |";
  for (const char* size : {"base", "large", "xl", "xxl"}) {
    char text[32];
    std::snprintf(text, sizeof text, " %.3f |", count(size));
    row += text;
  }
  EXPECT_NE(optimizers_document().find(row + "\n"), std::string::npos) << row;
}

TEST(OptimizerBytes, TheDocumentSaysWhatWeightsAndGradientsTake) {
  for (std::size_t kind = 0; kind < master_names().size(); ++kind) {
    expect_row(master_names()[kind],
               [&](const std::string& size) { return weight_bytes_per_parameter(static_cast<MasterKind>(kind), size); });
  }
}

TEST(OptimizerBytes, TheDocumentSaysWhatIsCounted) {
  for (std::size_t kind = 0; kind < optimizer_names().size(); ++kind) {
    expect_row(optimizer_names()[kind],
               [&](const std::string& size) { return state_bytes_per_parameter(static_cast<OptimizerKind>(kind), size); });
  }
}

}  // namespace
}  // namespace koine
