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

}  // namespace

XlmrRunner::XlmrRunner(const XlmrConfig& config, DType type, const std::vector<HeadSpec>& heads,
                       const XlmrParameters& parameters, const ParameterAddresses& addresses)
    : config_(config),
      type_(type),
      encoder_(config, type, encoder_parameters(config, type, parameters, addresses)),
      heads_(head_parameters(heads, parameters, addresses)),
      parameters_(parameters.table.size()),
      complete_behind_head_(parameters.complete_behind_head),
      complete_behind_block_(parameters.complete_behind_block) {}

void XlmrRunner::require_readable(const PackedBatch& batch) const {
  check(batch.tokens > 0, "packed batch is empty");
  require(batch.maximum_length <= config_.maximum_length(), "a sequence has ", batch.maximum_length,
          " tokens, and this model reads at most ", config_.maximum_length(), ": cut it shorter (max_seq_length)");
  const auto out_of_range = [&](std::int32_t id) { return id < 0 || id >= config_.vocab_size; };
  const auto wrong = std::find_if(batch.ids.begin(), batch.ids.end(), out_of_range);
  if (wrong != batch.ids.end()) {
    fail_user("token id ", *wrong, " is outside the model's vocabulary of ", config_.vocab_size,
              ": the tokenizer does not belong to this model");
  }
}

HeadInput XlmrRunner::head_input(const Context& context, const BatchView& view, const void* hidden,
                                 StackMemory& stack) const {
  return {.context = context,
          .stack = stack,
          .batch = view,
          .type = type_,
          .hidden = config_.hidden_size,
          .epsilon = static_cast<float>(config_.layer_norm_eps),
          .hidden_states = hidden,
          .dropout = {}};
}

const HeadParameters& XlmrRunner::head_of(const BatchView& batch) const {
  check(batch.head >= 0 && batch.head < std::ssize(heads_), "head ", batch.head, " of a model with ", heads_.size(),
        " heads");
  const HeadParameters& head = heads_[static_cast<std::size_t>(batch.head)];
  check(head.spec.kind == batch.head_kind, "the batch was packed for another kind of head than head ", batch.head);
  return head;
}

void XlmrRunner::train(const Context& context, const BatchView& batch, double gradient_scale, const StepIdentity& step,
                       StackMemory& stack, double* loss, const BackwardProgress& progress) {
  const StackScope scope(stack);
  check(batch.labelled, "a training batch has labels");
  const auto complete = [&](int parameters) {
    if (progress) progress(parameters);
  };
  Dropout identity;
  identity.rate = 1;
  identity.seed = step.seed;
  identity.step = step.step;
  identity.step_from = batch.step_from;
  const void* last = encoder_.forward_training(context, batch, identity, stack, activations_);

  HeadInput input = head_input(context, batch, last, stack);
  input.dropout = identity;
  input.dropout.rate = static_cast<float>(config_.head_dropout());
  input.dropout.site = head_site(config_.num_hidden_layers);
  input.gradient_scale = static_cast<float>(gradient_scale);
  void* d_last = stack.allocate_elements("d_last_hidden", type_, batch.tokens * config_.hidden_size);
  head_loss(input, head_of(batch), loss, d_last);
  complete(complete_behind_head_);
  encoder_.backward(context, batch, identity, activations_, d_last, stack,
                    [&](std::int64_t layer) { complete(complete_behind_block_[static_cast<std::size_t>(layer)]); });
  complete(parameters_);
}

void XlmrRunner::loss(const Context& context, const BatchView& batch, StackMemory& stack, double* loss) {
  const StackScope scope(stack);
  check(batch.labelled, "a loss needs labels");
  const void* last = encoder_.forward_prediction(context, batch, config_.num_hidden_layers, stack);
  head_loss(head_input(context, batch, last, stack), head_of(batch), loss, nullptr);
}

std::vector<float> XlmrRunner::predict(const Context& context, const BatchView& batch, StackMemory& stack) {
  const StackScope scope(stack);
  const void* last = encoder_.forward_prediction(context, batch, config_.num_hidden_layers, stack);
  return head_logits(head_input(context, batch, last, stack), head_of(batch));
}

std::vector<float> XlmrRunner::hidden_states(const Context& context, const BatchView& batch, std::int64_t layer,
                                             StackMemory& stack) {
  const StackScope scope(stack);
  const void* hidden = encoder_.forward_prediction(context, batch, layer, stack);
  return to_host(head_input(context, batch, hidden, stack), hidden, type_, batch.tokens * config_.hidden_size);
}

std::vector<float> XlmrRunner::encode(const Context& context, const BatchView& batch, std::int64_t layer, Pooling pooling,
                                      StackMemory& stack) {
  const StackScope scope(stack);
  const std::int64_t width = config_.hidden_size;
  const void* hidden = encoder_.forward_prediction(context, batch, layer, stack);
  void* vectors = stack.allocate_elements("sentence_vectors", type_, batch.sequences * width);
  if (pooling == Pooling::kFirstToken) {
    gather_rows(context, {type_, batch.sequences, width, batch.tokens, batch.cumulative_lengths, hidden, vectors});
  } else {
    mean_pooling_forward(context, {type_, batch.tokens, batch.sequences, width, batch.cumulative_lengths,
                                   pooling == Pooling::kMeanWithoutSpecial, hidden, vectors});
  }
  return to_host(head_input(context, batch, vectors, stack), vectors, type_, batch.sequences * width);
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
      const std::vector<std::int32_t> zeros(static_cast<std::size_t>(unlabelled.sequences), 0);
      plan([&](const Context& context, StackMemory& stack) {
        runner.encode(context, host_view(unlabelled, zeros), config.num_hidden_layers, Pooling::kMean, stack);
      });
      plan([&](const Context& context, StackMemory& stack) {
        runner.hidden_states(context, host_view(unlabelled, zeros), config.num_hidden_layers, stack);
      });
      for (std::size_t i = 0; i < heads.size(); ++i) {
        PackedBatch batch = planned_batch(&heads[i], tokens, length);
        batch.head = static_cast<std::int32_t>(i);
        const BatchView view = host_view(batch, zeros);
        double nothing = 0;
        plan([&](const Context& context, StackMemory& stack) { runner.predict(context, view, stack); });
        plan([&](const Context& context, StackMemory& stack) { runner.loss(context, view, stack, &nothing); });
        if (!training) continue;
        plan([&](const Context& context, StackMemory& stack) {
          runner.train(context, view, 1.0, StepIdentity{}, stack, &nothing);
        });
      }
    }
  }
  return result;
}

}  // namespace koine
