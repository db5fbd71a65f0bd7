#pragma once

// A linear layer over many classes and its softmax cross-entropy, without the logits of all rows: they come tile of classes by
// tile of classes, and a row's maximum and sum of exponentials grow with them (online softmax, Milakov, Gimelshein, arXiv
// 1805.02867; over a vocabulary Wijmans et al., arXiv 2411.09009, whose leaving out of small gradients is not done here).
//
//   logits[r,c] = sum_i hidden[r,i] weight[c,i] + bias[c]                                  never stored for the caller
//   loss[r] = log(sum_c exp(logits[r,c])) - logits[r, label[r]]                            0 where label[r] is kIgnoredLabel
//   d[r,c]  = gradient_scale * (softmax(logits[r])[c] - [c = label[r]])                    0 where ignored
//   d_hidden[r,i] = sum_c d[r,c] weight[c,i]      d_weight[c,i] += sum_r d[r,c] hidden[r,i]      d_bias[c] += sum_r d[r,c]
//
// hidden [rows, in], weight [classes, in] and d_hidden of `type`; bias, d_weight, d_bias fp32; labels [rows], loss [rows] fp32.
// d_hidden null: only losses are wanted, and d_weight and d_bias are not touched. Logits are fp32 in both modes; d is rounded
// to `type`, for the products that read it. Labels and the scale as in softmax_cross_entropy.h.
//
// The variants differ in what they keep for backward. "portable" and "cpu": a tile of logits, the others are computed again, a
// fourth product beside three. "portable_kept" and "cpu_kept": the logits of a group of rows over all classes (about 256 MB, 1 GB
// on a device), and no product twice; on the CPU, where a product costs more than the memory, they come first. For losses alone
// all keep a tile. Rows go in groups, in backward the last tile first. Deterministic, and a function of the shapes and operands only: sums over classes are made in the
// order of the tiles, d_weight's in the order of the groups. FLOPs: 2 rows classes in, and twice as many for the gradients.

#include <cstdint>

#include "kernels/common/registry.h"

namespace koine {

struct LinearCrossEntropyArguments {
  DType type = DType::kFloat32;
  std::int64_t rows = 0;
  std::int64_t classes = 0;
  std::int64_t in = 0;
  const void* hidden = nullptr;
  const void* weight = nullptr;
  const float* bias = nullptr;  ///< [classes] or null
  const std::int32_t* labels = nullptr;
  float gradient_scale = 1;
  /// Where to read the scale instead of gradient_scale (device memory on a device); null: gradient_scale.
  const float* gradient_scale_from = nullptr;
  float* loss = nullptr;
  void* d_hidden = nullptr;       ///< [rows, in], overwritten, or null
  float* d_weight = nullptr;      ///< [classes, in], +=
  float* d_bias = nullptr;        ///< [classes], +=, or null
  std::int64_t group_rows = 0;    ///< rows of a group; 0: what suits the device
  std::int64_t tile_classes = 0;  ///< classes of a tile, a multiple of 8; 0: what suits the device
};

inline void linear_cross_entropy(const Context& context, const LinearCrossEntropyArguments& arguments) {
  run(context, arguments);
}

}  // namespace koine
