#pragma once

// The variants of attention for 9.0.

#include "kernels/attention/attention.h"

namespace koine {

/// Plain self-attention of bf16 in heads of 64, 80 or 128, whose rows can be moved 16 bytes at a time.
bool attention_forward_sm90_supports(const AttentionForwardArguments& arguments);
void attention_forward_sm90(const Context& context, const AttentionForwardArguments& arguments, void* workspace);

}  // namespace koine
