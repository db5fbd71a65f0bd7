#pragma once

// Values that are spread over the ranks of a run (ZeRO: Rajbhandari, Rasley, Ruwase, He, arXiv 1910.02054): of what an optimizer
// keeps of each element of the flat buffers, a rank has that of a range of them.

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/parameters/parameter_table.h"
#include "kernels/common/types.h"
#include "kernels/optimizer/segments.h"

namespace koine {

struct Shards {
  std::vector<ElementRange> ranges;  ///< of each rank, one behind the other, together all elements
  int own = 0;                       ///< this rank
  /// As Communicator::broadcast, for memory of the device that the values lie on.
  std::function<void(DType type, void* values, std::int64_t count, int root, void* stream)> broadcast;
  /// As Communicator::all_reduce.
  std::function<void(DType type, void* values, std::int64_t count, void* stream)> all_reduce;
  bool gradients = false;  ///< of gradients too a rank has those of its range (passing_gradients.h)

  const ElementRange& range() const { return ranges[static_cast<std::size_t>(own)]; }
};

/// Elements that a cut is a multiple of, counted from where a parameter begins: so blocks of coded moments stay whole.
inline constexpr std::int64_t kShardMultiple = 256;

/// Ranges of about the same size.
std::vector<ElementRange> cut_into_shards(const ParameterTable& table, int ranks);

/// What of a parameter lies in a range, counted from its first element.
ElementRange part_of(const ParameterSpec& spec, const ElementRange& range);

/// Bytes that rank `root` has at `own`, memory of `device`, to host memory of all ranks. Collective; waits for the device.
void fetch_from(const Shards& shards, Device device, int root, const void* own, std::size_t bytes, void* to);

/// All of a parameter's values, `element_bytes` each, to host memory of all ranks; `own` is the value of the first element of
/// this rank's range. Collective; waits for the device.
void gather_parameter(const Shards& shards, Device device, const ParameterSpec& spec, std::size_t element_bytes,
                      const void* own, void* to);

}  // namespace koine
