#pragma once

// How the portable CUDA variant cuts a product into tiles and, where its tiles are few, its depth into parts. A function of
// the arguments alone, so that a sum has the same order on every device; and the parts one of the shape alone: where
// operands lie decides by which loads they are read, nothing else.

#include <cstddef>

#include "kernels/gemm/gemm.h"

namespace koine {

enum class GemmTile {
  kFloat,          ///< fp32: 128 x 64, multiply-adds
  kLarge,          ///< bf16: 128 x 128
  kSmall,          ///< bf16: 64 x 64
  kSmallElements,  ///< bf16: 64 x 64, elements loaded one by one: any strides and alignments
};

struct GemmPlan {
  GemmTile tile = GemmTile::kFloat;
  std::int64_t splits = 1;  ///< parts of the depth, each of which writes its sums to the workspace
  std::int64_t depth = 0;   ///< of a part, but for the last
};

GemmPlan plan_gemm(const GemmArguments& arguments);
std::size_t gemm_plan_workspace(const GemmArguments& arguments, const GemmPlan& plan);
/// What gemm_portable does with plan_gemm()'s plan. The tile must be one that fits types and alignment.
void launch_gemm_plan(const Context& context, const GemmArguments& arguments, const GemmPlan& plan, void* workspace);

bool gemm_portable_supports(const GemmArguments& arguments);
std::size_t gemm_portable_workspace(const GemmArguments& arguments);
void gemm_portable(const Context& context, const GemmArguments& arguments, void* workspace);

}  // namespace koine
