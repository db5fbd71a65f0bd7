#include "kernels/span_loss/span_loss.h"

namespace koine {

// span_loss_reference.cpp
void span_loss_reference(const Context&, const SpanLossArguments&, void* workspace);
// span_loss_cpu.cpp
std::size_t span_loss_cpu_workspace(const SpanLossArguments&);
void span_loss_cpu(const Context&, const SpanLossArguments&, void* workspace);
// span_loss.cu
void span_loss_portable(const Context&, const SpanLossArguments&, void* workspace);

namespace {

using Arguments = SpanLossArguments;

void validate(const Arguments& arguments) {
  check(arguments.tokens >= 0 && arguments.sequences >= 0, "span loss of ", arguments.tokens, " tokens in ",
        arguments.sequences, " sequences");
  check(arguments.tokens == 0 || arguments.sequences > 0, "span loss of ", arguments.tokens, " tokens in no sequence");
  if (arguments.sequences == 0) return;
  check(arguments.start_labels && arguments.end_labels && arguments.loss, "span loss of ", arguments.sequences,
        " sequences: start_labels, end_labels or loss is null");
  check(arguments.tokens == 0 || arguments.logits, "span loss of ", arguments.tokens, " tokens: logits is null");
}

// A maximum, a subtraction, an exponential and an addition for each of two logits; as much again for the gradient.
double flops(const Arguments& arguments) {
  return static_cast<double>(arguments.tokens) * (arguments.d_logits == nullptr ? 8 : 16);
}

double bytes(const Arguments& arguments) {
  const double passes = arguments.d_logits == nullptr ? 1 : 2;
  return passes * 2 * static_cast<double>(arguments.tokens) * static_cast<double>(size_of(arguments.type)) +
         16.0 * static_cast<double>(arguments.sequences);
}

bool not_double(const Arguments& arguments) { return arguments.type != DType::kFloat64; }

}  // namespace

template <>
const Operation<Arguments>& operation<Arguments>() {
  static const Operation<Arguments> table{
      "span_loss",
      validate,
      flops,
      bytes,
      {{"portable", Device::kCuda, kFrom80, not_double, nullptr, span_loss_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, not_double, span_loss_cpu_workspace, span_loss_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, span_loss_reference}}};
  return table;
}

}  // namespace koine
