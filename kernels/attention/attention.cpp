#include "kernels/attention/attention.h"

namespace koine {

// attention_reference.cpp
void attention_forward_reference(const Context&, const AttentionForwardArguments&, void* workspace);
void attention_backward_reference(const Context&, const AttentionBackwardArguments&, void* workspace);
// attention_cpu.cpp
bool attention_cpu_supports(const AttentionShape& shape);
std::size_t attention_forward_cpu_workspace(const AttentionShape& shape);
std::size_t attention_backward_cpu_workspace(const AttentionShape& shape);
void attention_forward_cpu(const Context&, const AttentionForwardArguments&, void* workspace);
void attention_backward_cpu(const Context&, const AttentionBackwardArguments&, void* workspace);
// attention_forward.cu, attention_backward.cu
void attention_forward_portable(const Context&, const AttentionForwardArguments&, void* workspace);
std::size_t attention_backward_portable_workspace(const AttentionShape& shape);
void attention_backward_portable(const Context&, const AttentionBackwardArguments&, void* workspace);
// attention_plain.cu: what the gradient of relative_bias needs besides
std::size_t attention_relative_bias_workspace(const AttentionBackwardArguments& a);
// attention_vendor.cpp
bool attention_forward_vendor_supports(const AttentionForwardArguments&);
bool attention_backward_vendor_supports(const AttentionBackwardArguments&);
std::size_t attention_forward_vendor_workspace(const AttentionShape& shape);
std::size_t attention_backward_vendor_workspace(const AttentionShape& shape);
void attention_forward_vendor(const Context&, const AttentionForwardArguments&, void* workspace);
void attention_backward_vendor(const Context&, const AttentionBackwardArguments&, void* workspace);

namespace {

void validate_shape(const AttentionShape& shape) {
  check(shape.tokens >= 0 && shape.sequences >= 0, "attention over ", shape.tokens, " tokens of ", shape.sequences,
        " sequences");
  check(shape.heads > 0 && shape.head_size > 0, "attention with ", shape.heads, " heads of size ", shape.head_size);
  check(shape.heads < 65536, "attention dropout counts heads with 16 bits, got ", shape.heads, " heads");
  const std::int64_t hidden = shape.heads * shape.head_size;
  check(shape.qkv_stride >= hidden, "attention: qkv_stride ", shape.qkv_stride, " is shorter than a row of ", shape.heads,
        " x ", shape.head_size);
  check(shape.output_stride >= hidden, "attention: output_stride ", shape.output_stride, " is shorter than a row of ",
        shape.heads, " x ", shape.head_size);
  check(shape.maximum_length >= 0 && shape.maximum_length <= shape.tokens, "attention: maximum_length ",
        shape.maximum_length, " in a batch of ", shape.tokens, " tokens");
  check(shape.tokens == 0 || (shape.sequences > 0 && shape.maximum_length > 0), "attention: ", shape.tokens, " tokens in ",
        shape.sequences, " sequences of at most ", shape.maximum_length);
  check(shape.dropout.rate >= 0 && shape.dropout.threshold() < 65536, "attention: dropout rate ", shape.dropout.rate,
        " is outside [0, 1)");
  check(shape.dropout.site < 65536, "attention: dropout site ", shape.dropout.site, " needs more than 16 bits");
}

void validate_forward(const AttentionForwardArguments& arguments) {
  validate_shape(arguments.shape);
  if (arguments.shape.tokens == 0) return;
  check(arguments.query && arguments.key && arguments.value, "attention forward over ", arguments.shape.tokens,
        " tokens: query, key or value is null");
  check(arguments.output && arguments.log_sum_exp, "attention forward over ", arguments.shape.tokens,
        " tokens: output or log_sum_exp is null");
}

void validate_backward(const AttentionBackwardArguments& arguments) {
  validate_shape(arguments.shape);
  if (arguments.shape.tokens == 0) return;
  check(arguments.query && arguments.key && arguments.value, "attention backward over ", arguments.shape.tokens,
        " tokens: query, key or value is null");
  check(arguments.output && arguments.log_sum_exp && arguments.d_output, "attention backward over ", arguments.shape.tokens,
        " tokens: output, log_sum_exp or d_output is null");
  check(arguments.d_query && arguments.d_key && arguments.d_value, "attention backward over ", arguments.shape.tokens,
        " tokens: d_query, d_key or d_value is null");
  check(arguments.shape.relative_bias || !arguments.d_relative_bias, "attention backward over ", arguments.shape.tokens,
        " tokens: d_relative_bias without relative_bias");
}

// sum(length^2); where the host cannot read the lengths, the most it can be. cumulative_lengths may lie on a device and is
// not read.
double pairs(const AttentionShape& shape) {
  if (shape.host_cumulative_lengths == nullptr) {
    return static_cast<double>(shape.tokens) * static_cast<double>(shape.maximum_length);
  }
  double sum = 0;
  for (std::int64_t n = 0; n < shape.sequences; ++n) {
    const double length = shape.host_cumulative_lengths[n + 1] - shape.host_cumulative_lengths[n];
    sum += length * length;
  }
  return sum;
}

bool not_double(const AttentionShape& shape) { return shape.type != DType::kFloat64; }

bool on_cpu(const AttentionShape& shape) { return shape.relative_bias == nullptr && attention_cpu_supports(shape); }

double hidden_elements(const AttentionShape& shape) {
  return static_cast<double>(shape.tokens) * static_cast<double>(shape.heads * shape.head_size);
}

// Query, key, value and output are elements; log_sum_exp one fp32 a token and head; relative_bias and its gradient
// `biases` fp32 a head and distance.
double bytes_of(const AttentionShape& shape, double matrices, double biases) {
  const std::int64_t distances = shape.relative_bias == nullptr || shape.tokens == 0 ? 0 : 2 * shape.maximum_length - 1;
  return matrices * hidden_elements(shape) * static_cast<double>(size_of(shape.type)) +
         4.0 * static_cast<double>(shape.tokens * shape.heads) + 4.0 * biases * static_cast<double>(shape.heads * distances);
}

}  // namespace

template <>
const Operation<AttentionForwardArguments>& operation<AttentionForwardArguments>() {
  using Arguments = AttentionForwardArguments;
  static const Operation<Arguments> table{
      "attention_forward",
      validate_forward,
      [](const Arguments& a) { return 4.0 * pairs(a.shape) * static_cast<double>(a.shape.heads * a.shape.head_size); },
      [](const Arguments& a) { return bytes_of(a.shape, 4, 1); },
      {{"portable", Device::kCuda, kFrom80, [](const Arguments& a) { return not_double(a.shape); }, nullptr,
        attention_forward_portable},
#ifdef KOINE_HAVE_CUDNN
       {"vendor", Device::kCuda, kFrom80,
        [](const Arguments& a) { return !a.shape.relative_bias && attention_forward_vendor_supports(a); },
        [](const Arguments& a) { return attention_forward_vendor_workspace(a.shape); }, attention_forward_vendor},
#endif
       {"cpu", Device::kCpu, kAnyArchitecture, [](const Arguments& a) { return on_cpu(a.shape); },
        [](const Arguments& a) { return attention_forward_cpu_workspace(a.shape); }, attention_forward_cpu},
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
      [](const Arguments& a) { return bytes_of(a.shape, 8, a.d_relative_bias == nullptr ? 1 : 3); },
      {{"portable", Device::kCuda, kFrom80, [](const Arguments& a) { return not_double(a.shape); },
        [](const Arguments& a) {
          return attention_backward_portable_workspace(a.shape) + attention_relative_bias_workspace(a);
        },
        attention_backward_portable},
#ifdef KOINE_HAVE_CUDNN
       {"vendor", Device::kCuda, kFrom90,
        [](const Arguments& a) { return !a.shape.relative_bias && attention_backward_vendor_supports(a); },
        [](const Arguments& a) { return attention_backward_vendor_workspace(a.shape); }, attention_backward_vendor},
#endif
       {"cpu", Device::kCpu, kAnyArchitecture, [](const Arguments& a) { return on_cpu(a.shape); },
        [](const Arguments& a) { return attention_backward_cpu_workspace(a.shape); }, attention_backward_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, attention_backward_reference}}};
  return table;
}

}  // namespace koine
