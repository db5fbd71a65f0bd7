#include "models/layers/block.h"

#include <cmath>

#include "kernels/attention/attention.h"
#include "models/layers/linear.h"
#include "models/layers/norm.h"

namespace koine {
namespace {

AttentionShape attention_shape(const BlockShape& shape, const SequencesView& sequences, const Dropout& dropout) {
  AttentionShape result;
  result.type = shape.type;
  result.sequences = sequences.sequences;
  result.heads = shape.heads;
  result.head_size = shape.hidden / shape.heads;
  result.queries = {.tokens = sequences.tokens,
                    .maximum_length = sequences.maximum_length,
                    .cumulative_lengths = sequences.cumulative_lengths,
                    .host_cumulative_lengths = sequences.host_cumulative_lengths,
                    .stride = 3 * shape.hidden};
  result.keys = result.queries;
  result.output_stride = shape.hidden;
  result.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(result.head_size)));
  result.dropout = dropout;
  return result;
}

/// Which third of the fused [tokens, 3 * hidden] product: query, key, value.
template <class Pointer>
Pointer third(const BlockShape& shape, Pointer fused, int which) {
  return offset_by(fused, shape.type, which * shape.hidden);
}

void attention_forward_of(const Context& context, const BlockShape& shape, const BlockDropout& dropout,
                          const SequencesView& sequences, const BlockActivations& activations) {
  AttentionForwardArguments attention;
  attention.shape = attention_shape(shape, sequences, dropout.attention_weights);
  attention.query = third(shape, activations.query_key_value, 0);
  attention.key = third(shape, activations.query_key_value, 1);
  attention.value = third(shape, activations.query_key_value, 2);
  attention.output = activations.attention;
  attention.log_sum_exp = activations.log_sum_exp;
  attention_forward(context, attention);
}

void attention_backward_of(const Context& context, const BlockShape& shape, const BlockDropout& dropout,
                           const SequencesView& sequences, const BlockActivations& activations, const void* d_attention,
                           void* d_query_key_value) {
  AttentionBackwardArguments attention;
  attention.shape = attention_shape(shape, sequences, dropout.attention_weights);
  attention.query = third(shape, activations.query_key_value, 0);
  attention.key = third(shape, activations.query_key_value, 1);
  attention.value = third(shape, activations.query_key_value, 2);
  attention.output = activations.attention;
  attention.log_sum_exp = activations.log_sum_exp;
  attention.d_output = d_attention;
  attention.d_query = third(shape, d_query_key_value, 0);
  attention.d_key = third(shape, d_query_key_value, 1);
  attention.d_value = third(shape, d_query_key_value, 2);
  attention_backward(context, attention);
}

}  // namespace

BlockParameters block_parameters(const BlockIndex& index, const ParameterAddresses& addresses) {
  BlockParameters block;
  block.input_norm = addresses.norm(index.input_norm);
  block.query_key_value = addresses.linear(index.query);
  block.query_key_value.out *= 3;
  block.attention_output = addresses.linear(index.attention_output);
  block.middle_norm = addresses.norm(index.middle_norm);
  block.intermediate = addresses.linear(index.intermediate);
  block.output = addresses.linear(index.output);
  block.output_norm = addresses.norm(index.output_norm);
  return block;
}

BlockActivations allocate_block_activations(StackMemory& stack, const std::string& name, const BlockShape& shape,
                                            std::int64_t tokens, bool keep_pre_activation) {
  const auto elements = [&](const char* what, std::int64_t width) {
    return stack.allocate_elements(name + what, shape.type, tokens * width);
  };
  const auto statistics = [&](const char* what, std::int64_t width = 1) {
    return stack.allocate_array<float>(name + what, tokens * width);
  };
  const bool post = shape.norm == NormPlacement::kPost;
  BlockActivations activations;
  if (!post) {
    activations.attention_input = elements("attention_input", shape.hidden);
    activations.input_mean = statistics("input_mean");
    activations.input_rstd = statistics("input_rstd");
  }
  activations.query_key_value = elements("query_key_value", 3 * shape.hidden);
  activations.attention = elements("attention", shape.hidden);
  activations.log_sum_exp = statistics("log_sum_exp", shape.heads);
  activations.attention_sum = elements("attention_sum", shape.hidden);
  activations.middle = elements("middle", shape.hidden);
  activations.middle_mean = statistics("middle_mean");
  activations.middle_rstd = statistics("middle_rstd");
  if (keep_pre_activation) activations.pre_activation = elements("pre_activation", shape.intermediate);
  activations.activation = elements("activation", shape.intermediate);
  if (post) {
    activations.output_sum = elements("output_sum", shape.hidden);
    activations.output_mean = statistics("output_mean");
    activations.output_rstd = statistics("output_rstd");
  }
  activations.output = elements("output", shape.hidden);
  return activations;
}

namespace {

/// Lets the product or the layer normalisation that reads it make norm's sum = dropout(product) + residual: on a device the
/// product, whose tile is still in registers then; on the CPU the normalisation, whose row is in the cache. The same numbers
/// where there is dropout; without it, the product in bf16 is rounded once less on a device.
void add_residual(const Context& context, const Dropout& dropout, const void* residual, LinearForward& product,
                  LayerNormForwardArguments& norm) {
  norm.input = product.output;
  if (context.device == Device::kCuda) {
    product.dropout = dropout;
    product.residual = residual;
  } else {
    norm.dropout = dropout;
    norm.residual = residual;
    norm.sum = product.output;
  }
}

}  // namespace

void block_forward(const Context& context, const BlockShape& shape, const BlockParameters& parameters,
                   const BlockDropout& dropout, const SequencesView& sequences, const void* input,
                   const BlockActivations& activations) {
  const bool post = shape.norm == NormPlacement::kPost;
  const DType type = shape.type;

  const void* attention_input = input;
  if (!post) {
    LayerNormForwardArguments norm =
        norm_forward(type, sequences.tokens, shape.hidden, shape.epsilon, parameters.input_norm);
    norm.input = input;
    norm.output = activations.attention_input;
    norm.mean = activations.input_mean;
    norm.rstd = activations.input_rstd;
    layernorm_forward(context, norm);
    attention_input = activations.attention_input;
  }
  linear_forward(context, parameters.query_key_value,
                 {.type = type,
                  .output_type = type,
                  .rows = sequences.tokens,
                  .input = attention_input,
                  .output = activations.query_key_value});
  attention_forward_of(context, shape, dropout, sequences, activations);
  LayerNormForwardArguments middle =
      norm_forward(type, sequences.tokens, shape.hidden, shape.epsilon, parameters.middle_norm);
  LinearForward projection = {.type = type,
                              .output_type = type,
                              .rows = sequences.tokens,
                              .input = activations.attention,
                              .output = activations.attention_sum};
  add_residual(context, dropout.attention_output, input, projection, middle);
  linear_forward(context, parameters.attention_output, projection);

  middle.output = activations.middle;
  middle.mean = activations.middle_mean;
  middle.rstd = activations.middle_rstd;
  layernorm_forward(context, middle);

  linear_forward(context, parameters.intermediate,
                 {.type = type,
                  .output_type = type,
                  .rows = sequences.tokens,
                  .input = activations.middle,
                  .output = activations.activation,
                  .epilogue = GemmEpilogue::kGelu,
                  .pre_activation = activations.pre_activation});
  LinearForward second = {.type = type,
                          .output_type = type,
                          .rows = sequences.tokens,
                          .input = activations.activation,
                          .output = post ? activations.output_sum : activations.output,
                          .residual = post ? nullptr : activations.attention_sum};
  LayerNormForwardArguments last = norm_forward(type, sequences.tokens, shape.hidden, shape.epsilon, parameters.output_norm);
  if (post) add_residual(context, dropout.output, activations.middle, second, last);
  linear_forward(context, parameters.output, second);
  if (!post) return;

  last.output = activations.output;
  last.mean = activations.output_mean;
  last.rstd = activations.output_rstd;
  layernorm_forward(context, last);
}

void block_backward(const Context& context, const BlockShape& shape, const BlockParameters& parameters,
                    const BlockDropout& dropout, const SequencesView& sequences, const void* input,
                    const BlockActivations& activations, void* d_output, void* d_input, StackMemory& stack) {
  const bool post = shape.norm == NormPlacement::kPost;
  const DType type = shape.type;
  const StackScope scope(stack);
  const auto temporary = [&](const char* name, std::int64_t width) {
    return stack.allocate_elements(name, type, sequences.tokens * width);
  };

  // d_output becomes the gradient of what the feed-forward's result was added to (post-norm: n + f; pre-norm: y itself).
  const void* d_feed_forward = d_output;
  if (post) {
    LayerNormBackwardArguments last = norm_backward(type, sequences.tokens, shape.hidden, parameters.output_norm);
    last.d_output = d_output;
    last.sum = activations.output_sum;
    last.mean = activations.output_mean;
    last.rstd = activations.output_rstd;
    last.dropout = dropout.output;
    last.d_sum = d_output;
    if (dropout.output.active()) {
      last.d_input = temporary("d_feed_forward", shape.hidden);
      d_feed_forward = last.d_input;
    }
    layernorm_backward(context, last);
  }

  WeightGradientsArguments weights;  // of the block's four layers: one launch
  void* d_pre_activation = temporary("d_pre_activation", shape.intermediate);
  linear_backward(context, parameters.output,
                  {.type = type,
                   .rows = sequences.tokens,
                   .input = activations.activation,
                   .d_output = d_feed_forward,
                   .d_input = d_pre_activation,
                   .pre_activation = activations.pre_activation,
                   .collect = &weights});
  void* d_middle = temporary("d_middle", shape.hidden);
  linear_backward(context, parameters.intermediate,
                  {.type = type,
                   .rows = sequences.tokens,
                   .input = activations.middle,
                   .d_output = d_pre_activation,
                   .d_input = d_middle,
                   .residual = post ? d_output : nullptr,
                   .collect = &weights});

  LayerNormBackwardArguments middle = norm_backward(type, sequences.tokens, shape.hidden, parameters.middle_norm);
  middle.d_output = d_middle;
  middle.d_residual_stream = post ? nullptr : d_output;
  middle.sum = activations.attention_sum;
  middle.mean = activations.middle_mean;
  middle.rstd = activations.middle_rstd;
  middle.dropout = dropout.attention_output;
  middle.d_sum = d_middle;  // now the gradient of s = x + dropout(a Wo)
  const void* d_projected = d_middle;
  if (dropout.attention_output.active()) {
    middle.d_input = temporary("d_projected", shape.hidden);
    d_projected = middle.d_input;
  }
  layernorm_backward(context, middle);

  void* d_attention = temporary("d_attention", shape.hidden);
  linear_backward(context, parameters.attention_output,
                  {.type = type,
                   .rows = sequences.tokens,
                   .input = activations.attention,
                   .d_output = d_projected,
                   .d_input = d_attention,
                   .collect = &weights});
  void* d_query_key_value = temporary("d_query_key_value", 3 * shape.hidden);
  attention_backward_of(context, shape, dropout, sequences, activations, d_attention, d_query_key_value);
  linear_backward(context, parameters.query_key_value,
                  {.type = type,
                   .rows = sequences.tokens,
                   .input = post ? input : activations.attention_input,
                   .d_output = d_query_key_value,
                   .d_input = post ? d_input : d_attention,
                   .residual = post ? d_middle : nullptr,
                   .collect = &weights});
  weight_gradients(context, weights);
  if (post) return;

  LayerNormBackwardArguments first = norm_backward(type, sequences.tokens, shape.hidden, parameters.input_norm);
  first.d_output = d_attention;
  first.d_residual_stream = d_middle;
  first.sum = input;
  first.mean = activations.input_mean;
  first.rstd = activations.input_rstd;
  first.d_sum = d_input;
  layernorm_backward(context, first);
}

}  // namespace koine
