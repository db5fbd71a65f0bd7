#pragma once

// Sums and copies of fp32 numbers in the memory of a device, in a stream.

#include <cstdint>
#include <vector>

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

/// Elements of a flat buffer, in units: a range, whose units are elements, or rows of a table, the units.
struct FlatSpan {
  std::int64_t begin = 0;  ///< the first element, of the range or of the table
  std::int64_t units = 0;
  std::int64_t width = 1;              ///< elements of a unit
  const std::int32_t* rows = nullptr;  ///< [units] of the table, distinct, in memory of the device; null: a range
  std::int64_t table_rows = 0;         ///< that it has

  FlatSpan part(std::int64_t first, std::int64_t count) const;
};

/// How a span is cut for the ranks: the first have so many units each, a last one fewer, or none; one behind the other in
/// `elements` for each rank.
struct SpanShare {
  std::int64_t units = 0;
  std::int64_t elements = 0;

  FlatSpan of_rank(const FlatSpan& span, std::int64_t rank) const;
};
SpanShare share_of_span(const FlatSpan& span, std::int64_t ranks);
/// Units whose shares have at most exchanged_at_once() / ranks elements; 0 where one has more.
std::int64_t units_at_once(const FlatSpan& span, std::int64_t exchanged_at_once, std::int64_t ranks);
/// The pieces that a span is exchanged in, one after the other.
std::vector<FlatSpan> pieces_of_span(const FlatSpan& span, std::int64_t exchanged_at_once, std::int64_t ranks);
/// Elements of a rank's shares of all pieces of a span that is exchanged so.
std::int64_t elements_of_shares(const FlatSpan& span, std::int64_t exchanged_at_once, std::int64_t ranks);

class FlatSums {
 public:
  /// `most`: elements of the longest.
  FlatSums(Device device, std::int64_t most) : device_(device), most_(most) {}

  /// to[i] += from[i]
  void add(float* to, const float* from, std::int64_t count, void* stream);
  void copy(float* to, const float* from, std::int64_t count, void* stream) const;
  void clear(float* values, std::int64_t count, void* stream) const;
  /// What a span of `flat` has, one unit behind the other, and back.
  void pack(float* to, const float* flat, const FlatSpan& from, void* stream);
  void unpack(float* flat, const float* from, const FlatSpan& to, void* stream);

 private:
  Context in_stream(void* stream);

  Device device_;
  std::int64_t most_;
  OwnScratch scratch_;
};

}  // namespace koine
