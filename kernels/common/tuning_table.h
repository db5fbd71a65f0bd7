#pragma once

// Which variant was measured as the fastest, by operation, architecture and shape. What is not in the table runs the first
// variant that fits.

#include <cstdint>
#include <span>
#include <string_view>

namespace koine {

struct TunedVariant {
  std::string_view operation;
  int architecture = 0;
  std::uint64_t key = 0;  ///< Operation::tuning_key
  std::string_view variant;
};

/// The committed table: tuning_table.cpp, written by tools/gpu/tune.py from committed results of bench_operations
/// (bench/results/<device>/operations.json).
std::span<const TunedVariant> tuning_table();

}  // namespace koine
