#pragma once

// The products of a linear layer, forward and back.

#include "kernels/common/registry.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/weight_gradients.h"
#include "kernels/random/dropout_mask.h"
#include "models/layers/parameters.h"

namespace koine {

/// output = input W^T + bias, then `epilogue`; `pre_activation` as in gemm.h; dropout where active; residual added where
/// given. `output_type` fp32 lets logits of a mixed-precision model be fp32.
struct LinearForward {
  DType type = DType::kFloat32;
  DType output_type = DType::kFloat32;
  std::int64_t rows = 0;
  const void* input = nullptr;
  void* output = nullptr;
  GemmEpilogue epilogue = GemmEpilogue::kNone;
  void* pre_activation = nullptr;
  const void* residual = nullptr;
  Dropout dropout = {};
  std::int64_t output_stride = 0;  ///< of the output's rows; 0: they lie side by side
};
void linear_forward(const Context& context, const Linear& linear, const LinearForward& call);

/// d_weight += d_output^T input, d_bias += column sums of d_output, and d_input = d_output W [+ residual], or times
/// gelu'(pre_activation); d_input null: not wanted. With `collect`, the weight and bias gradients are only noted there, to
/// be computed with others by weight_gradients(): input and d_output have to stay as they are until then.
struct LinearBackward {
  DType type = DType::kFloat32;
  std::int64_t rows = 0;
  const void* input = nullptr;
  const void* d_output = nullptr;
  void* d_input = nullptr;
  void* pre_activation = nullptr;  ///< not null: d_input is the gradient of the GELU's input
  const void* residual = nullptr;
  WeightGradientsArguments* collect = nullptr;
  std::int64_t d_output_stride = 0;  ///< of d_output's rows; 0: they lie side by side
};
void linear_backward(const Context& context, const Linear& linear, const LinearBackward& call);

}  // namespace koine
