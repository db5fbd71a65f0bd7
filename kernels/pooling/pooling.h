#pragma once

// One vector per sequence: the mean of its tokens.
//
//   output[s] = average of input[t] over the tokens of sequence s; with skip_special, over all but its first and last token;
//               with by_position, of weights 1, 2, 3 ... in the order of the tokens averaged: sum of i * input / sum of i
//   backward (of equal weights): d_input[t] = d_output[s] / count(s) for the tokens averaged, 0 for the others
//
// (The first token's vector is gather_rows with the sequences' starts.) An average over no token is 0.
// input, d_input [tokens, width], output, d_output [sequences, width] of `type`; sums in fp32 in order of the tokens.

#include <cstdint>

#include "kernels/common/registry.h"

namespace koine {

struct MeanPoolingForwardArguments {
  DType type = DType::kFloat32;
  std::int64_t tokens = 0;
  std::int64_t sequences = 0;
  std::int64_t width = 0;
  const std::int32_t* cumulative_lengths = nullptr;  ///< [sequences + 1]
  bool skip_special = false;
  const void* input = nullptr;
  void* output = nullptr;
  bool by_position = false;
};

struct MeanPoolingBackwardArguments {
  DType type = DType::kFloat32;
  std::int64_t tokens = 0;
  std::int64_t sequences = 0;
  std::int64_t width = 0;
  const std::int32_t* cumulative_lengths = nullptr;
  bool skip_special = false;
  const void* d_output = nullptr;
  void* d_input = nullptr;
};

inline void mean_pooling_forward(const Context& context, const MeanPoolingForwardArguments& arguments) {
  run(context, arguments);
}
inline void mean_pooling_backward(const Context& context, const MeanPoolingBackwardArguments& arguments) {
  run(context, arguments);
}

}  // namespace koine
