// logits = hidden W^T at every token of the target, over the whole vocabulary. The weight is the model's own (lm_head), or its
// word embedding.
//
// The logits of all tokens over 250,112 pieces would be larger than the rest of the step, so rows go through the product, the
// loss and back chunk by chunk in one buffer that holds the logits and then, in place, their gradient.

#include <algorithm>

#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"
#include "models/heads/head.h"

namespace koine {
namespace {

/// [tokens] of the stack; gradients into d_hidden, where it is not null.
const float* token_losses(const HeadInput& input, const HeadParameters& head, void* d_hidden) {
  const std::int64_t classes = head.spec.classes;
  const std::int64_t tokens = input.sequences.tokens;
  const std::int64_t chunk = vocabulary_chunk_rows(input, classes, tokens);
  // Rows begin on 16 bytes: products read and write 16 bytes at a time.
  const std::int64_t stride = (classes + 7) / 8 * 8;
  void* logits = input.stack.allocate_elements("logits", input.type, std::min(chunk, tokens) * stride);
  float* losses = input.stack.allocate_array<float>("losses", tokens);
  for (std::int64_t begin = 0; begin < tokens; begin += chunk) {
    const std::int64_t rows = std::min(chunk, tokens - begin);
    const void* hidden = offset_by(input.hidden_states, input.type, begin * input.hidden);
    linear_forward(input.context, head.output,
                   {.type = input.type,
                    .output_type = input.type,
                    .rows = rows,
                    .input = hidden,
                    .output = logits,
                    .output_stride = stride});
    softmax_cross_entropy(input.context,
                          {input.type, rows, classes, stride, logits, input.batch.labels + begin, input.gradient_scale,
                           losses + begin, d_hidden == nullptr ? nullptr : logits, input.batch.gradient_scale_from});
    if (d_hidden == nullptr) continue;
    linear_backward(input.context, head.output,
                    {.type = input.type,
                     .rows = rows,
                     .input = hidden,
                     .d_output = logits,
                     .d_input = offset_by(d_hidden, input.type, begin * input.hidden),
                     .d_output_stride = stride});
  }
  return losses;
}

}  // namespace

void text_to_text_head_loss(const HeadInput& input, const HeadParameters& head, double* loss, void* d_hidden) {
  add_losses(input, token_losses(input, head, d_hidden), input.sequences.tokens, loss);
}

std::vector<float> text_to_text_token_losses(const HeadInput& input, const HeadParameters& head) {
  const StackScope scope(input.stack);
  return to_host(input, token_losses(input, head, nullptr), DType::kFloat32, input.sequences.tokens);
}

std::vector<float> text_to_text_head_logits(const HeadInput& input, const HeadParameters& head) {
  const std::int64_t classes = head.spec.classes;
  const std::int64_t tokens = input.sequences.tokens;
  const std::int64_t chunk = vocabulary_chunk_rows(input, classes, tokens);
  void* logits = input.stack.allocate_elements("logits", input.type, std::min(chunk, tokens) * classes);
  std::vector<float> result;
  for (std::int64_t begin = 0; begin < tokens; begin += chunk) {
    const std::int64_t rows = std::min(chunk, tokens - begin);
    linear_forward(input.context, head.output,
                   {.type = input.type,
                    .output_type = input.type,
                    .rows = rows,
                    .input = offset_by(input.hidden_states, input.type, begin * input.hidden),
                    .output = logits});
    const std::vector<float> part = to_host(input, logits, input.type, rows * classes);
    result.insert(result.end(), part.begin(), part.end());
  }
  return result;
}

}  // namespace koine
