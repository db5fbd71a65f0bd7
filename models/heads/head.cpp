#include "models/heads/head.h"

#include <algorithm>
#include <array>

#include "kernels/activation/activation.h"
#include "kernels/cast/cast.h"
#include "kernels/common/check.h"
#include "kernels/cuda/runtime.h"
#include "kernels/dropout/dropout.h"
#include "kernels/gather/gather.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy.h"
#include "kernels/reduce/reduce.h"

namespace koine {
namespace {

Dropout numbered_dropout(const HeadInput& input, bool by_token, int which) {
  Dropout dropout = input.dropout;
  dropout.site += static_cast<std::uint32_t>(which);
  dropout.examples = by_token ? input.sequences.token_examples : input.sequences.sequence_examples;
  dropout.positions = by_token ? input.sequences.positions : input.sequences.zero_positions;
  return dropout;
}

std::vector<float> from_device(const HeadInput& input, const void* values, DType type, std::int64_t count) {
  const StackScope scope(input.stack);
  const void* floats = values;
  if (type != DType::kFloat32) {
    void* converted = input.stack.allocate_elements("fp32 copy", DType::kFloat32, count);
    cast(input.context, {count, type, DType::kFloat32, values, converted});
    floats = converted;
  }
  if (input.context.dry_run) return {};
  std::vector<float> result(static_cast<std::size_t>(count));
  cuda::copy_to_host(result.data(), floats, result.size() * sizeof(float), input.context.stream);
  cuda::synchronize(input.context.stream);
  return result;
}

}  // namespace

const float* vocabulary_losses(const HeadInput& input, const Linear& output, const void* hidden_states, std::int64_t rows,
                               const std::int32_t* labels, void* d_hidden) {
  LinearCrossEntropyArguments a;
  a.type = input.type;
  a.rows = rows, a.classes = output.out, a.in = output.in;
  a.hidden = hidden_states, a.weight = output.weight, a.bias = output.bias;
  a.labels = labels;
  a.gradient_scale = input.gradient_scale, a.gradient_scale_from = input.batch.gradient_scale_from;
  a.loss = input.stack.allocate_array<float>("losses", rows);
  a.d_hidden = d_hidden, a.d_weight = output.d_weight, a.d_bias = output.d_bias;
  linear_cross_entropy(input.context, a);
  return a.loss;
}

std::int64_t vocabulary_chunk_rows(const HeadInput& input, std::int64_t classes, std::int64_t rows) {
  // Elements of the logits buffer: enough rows for the product to run at full rate; 256 MB at most in fp32 on the CPU. A
  // device, on which a chunk should outlast several waves of tiles, gets four times as many (0.5 GB in bf16).
  const std::int64_t elements = std::int64_t{1} << (input.context.device == Device::kCuda ? 28 : 26);
  return std::clamp<std::int64_t>(elements / classes, 64, std::max<std::int64_t>(rows, 64));
}

std::vector<float> to_host(const HeadInput& input, const void* logits, DType type, std::int64_t count) {
  if (input.context.device == Device::kCuda) return from_device(input, logits, type, count);
  if (input.context.dry_run) return {};
  std::vector<float> result(static_cast<std::size_t>(count));
  if (type == DType::kFloat64) {
    for (std::int64_t i = 0; i < std::ssize(result); ++i) {
      result[static_cast<std::size_t>(i)] = static_cast<float>(load_element(logits, type, i));
    }
    return result;
  }
  cast(input.context, {count, type, DType::kFloat32, logits, result.data()});
  return result;
}

void add_losses(const HeadInput& input, const float* losses, std::int64_t count, double* loss) {
  sum(input.context, {count, losses, loss});
}

const void* as_model_type(const HeadInput& input, const void* d_logits, std::int64_t count) {
  if (logits_type(input.type) == input.type) return d_logits;
  void* result = input.stack.allocate_elements("d_logits", input.type, count);
  cast(input.context, {count, logits_type(input.type), input.type, d_logits, result});
  return result;
}

const void* head_dropout_forward(const HeadInput& input, const void* values, std::int64_t rows, bool by_token, int which) {
  if (!input.dropout.active()) return values;
  void* result = input.stack.allocate_elements("dropped", input.type, rows * input.hidden);
  dropout(input.context,
          {input.type, rows, input.hidden, values, nullptr, numbered_dropout(input, by_token, which), result});
  return result;
}

void head_dropout_backward(const HeadInput& input, void* gradient, std::int64_t rows, bool by_token, int which) {
  if (!input.dropout.active()) return;
  dropout(input.context,
          {input.type, rows, input.hidden, gradient, nullptr, numbered_dropout(input, by_token, which), gradient});
}

SentenceVectors sentence_vectors(const HeadInput& input, const HeadParameters& head) {
  const std::int64_t rows = input.sequences.sequences;
  void* first = input.stack.allocate_elements("first_token", input.type, rows * input.hidden);
  gather_rows(input.context, {input.type, rows, input.hidden, input.sequences.tokens, input.sequences.cumulative_lengths,
                              input.hidden_states, first});
  if (head.pooler.weight == nullptr) return {first, first};
  void* output = input.stack.allocate_elements("pooler", input.type, rows * input.hidden);
  linear_forward(input.context, head.pooler,
                 {.type = input.type, .output_type = input.type, .rows = rows, .input = first, .output = output});
  activation_forward(input.context, {Activation::kTanh, input.type, rows * input.hidden, output, output});
  return {first, output};
}

void sentence_vectors_backward(const HeadInput& input, const HeadParameters& head, const SentenceVectors& vectors,
                               void* d_output, void* d_hidden) {
  const std::int64_t rows = input.sequences.sequences;
  void* d_first = d_output;
  if (head.pooler.weight != nullptr) {
    activation_backward(input.context,
                        {Activation::kTanh, input.type, rows * input.hidden, vectors.output, d_output, d_output});
    d_first = input.stack.allocate_elements("d_first_token", input.type, rows * input.hidden);
    linear_backward(input.context, head.pooler,
                    {.type = input.type, .rows = rows, .input = vectors.first, .d_output = d_output, .d_input = d_first});
  }
  scatter_rows(input.context, {input.type, rows, input.hidden, input.sequences.tokens, input.sequences.cumulative_lengths,
                               d_first, d_hidden});
}

const HeadFunctions& functions_of(HeadKind kind) {
  static constexpr std::array<HeadFunctions, 8> kHeads = {{
      {HeadKind::kMaskedLm, "ForMaskedLM", masked_lm_head_loss, masked_lm_head_logits},
      {HeadKind::kSequence, "ForSequenceClassification", sequence_head_loss, sequence_head_logits},
      {HeadKind::kSequencePooled, "ForSequenceClassification", sequence_head_loss, sequence_head_logits},
      {HeadKind::kToken, "ForTokenClassification", token_head_loss, token_head_logits},
      {HeadKind::kSpan, "ForQuestionAnswering", token_head_loss, token_head_logits},
      {HeadKind::kChoice, "ForMultipleChoice", choice_head_loss, choice_head_logits},
      {HeadKind::kTextToText, "ForConditionalGeneration", text_to_text_head_loss, text_to_text_head_logits},
      {HeadKind::kDualEncoder, "ForRetrieval", dual_encoder_loss, dual_encoder_vectors},
  }};
  const auto* const row =
      std::find_if(kHeads.begin(), kHeads.end(), [kind](const HeadFunctions& head) { return head.kind == kind; });
  check(row != kHeads.end(), "unknown kind of head");
  return *row;
}

void head_loss(const HeadInput& input, const HeadParameters& head, double* loss, void* d_hidden) {
  const StackScope scope(input.stack);
  functions_of(head.spec.kind).loss(input, head, loss, d_hidden);
}

std::vector<float> head_logits(const HeadInput& input, const HeadParameters& head) {
  const StackScope scope(input.stack);
  return functions_of(head.spec.kind).logits(input, head);
}

}  // namespace koine
