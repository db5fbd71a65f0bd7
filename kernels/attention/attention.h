#pragma once

// Scaled dot-product attention over two packed lists of sequences (Vaswani et al., arXiv 1706.03762; the recomputing
// backward of Dao et al., arXiv 2205.14135): every query sees keys of its own sequence and no others, all of them or, under
// a causal mask, those up to its own place. In self-attention both lists are one.
//
// For each sequence and head, with queries i < n and keys j < m of that sequence:
//   s_ij = scale * (q_i . k_j) + b(r_ij),   p_ij = exp(s_ij - L_i),   L_i = log sum_j exp(s_ij)  (log_sum_exp),
//   o_i = sum_j mask_ij p_ij v_j,   mask_ij = keeps_attention ? 1/(1-rate) : 0
//   backward:  D_i = do_i . o_i,   dp_ij = mask_ij (do_i . v_j),   ds_ij = p_ij (dp_ij - D_i)
//   dq_i = scale sum_j ds_ij k_j,   dk_j = scale sum_i ds_ij q_i,   dv_j = sum_i mask_ij p_ij do_i
//   d_table[bucket][head] += sum of ds_ij over all sequences and all i, j whose r_ij is in the bucket
// with sums over the keys that i sees. A query that sees none has o_i = 0, L_i = -infinity and dq_i = 0; a key that nobody
// sees has dk_j = dv_j = 0.
//
// Places: the last query stands at the last key, as when a decoder goes on from keys it has kept; so query i stands at
// place i + m - n, and r_ij = j - (i + m - n) is how far a key is ahead of it. Under AttentionMask::kCausal query i sees the
// keys with r_ij <= 0. Of two sides of one length r_ij is j - i.
//
// b is optional: relative positions by bucket (Raffel et al., arXiv 1910.10683), relative_position.h.
//
// Shapes: query and d_query [queries.tokens, heads * head_size] with row stride queries.stride; key, value and their
// gradients [keys.tokens, heads * head_size] with row stride keys.stride (they may be thirds of one fused product, or halves
// of one); output and d_output [queries.tokens, heads * head_size] with row stride output_stride; log_sum_exp
// [queries.tokens, heads] fp32. Sequence n is tokens cumulative_lengths[n] .. cumulative_lengths[n+1]-1 of each side and may
// be empty on either. Any head size, any length. Statistics, softmax and sums in fp32.
// What forward gives to backward: output and log_sum_exp. Activation gradients are overwritten, d_relative_bias is added to.
// bf16 on tensor cores: weights and d(scores) are rounded to bf16 before they are multiplied, their sums are not.
// Deterministic. FLOPs: forward 4, backward 10 times the pairs of a query and a key it sees, times heads * head_size.

#include <cstdint>

#include "kernels/attention/relative_position.h"
#include "kernels/common/registry.h"
#include "kernels/random/dropout_mask.h"

namespace koine {

/// One of the two lists: whose rows ask, or whose rows are looked at.
struct AttentionSide {
  std::int64_t tokens = 0;
  std::int64_t maximum_length = 0;                   ///< of a sequence in this batch
  const std::int32_t* cumulative_lengths = nullptr;  ///< [sequences + 1], on the device; may be unread in a dry run
  /// The same numbers where the host can read them, for counting FLOPs; null: counted as if all were of maximum_length.
  const std::int32_t* host_cumulative_lengths = nullptr;
  std::int64_t stride = 0;  ///< of the rows of query; of key and value
};

enum class AttentionMask { kNone, kCausal };

struct AttentionShape {
  DType type = DType::kFloat32;
  std::int64_t sequences = 0;
  std::int64_t heads = 0;
  std::int64_t head_size = 0;
  AttentionSide queries;
  AttentionSide keys;  ///< the same as queries in self-attention
  std::int64_t output_stride = 0;
  AttentionMask mask = AttentionMask::kNone;
  float scale = 1;  ///< 1 / sqrt(head_size) for XLM-R, 1 for T5
  RelativeBias relative_bias;
  Dropout dropout;  ///< of the attention weights; examples is [sequences], row the query's number, column the key's
};

struct AttentionForwardArguments {
  AttentionShape shape;
  const void* query = nullptr;
  const void* key = nullptr;
  const void* value = nullptr;
  void* output = nullptr;
  float* log_sum_exp = nullptr;
};

struct AttentionBackwardArguments {
  AttentionShape shape;
  const void* query = nullptr;
  const void* key = nullptr;
  const void* value = nullptr;
  const void* output = nullptr;
  const float* log_sum_exp = nullptr;
  const void* d_output = nullptr;
  void* d_query = nullptr;
  void* d_key = nullptr;
  void* d_value = nullptr;
  float* d_relative_bias = nullptr;  ///< [buckets, heads] as relative_bias.table, +=; null: not wanted
};

inline void attention_forward(const Context& context, const AttentionForwardArguments& arguments) {
  run(context, arguments);
}
inline void attention_backward(const Context& context, const AttentionBackwardArguments& arguments) {
  run(context, arguments);
}

/// Whether both sides are one list of sequences, without a mask or a bias: what an encoder's attention is.
inline bool is_plain_self_attention(const AttentionShape& shape) {
  return shape.queries.cumulative_lengths == shape.keys.cumulative_lengths && shape.queries.tokens == shape.keys.tokens &&
         shape.queries.maximum_length == shape.keys.maximum_length && shape.mask == AttentionMask::kNone &&
         shape.relative_bias.table == nullptr;
}

}  // namespace koine
