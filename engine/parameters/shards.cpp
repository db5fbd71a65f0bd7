#include "engine/parameters/shards.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "kernels/common/buffer.h"
#include "kernels/common/check.h"
#include "kernels/cuda/runtime.h"

namespace koine {
namespace {

/// Bytes that are fetched at a time.
constexpr std::size_t kPiece = std::size_t{16} << 20;

std::int64_t cut_near(const ParameterTable& table, std::int64_t element) {
  for (const ParameterSpec& spec : table.specs()) {
    if (element <= spec.offset) return spec.offset;
    if (element < spec.offset + spec.count()) return spec.offset + (element - spec.offset) / kShardMultiple * kShardMultiple;
  }
  return table.elements();
}

}  // namespace

std::vector<ElementRange> cut_into_shards(const ParameterTable& table, int ranks) {
  check(ranks > 0, "values cannot be spread over ", ranks, " ranks");
  std::vector<ElementRange> ranges;
  std::int64_t begin = 0;
  for (int rank = 1; rank <= ranks; ++rank) {
    const std::int64_t end = rank == ranks ? table.elements() : cut_near(table, table.elements() / ranks * rank);
    ranges.push_back({begin, end});
    begin = end;
  }
  return ranges;
}

ElementRange part_of(const ParameterSpec& spec, const ElementRange& range) {
  const ElementRange inside = intersection({spec.offset, spec.offset + spec.count()}, range);
  if (inside.count() == 0) return {0, 0};
  return {inside.begin - spec.offset, inside.end - spec.offset};
}

// As numbers of two bytes, which a broadcast moves as they are; an odd byte has another behind it.
void fetch_from(const Shards& shards, Device device, int root, const void* own, std::size_t bytes, void* to) {
  if (bytes == 0) return;
  const Buffer staging = Buffer::zeroed(device, "values on their way", std::min(kPiece, bytes + bytes % 2));
  for (std::size_t at = 0; at < bytes; at += kPiece) {
    const std::size_t piece = std::min(kPiece, bytes - at);
    if (root == shards.own) {
      const auto* from = static_cast<const std::byte*>(own) + at;
      if (device == Device::kCuda) {
        cuda::copy_on_device(staging.data(), from, piece, nullptr);
      } else {
        std::memcpy(staging.data(), from, piece);
      }
    }
    shards.broadcast(DType::kBFloat16, staging.data(), static_cast<std::int64_t>((piece + 1) / 2), root, nullptr);
    staging.read(static_cast<std::byte*>(to) + at, piece);
  }
}

void gather_parameter(const Shards& shards, Device device, const ParameterSpec& spec, std::size_t element_bytes,
                      const void* own, void* to) {
  for (int rank = 0; rank < static_cast<int>(shards.ranges.size()); ++rank) {
    const ElementRange& range = shards.ranges[static_cast<std::size_t>(rank)];
    const ElementRange part = part_of(spec, range);
    if (part.count() == 0) continue;
    const std::int64_t place = rank == shards.own ? spec.offset + part.begin - range.begin : 0;
    fetch_from(shards, device, rank, static_cast<const std::byte*>(own) + static_cast<std::size_t>(place) * element_bytes,
               static_cast<std::size_t>(part.count()) * element_bytes,
               static_cast<std::byte*>(to) + static_cast<std::size_t>(part.begin) * element_bytes);
  }
}

}  // namespace koine
