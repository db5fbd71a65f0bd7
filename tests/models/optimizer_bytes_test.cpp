// The table of docs/optimizers.md: bytes of state a parameter.

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
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

TEST(OptimizerBytes, TheDocumentSaysWhatIsCounted) {
  std::ifstream file(std::string(KOINE_SOURCE_DIR) + "/docs/optimizers.md");
  std::ostringstream document;
  document << file.rdbuf();
  for (std::size_t kind = 0; kind < optimizer_names().size(); ++kind) {
    std::string row = "| `" + optimizer_names()[kind] + "` |";
    for (const char* size : {"base", "large", "xl", "xxl"}) {
      char text[32];
      std::snprintf(text, sizeof text, " %.3f |", state_bytes_per_parameter(static_cast<OptimizerKind>(kind), size));
      row += text;
    }
    EXPECT_NE(document.str().find(row + "\n"), std::string::npos) << row;
  }
}

}  // namespace
}  // namespace koine
