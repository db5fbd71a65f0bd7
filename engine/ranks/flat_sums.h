#pragma once

// Sums and copies of fp32 numbers in the memory of a device, in a stream.

#include <cstdint>

#include "kernels/common/own_scratch.h"
#include "kernels/common/registry.h"
#include "kernels/common/types.h"

namespace koine {

/// Elements a rank sends at a time: 16 MiB.
inline constexpr std::int64_t kExchangeElements = std::int64_t{4} << 20;

/// Shares of ranks begin where vector loads want them.
inline constexpr std::int64_t kShareMultiple = 64;

/// Elements exchanged at a time, a multiple of the ranks.
std::int64_t exchanged_at_once(std::int64_t exchange_elements, std::int64_t elements, int ranks);
/// The share of a rank in `count` elements: the first ranks have as much as this, a last one less, or none.
std::int64_t share_of_rank(std::int64_t count, std::int64_t ranks);

class FlatSums {
 public:
  /// `most`: elements of the longest.
  FlatSums(Device device, std::int64_t most) : device_(device), most_(most) {}

  /// to[i] += from[i]
  void add(float* to, const float* from, std::int64_t count, void* stream);
  void copy(float* to, const float* from, std::int64_t count, void* stream) const;
  void clear(float* values, std::int64_t count, void* stream) const;

 private:
  Context in_stream(void* stream);

  Device device_;
  std::int64_t most_;
  OwnScratch scratch_;
};

}  // namespace koine
