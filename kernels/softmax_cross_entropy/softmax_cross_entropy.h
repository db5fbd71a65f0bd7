#pragma once

// Softmax cross-entropy and its gradient in one pass over the logits.
//
//   loss[r] = log(sum_c exp(logits[r,c])) - logits[r, label[r]]          0 where label[r] is kIgnoredLabel
//   d_logits[r,c] = gradient_scale * (softmax(logits[r])[c] - [c = label[r]])   0 where ignored
//
// gradient_scale is 1 / (number of counted labels of the whole optimizer step), so that accumulation over micro-batches
// gives the mean. logits [rows, classes] of `type` with row stride `stride`; d_logits likewise and may be logits itself (in
// place), or null when only losses are wanted. labels [rows], loss [rows] fp32. Multiple choice is the same operation: rows
// = examples, classes = choices. Over a large vocabulary linear_cross_entropy does the same without these logits. Sums in fp32
// with the row's maximum subtracted, fixed order. A label outside [0, classes) is refused on the CPU; on a device, where nobody
// sees it in time, the row's loss is NaN and its gradient 0. Bytes: logits read once or twice, d_logits written once.

#include <cstdint>

#include "kernels/common/registry.h"

namespace koine {

/// Label of a row that is not counted, the field's convention (PyTorch's ignore_index).
inline constexpr std::int32_t kIgnoredLabel = -100;

struct SoftmaxCrossEntropyArguments {
  DType type = DType::kFloat32;
  std::int64_t rows = 0;
  std::int64_t classes = 0;
  std::int64_t stride = 0;
  const void* logits = nullptr;
  const std::int32_t* labels = nullptr;
  float gradient_scale = 1;
  float* loss = nullptr;
  void* d_logits = nullptr;
  /// Where to read the scale instead of gradient_scale (device memory on a device), so that recorded work can be run again
  /// with another; null: gradient_scale.
  const float* gradient_scale_from = nullptr;
};

inline void softmax_cross_entropy(const Context& context, const SoftmaxCrossEntropyArguments& arguments) {
  run(context, arguments);
}

}  // namespace koine
