#pragma once

// Layer normalisations with a model's parameters.

#include "kernels/layernorm/layernorm.h"
#include "models/layers/parameters.h"

namespace koine {

/// Where a block has its layer normalisations: after each residual addition (and after the embeddings), or before the
/// attention and the feed-forward (with one more behind the last block, none after the embeddings).
enum class NormPlacement { kPost, kPre };

/// Sizes and parameters filled in; operands are the caller's.
LayerNormForwardArguments norm_forward(DType type, std::int64_t rows, std::int64_t width, float epsilon, const Norm& norm);
LayerNormBackwardArguments norm_backward(DType type, std::int64_t rows, std::int64_t width, const Norm& norm);

}  // namespace koine
