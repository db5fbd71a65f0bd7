#include "models/xlmr/runner.h"

#include "models/heads/pooled.h"

namespace koine {

EncoderRunner::EncoderRunner(const ModelConfig& config, DType type, const std::vector<HeadSpec>& heads,
                             const ParameterAddresses& addresses)
    : EncoderRunner(config, type, heads, encoder_table(config, heads), addresses) {}

EncoderRunner::EncoderRunner(const ModelConfig& config, DType type, const std::vector<HeadSpec>& heads,
                             const EncoderTable& table, const ParameterAddresses& addresses)
    : config_(config),
      type_(type),
      encoder_(config, type, encoder_parameters(config, type, table, addresses)),
      parameters_(table.table.size()),
      complete_behind_head_(table.complete_behind_head),
      complete_behind_block_(table.complete_behind_block) {
  for (std::size_t i = 0; i < heads.size(); ++i) heads_.push_back(head_parameters(heads[i], table.heads[i], addresses));
}

void EncoderRunner::require_readable(const PackedBatch& batch) const {
  check(batch.source.tokens > 0 && batch.target.sequences == 0, "an encoder reads a batch with one list of sequences");
  require(batch.source.maximum_length <= config_.maximum_length(), "a sequence has ", batch.source.maximum_length,
          " tokens, and this model reads at most ", config_.maximum_length(), ": cut it shorter (max_seq_length)");
  require_known_tokens(batch.source, config_.vocab_size);
}

HeadInput EncoderRunner::head_input(const Context& context, const BatchView& view, const void* hidden,
                                    StackMemory& stack) const {
  return {.context = context,
          .stack = stack,
          .batch = view,
          .sequences = view.source,
          .type = type_,
          .hidden = config_.hidden_size,
          .epsilon = static_cast<float>(config_.layer_norm_eps),
          .hidden_states = hidden,
          .dropout = {}};
}

void EncoderRunner::train(const Context& context, const BatchView& batch, double gradient_scale, const StepIdentity& step,
                          StackMemory& stack, double* loss, const WeightsNeeded& needed, const BackwardProgress& progress) {
  const StackScope scope(stack);
  check(batch.labelled, "a training batch has labels");
  const auto complete = [&](int parameters) {
    if (progress) progress(parameters);
  };
  const Dropout identity = training_dropout(batch, step);
  const auto needs = [&](int first) {
    if (needed) needed(first);
  };
  needs(complete_behind_block_.front());
  const void* last =
      encoder_.forward_training(context, batch.source, identity, stack, activations_, [&](std::int64_t layer) {
        const auto above = static_cast<std::size_t>(layer) + 1;
        needs(above == complete_behind_block_.size() ? complete_behind_head_ : complete_behind_block_[above]);
      });
  needs(0);

  HeadInput input = head_input(context, batch, last, stack);
  input.dropout = identity;
  input.dropout.rate = static_cast<float>(config_.head_dropout());
  input.dropout.site = head_site(config_.num_hidden_layers);
  input.gradient_scale = static_cast<float>(gradient_scale);
  void* d_last = stack.allocate_elements("d_last_hidden", type_, batch.source.tokens * config_.hidden_size);
  head_loss(input, head_of(heads_, batch), loss, d_last);
  complete(complete_behind_head_);
  encoder_.backward(context, batch.source, identity, activations_, d_last, stack,
                    [&](std::int64_t layer) { complete(complete_behind_block_[static_cast<std::size_t>(layer)]); });
  complete(parameters_);
}

void EncoderRunner::loss(const Context& context, const BatchView& batch, StackMemory& stack, double* loss) {
  const StackScope scope(stack);
  check(batch.labelled, "a loss needs labels");
  const void* last = encoder_.forward_prediction(context, batch.source, config_.num_hidden_layers, stack);
  head_loss(head_input(context, batch, last, stack), head_of(heads_, batch), loss, nullptr);
}

std::vector<float> EncoderRunner::predict(const Context& context, const BatchView& batch, StackMemory& stack) {
  const StackScope scope(stack);
  const void* last = encoder_.forward_prediction(context, batch.source, config_.num_hidden_layers, stack);
  return head_logits(head_input(context, batch, last, stack), head_of(heads_, batch));
}

std::vector<float> EncoderRunner::hidden_states(const Context& context, const BatchView& batch, std::int64_t layer,
                                                StackMemory& stack) {
  const StackScope scope(stack);
  const void* hidden = encoder_.forward_prediction(context, batch.source, layer, stack);
  return to_host(head_input(context, batch, hidden, stack), hidden, type_, batch.source.tokens * config_.hidden_size);
}

std::vector<float> EncoderRunner::encode_layers(const Context& context, const BatchView& batch,
                                                const std::vector<std::int64_t>& layers, Pooling pooling,
                                                StackMemory& stack) {
  const StackScope scope(stack);
  return pooled_layers(
      head_input(context, batch, nullptr, stack), batch.source, layers, pooling,
      [&](std::int64_t last, const auto& use) { encoder_.forward_prediction(context, batch.source, last, stack, use); });
}

std::unique_ptr<ModelRunner> make_encoder_runner(const ModelConfig& config, DType type, const std::vector<HeadSpec>& heads,
                                                 const ParameterAddresses& addresses) {
  return std::make_unique<EncoderRunner>(config, type, heads, addresses);
}

}  // namespace koine
