// score = classifier(dropout(pooler(first token))), one per sequence; the sequences of an example compete in a softmax.

#include "kernels/common/check.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"
#include "models/heads/head.h"

namespace koine {
namespace {

struct ChoiceForward {
  SentenceVectors vectors;
  const void* dropped = nullptr;
  void* scores = nullptr;
};

ChoiceForward forward(const HeadInput& input, const HeadParameters& head) {
  const std::int64_t rows = input.sequences.sequences;
  ChoiceForward state;
  state.vectors = sentence_vectors(input, head);
  state.dropped = head_dropout_forward(input, state.vectors.output, rows, false, 0);
  state.scores = input.stack.allocate_elements("scores", logits_type(input.type), rows);
  linear_forward(input.context, head.output,
                 {.type = input.type,
                  .output_type = logits_type(input.type),
                  .rows = rows,
                  .input = state.dropped,
                  .output = state.scores});
  return state;
}

}  // namespace

void choice_head_loss(const HeadInput& input, const HeadParameters& head, double* loss, void* d_hidden) {
  const std::int64_t rows = input.sequences.sequences;
  const std::int64_t group = input.batch.group;
  check(group > 0 && rows % group == 0, "a batch of ", rows, " sequences does not hold whole examples of ", group,
        " choices");
  const std::int64_t examples = rows / group;
  const ChoiceForward state = forward(input, head);
  float* losses = input.stack.allocate_array<float>("losses", examples);
  softmax_cross_entropy(input.context, {logits_type(input.type), examples, group, group, state.scores, input.batch.labels,
                                        input.gradient_scale, losses, d_hidden == nullptr ? nullptr : state.scores,
                                        input.batch.gradient_scale_from});
  if (d_hidden != nullptr) {
    void* d_vectors = input.stack.allocate_elements("d_vectors", input.type, rows * input.hidden);
    linear_backward(input.context, head.output,
                    {.type = input.type,
                     .rows = rows,
                     .input = state.dropped,
                     .d_output = as_model_type(input, state.scores, rows),
                     .d_input = d_vectors});
    head_dropout_backward(input, d_vectors, rows, false, 0);
    sentence_vectors_backward(input, head, state.vectors, d_vectors, d_hidden);
  }
  add_losses(input, losses, examples, loss);
}

std::vector<float> choice_head_logits(const HeadInput& input, const HeadParameters& head) {
  const ChoiceForward state = forward(input, head);
  return to_host(input, state.scores, logits_type(input.type), input.sequences.sequences);
}

}  // namespace koine
