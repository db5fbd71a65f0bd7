#include "kernels/common/registry.h"

#include "kernels/common/tuning_table.h"

namespace koine {

std::string_view tuned_variant(std::string_view operation, int architecture, const std::string& key) {
  for (const TunedVariant& row : kTuningTable) {
    if (row.architecture == architecture && row.operation == operation && row.key == key) return row.variant;
  }
  return "";
}

}  // namespace koine
