#pragma once

// Loss of an extractive answer span: two softmax cross-entropies over the tokens of each sequence (Devlin et al., arXiv
// 1810.04805, section 4.2).
//
//   loss[s] = (CE(start logits of sequence s, start[s]) + CE(end logits of sequence s, end[s])) / 2
//   d_logits = gradient_scale * d(sum of loss)/d(logits)
//
// logits, d_logits [tokens, 2] of `type` (column 0 start, 1 end), contiguous; start_labels, end_labels [sequences], index of
// the token within its sequence; a label outside [0, length) is not counted: its half contributes no loss and no gradient.
// loss [sequences] fp32. d_logits may be logits, or null. An empty sequence has loss 0. Deterministic.
// The mean that transformers reports divides each half's sum by its own number of counted labels; gradient_scale is
// 1 / sequences when all are counted.

#include <cstdint>

#include "kernels/common/registry.h"

namespace koine {

struct SpanLossArguments {
  DType type = DType::kFloat32;
  std::int64_t tokens = 0;
  std::int64_t sequences = 0;
  const std::int32_t* cumulative_lengths = nullptr;  ///< [sequences + 1]
  const void* logits = nullptr;
  const std::int32_t* start_labels = nullptr;
  const std::int32_t* end_labels = nullptr;
  float gradient_scale = 1;
  float* loss = nullptr;
  void* d_logits = nullptr;
  /// Where to read the scale instead of gradient_scale (device memory on a device), so that recorded work can be run again
  /// with another; null: gradient_scale.
  const float* gradient_scale_from = nullptr;
};

inline void span_loss(const Context& context, const SpanLossArguments& arguments) { run(context, arguments); }

}  // namespace koine
