#pragma once

#include "kernels/common/cases.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace koine::cases {

/// Where the gradient of the logits goes.
enum class LogitsGradient { kNone, kApart, kInPlace };

/// `gap` unused elements behind each row of logits; only in place are they written at all (with what they hold).
inline Case<SoftmaxCrossEntropyArguments> softmax_cross_entropy_case(std::vector<std::int32_t> labels, std::int64_t classes,
                                                                     LogitsGradient gradient, Values logits,
                                                                     std::int64_t gap = 0) {
  using Arguments = SoftmaxCrossEntropyArguments;
  const std::int64_t rows = std::ssize(labels);
  Case<Arguments> one(concatenate(rows, " x ", classes));
  one.arguments.rows = rows, one.arguments.classes = classes, one.arguments.stride = classes + gap;
  one.arguments.labels = one.keep(std::move(labels));
  one.arguments.gradient_scale = 0.3f;
  const auto bind_both = [](Arguments& to, void* data) { to.logits = to.d_logits = data; };
  if (gradient == LogitsGradient::kInPlace) {
    one.in_out("logits", std::move(logits), bind_both);
  } else {
    one.input("logits", std::move(logits), &Arguments::logits);
  }
  one.output_fp32("loss", rows, &Arguments::loss);
  if (gradient == LogitsGradient::kApart) one.output("d_logits", rows * classes, &Arguments::d_logits);
  return one;
}

}  // namespace koine::cases
