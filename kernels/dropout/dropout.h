#pragma once

// Dropout (Srivastava et al., JMLR 15, 2014), alone or with a residual addition, for the places where no other operation
// can carry it: after the embeddings and in the heads.
//
//   output = mask * input / (1 - rate) + residual
//
// Its own backward: with `input` the gradient of the output and the same Dropout, `output` is the gradient of the input.
// [rows, width] of `type`, contiguous; output may be input. Deterministic: the mask is a function of what is dropped.

#include <cstdint>

#include "kernels/common/registry.h"
#include "kernels/random/dropout_mask.h"

namespace koine {

struct DropoutArguments {
  DType type = DType::kFloat32;
  std::int64_t rows = 0;
  std::int64_t width = 0;
  const void* input = nullptr;
  const void* residual = nullptr;  ///< or null
  Dropout dropout;                 ///< examples and positions are [rows]; may be inactive (then this copies or adds)
  void* output = nullptr;
};

inline void dropout(const Context& context, const DropoutArguments& arguments) { run(context, arguments); }

}  // namespace koine
