#pragma once

// The operations of this build: what `koine doctor`, tests and benchmarks walk. The list stands in operations.cpp.

#include <string>
#include <vector>

#include "kernels/common/registry.h"

namespace koine {

struct OperationSummary {
  struct Variant {
    std::string name;
    Device device = Device::kCpu;
    ArchitectureWindow architectures;
  };
  std::string name;
  std::vector<Variant> variants;                            ///< in order of preference
  std::string (*tuning_text)(std::uint64_t key) = nullptr;  ///< as Operation's
};

template <class Arguments>
OperationSummary summary_of(const Operation<Arguments>& table) {
  OperationSummary result;
  result.name = table.name;
  result.tuning_text = table.tuning_text;
  for (const Variant<Arguments>& variant : table.variants) {
    result.variants.push_back({std::string(variant.name), variant.device, variant.architectures});
  }
  return result;
}

/// All of them, by name.
std::vector<OperationSummary> all_operations();

/// What run() launches for an operation in this context, as far as it does not hang on whether a variant supports the
/// arguments.
struct VariantChoice {
  struct Shape {
    std::string text;  ///< Operation::tuning_text
    std::string variant;
  };
  std::string variant;  ///< for what was not measured; "": there is none
  bool forced = false;
  std::vector<Shape> shapes;  ///< measured to be faster by another variant, which they run
};
VariantChoice variant_choice(const Context& context, const OperationSummary& operation);

}  // namespace koine
