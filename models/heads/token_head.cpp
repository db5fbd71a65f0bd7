// logits = classifier(dropout(h)) on every token (kToken), or qa_outputs(h) without dropout (kSpan), as transformers has
// them.

#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"
#include "kernels/span_loss/span_loss.h"
#include "models/heads/head.h"

namespace koine {
namespace {

struct TokenForward {
  const void* dropped = nullptr;
  void* logits = nullptr;
};

bool drops(const HeadParameters& head) { return head.spec.kind == HeadKind::kToken; }

TokenForward forward(const HeadInput& input, const HeadParameters& head) {
  const std::int64_t rows = input.sequences.tokens;
  TokenForward state;
  state.dropped = drops(head) ? head_dropout_forward(input, input.hidden_states, rows, true, 0) : input.hidden_states;
  state.logits = input.stack.allocate_elements("logits", logits_type(input.type), rows * head.spec.classes);
  linear_forward(input.context, head.output,
                 {.type = input.type,
                  .output_type = logits_type(input.type),
                  .rows = rows,
                  .input = state.dropped,
                  .output = state.logits});
  return state;
}

}  // namespace

void token_head_loss(const HeadInput& input, const HeadParameters& head, double* loss, void* d_hidden) {
  const std::int64_t rows = input.sequences.tokens;
  const std::int64_t sequences = input.sequences.sequences;
  const bool span = head.spec.kind == HeadKind::kSpan;
  const DType type = logits_type(input.type);
  const TokenForward state = forward(input, head);
  void* d_logits = d_hidden == nullptr ? nullptr : state.logits;
  float* losses = input.stack.allocate_array<float>("losses", span ? sequences : rows);
  if (span) {
    span_loss(input.context,
              {type, rows, sequences, input.sequences.cumulative_lengths, state.logits, input.batch.labels,
               input.batch.labels + sequences, input.gradient_scale, losses, d_logits, input.batch.gradient_scale_from});
  } else {
    softmax_cross_entropy(input.context, {type, rows, head.spec.classes, head.spec.classes, state.logits, input.batch.labels,
                                          input.gradient_scale, losses, d_logits, input.batch.gradient_scale_from});
  }
  if (d_hidden != nullptr) {
    linear_backward(input.context, head.output,
                    {.type = input.type,
                     .rows = rows,
                     .input = state.dropped,
                     .d_output = as_model_type(input, state.logits, rows * head.spec.classes),
                     .d_input = d_hidden});
    if (drops(head)) head_dropout_backward(input, d_hidden, rows, true, 0);
  }
  add_losses(input, losses, span ? sequences : rows, loss);
}

std::vector<float> token_head_logits(const HeadInput& input, const HeadParameters& head) {
  const TokenForward state = forward(input, head);
  return to_host(input, state.logits, logits_type(input.type), input.sequences.tokens * head.spec.classes);
}

}  // namespace koine
