// logits = hidden W^T at every token of the target, over the whole vocabulary. The weight is the model's own (lm_head), or its
// word embedding. For the loss they never exist whole (vocabulary_losses()).

#include <algorithm>

#include "models/heads/head.h"

namespace koine {
void text_to_text_head_loss(const HeadInput& input, const HeadParameters& head, double* loss, void* d_hidden) {
  const std::int64_t tokens = input.sequences.tokens;
  const float* losses = vocabulary_losses(input, head.output, input.hidden_states, tokens, input.batch.labels, d_hidden);
  add_losses(input, losses, tokens, loss);
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
