#pragma once

// The variants of attention for 9.0: plain self-attention of bf16 in heads of 64, 80 or 128, whose rows can be moved 16
// bytes at a time.

#include "kernels/attention/attention.h"

namespace koine {

bool attention_forward_sm90_supports(const AttentionForwardArguments& arguments);
void attention_forward_sm90(const Context& context, const AttentionForwardArguments& arguments, void* workspace);

inline constexpr std::int64_t kAttentionSm90Blocks = 132;  ///< of the backward, a multiprocessor each of an H100 SXM or H200

bool attention_backward_sm90_supports(const AttentionBackwardArguments& arguments);
/// fp32 sums of d_query of sequences longer than 128.
std::size_t attention_backward_sm90_workspace(const AttentionBackwardArguments& arguments);
void attention_backward_sm90(const Context& context, const AttentionBackwardArguments& arguments, void* workspace);
/// With at most so many blocks, up to kAttentionSm90Blocks. Results do not depend on their number.
void launch_attention_backward_sm90(const Context& context, const AttentionBackwardArguments& arguments, void* workspace,
                                    std::int64_t blocks);

}  // namespace koine
