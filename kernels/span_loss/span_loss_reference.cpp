#include <cmath>
#include <vector>

#include "kernels/span_loss/span_loss.h"

namespace koine {
namespace {

// Cross-entropy of one column (0 start, 1 end) of one sequence; writes its gradient.
double column_reference(const SpanLossArguments& arguments, std::int64_t sequence, int column, std::int32_t label) {
  const std::int64_t first = arguments.cumulative_lengths[sequence];
  const std::int64_t length = arguments.cumulative_lengths[sequence + 1] - first;
  const bool counted = label >= 0 && label < length;
  std::vector<double> logits(static_cast<std::size_t>(length));
  double maximum = -INFINITY;
  for (std::int64_t i = 0; i < length; ++i) {
    logits[i] = load_element(arguments.logits, arguments.type, 2 * (first + i) + column);
    maximum = std::fmax(maximum, logits[i]);
  }
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit - maximum);
  const double loss = counted ? std::log(sum) - (logits[label] - maximum) : 0;
  if (arguments.d_logits == nullptr) return loss;
  const float* from = arguments.gradient_scale_from;
  const double scale = from == nullptr ? arguments.gradient_scale : *from;
  for (std::int64_t i = 0; i < length; ++i) {
    const double gradient = (std::exp(logits[i] - maximum) / sum - (i == label ? 1 : 0)) / 2;
    store_element(arguments.d_logits, arguments.type, 2 * (first + i) + column, counted ? scale * gradient : 0);
  }
  return loss;
}

}  // namespace

void span_loss_reference(const Context&, const SpanLossArguments& arguments, void*) {
  for (std::int64_t n = 0; n < arguments.sequences; ++n) {
    const double start = column_reference(arguments, n, 0, arguments.start_labels[n]);
    const double end = column_reference(arguments, n, 1, arguments.end_labels[n]);
    arguments.loss[n] = static_cast<float>((start + end) / 2);
  }
}

}  // namespace koine
