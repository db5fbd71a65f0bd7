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
  std::vector<Variant> variants;  ///< in order of preference
};

/// All of them, by name.
std::vector<OperationSummary> all_operations();

}  // namespace koine
