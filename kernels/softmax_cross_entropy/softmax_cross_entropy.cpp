#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace koine {

// softmax_cross_entropy_reference.cpp
void softmax_cross_entropy_reference(const Context&, const SoftmaxCrossEntropyArguments&, void* workspace);
// softmax_cross_entropy_cpu.cpp
std::size_t softmax_cross_entropy_cpu_workspace(const SoftmaxCrossEntropyArguments&);
void softmax_cross_entropy_cpu(const Context&, const SoftmaxCrossEntropyArguments&, void* workspace);
// softmax_cross_entropy.cu
void softmax_cross_entropy_portable(const Context&, const SoftmaxCrossEntropyArguments&, void* workspace);

namespace {

using Arguments = SoftmaxCrossEntropyArguments;

void validate(const Arguments& arguments) {
  check(arguments.rows >= 0 && arguments.classes > 0, "softmax cross-entropy of [", arguments.rows, ", ", arguments.classes,
        "] logits");
  check(arguments.stride >= arguments.classes, "softmax cross-entropy: stride ", arguments.stride,
        " is shorter than a row of ", arguments.classes, " classes");
  if (arguments.rows == 0) return;
  check(arguments.logits && arguments.labels && arguments.loss, "softmax cross-entropy of [", arguments.rows, ", ",
        arguments.classes, "] logits: logits, labels or loss is null");
}

// A maximum, a subtraction, an exponential and an addition an element; as much again for the gradient.
double flops(const Arguments& arguments) {
  const double elements = static_cast<double>(arguments.rows) * static_cast<double>(arguments.classes);
  return elements * (arguments.d_logits == nullptr ? 4 : 8);
}

double bytes(const Arguments& arguments) {
  const double elements = static_cast<double>(arguments.rows) * static_cast<double>(arguments.classes);
  const double passes = arguments.d_logits == nullptr ? 1 : 2;
  return passes * elements * static_cast<double>(size_of(arguments.type)) + 8.0 * static_cast<double>(arguments.rows);
}

bool not_double(const Arguments& arguments) { return arguments.type != DType::kFloat64; }

}  // namespace

template <>
const Operation<Arguments>& operation<Arguments>() {
  static const Operation<Arguments> table{
      "softmax_cross_entropy",
      validate,
      flops,
      bytes,
      {{"portable", Device::kCuda, kFrom80, not_double, nullptr, softmax_cross_entropy_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, not_double, softmax_cross_entropy_cpu_workspace, softmax_cross_entropy_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, softmax_cross_entropy_reference}}};
  return table;
}

}  // namespace koine
