#include "kernels/attention/attention.h"

#include <algorithm>

#include "kernels/attention/attention_sm90.h"

namespace koine {

// attention_reference.cpp
void attention_forward_reference(const Context&, const AttentionForwardArguments&, void* workspace);
void attention_backward_reference(const Context&, const AttentionBackwardArguments&, void* workspace);
// attention_cpu.cpp
bool attention_cpu_supports(const AttentionShape& shape);
std::size_t attention_forward_cpu_workspace(const AttentionForwardArguments& a);
std::size_t attention_backward_cpu_workspace(const AttentionBackwardArguments& a);
void attention_forward_cpu(const Context&, const AttentionForwardArguments&, void* workspace);
void attention_backward_cpu(const Context&, const AttentionBackwardArguments&, void* workspace);
// attention_forward.cu, attention_backward.cu
std::size_t attention_forward_portable_workspace(const AttentionForwardArguments& a);
void attention_forward_portable(const Context&, const AttentionForwardArguments&, void* workspace);
std::size_t attention_backward_portable_workspace(const AttentionBackwardArguments& a);
void attention_backward_portable(const Context&, const AttentionBackwardArguments&, void* workspace);
// attention_vendor.cpp
bool attention_forward_vendor_supports(const AttentionForwardArguments&);
bool attention_backward_vendor_supports(const AttentionBackwardArguments&);
std::size_t attention_forward_vendor_workspace(const AttentionShape& shape);
std::size_t attention_backward_vendor_workspace(const AttentionShape& shape);
void attention_forward_vendor(const Context&, const AttentionForwardArguments&, void* workspace);
void attention_backward_vendor(const Context&, const AttentionBackwardArguments&, void* workspace);

namespace {

void validate_side(const char* name, const AttentionSide& side, const AttentionShape& shape) {
  check(side.tokens >= 0, "attention: ", side.tokens, " tokens of ", name);
  check(side.stride >= shape.heads * shape.head_size, "attention: stride ", side.stride, " of ", name,
        " is shorter than a row of ", shape.heads, " x ", shape.head_size);
  check(side.maximum_length >= 0 && side.maximum_length <= side.tokens, "attention: maximum_length ", side.maximum_length,
        " of ", name, " in a batch of ", side.tokens, " tokens");
  check(side.tokens == 0 || (shape.sequences > 0 && side.maximum_length > 0), "attention: ", side.tokens, " tokens of ",
        name, " in ", shape.sequences, " sequences of at most ", side.maximum_length);
}

void validate_bias(const RelativeBias& bias) {
  if (bias.table == nullptr) return;
  check(bias.buckets >= 4 && bias.buckets % 2 == 0 && bias.buckets <= kMostRelativeBuckets, "attention: ", bias.buckets,
        " buckets of relative positions; an even number from 4 to ", kMostRelativeBuckets);
  const std::int32_t exact = bias.buckets / (bias.bidirectional ? 4 : 2);
  check(bias.max_distance > exact, "attention: max_distance ", bias.max_distance, " of relative positions, of which ", exact,
        " have a bucket each");
}

void validate_shape(const AttentionShape& shape) {
  check(shape.sequences >= 0, "attention over ", shape.sequences, " sequences");
  check(shape.heads > 0 && shape.head_size > 0, "attention with ", shape.heads, " heads of size ", shape.head_size);
  check(shape.heads < 65536, "attention dropout counts heads with 16 bits, got ", shape.heads, " heads");
  validate_side("queries", shape.queries, shape);
  validate_side("keys", shape.keys, shape);
  check(shape.output_stride >= shape.heads * shape.head_size, "attention: output_stride ", shape.output_stride,
        " is shorter than a row of ", shape.heads, " x ", shape.head_size);
  validate_bias(shape.relative_bias);
  check(shape.dropout.rate >= 0 && shape.dropout.threshold() < 65536, "attention: dropout rate ", shape.dropout.rate,
        " is outside [0, 1)");
  check(shape.dropout.site < 65536, "attention: dropout site ", shape.dropout.site, " needs more than 16 bits");
}

template <class Arguments>
void validate_operands(const char* direction, const Arguments& a) {
  validate_shape(a.shape);
  const std::int64_t queries = a.shape.queries.tokens, keys = a.shape.keys.tokens;
  check(queries == 0 || a.query, "attention ", direction, " over ", queries, " queries: query is null");
  check(keys == 0 || (a.key && a.value), "attention ", direction, " over ", keys, " keys: key or value is null");
  check(queries == 0 || (a.output && a.log_sum_exp), "attention ", direction, " over ", queries,
        " queries: output or log_sum_exp is null");
}

void validate_forward(const AttentionForwardArguments& arguments) { validate_operands("forward", arguments); }

void validate_backward(const AttentionBackwardArguments& arguments) {
  validate_operands("backward", arguments);
  const std::int64_t queries = arguments.shape.queries.tokens, keys = arguments.shape.keys.tokens;
  check(queries == 0 || (arguments.d_output && arguments.d_query), "attention backward over ", queries,
        " queries: d_output or d_query is null");
  check(keys == 0 || (arguments.d_key && arguments.d_value), "attention backward over ", keys,
        " keys: d_key or d_value is null");
  check(arguments.shape.relative_bias.table || !arguments.d_relative_bias,
        "attention backward: d_relative_bias without relative_bias");
}

// Pairs of n queries and m keys, or under a causal mask those of them that see each other.
double pairs_of(AttentionMask mask, std::int64_t n, std::int64_t m) {
  if (mask == AttentionMask::kNone) return static_cast<double>(n) * static_cast<double>(m);
  const std::int64_t seeing = std::min(n, m);  // the last of n see m, m - 1, ...
  return static_cast<double>(seeing) * static_cast<double>(2 * m - seeing + 1) / 2;
}

// Over all sequences; where the host cannot read the lengths, the most it can be. cumulative_lengths may lie on a device and
// is not read.
double pairs(const AttentionShape& shape) {
  const std::int32_t* queries = shape.queries.host_cumulative_lengths;
  const std::int32_t* keys = shape.keys.host_cumulative_lengths;
  if (queries == nullptr || keys == nullptr) {
    return static_cast<double>(shape.queries.tokens) * static_cast<double>(shape.keys.maximum_length);
  }
  double sum = 0;
  for (std::int64_t n = 0; n < shape.sequences; ++n) {
    sum += pairs_of(shape.mask, queries[n + 1] - queries[n], keys[n + 1] - keys[n]);
  }
  return sum;
}

bool not_double(const AttentionShape& shape) { return shape.type != DType::kFloat64; }

// `query_rows` matrices of the queries' rows and `key_rows` of the keys' are elements; log_sum_exp one fp32 a query and
// head; the table of biases and its gradient `tables` fp32 a bucket and head.
double bytes_of(const AttentionShape& shape, double query_rows, double key_rows, double tables) {
  const auto queries = static_cast<double>(shape.queries.tokens), keys = static_cast<double>(shape.keys.tokens);
  const auto heads = static_cast<double>(shape.heads);
  const double buckets = shape.relative_bias.table == nullptr ? 0.0 : shape.relative_bias.buckets;
  return (query_rows * queries + key_rows * keys) * heads * static_cast<double>(shape.head_size) *
             static_cast<double>(size_of(shape.type)) +
         4.0 * queries * heads + 4.0 * tables * buckets * heads;
}

}  // namespace

template <>
const Operation<AttentionForwardArguments>& operation<AttentionForwardArguments>() {
  using Arguments = AttentionForwardArguments;
  static const Operation<Arguments> table{
      "attention_forward",
      validate_forward,
      [](const Arguments& a) { return 4.0 * pairs(a.shape) * static_cast<double>(a.shape.heads * a.shape.head_size); },
      [](const Arguments& a) { return bytes_of(a.shape, 2, 2, 1); },
      {{"portable", Device::kCuda, kFrom80, [](const Arguments& a) { return not_double(a.shape); },
        attention_forward_portable_workspace, attention_forward_portable},
#ifdef KOINE_HAVE_SM90
       // Behind the portable one until a device has measured it, as the product's.
       {"sm90", Device::kCuda, kOnly90, attention_forward_sm90_supports, nullptr, attention_forward_sm90},
#endif
#ifdef KOINE_HAVE_CUDNN
       {"vendor", Device::kCuda, kFrom80, attention_forward_vendor_supports,
        [](const Arguments& a) { return attention_forward_vendor_workspace(a.shape); }, attention_forward_vendor},
#endif
       {"cpu", Device::kCpu, kAnyArchitecture, [](const Arguments& a) { return attention_cpu_supports(a.shape); },
        attention_forward_cpu_workspace, attention_forward_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, attention_forward_reference}}};
  return table;
}

template <>
const Operation<AttentionBackwardArguments>& operation<AttentionBackwardArguments>() {
  using Arguments = AttentionBackwardArguments;
  static const Operation<Arguments> table{
      "attention_backward",
      validate_backward,
      [](const Arguments& a) { return 10.0 * pairs(a.shape) * static_cast<double>(a.shape.heads * a.shape.head_size); },
      [](const Arguments& a) { return bytes_of(a.shape, 4, 4, a.d_relative_bias == nullptr ? 1 : 3); },
      {{"portable", Device::kCuda, kFrom80, [](const Arguments& a) { return not_double(a.shape); },
        attention_backward_portable_workspace, attention_backward_portable},
#ifdef KOINE_HAVE_SM90
       {"sm90", Device::kCuda, kOnly90, attention_backward_sm90_supports, attention_backward_sm90_workspace,
        attention_backward_sm90},
#endif
#ifdef KOINE_HAVE_CUDNN
       {"vendor", Device::kCuda, kFrom90, attention_backward_vendor_supports,
        [](const Arguments& a) { return attention_backward_vendor_workspace(a.shape); }, attention_backward_vendor},
#endif
       {"cpu", Device::kCpu, kAnyArchitecture, [](const Arguments& a) { return attention_cpu_supports(a.shape); },
        attention_backward_cpu_workspace, attention_backward_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, attention_backward_reference}}};
  return table;
}

}  // namespace koine
