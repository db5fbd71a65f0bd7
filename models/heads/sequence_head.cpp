// logits = out_proj(dropout(tanh(dense(dropout(v))))), v the first token's hidden state, raw or through the pooler.

#include "kernels/activation/activation.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"
#include "models/heads/head.h"

namespace koine {
namespace {

struct SequenceForward {
  SentenceVectors vectors;
  const void* dropped_vectors = nullptr;
  void* dense = nullptr;  ///< after tanh
  const void* dropped_dense = nullptr;
  void* logits = nullptr;
};

bool pooled(const HeadParameters& head) { return head.spec.kind == HeadKind::kSequencePooled; }

SequenceForward forward(const HeadInput& input, const HeadParameters& head) {
  const std::int64_t rows = input.batch.sequences;
  SequenceForward state;
  state.vectors = sentence_vectors(input, head, pooled(head));
  state.dropped_vectors = head_dropout_forward(input, state.vectors.output, rows, false, 0);
  state.dense = input.stack.allocate_elements("classifier_dense", input.type, rows * input.hidden);
  linear_forward(
      input.context, head.dense,
      {.type = input.type, .output_type = input.type, .rows = rows, .input = state.dropped_vectors, .output = state.dense});
  activation_forward(input.context, {Activation::kTanh, input.type, rows * input.hidden, state.dense, state.dense});
  state.dropped_dense = head_dropout_forward(input, state.dense, rows, false, 1);
  state.logits = input.stack.allocate_elements("logits", logits_type(input.type), rows * head.spec.classes);
  linear_forward(input.context, head.output,
                 {.type = input.type,
                  .output_type = logits_type(input.type),
                  .rows = rows,
                  .input = state.dropped_dense,
                  .output = state.logits});
  return state;
}

void backward(const HeadInput& input, const HeadParameters& head, const SequenceForward& state, void* d_hidden) {
  const std::int64_t rows = input.batch.sequences;
  void* d_dense = input.stack.allocate_elements("d_classifier_dense", input.type, rows * input.hidden);
  linear_backward(input.context, head.output,
                  {.type = input.type,
                   .rows = rows,
                   .input = state.dropped_dense,
                   .d_output = as_model_type(input, state.logits, rows * head.spec.classes),
                   .d_input = d_dense});
  head_dropout_backward(input, d_dense, rows, false, 1);
  activation_backward(input.context, {Activation::kTanh, input.type, rows * input.hidden, state.dense, d_dense, d_dense});
  void* d_vectors = input.stack.allocate_elements("d_vectors", input.type, rows * input.hidden);
  linear_backward(
      input.context, head.dense,
      {.type = input.type, .rows = rows, .input = state.dropped_vectors, .d_output = d_dense, .d_input = d_vectors});
  head_dropout_backward(input, d_vectors, rows, false, 0);
  sentence_vectors_backward(input, head, pooled(head), state.vectors, d_vectors, d_hidden);
}

}  // namespace

void sequence_head_loss(const HeadInput& input, const HeadParameters& head, double* loss, void* d_hidden) {
  const std::int64_t rows = input.batch.sequences;
  const SequenceForward state = forward(input, head);
  float* losses = input.stack.allocate_array<float>("losses", rows);
  softmax_cross_entropy(input.context, {logits_type(input.type), rows, head.spec.classes, head.spec.classes, state.logits,
                                        input.batch.labels, input.gradient_scale, losses,
                                        d_hidden == nullptr ? nullptr : state.logits, input.batch.gradient_scale_from});
  if (d_hidden != nullptr) backward(input, head, state, d_hidden);
  add_losses(input, losses, rows, loss);
}

std::vector<float> sequence_head_logits(const HeadInput& input, const HeadParameters& head) {
  const SequenceForward state = forward(input, head);
  return to_host(input, state.logits, logits_type(input.type), input.batch.sequences * head.spec.classes);
}

}  // namespace koine
