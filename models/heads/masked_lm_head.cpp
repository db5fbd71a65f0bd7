// logits = decoder(layer_norm(gelu(dense(h)))) + bias at the counted tokens only, the decoder being the word embeddings.
//
// For the loss the logits over 250,002 pieces never exist whole (vocabulary_losses()).

#include <algorithm>

#include "kernels/activation/activation.h"
#include "kernels/gather/gather.h"
#include "kernels/layernorm/layernorm.h"
#include "models/heads/head.h"

namespace koine {
namespace {

struct MaskedLmForward {
  std::int64_t rows = 0;
  void* gathered = nullptr;
  void* pre_activation = nullptr;
  void* activation = nullptr;
  float* mean = nullptr;
  float* rstd = nullptr;
  void* normalised = nullptr;
};

MaskedLmForward forward(const HeadInput& input, const HeadParameters& head) {
  const std::int64_t elements = input.batch.counted_labels * input.hidden;
  MaskedLmForward state;
  state.rows = input.batch.counted_labels;
  state.gathered = input.stack.allocate_elements("counted_hidden", input.type, elements);
  gather_rows(input.context, {input.type, state.rows, input.hidden, input.sequences.tokens, input.batch.counted_tokens,
                              input.hidden_states, state.gathered});
  state.pre_activation = input.stack.allocate_elements("lm_pre_activation", input.type, elements);
  state.activation = input.stack.allocate_elements("lm_activation", input.type, elements);
  linear_forward(input.context, head.dense,
                 {.type = input.type,
                  .output_type = input.type,
                  .rows = state.rows,
                  .input = state.gathered,
                  .output = state.activation,
                  .epilogue = GemmEpilogue::kGelu,
                  .pre_activation = state.pre_activation});
  state.mean = input.stack.allocate_array<float>("lm_mean", state.rows);
  state.rstd = input.stack.allocate_array<float>("lm_rstd", state.rows);
  state.normalised = input.stack.allocate_elements("lm_normalised", input.type, elements);
  LayerNormForwardArguments norm = norm_forward(input.type, state.rows, input.hidden, input.epsilon, head.norm);
  norm.input = state.activation;
  norm.output = state.normalised;
  norm.mean = state.mean;
  norm.rstd = state.rstd;
  layernorm_forward(input.context, norm);
  return state;
}

void backward(const HeadInput& input, const HeadParameters& head, const MaskedLmForward& state, void* d_normalised,
              void* d_hidden) {
  LayerNormBackwardArguments norm;
  norm.type = input.type;
  norm.rows = state.rows;
  norm.width = input.hidden;
  norm.d_output = d_normalised;
  norm.sum = state.activation;
  norm.mean = state.mean;
  norm.rstd = state.rstd;
  norm.weight = head.norm.weight;
  norm.d_sum = d_normalised;
  norm.d_weight = head.norm.d_weight;
  norm.d_bias = head.norm.d_bias;
  layernorm_backward(input.context, norm);
  activation_backward(input.context, {Activation::kGeluErf, input.type, state.rows * input.hidden, state.pre_activation,
                                      d_normalised, d_normalised});
  void* d_gathered = input.stack.allocate_elements("d_counted_hidden", input.type, state.rows * input.hidden);
  linear_backward(
      input.context, head.dense,
      {.type = input.type, .rows = state.rows, .input = state.gathered, .d_output = d_normalised, .d_input = d_gathered});
  scatter_rows(input.context, {input.type, state.rows, input.hidden, input.sequences.tokens, input.batch.counted_tokens,
                               d_gathered, d_hidden});
}

}  // namespace

void masked_lm_head_loss(const HeadInput& input, const HeadParameters& head, double* loss, void* d_hidden) {
  const MaskedLmForward state = forward(input, head);
  void* d_normalised = d_hidden == nullptr
                           ? nullptr
                           : input.stack.allocate_elements("d_lm_normalised", input.type, state.rows * input.hidden);
  const float* losses =
      vocabulary_losses(input, head.output, state.normalised, state.rows, input.batch.counted_token_labels, d_normalised);
  if (d_hidden != nullptr) backward(input, head, state, d_normalised, d_hidden);
  add_losses(input, losses, state.rows, loss);
}

std::vector<float> masked_lm_head_logits(const HeadInput& input, const HeadParameters& head) {
  const std::int64_t classes = head.spec.classes;
  const MaskedLmForward state = forward(input, head);
  const std::int64_t chunk = vocabulary_chunk_rows(input, classes, state.rows);
  void* logits = input.stack.allocate_elements("logits", input.type, std::min(chunk, state.rows) * classes);
  std::vector<float> result;
  for (std::int64_t begin = 0; begin < state.rows; begin += chunk) {
    const std::int64_t rows = std::min(chunk, state.rows - begin);
    linear_forward(input.context, head.output,
                   {.type = input.type,
                    .output_type = input.type,
                    .rows = rows,
                    .input = offset_by(static_cast<const void*>(state.normalised), input.type, begin * input.hidden),
                    .output = logits});
    const std::vector<float> part = to_host(input, logits, input.type, rows * classes);
    result.insert(result.end(), part.begin(), part.end());
  }
  return result;
}

}  // namespace koine
