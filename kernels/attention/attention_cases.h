#pragma once

#include "kernels/attention/attention.h"
#include "kernels/common/cases.h"

namespace koine::cases {

/// A packed batch: a shape, and what it points to.
struct AttentionBatch {
  std::vector<std::int32_t> cumulative_lengths;  ///< of queries; in self-attention of keys, too
  std::vector<std::int32_t> key_cumulative_lengths;
  std::vector<std::uint32_t> examples;
  std::vector<double> relative_bias;  ///< [bias_count()], an operand; empty: none
  AttentionShape shape;

  /// Self-attention over thirds of one fused product.
  AttentionBatch(const std::vector<std::int64_t>& lengths, std::int64_t heads, std::int64_t head_size, float rate = 0)
      : cumulative_lengths(cumulative_lengths_of(lengths)) {
    describe(lengths.size(), heads, head_size, rate);
    shape.queries = side(cumulative_lengths, 3 * hidden());
    shape.keys = shape.queries;
  }
  /// Queries of their own, keys and values halves of one fused product.
  AttentionBatch(const std::vector<std::int64_t>& queries, const std::vector<std::int64_t>& keys, std::int64_t heads,
                 std::int64_t head_size, float rate = 0)
      : cumulative_lengths(cumulative_lengths_of(queries)), key_cumulative_lengths(cumulative_lengths_of(keys)) {
    describe(queries.size(), heads, head_size, rate);
    shape.queries = side(cumulative_lengths, hidden());
    shape.keys = side(key_cumulative_lengths, 2 * hidden());
  }
  AttentionBatch(const AttentionBatch&) = delete;
  AttentionBatch& operator=(const AttentionBatch&) = delete;

  std::int64_t hidden() const { return shape.heads * shape.head_size; }
  bool one_sided() const { return key_cumulative_lengths.empty(); }
  std::int64_t key_count() const { return one_sided() ? 0 : shape.keys.tokens * shape.keys.stride; }
  /// Of the operand that query, key and value are parts of.
  std::int64_t qkv_count() const { return shape.queries.tokens * shape.queries.stride + key_count(); }
  std::int64_t output_count() const { return shape.queries.tokens * shape.output_stride; }
  std::int64_t statistics_count() const { return shape.queries.tokens * shape.heads; }
  std::int64_t bias_count() const { return shape.relative_bias.buckets * shape.heads; }
  void allow_length(std::int64_t length) { shape.queries.maximum_length = shape.keys.maximum_length = length; }
  AttentionBatch& causal() {
    shape.mask = AttentionMask::kCausal;
    return *this;
  }
  /// Of bf16 numbers, so that differences of them are exact in fp32.
  AttentionBatch& with_relative_bias(std::int32_t buckets = 32, std::int32_t max_distance = 128, bool bidirectional = true) {
    shape.relative_bias = {nullptr, buckets, max_distance, bidirectional};
    relative_bias = random_values(bias_count(), 4);
    for (double& value : relative_bias) {
      value = static_cast<double>(to_float(to_bfloat16(static_cast<float>(value))));
    }
    return *this;
  }

 private:
  void describe(std::size_t sequences, std::int64_t heads, std::int64_t head_size, float rate) {
    for (std::size_t n = 0; n < sequences; ++n) examples.push_back(static_cast<std::uint32_t>(1000 + 7 * n));
    shape.sequences = static_cast<std::int64_t>(sequences);
    shape.heads = heads, shape.head_size = head_size, shape.output_stride = hidden();
    shape.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(head_size)));
    shape.dropout.rate = rate;
    shape.dropout.seed = 11, shape.dropout.step = 22, shape.dropout.site = 3;
    shape.dropout.examples = examples.data();
  }
  static AttentionSide side(const std::vector<std::int32_t>& cumulative_lengths, std::int64_t stride) {
    AttentionSide result;
    result.tokens = cumulative_lengths.back();
    for (std::size_t n = 1; n < cumulative_lengths.size(); ++n) {
      result.maximum_length =
          std::max<std::int64_t>(result.maximum_length, cumulative_lengths[n] - cumulative_lengths[n - 1]);
    }
    result.cumulative_lengths = cumulative_lengths.data();
    result.stride = stride;
    return result;
  }
};

/// Elements of query, key and value within the operand.
struct AttentionParts {
  std::int64_t key, value;
};
inline AttentionParts parts_of(const AttentionShape& shape) {
  const std::int64_t hidden = shape.heads * shape.head_size;
  if (shape.queries.cumulative_lengths == shape.keys.cumulative_lengths) return {hidden, 2 * hidden};
  const std::int64_t queries = shape.queries.tokens * shape.queries.stride;
  return {queries, queries + hidden};
}
template <class Arguments>
void bind_qkv(Arguments& arguments, void* fused) {
  const AttentionParts parts = parts_of(arguments.shape);
  arguments.query = fused;
  arguments.key = offset_by(fused, arguments.shape.type, parts.key);
  arguments.value = offset_by(fused, arguments.shape.type, parts.value);
}
inline void bind_d_qkv(AttentionBackwardArguments& arguments, void* fused) {
  const AttentionParts parts = parts_of(arguments.shape);
  arguments.d_query = fused;
  arguments.d_key = offset_by(fused, arguments.shape.type, parts.key);
  arguments.d_value = offset_by(fused, arguments.shape.type, parts.value);
}

inline std::string name_of(const AttentionShape& shape) {
  const auto side = [](const AttentionSide& of) { return concatenate(of.tokens, " in lengths to ", of.maximum_length); };
  return concatenate(shape.sequences, " sequences, ", side(shape.queries),
                     shape.queries.cumulative_lengths == shape.keys.cumulative_lengths ? "" : " over " + side(shape.keys),
                     ", ", shape.heads, " x ", shape.head_size, shape.mask == AttentionMask::kCausal ? " causal" : "",
                     shape.relative_bias.table != nullptr ? " bias" : "", shape.dropout.active() ? " dropout" : "");
}

/// The batch's shape with copies of its arrays, which belong to the case. A bias is there, too, before its operand is: which
/// variants are usable is asked then.
template <class Arguments>
Case<Arguments> attention_case(const AttentionBatch& batch) {
  static const float any = 0;
  Case<Arguments> one("");
  AttentionShape& shape = one.arguments.shape = batch.shape;
  shape.queries.cumulative_lengths = one.keep(batch.cumulative_lengths);
  shape.keys.cumulative_lengths =
      batch.one_sided() ? shape.queries.cumulative_lengths : one.keep(batch.key_cumulative_lengths);
  shape.dropout.examples = one.keep(batch.examples);
  if (!batch.relative_bias.empty()) shape.relative_bias.table = &any;
  one.name = name_of(shape);
  return one;
}
template <class Arguments>
void add_relative_bias(Case<Arguments>& one, const AttentionBatch& batch) {
  if (batch.relative_bias.empty()) return;
  one.input_fp32("relative_bias", batch.relative_bias,
                 [](Arguments& to, void* table) { to.shape.relative_bias.table = static_cast<const float*>(table); });
}

inline Case<AttentionForwardArguments> attention_forward_case(const AttentionBatch& batch, Values qkv) {
  using Arguments = AttentionForwardArguments;
  Case<Arguments> one = attention_case<Arguments>(batch);
  one.input("qkv", std::move(qkv), bind_qkv<Arguments>);
  one.output("output", batch.output_count(), &Arguments::output);
  one.output_fp32("log_sum_exp", batch.statistics_count(), &Arguments::log_sum_exp);
  add_relative_bias(one, batch);
  return one;
}

/// `output` and `log_sum_exp`: what forward gave.
inline Case<AttentionBackwardArguments> attention_backward_case(const AttentionBatch& batch, Values qkv, Values output,
                                                                Values log_sum_exp) {
  using Arguments = AttentionBackwardArguments;
  Case<Arguments> one = attention_case<Arguments>(batch);
  one.input("qkv", std::move(qkv), bind_qkv<Arguments>);
  one.input("output", std::move(output), &Arguments::output);
  one.input_fp32("log_sum_exp", std::move(log_sum_exp), &Arguments::log_sum_exp);
  one.input("d_output", random(batch.output_count(), 2), &Arguments::d_output);
  one.output("d_qkv", batch.qkv_count(), bind_d_qkv);
  add_relative_bias(one, batch);
  if (!batch.relative_bias.empty()) {
    one.in_out_fp32("d_relative_bias", random(batch.bias_count(), 5), &Arguments::d_relative_bias);
  }
  return one;
}

}  // namespace koine::cases
