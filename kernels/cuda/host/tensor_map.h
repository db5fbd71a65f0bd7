#pragma once

// What the host implementation keeps in the 128 bytes of a TensorMap.

#include "kernels/cuda/hopper/bulk_copy.h"

namespace koine::cuda::host {

struct EncodedTensor {
  std::uint64_t mark;
  TensorLayout layout;
};
static_assert(sizeof(EncodedTensor) <= sizeof(TensorMap));

/// Null where make_tensor_map() has not made it.
const TensorLayout* layout_of(const TensorMap& map);

}  // namespace koine::cuda::host
