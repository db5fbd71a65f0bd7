#include "models/mt5/runner.h"

#include "kernels/common/check.h"
#include "models/heads/pooled.h"
#include "models/mt5/decoding.h"

namespace koine {

EncoderDecoderRunner::EncoderDecoderRunner(const ModelConfig& config, DType type, const std::vector<HeadSpec>& heads,
                                           const ParameterAddresses& addresses)
    : EncoderDecoderRunner(config, type, heads, encoder_decoder_table(config, heads), addresses) {}

EncoderDecoderRunner::EncoderDecoderRunner(const ModelConfig& config, DType type, const std::vector<HeadSpec>& heads,
                                           const EncoderDecoderTable& table, const ParameterAddresses& addresses)
    : config_(config),
      type_(type),
      encoder_(config, type, false, 0, stack_parameters(table.encoder, table.word, addresses)),
      decoder_(config, type, true, encoder_.sites(), stack_parameters(table.decoder, table.word, addresses)),
      parameters_(table.table.size()),
      complete_behind_head_(table.complete_behind_head),
      complete_behind_decoder_block_(table.decoder.complete_behind_block),
      complete_behind_encoder_block_(table.encoder.complete_behind_block) {
  for (const HeadSpec& head : heads) {
    HeadIndex index;
    index.output.weight = table.head;
    heads_.push_back(head_parameters(head, index, addresses));
  }
}

void EncoderDecoderRunner::require_readable(const PackedBatch& batch) const {
  check(batch.source.tokens > 0, "a batch without a token");
  for (const PackedSequences* list : {&batch.source, &batch.target}) {
    require(list->maximum_length <= config_.maximum_length(), "a sequence has ", list->maximum_length,
            " tokens, and this model is given memory for at most ", config_.maximum_length(),
            ": cut it shorter (max_seq_length)");
    require_known_tokens(*list, config_.vocab_size);
  }
}

HeadInput EncoderDecoderRunner::head_input(const Context& context, const BatchView& view, const void* hidden,
                                           StackMemory& stack) const {
  return {.context = context,
          .stack = stack,
          .batch = view,
          .sequences = view.under_head(),
          .type = type_,
          .hidden = config_.hidden_size,
          .epsilon = static_cast<float>(config_.layer_norm_eps),
          .hidden_states = hidden,
          .dropout = {}};
}

const HeadParameters& EncoderDecoderRunner::head_under(const BatchView& batch) const {
  const HeadParameters& head = head_of(heads_, batch);
  check(batch.target.sequences == batch.source.sequences, "a text-to-text head stands on targets: ", batch.target.sequences,
        " of ", batch.source.sequences, " sequences have one");
  return head;
}

void EncoderDecoderRunner::train(const Context& context, const BatchView& batch, double gradient_scale,
                                 const StepIdentity& step, StackMemory& stack, double* loss, const WeightsNeeded& needed,
                                 const BackwardProgress& progress) {
  const StackScope scope(stack);
  check(batch.labelled, "a training batch has labels");
  const HeadParameters& head = head_under(batch);
  const auto complete = [&](int parameters) {
    if (progress) progress(parameters);
  };
  const Dropout identity = training_dropout(batch, step);
  const auto needs = [&](int first) {
    if (needed) needed(first);
  };
  // Where the parameters of a block begin: behind those of the one above it, of the last behind `above_stack`.
  const auto needs_block = [&](const std::vector<int>& ends, int above_stack) {
    return [&needs, &ends, above_stack](std::int64_t layer) {
      const auto above = static_cast<std::size_t>(layer) + 1;
      needs(above == ends.size() ? above_stack : ends[above]);
    };
  };
  needs(complete_behind_encoder_block_.front());
  const void* source =
      encoder_.forward_training(context, batch.source, {}, identity, stack, encoder_activations_,
                                needs_block(complete_behind_encoder_block_, complete_behind_decoder_block_.front()));
  const Encoded encoded = {&batch.source, source};
  const void* last = decoder_.forward_training(context, batch.target, encoded, identity, stack, decoder_activations_,
                                               needs_block(complete_behind_decoder_block_, complete_behind_head_));
  needs(0);

  HeadInput input = head_input(context, batch, last, stack);
  input.gradient_scale = static_cast<float>(gradient_scale);
  void* d_encoded = stack.allocate_elements("d_encoded", type_, batch.source.tokens * config_.hidden_size);
  {
    const StackScope of_decoder(stack);
    void* d_last = stack.allocate_elements("d_last_hidden", type_, batch.target.tokens * config_.hidden_size);
    head_loss(input, head, loss, d_last);
    // A tied head's weight is the word embedding, which lies last and is whole at the end.
    complete(complete_behind_head_);
    decoder_.backward(
        context, batch.target, encoded, identity, decoder_activations_, d_last, d_encoded, stack,
        [&](std::int64_t layer) { complete(complete_behind_decoder_block_[static_cast<std::size_t>(layer)]); });
  }
  encoder_.backward(context, batch.source, {}, identity, encoder_activations_, d_encoded, nullptr, stack,
                    [&](std::int64_t layer) { complete(complete_behind_encoder_block_[static_cast<std::size_t>(layer)]); });
  complete(parameters_);
}

const void* EncoderDecoderRunner::decoded(const Context& context, const BatchView& batch, StackMemory& stack) const {
  const void* source = encoder_.forward_prediction(context, batch.source, {}, encoder_.layers(), stack);
  return decoder_.forward_prediction(context, batch.target, {&batch.source, source}, decoder_.layers(), stack);
}

void EncoderDecoderRunner::loss(const Context& context, const BatchView& batch, StackMemory& stack, double* loss) {
  const StackScope scope(stack);
  check(batch.labelled, "a loss needs labels");
  const HeadParameters& head = head_under(batch);
  head_loss(head_input(context, batch, decoded(context, batch, stack), stack), head, loss, nullptr);
}

std::vector<float> EncoderDecoderRunner::predict(const Context& context, const BatchView& batch, StackMemory& stack) {
  const StackScope scope(stack);
  const HeadParameters& head = head_under(batch);
  return head_logits(head_input(context, batch, decoded(context, batch, stack), stack), head);
}

std::vector<float> EncoderDecoderRunner::hidden_states(const Context& context, const BatchView& batch, std::int64_t layer,
                                                       StackMemory& stack) {
  const StackScope scope(stack);
  const bool decodes = batch.target.sequences > 0;
  const void* hidden = encoder_.forward_prediction(context, batch.source, {}, decodes ? encoder_.layers() : layer, stack);
  if (decodes) hidden = decoder_.forward_prediction(context, batch.target, {&batch.source, hidden}, layer, stack);
  return to_host(head_input(context, batch, hidden, stack), hidden, type_, batch.under_head().tokens * config_.hidden_size);
}

std::vector<float> EncoderDecoderRunner::encode_layers(const Context& context, const BatchView& batch,
                                                       const std::vector<std::int64_t>& layers, Pooling pooling,
                                                       StackMemory& stack) {
  const StackScope scope(stack);
  return pooled_layers(
      head_input(context, batch, nullptr, stack), batch.source, layers, pooling,
      [&](std::int64_t last, const auto& use) { encoder_.forward_prediction(context, batch.source, {}, last, stack, use); });
}

std::unique_ptr<Decoding> EncoderDecoderRunner::begin_decoding(const Context& context, const BatchView& batch,
                                                               std::int64_t rows, std::int64_t maximum_length,
                                                               StackMemory& stack) {
  const StackScope scope(stack);
  check(!heads_.empty(), "a model without a text-to-text head generates nothing");
  const void* source = encoder_.forward_prediction(context, batch.source, {}, encoder_.layers(), stack);
  const EncoderDecoderConfig& numbers = config_.encoder_decoder;
  return koine::begin_decoding(context,
                               {decoder_, heads_.front().output, numbers.decoder_start_token_id, numbers.eos_token_id},
                               batch.source, source, rows, maximum_length);
}

std::unique_ptr<ModelRunner> make_encoder_decoder_runner(const ModelConfig& config, DType type,
                                                         const std::vector<HeadSpec>& heads,
                                                         const ParameterAddresses& addresses) {
  return std::make_unique<EncoderDecoderRunner>(config, type, heads, addresses);
}

}  // namespace koine
