#pragma once

// How the variant for 9.0 cuts a product into tiles. A function of the arguments and of the number of multiprocessors; what
// is added in which order depends on neither m, n nor that number.

#include "kernels/gemm/gemm.h"

namespace koine {

struct GemmSm90Plan {
  int row_pairs = 0;     ///< pairs of tiles of 128 rows, one above the other: a pair is a cluster's work
  int column_tiles = 0;  ///< of 128 columns
  int depth_slices = 0;  ///< of 64
  int clusters = 0;      ///< of two blocks, each block on a multiprocessor
};

inline constexpr int kGemmSm90Multiprocessors = 132;  // of an H100 SXM or H200
GemmSm90Plan plan_gemm_sm90(const GemmArguments& arguments, int multiprocessors = kGemmSm90Multiprocessors);

/// bf16 operands that lie as tensor copies need it: they begin on multiples of 16 bytes and so do their rows. Not both
/// transposed, no extent 0.
bool gemm_sm90_supports(const GemmArguments& arguments);
void launch_gemm_sm90(const Context& context, const GemmArguments& arguments, const GemmSm90Plan& plan);
void gemm_sm90(const Context& context, const GemmArguments& arguments, void* workspace);

}  // namespace koine
