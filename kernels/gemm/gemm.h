#pragma once

// Matrix product with a fused epilogue, row-major.
//
//   C = epilogue(op(A) op(B)),   op(A) is [m, k], op(B) is [k, n], C is [m, n]
//
// With weights stored [out, in] as checkpoints have them, the three products of a linear layer y = x W^T + b are
//   forward          y  = x  W^T   transpose_b                (m = tokens, n = out, k = in)
//   input gradient   dx = dy W     neither                    (m = tokens, n = in,  k = out)
//   weight gradient  dW += dy^T x  transpose_a, accumulate    (m = out,    n = in,  k = tokens)
//
// Epilogues, in this order on the fp32 accumulator `t`:
//   t += bias[column]                                  where bias is given
//   kGelu:          pre_activation = t (rounded to C's type); C = gelu_erf(pre_activation as stored)
//   kGeluGradient:  C = t * gelu_erf'(pre_activation)
//   t = dropout(t rounded to C's type)                 where dropout is active (after kNone only, no accumulate)
//   t += residual                                      where residual is given (after kNone only)
//   C = t, or C += t where accumulate (kNone only)
// gelu_erf(x) = x/2 (1 + erf(x / sqrt 2)) (Hendrycks, Gimpel, arXiv 1606.08415).
//
// Dropout draws the mask of hidden units (kernels/random/dropout_mask.h): an element is named by the example and position of
// its row of C, and its column. t * multiplier + residual is rounded once. So C is, bit for bit, the `sum` that layernorm
// (kernels/layernorm/layernorm.h) makes of a plain product's C as its input and the same residual and dropout.
//
// fp32 mode: A, B, C fp32. Mixed mode: A, B bf16; C bf16, or fp32 for weight gradients; always fp32 accumulation.
// Deterministic, and a function of the shapes and operands only: not of the number of threads. FLOPs: 2 m n k.
// m, n or k may be 0: with k = 0 the accumulator is 0.

#include <cstdint>

#include "kernels/common/registry.h"
#include "kernels/random/dropout_mask.h"

namespace koine {

enum class GemmEpilogue { kNone, kGelu, kGeluGradient };

struct GemmArguments {
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  const void* a = nullptr;  ///< [m, k] with row stride lda, or [k, m] where transpose_a
  std::int64_t lda = 0;
  bool transpose_a = false;
  const void* b = nullptr;  ///< [k, n] with row stride ldb, or [n, k] where transpose_b
  std::int64_t ldb = 0;
  bool transpose_b = false;
  DType input_type = DType::kFloat32;  ///< of A and B
  void* c = nullptr;                   ///< [m, n] with row stride ldc
  std::int64_t ldc = 0;
  DType output_type = DType::kFloat32;  ///< of C, pre_activation and residual
  bool accumulate = false;              ///< C += instead of C =; output_type must be fp32
  GemmEpilogue epilogue = GemmEpilogue::kNone;
  const float* bias = nullptr;     ///< [n] or null
  void* pre_activation = nullptr;  ///< [m, n], row stride ldc: written by kGelu (null: not kept), read by kGeluGradient
  const void* residual = nullptr;  ///< [m, n], row stride ldc, or null
  Dropout dropout = {};            ///< examples and positions [m]; only the portable CUDA variant and the reference do it
};

inline void gemm(const Context& context, const GemmArguments& arguments) { run(context, arguments); }

}  // namespace koine
