// logits = output(dropout(tanh(dense(dropout(v))))), or without a dense layer output(dropout(v)); v the first token's hidden
// state, raw or through the pooler. RoBERTa's classifier has the dense layer and no pooler, BERT's the pooler and no dense
// layer, jiant's both.

#include "kernels/activation/activation.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"
#include "models/heads/head.h"

namespace koine {
namespace {

struct SequenceForward {
  SentenceVectors vectors;
  const void* dropped_vectors = nullptr;
  void* dense = nullptr;       ///< after tanh; null: the head has no dense layer
  const void* last = nullptr;  ///< what the output layer reads
  void* logits = nullptr;
};

SequenceForward forward(const HeadInput& input, const HeadParameters& head) {
  const std::int64_t rows = input.sequences.sequences;
  SequenceForward state;
  state.vectors = sentence_vectors(input, head);
  state.dropped_vectors = head_dropout_forward(input, state.vectors.output, rows, false, 0);
  state.last = state.dropped_vectors;
  if (head.dense.weight != nullptr) {
    state.dense = input.stack.allocate_elements("classifier_dense", input.type, rows * input.hidden);
    linear_forward(input.context, head.dense,
                   {.type = input.type,
                    .output_type = input.type,
                    .rows = rows,
                    .input = state.dropped_vectors,
                    .output = state.dense});
    activation_forward(input.context, {Activation::kTanh, input.type, rows * input.hidden, state.dense, state.dense});
    state.last = head_dropout_forward(input, state.dense, rows, false, 1);
  }
  state.logits = input.stack.allocate_elements("logits", logits_type(input.type), rows * head.spec.classes);
  linear_forward(input.context, head.output,
                 {.type = input.type,
                  .output_type = logits_type(input.type),
                  .rows = rows,
                  .input = state.last,
                  .output = state.logits});
  return state;
}

void backward(const HeadInput& input, const HeadParameters& head, const SequenceForward& state, void* d_hidden) {
  const std::int64_t rows = input.sequences.sequences;
  const char* name = state.dense == nullptr ? "d_vectors" : "d_classifier_dense";
  void* d_last = input.stack.allocate_elements(name, input.type, rows * input.hidden);
  linear_backward(input.context, head.output,
                  {.type = input.type,
                   .rows = rows,
                   .input = state.last,
                   .d_output = as_model_type(input, state.logits, rows * head.spec.classes),
                   .d_input = d_last});
  void* d_vectors = d_last;
  if (state.dense != nullptr) {
    head_dropout_backward(input, d_last, rows, false, 1);
    activation_backward(input.context, {Activation::kTanh, input.type, rows * input.hidden, state.dense, d_last, d_last});
    d_vectors = input.stack.allocate_elements("d_vectors", input.type, rows * input.hidden);
    linear_backward(
        input.context, head.dense,
        {.type = input.type, .rows = rows, .input = state.dropped_vectors, .d_output = d_last, .d_input = d_vectors});
  }
  head_dropout_backward(input, d_vectors, rows, false, 0);
  sentence_vectors_backward(input, head, state.vectors, d_vectors, d_hidden);
}

}  // namespace

void sequence_head_loss(const HeadInput& input, const HeadParameters& head, double* loss, void* d_hidden) {
  const std::int64_t rows = input.sequences.sequences;
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
  return to_host(input, state.logits, logits_type(input.type), input.sequences.sequences * head.spec.classes);
}

}  // namespace koine
