#pragma once

// Scaled dot-product attention over a packed batch (Vaswani et al., arXiv 1706.03762; the recomputing backward of Dao et
// al., arXiv 2205.14135), bidirectional: every token sees every token of its own sequence and no other.
//
// For each sequence and head, with rows i, j of that sequence:
//   s_ij = scale * (q_i . k_j) + b_(j-i),   p_ij = exp(s_ij - L_i),   L_i = log sum_j exp(s_ij)  (log_sum_exp),
//   o_i = sum_j mask_ij p_ij v_j,   mask_ij = keeps_attention ? 1/(1-rate) : 0
//   backward:  D_i = do_i . o_i,   dp_ij = mask_ij (do_i . v_j),   ds_ij = p_ij (dp_ij - D_i)
//   dq_i = scale sum_j ds_ij k_j,   dk_j = scale sum_i ds_ij q_i,   dv_j = sum_i mask_ij p_ij do_i
//   db_r += sum of ds_ij over all sequences and all i, j with j - i = r
//
// b is optional: what models with relative positions (Raffel et al., arXiv 1910.10683) add to a head's scores for the
// distance from query i to key j, the same in every sequence; relative_bias has it, in fp32, for every distance there is in
// a sequence of maximum_length. Variants that do not take one say so through supports().
//
// Shapes: query, key, value, and their gradients [tokens, heads * head_size] with row stride qkv_stride (they may be thirds
// of one fused [tokens, 3 * heads * head_size] product); output and d_output [tokens, heads * head_size] with row stride
// output_stride; log_sum_exp [tokens, heads] fp32. Sequence n is tokens cumulative_lengths[n] .. cumulative_lengths[n+1]-1
// and may be empty. Any head size, any length. Statistics, softmax and sums in fp32.
// What forward gives to backward: output and log_sum_exp. Activation gradients are overwritten, d_relative_bias is added to.
// bf16 on tensor cores: weights and d(scores) are rounded to bf16 before they are multiplied, their sums are not.
// Deterministic. FLOPs: forward 4, backward 10 times sum(length^2) * heads * head_size.

#include <cstdint>

#include "kernels/common/registry.h"
#include "kernels/random/dropout_mask.h"

namespace koine {

struct AttentionShape {
  DType type = DType::kFloat32;
  std::int64_t tokens = 0;
  std::int64_t sequences = 0;
  std::int64_t heads = 0;
  std::int64_t head_size = 0;
  std::int64_t maximum_length = 0;                   ///< of a sequence in this batch
  const std::int32_t* cumulative_lengths = nullptr;  ///< [sequences + 1], on the device; may be unread in a dry run
  /// The same numbers where the host can read them, for counting FLOPs; null: counted as if all were of maximum_length.
  const std::int32_t* host_cumulative_lengths = nullptr;
  std::int64_t qkv_stride = 0;
  std::int64_t output_stride = 0;
  float scale = 1;  ///< 1 / sqrt(head_size) for XLM-R
  /// [heads, 2 * maximum_length - 1], finite: b_r of a head at r + maximum_length - 1; null: 0.
  const float* relative_bias = nullptr;
  Dropout dropout;  ///< of the attention weights; examples is [sequences]
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
  float* d_relative_bias = nullptr;  ///< as relative_bias, +=; null: not wanted
};

inline void attention_forward(const Context& context, const AttentionForwardArguments& arguments) {
  run(context, arguments);
}
inline void attention_backward(const Context& context, const AttentionBackwardArguments& arguments) {
  run(context, arguments);
}

}  // namespace koine
