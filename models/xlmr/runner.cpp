#include "models/xlmr/runner.h"

#include <algorithm>

#include "kernels/gather/gather.h"
#include "kernels/pooling/pooling.h"

namespace koine {
namespace {

std::vector<HeadParameters> head_parameters(const std::vector<HeadSpec>& heads, const XlmrParameters& parameters,
                                            const ParameterAddresses& addresses) {
  std::vector<HeadParameters> result;
  for (std::size_t i = 0; i < heads.size(); ++i) {
    const HeadIndex& index = parameters.heads[i];
    HeadParameters head;
    head.spec = heads[i];
    if (parameters.pooler.weight >= 0) head.pooler = addresses.linear(parameters.pooler);
    if (index.dense.weight >= 0) head.dense = addresses.linear(index.dense);
    if (index.norm.weight >= 0) head.norm = addresses.norm(index.norm);
    head.output = addresses.linear(index.output);
    result.push_back(head);
  }
  return result;
}

HeadLabels labels_of(const PackedBatch& batch, double gradient_scale) {
  HeadLabels labels;
  labels.labels = batch.labels.data();
  labels.counted = batch.counted_labels;
  labels.group = batch.group;
  labels.gradient_scale = static_cast<float>(gradient_scale);
  return labels;
}

}  // namespace

XlmrRunner::XlmrRunner(const XlmrConfig& config, DType type, const std::vector<HeadSpec>& heads,
                       const XlmrParameters& parameters, const ParameterAddresses& addresses)
    : config_(config),
      type_(type),
      encoder_(config, type, encoder_parameters(config, type, parameters, addresses)),
      heads_(head_parameters(heads, parameters, addresses)) {}

BatchView XlmrRunner::view_of(const PackedBatch& batch) {
  check(batch.tokens > 0, "packed batch is empty");
  require(batch.maximum_length <= config_.maximum_length(), "a sequence has ", batch.maximum_length,
          " tokens, and this model reads at most ", config_.maximum_length(), ": cut it shorter (max_seq_length)");
  const auto out_of_range = [&](std::int32_t id) { return id < 0 || id >= config_.vocab_size; };
  const auto wrong = std::find_if(batch.ids.begin(), batch.ids.end(), out_of_range);
  if (wrong != batch.ids.end()) {
    fail_user("token id ", *wrong, " is outside the model's vocabulary of ", config_.vocab_size,
              ": the tokenizer does not belong to this model");
  }
  if (std::ssize(zero_positions_) < batch.sequences) zero_positions_.assign(static_cast<std::size_t>(batch.sequences), 0);
  BatchView view;
  view.tokens = batch.tokens;
  view.sequences = batch.sequences;
  view.maximum_length = batch.maximum_length;
  view.ids = batch.ids.data();
  view.positions = batch.positions.data();
  view.cumulative_lengths = batch.cumulative_lengths.data();
  view.zero_positions = zero_positions_.data();
  view.token_examples = batch.token_examples.data();
  view.sequence_examples = batch.sequence_examples.data();
  view.by_id = batch.by_id.view();
  view.by_position = batch.by_position.view();
  return view;
}

HeadInput XlmrRunner::head_input(const Context& context, const BatchView& view, const void* hidden,
                                 StackMemory& stack) const {
  return {context, stack, view, type_, config_.hidden_size, static_cast<float>(config_.layer_norm_eps), hidden, Dropout{}};
}

const HeadParameters& XlmrRunner::head_of(const PackedBatch& batch) const {
  check(batch.head >= 0 && batch.head < std::ssize(heads_), "head ", batch.head, " of a model with ", heads_.size(),
        " heads");
  const HeadParameters& head = heads_[static_cast<std::size_t>(batch.head)];
  check(head.spec.kind == batch.head_kind, "the batch was packed for another kind of head than head ", batch.head);
  return head;
}

double XlmrRunner::train(const Context& context, const PackedBatch& batch, double gradient_scale, const StepIdentity& step,
                         StackMemory& stack) {
  const StackScope scope(stack);
  const BatchView view = view_of(batch);
  check(!batch.labels.empty(), "a training batch has labels");
  Dropout identity;
  identity.rate = 1;
  identity.seed = step.seed;
  identity.step = step.step;
  const void* last = encoder_.forward_training(context, view, identity, stack, activations_);

  HeadInput input = head_input(context, view, last, stack);
  input.dropout = identity;
  input.dropout.rate = static_cast<float>(config_.head_dropout());
  input.dropout.site = head_site(config_.num_hidden_layers);
  void* d_last = stack.allocate_elements("d_last_hidden", type_, view.tokens * config_.hidden_size);
  const double loss = head_loss(input, head_of(batch), labels_of(batch, gradient_scale), d_last);
  encoder_.backward(context, view, identity, activations_, d_last, stack);
  return loss;
}

double XlmrRunner::loss(const Context& context, const PackedBatch& batch, StackMemory& stack) {
  const StackScope scope(stack);
  const BatchView view = view_of(batch);
  check(!batch.labels.empty(), "a loss needs labels");
  const void* last = encoder_.forward_prediction(context, view, config_.num_hidden_layers, stack);
  return head_loss(head_input(context, view, last, stack), head_of(batch), labels_of(batch, 1), nullptr);
}

std::vector<float> XlmrRunner::predict(const Context& context, const PackedBatch& batch, StackMemory& stack) {
  const StackScope scope(stack);
  const BatchView view = view_of(batch);
  const void* last = encoder_.forward_prediction(context, view, config_.num_hidden_layers, stack);
  return head_logits(head_input(context, view, last, stack), head_of(batch), labels_of(batch, 1));
}

std::vector<float> XlmrRunner::hidden_states(const Context& context, const PackedBatch& batch, std::int64_t layer,
                                             StackMemory& stack) {
  const StackScope scope(stack);
  const BatchView view = view_of(batch);
  const void* hidden = encoder_.forward_prediction(context, view, layer, stack);
  return to_host(head_input(context, view, hidden, stack), hidden, type_, view.tokens * config_.hidden_size);
}

std::vector<float> XlmrRunner::encode(const Context& context, const PackedBatch& batch, std::int64_t layer, Pooling pooling,
                                      StackMemory& stack) {
  const StackScope scope(stack);
  const BatchView view = view_of(batch);
  const std::int64_t width = config_.hidden_size;
  const void* hidden = encoder_.forward_prediction(context, view, layer, stack);
  void* vectors = stack.allocate_elements("sentence_vectors", type_, view.sequences * width);
  if (pooling == Pooling::kFirstToken) {
    gather_rows(context, {type_, view.sequences, width, view.tokens, view.cumulative_lengths, hidden, vectors});
  } else {
    mean_pooling_forward(context, {type_, view.tokens, view.sequences, width, view.cumulative_lengths,
                                   pooling == Pooling::kMeanWithoutSpecial, hidden, vectors});
  }
  return to_host(head_input(context, view, vectors, stack), vectors, type_, view.sequences * width);
}

namespace {

PackedBatch planned_batch(const HeadSpec* head, std::int64_t tokens, std::int64_t length) {
  std::vector<Example> examples;
  for (std::int64_t used = 0; used < tokens; used += length) {
    Example example;
    example.ids.assign(static_cast<std::size_t>(std::min(length, tokens - used)), 0);
    if (head != nullptr) {
      const bool by_token = head->kind == HeadKind::kToken || head->kind == HeadKind::kMaskedLm;
      example.labels.assign(by_token ? example.ids.size() : head->kind == HeadKind::kSpan ? 2 : 1, 0);
    }
    examples.push_back(std::move(example));
  }
  std::vector<const Example*> pointers;
  for (const Example& example : examples) pointers.push_back(&example);
  return pack(pointers, head == nullptr ? HeadKind::kSequence : head->kind);
}

}  // namespace

MemoryPlan plan_memory(XlmrRunner& runner, const XlmrConfig& config, const std::vector<HeadSpec>& heads,
                       std::int64_t maximum_tokens, bool training, const Context& real_context) {
  MemoryPlan result;
  const auto plan = [&](const auto& run) {
    StackMemory activations;
    StackMemory scratch;
    Context context = real_context;
    context.scratch = &scratch;
    context.profile = nullptr;
    context.dry_run = true;
    run(context, activations);
    result.scratch_bytes = std::max(result.scratch_bytes, scratch.peak());
    if (activations.peak() <= result.activation_bytes) return;
    result.activation_bytes = activations.peak();
    result.activations = activations.plan();
  };
  // A product of few rows may want more workspace than one of many (gemm packs it otherwise), and batches of all sizes come,
  // so sizes in powers of two are planned besides the largest. Of each size, many short sequences take the most of what is
  // counted by sequence, few long ones of what is counted by length.
  std::vector<std::int64_t> sizes = {maximum_tokens};
  for (std::int64_t size = 1; size < maximum_tokens; size *= 2) sizes.push_back(size);
  for (const std::int64_t tokens : sizes) {
    for (const std::int64_t length : {std::int64_t{1}, std::min(tokens, config.maximum_length())}) {
      const PackedBatch unlabelled = planned_batch(nullptr, tokens, length);
      plan([&](const Context& context, StackMemory& stack) {
        runner.encode(context, unlabelled, config.num_hidden_layers, Pooling::kMean, stack);
      });
      for (std::size_t i = 0; i < heads.size(); ++i) {
        PackedBatch batch = planned_batch(&heads[i], tokens, length);
        batch.head = static_cast<std::int32_t>(i);
        plan([&](const Context& context, StackMemory& stack) { runner.predict(context, batch, stack); });
        plan([&](const Context& context, StackMemory& stack) { runner.loss(context, batch, stack); });
        if (training) {
          plan(
              [&](const Context& context, StackMemory& stack) { runner.train(context, batch, 1.0, StepIdentity{}, stack); });
        }
      }
    }
  }
  return result;
}

}  // namespace koine
