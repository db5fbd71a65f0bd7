#pragma once

// Which variant was measured as the fastest, by operation, architecture and shape. Written by tools/gpu/tune.py from
// committed results of bench_operations (bench/results/<device>/operations.json); what is not in it runs the first variant
// that fits.

#include <array>
#include <string_view>

namespace koine {

struct TunedVariant {
  std::string_view operation;
  int architecture = 0;
  std::string_view key;  ///< Operation::tuning_key
  std::string_view variant;
};

// No device has been measured yet.
inline constexpr std::array<TunedVariant, 0> kTuningTable = {};

}  // namespace koine
