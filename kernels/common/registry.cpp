#include "kernels/common/registry.h"

namespace koine {

std::string_view forced_variant(const Context& context, std::string_view operation) {
  if (context.forced == nullptr) return "";
  const auto found = context.forced->find(operation);
  return found == context.forced->end() ? std::string_view() : found->second;
}

std::string_view tuned_variant(const Context& context, std::string_view operation, std::uint64_t key) {
  for (const TunedVariant& row : context.tuning) {
    if (row.key == key && row.architecture == context.architecture && row.operation == operation) return row.variant;
  }
  return "";
}

}  // namespace koine
