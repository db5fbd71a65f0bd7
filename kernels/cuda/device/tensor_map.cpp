// Tensor maps by the driver, which is found at run time: koine links to no libcuda.

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstring>

#include "kernels/common/check.h"
#include "kernels/cuda/hopper/bulk_copy.h"

namespace koine::cuda {
namespace {

using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*, const cuuint64_t*,
                            const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
                            CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

Encode find_encode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
#if CUDART_VERSION >= 12050
  constexpr unsigned kVersion = 12000;  // of CUDA, whose driver has it
  const cudaError_t status =
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, kVersion, cudaEnableDefault, &found);
#else
  const cudaError_t status = cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &function, cudaEnableDefault, &found);
#endif
  check(status == cudaSuccess && found == cudaDriverEntryPointSuccess && function != nullptr,
        "CUDA: the driver has no cuTensorMapEncodeTiled; it is of CUDA 12.0 or later and compute capability 9.0");
  return reinterpret_cast<Encode>(function);
}

}  // namespace

TensorMap encode_tensor_map(const TensorLayout& layout) {
  static const Encode encode = find_encode();
  static_assert(sizeof(TensorMap) == sizeof(CUtensorMap));
  constexpr CUtensorMapSwizzle kSwizzles[] = {CU_TENSOR_MAP_SWIZZLE_NONE, CU_TENSOR_MAP_SWIZZLE_32B,
                                              CU_TENSOR_MAP_SWIZZLE_64B, CU_TENSOR_MAP_SWIZZLE_128B};
  const auto dimensions = static_cast<cuuint32_t>(layout.dimensions);
  cuuint64_t extent[3];
  cuuint64_t stride[2];
  cuuint32_t box[3];
  const cuuint32_t every[3] = {1, 1, 1};
  for (int d = 0; d < layout.dimensions; ++d) {
    extent[d] = static_cast<cuuint64_t>(layout.extent[d]);
    box[d] = static_cast<cuuint32_t>(layout.box[d]);
    if (d > 0) stride[d - 1] = static_cast<cuuint64_t>(layout.stride_bytes[d]);
  }
  alignas(128) CUtensorMap map;
  const CUresult status =
      encode(&map, layout.type == DType::kFloat32 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT32 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
             dimensions, const_cast<void*>(layout.data), extent, stride, box, every, CU_TENSOR_MAP_INTERLEAVE_NONE,
             kSwizzles[swizzle_of_tensor_map(layout.swizzle)], CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
             CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  check(status == CUDA_SUCCESS, "CUDA: cuTensorMapEncodeTiled fails with ", static_cast<int>(status));
  TensorMap result;
  std::memcpy(&result, &map, sizeof result);
  return result;
}

}  // namespace koine::cuda
