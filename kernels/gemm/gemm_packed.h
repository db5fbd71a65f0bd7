#pragma once

// The packed variant of the matrix product: this project's own kernels, for processors and builds without oneDNN.

#include "kernels/gemm/gemm.h"
#include "kernels/gemm/gemm_blocked.h"

namespace koine {

bool gemm_packed_supports(const GemmArguments& arguments);
std::size_t gemm_packed_workspace(const GemmArguments& arguments);
void gemm_packed(const Context& context, const GemmArguments& arguments, void* workspace);

/// True where the processor multiplies pairs of bf16 (AVX512_BF16). Such products round nothing but the fp32 sums, and treat
/// subnormal operands and sums as 0.
bool bfloat16_dot_available();
/// A tile of bf16 pairs in panels of 64 columns; depth is even.
void multiply_bfloat16_dot(const TileProduct& product);

}  // namespace koine
