#include "engine/execution/forced_variants.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "engine/files/comma_list.h"
#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "kernels/operations.h"

namespace koine {
namespace {

/// "layernorm_forward" and "layernorm_backward" -> "layernorm"; other names unchanged.
std::string family_of(const std::string& operation) {
  for (const std::string ending : {"_forward", "_backward"}) {
    if (operation.size() > ending.size() && operation.ends_with(ending)) {
      return operation.substr(0, operation.size() - ending.size());
    }
  }
  return operation;
}

bool has_variant(const OperationSummary& operation, const std::string& variant) {
  return std::any_of(operation.variants.begin(), operation.variants.end(),
                     [&](const OperationSummary::Variant& known) { return known.name == variant; });
}

}  // namespace

ForcedVariants forced_variants() {
  ForcedVariants forced;
  const char* text = std::getenv("KOINE_FORCE");
  if (text == nullptr) return forced;
  const std::vector<OperationSummary> operations = all_operations();
  for (const std::string& entry : split_commas(text)) {
    const std::size_t colon = entry.find(':');
    require(colon != std::string::npos, "KOINE_FORCE: \"", entry, "\" is not operation:variant");
    const std::string name = entry.substr(0, colon);
    const std::string variant = entry.substr(colon + 1);
    std::vector<std::string> names;
    std::vector<std::string> variants;
    bool known = false;
    for (const OperationSummary& operation : operations) {
      names.push_back(operation.name);
      names.push_back(family_of(operation.name));
      if (name != operation.name && name != family_of(operation.name)) continue;
      known = true;
      for (const OperationSummary::Variant& one : operation.variants) variants.push_back(one.name);
      if (has_variant(operation, variant)) forced[operation.name] = variant;
    }
    const std::string near = nearest_name(name, names);
    require(known, "KOINE_FORCE: there is no operation \"", name, "\"",
            near.empty() ? "; `koine doctor` lists them" : "; did you mean \"" + near + "\"?");
    const std::string near_variant = nearest_name(variant, variants);
    require(std::find(variants.begin(), variants.end(), variant) != variants.end(), "KOINE_FORCE: operation \"", name,
            "\" has no variant \"", variant, "\"",
            near_variant.empty() ? "; `koine doctor` lists them" : "; did you mean \"" + near_variant + "\"?");
  }
  return forced;
}

}  // namespace koine
