#include <cmath>
#include <vector>

#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace koine {
namespace {

void row_reference(const SoftmaxCrossEntropyArguments& arguments, std::int64_t row) {
  const std::int32_t label = arguments.labels[row];
  const std::int64_t start = row * arguments.stride;
  const bool counted = label != kIgnoredLabel;
  check(!counted || (label >= 0 && label < arguments.classes), "softmax cross-entropy: label ", label, " of row ", row,
        " is outside [0, ", arguments.classes, ")");
  std::vector<double> logits(static_cast<std::size_t>(arguments.classes));
  double maximum = -INFINITY;
  for (std::int64_t c = 0; c < arguments.classes; ++c) {
    logits[c] = load_element(arguments.logits, arguments.type, start + c);
    maximum = std::fmax(maximum, logits[c]);
  }
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit - maximum);
  arguments.loss[row] = counted ? static_cast<float>(std::log(sum) - (logits[label] - maximum)) : 0.0f;
  if (arguments.d_logits == nullptr) return;
  const float* from = arguments.gradient_scale_from;
  const double scale = from == nullptr ? arguments.gradient_scale : *from;
  for (std::int64_t c = 0; c < arguments.classes; ++c) {
    const double gradient = std::exp(logits[c] - maximum) / sum - (c == label ? 1 : 0);
    store_element(arguments.d_logits, arguments.type, start + c, counted ? scale * gradient : 0);
  }
}

}  // namespace

void softmax_cross_entropy_reference(const Context&, const SoftmaxCrossEntropyArguments& arguments, void*) {
  for (std::int64_t row = 0; row < arguments.rows; ++row) row_reference(arguments, row);
}

}  // namespace koine
