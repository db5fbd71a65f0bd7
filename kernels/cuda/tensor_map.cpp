// What cuTensorMapEncodeTiled demands of a tensor, and this layer on top of it (CUDA driver API, "Tensor Map Object
// Managment").

#include "kernels/common/check.h"
#include "kernels/cuda/hopper/bulk_copy.h"

namespace koine::cuda {

TensorMap encode_tensor_map(const TensorLayout& layout);  // device/tensor_map.cpp or host/tensor_map.cpp

TensorMap make_tensor_map(const TensorLayout& layout) {
  const auto element = static_cast<std::int64_t>(size_of(layout.type));
  check(layout.type != DType::kFloat64, "tensor map: elements are fp32 or bf16");
  check(layout.dimensions == 2 || layout.dimensions == 3, "tensor map: 2 or 3 dimensions, not ", layout.dimensions);
  check(layout.data != nullptr && reinterpret_cast<std::uintptr_t>(layout.data) % 16 == 0,
        "tensor map: the tensor begins on no multiple of 16 bytes: ", layout.data);
  for (int d = 0; d < layout.dimensions; ++d) {
    check(layout.extent[d] >= 1 && layout.extent[d] <= std::int64_t{1} << 32, "tensor map: extent ", d, " is ",
          layout.extent[d]);
    check(layout.box[d] >= 1 && layout.box[d] <= 256, "tensor map: a box has 1 to 256 elements in each dimension, not ",
          layout.box[d], " in dimension ", d);
    check(d == 0 || (layout.stride_bytes[d] % 16 == 0 && layout.stride_bytes[d] > 0 &&
                     layout.stride_bytes[d] < std::int64_t{1} << 40),
          "tensor map: stride ", d, " is ", layout.stride_bytes[d], " bytes, no multiple of 16 below 2^40");
  }
  const std::int64_t line = layout.box[0] * element;
  if (layout.swizzle == Swizzle::kNone) {
    check(line % 16 == 0, "tensor map: a line of the box has ", line, " bytes, no multiple of 16");
  } else {
    // Shorter lines are allowed to the hardware; nothing here needs them.
    check(line == swizzle_bytes(layout.swizzle), "tensor map: a line of the box has ", line, " bytes, the swizzle ",
          swizzle_bytes(layout.swizzle));
  }
  return encode_tensor_map(layout);
}

}  // namespace koine::cuda
