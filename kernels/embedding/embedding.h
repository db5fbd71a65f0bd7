#pragma once

// Sum of word, position and token-type embeddings, and its gradient in a fixed order.
//
//   output[t] = word[ids[t]] + position[position_ids[t]] + token_type[0]
//
// Backward adds rows of d_output into fp32 tables. Word rows: for each distinct id, its tokens in order of their place in
// the batch, as a TokenOrder lists them; rows of ids that do not occur are neither read nor written, which is what lets the
// optimizer treat the table lazily. Position rows likewise; the token-type row gets the sum over all tokens
// (also those in no group: padding, whose d_output is zero). A table without a gradient (null) gets none.
// Tables [*, width] of `type` (gradients fp32), output and d_output [tokens, width] of `type`, ids and position_ids
// [tokens]. Deterministic. Ids out of range are the caller's mistake, checked only where the memory is the host's.

#include <cstdint>

#include "kernels/common/registry.h"

namespace koine {

struct EmbeddingForwardArguments {
  DType type = DType::kFloat32;
  std::int64_t tokens = 0;
  std::int64_t width = 0;
  std::int64_t vocabulary = 0;
  std::int64_t positions = 0;  ///< rows of the position table
  const std::int32_t* ids = nullptr;
  const std::int32_t* position_ids = nullptr;
  const void* word = nullptr;
  const void* position = nullptr;
  const void* token_type = nullptr;  ///< its row 0
  void* output = nullptr;
};

/// The tokens of a batch grouped by a key (word id or position id): key keys[g] occurs at
/// tokens[starts[g]] .. tokens[starts[g+1] - 1], ascending; keys ascend. Built on the host while the batch is packed.
/// A batch padded to a common size has groups without tokens at the end (starts[g] == starts[g+1]): their keys are not read,
/// and no row of a table is touched for them. Tokens that are padding stand in no group, so starts[groups] may be less than
/// the batch's tokens; what lies in the list behind that is not read.
struct TokenOrder {
  std::int64_t groups = 0;
  const std::int32_t* keys = nullptr;    ///< [groups]
  const std::int32_t* starts = nullptr;  ///< [groups + 1]
  const std::int32_t* tokens = nullptr;  ///< [starts[groups]]
};

struct EmbeddingBackwardArguments {
  DType type = DType::kFloat32;  ///< of d_output
  std::int64_t tokens = 0;
  std::int64_t width = 0;
  TokenOrder by_id;
  TokenOrder by_position;
  const void* d_output = nullptr;
  float* d_word = nullptr;        ///< += at the touched rows
  float* d_position = nullptr;    ///< += at the touched rows; null: by_position has no groups
  float* d_token_type = nullptr;  ///< += row 0; null: not wanted
};

inline void embedding_forward(const Context& context, const EmbeddingForwardArguments& arguments) {
  run(context, arguments);
}
inline void embedding_backward(const Context& context, const EmbeddingBackwardArguments& arguments) {
  run(context, arguments);
}

}  // namespace koine
