#include "models/mt5/block.h"

#include "kernels/attention/attention.h"
#include "kernels/dropout/dropout.h"
#include "kernels/gated_activation/gated_activation.h"
#include "kernels/rmsnorm/rmsnorm.h"

namespace koine {
namespace {

Linear without_bias(int weight, const ParameterAddresses& addresses) { return addresses.linear(LinearIndex{weight, -1}); }

T5Attention attention_parameters(const T5AttentionIndex& index, int bias, const ParameterAddresses& addresses) {
  T5Attention result;
  result.norm = rms_norm_parameters(index.norm, addresses);
  result.query = without_bias(index.query, addresses);
  if (bias >= 0) {
    result.query.out *= 3;
    result.bias = addresses.master(bias);
    result.d_bias = addresses.gradient(bias);
  } else {
    result.key_value = without_bias(index.key, addresses);
    result.key_value.out *= 2;
  }
  result.output = without_bias(index.output, addresses);
  return result;
}

AttentionSide side_of(const SequencesView& sequences, std::int64_t stride) {
  return {.tokens = sequences.tokens,
          .maximum_length = sequences.maximum_length,
          .cumulative_lengths = sequences.cumulative_lengths,
          .host_cumulative_lengths = sequences.host_cumulative_lengths,
          .stride = stride};
}

AttentionShape attention_shape(const T5Shape& shape, const SequencesView& sequences, const Dropout& dropout) {
  AttentionShape result;
  result.type = shape.type;
  result.sequences = sequences.sequences;
  result.heads = shape.heads;
  result.head_size = shape.head_size;
  result.output_stride = shape.inner();
  result.dropout = dropout;
  return result;
}

AttentionShape self_shape(const T5Shape& shape, const T5Attention& parameters, const SequencesView& sequences,
                          const Dropout& dropout) {
  AttentionShape result = attention_shape(shape, sequences, dropout);
  result.queries = side_of(sequences, 3 * shape.inner());
  result.keys = result.queries;
  result.mask = shape.decoder ? AttentionMask::kCausal : AttentionMask::kNone;
  result.relative_bias = relative_bias(shape, parameters);
  return result;
}

AttentionShape cross_shape(const T5Shape& shape, const SequencesView& sequences, const SequencesView& source,
                           const Dropout& dropout) {
  AttentionShape result = attention_shape(shape, sequences, dropout);
  result.queries = side_of(sequences, shape.inner());
  result.keys = side_of(source, 2 * shape.inner());
  return result;
}

/// Where a projection's query, key and value lie, or their gradients. Of self-attention all are thirds of one product.
template <class Pointer>
struct Projections {
  Pointer query;
  Pointer key;
  Pointer value;
};
template <class Pointer>
Projections<Pointer> projections(const T5Shape& shape, Pointer query, Pointer key_value) {
  const Pointer keys = key_value == nullptr ? offset_by(query, shape.type, shape.inner()) : key_value;
  return {query, keys, offset_by(keys, shape.type, shape.inner())};
}

void attend(const Context& context, const AttentionShape& shape, const Projections<const void*>& from,
            const T5AttentionActivations& activations) {
  attention_forward(context, {shape, from.query, from.key, from.value, activations.attention, activations.log_sum_exp});
}

/// d_attention is overwritten; the gradients of query, key and value go to `to`.
void attend_backward(const Context& context, const AttentionShape& shape, const Projections<const void*>& from,
                     const T5AttentionActivations& activations, const void* d_attention, const Projections<void*>& to,
                     float* d_bias) {
  attention_backward(context, {shape, from.query, from.key, from.value, activations.attention, activations.log_sum_exp,
                               d_attention, to.query, to.key, to.value, d_bias});
}

void product(const Context& context, const T5Shape& shape, std::int64_t rows, const Linear& linear, const void* input,
             void* output) {
  linear_forward(context, linear,
                 {.type = shape.type, .output_type = shape.type, .rows = rows, .input = input, .output = output});
}

/// The gradient of a product's input, and, noted in `weights`, of its weight.
void product_backward(const Context& context, const T5Shape& shape, std::int64_t rows, const Linear& linear,
                      const void* input, const void* d_output, void* d_input, const void* residual,
                      WeightGradientsArguments& weights) {
  linear_backward(context, linear,
                  {.type = shape.type,
                   .rows = rows,
                   .input = input,
                   .d_output = d_output,
                   .d_input = d_input,
                   .residual = residual,
                   .collect = &weights});
}

/// The gradient behind a dropout: a copy in `memory`, or where nothing drops `gradient` itself.
const void* behind_dropout(const Context& context, const T5Shape& shape, std::int64_t rows, const Dropout& drop,
                           const void* gradient, void* memory) {
  if (!drop.active()) return gradient;
  dropout(context, {shape.type, rows, shape.hidden, gradient, nullptr, drop, memory});
  return memory;
}

/// Into d_input: the gradient by way of the norm and what reaches its input by the residual stream.
void rms_norm_backward(const Context& context, const T5Shape& shape, std::int64_t rows, const RmsNormParameters& norm,
                       const void* input, const float* rstd, const void* d_output, const void* d_residual_stream,
                       void* d_input) {
  rmsnorm_backward(context, {shape.type, rows, shape.hidden, d_output, d_residual_stream, input, rstd, norm.weight, d_input,
                             norm.d_weight});
}

T5AttentionActivations allocate_attention(StackMemory& stack, const std::string& name, const T5Shape& shape,
                                          std::int64_t tokens, std::int64_t source_tokens) {
  const auto elements = [&](const char* what, std::int64_t rows, std::int64_t width) {
    return stack.allocate_elements(name + what, shape.type, rows * width);
  };
  T5AttentionActivations result;
  result.normalised = elements("normalised", tokens, shape.hidden);
  result.rstd = stack.allocate_array<float>(name + "rstd", tokens);
  result.query = elements("query", tokens, source_tokens > 0 ? shape.inner() : 3 * shape.inner());
  if (source_tokens > 0) result.key_value = elements("key_value", source_tokens, 2 * shape.inner());
  result.attention = elements("attention", tokens, shape.inner());
  result.log_sum_exp = stack.allocate_array<float>(name + "log_sum_exp", tokens * shape.heads);
  result.sum = elements("sum", tokens, shape.hidden);
  return result;
}

const void* feed_forward_input(const T5Shape& shape, const T5BlockActivations& activations) {
  return shape.decoder ? activations.cross.sum : activations.self.sum;
}

}  // namespace

RmsNormParameters rms_norm_parameters(int index, const ParameterAddresses& addresses) {
  return {addresses.master(index), addresses.gradient(index)};
}

T5BlockParameters t5_block_parameters(const T5BlockIndex& index, const ParameterAddresses& addresses) {
  T5BlockParameters block;
  block.self = attention_parameters(index.self, index.bias, addresses);
  if (index.cross.query >= 0) block.cross = attention_parameters(index.cross, -1, addresses);
  block.norm = rms_norm_parameters(index.norm, addresses);
  block.gates = without_bias(index.gate, addresses);
  block.gates.out *= 2;
  block.output = without_bias(index.output, addresses);
  return block;
}

RelativeBias relative_bias(const T5Shape& shape, const T5Attention& attention) {
  return {attention.bias, shape.buckets, shape.max_distance, /*bidirectional=*/!shape.decoder};
}

T5BlockActivations allocate_t5_block(StackMemory& stack, const std::string& name, const T5Shape& shape, std::int64_t tokens,
                                     std::int64_t source_tokens) {
  const auto elements = [&](const char* what, std::int64_t width) {
    return stack.allocate_elements(name + what, shape.type, tokens * width);
  };
  T5BlockActivations result;
  result.self = allocate_attention(stack, name + "self.", shape, tokens, 0);
  if (shape.decoder) result.cross = allocate_attention(stack, name + "cross.", shape, tokens, source_tokens);
  result.normalised = elements("normalised", shape.hidden);
  result.rstd = stack.allocate_array<float>(name + "rstd", tokens);
  result.gates = elements("gates", 2 * shape.intermediate);
  result.gated = elements("gated", shape.intermediate);
  result.output = elements("output", shape.hidden);
  return result;
}

void rms_norm(const Context& context, const T5Shape& shape, std::int64_t rows, const RmsNormParameters& norm,
              const void* input, void* output, float* rstd) {
  rmsnorm_forward(context, {shape.type, rows, shape.hidden, shape.epsilon, input, norm.weight, output, rstd});
}

void project_and_add(const Context& context, const T5Shape& shape, std::int64_t rows, const Linear& linear,
                     const Dropout& drop, const void* input, const void* residual, void* output) {
  // On a device the product drops and adds, whose tile is still in registers then.
  const bool apart = drop.active() && context.device != Device::kCuda;
  LinearForward call = {.type = shape.type, .output_type = shape.type, .rows = rows, .input = input, .output = output};
  if (!apart) {
    call.residual = residual;
    call.dropout = drop;
  }
  linear_forward(context, linear, call);
  if (apart) dropout(context, {shape.type, rows, shape.hidden, output, residual, drop, output});
}

void t5_feed_forward(const Context& context, const T5Shape& shape, const T5BlockParameters& parameters,
                     const T5Dropout& drops, std::int64_t rows, const void* input, const T5BlockActivations& activations) {
  rms_norm(context, shape, rows, parameters.norm, input, activations.normalised, activations.rstd);
  product(context, shape, rows, parameters.gates, activations.normalised, activations.gates);
  gated_activation_forward(context, {shape.type, rows, shape.intermediate, activations.gates, activations.gated});
  if (drops.gated.active()) {
    dropout(context, {shape.type, rows, shape.intermediate, activations.gated, nullptr, drops.gated, activations.gated});
  }
  project_and_add(context, shape, rows, parameters.output, drops.output, activations.gated, input, activations.output);
}

void t5_block_forward(const Context& context, const T5Shape& shape, const T5BlockParameters& parameters,
                      const T5Dropout& drops, const SequencesView& sequences, const Encoded& encoded, const void* input,
                      const T5BlockActivations& activations) {
  const std::int64_t rows = sequences.tokens;
  const T5AttentionActivations& self = activations.self;
  rms_norm(context, shape, rows, parameters.self.norm, input, self.normalised, self.rstd);
  product(context, shape, rows, parameters.self.query, self.normalised, self.query);
  attend(context, self_shape(shape, parameters.self, sequences, drops.self_weights),
         projections<const void*>(shape, self.query, nullptr), self);
  project_and_add(context, shape, rows, parameters.self.output, drops.self_output, self.attention, input, self.sum);

  if (shape.decoder) {
    const T5AttentionActivations& cross = activations.cross;
    rms_norm(context, shape, rows, parameters.cross.norm, self.sum, cross.normalised, cross.rstd);
    product(context, shape, rows, parameters.cross.query, cross.normalised, cross.query);
    product(context, shape, encoded.sequences->tokens, parameters.cross.key_value, encoded.hidden, cross.key_value);
    attend(context, cross_shape(shape, sequences, *encoded.sequences, drops.cross_weights),
           projections<const void*>(shape, cross.query, cross.key_value), cross);
    project_and_add(context, shape, rows, parameters.cross.output, drops.cross_output, cross.attention, self.sum, cross.sum);
  }
  t5_feed_forward(context, shape, parameters, drops, rows, feed_forward_input(shape, activations), activations);
}

void t5_block_backward(const Context& context, const T5Shape& shape, const T5BlockParameters& parameters,
                       const T5Dropout& drops, const SequencesView& sequences, const Encoded& encoded, const void* input,
                       const T5BlockActivations& activations, void* d_output, void* d_input,
                       const EncodedGradient& d_encoded, StackMemory& stack) {
  const std::int64_t rows = sequences.tokens;
  const StackScope scope(stack);
  const auto temporary = [&](const char* name, std::int64_t width) {
    return stack.allocate_elements(name, shape.type, rows * width);
  };
  const auto room_behind = [&](const char* name, const Dropout& drop) {
    return drop.active() ? temporary(name, shape.hidden) : nullptr;
  };
  WeightGradientsArguments weights;  // of the block's layers: one launch

  // The feed-forward: d_sum becomes the gradient of what it read.
  const void* d_projected =
      behind_dropout(context, shape, rows, drops.output, d_output, room_behind("d_feed_forward", drops.output));
  void* d_gated = temporary("d_gated", shape.intermediate);
  product_backward(context, shape, rows, parameters.output, activations.gated, d_projected, d_gated, nullptr, weights);
  if (drops.gated.active()) dropout(context, {shape.type, rows, shape.intermediate, d_gated, nullptr, drops.gated, d_gated});
  void* d_gates = temporary("d_gates", 2 * shape.intermediate);
  gated_activation_backward(context, {shape.type, rows, shape.intermediate, activations.gates, d_gated, d_gates});
  void* d_sum = temporary("d_sum", shape.hidden);
  product_backward(context, shape, rows, parameters.gates, activations.normalised, d_gates, d_sum, nullptr, weights);
  rms_norm_backward(context, shape, rows, parameters.norm, feed_forward_input(shape, activations), activations.rstd, d_sum,
                    d_output, d_sum);

  if (shape.decoder) {
    const T5AttentionActivations& cross = activations.cross;
    d_projected =
        behind_dropout(context, shape, rows, drops.cross_output, d_sum, room_behind("d_cross_output", drops.cross_output));
    void* d_attention = temporary("d_cross_attention", shape.inner());
    product_backward(context, shape, rows, parameters.cross.output, cross.attention, d_projected, d_attention, nullptr,
                     weights);
    void* d_query = temporary("d_cross_query", shape.inner());
    void* d_key_value =
        stack.allocate_elements("d_cross_key_value", shape.type, encoded.sequences->tokens * 2 * shape.inner());
    attend_backward(context, cross_shape(shape, sequences, *encoded.sequences, drops.cross_weights),
                    projections<const void*>(shape, cross.query, cross.key_value), cross, d_attention,
                    projections<void*>(shape, d_query, d_key_value), nullptr);
    product_backward(context, shape, encoded.sequences->tokens, parameters.cross.key_value, encoded.hidden, d_key_value,
                     d_encoded.after, d_encoded.before, weights);
    void* d_normalised = temporary("d_cross_normalised", shape.hidden);
    product_backward(context, shape, rows, parameters.cross.query, cross.normalised, d_query, d_normalised, nullptr,
                     weights);
    void* d_self_sum = temporary("d_self_sum", shape.hidden);
    rms_norm_backward(context, shape, rows, parameters.cross.norm, activations.self.sum, cross.rstd, d_normalised, d_sum,
                      d_self_sum);
    d_sum = d_self_sum;  // the other may be what a weight's gradient is still computed from
  }

  const T5AttentionActivations& self = activations.self;
  d_projected =
      behind_dropout(context, shape, rows, drops.self_output, d_sum, room_behind("d_self_output", drops.self_output));
  void* d_attention = temporary("d_self_attention", shape.inner());
  product_backward(context, shape, rows, parameters.self.output, self.attention, d_projected, d_attention, nullptr, weights);
  void* d_query_key_value = temporary("d_query_key_value", 3 * shape.inner());
  attend_backward(context, self_shape(shape, parameters.self, sequences, drops.self_weights),
                  projections<const void*>(shape, self.query, nullptr), self, d_attention,
                  projections<void*>(shape, d_query_key_value, nullptr), parameters.self.d_bias);
  product_backward(context, shape, rows, parameters.self.query, self.normalised, d_query_key_value, d_input, nullptr,
                   weights);
  weight_gradients(context, weights);
  rms_norm_backward(context, shape, rows, parameters.self.norm, input, self.rstd, d_input, d_sum, d_input);
}

}  // namespace koine
