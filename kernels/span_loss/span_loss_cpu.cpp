// Span loss on the CPU: one task per sequence. Its two columns are widened into two contiguous fp32 rows of the workspace,
// worked through by the two passes of softmax_row-inl.h, and the gradients rounded once on the way back. A sequence's
// numbers come from its own tokens in order.

#include "kernels/span_loss/span_loss.h"

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/span_loss/span_loss_cpu.cpp"
#include "kernels/common/vector_targets.h"
#include "kernels/common/vector-inl.h"
#include "kernels/softmax_cross_entropy/softmax_row-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace {

SoftmaxStatistics statistics_of(const float* logits, std::int64_t count) { return softmax_statistics(logits, count); }

void gradient_of(float* logits, std::int64_t count, float largest, float factor, std::int64_t label, float label_gradient) {
  softmax_gradient(logits, count, largest, factor, label, label_gradient, logits);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <cmath>

#include "kernels/common/parallel.h"

namespace koine {
namespace {

HWY_EXPORT(statistics_of);
HWY_EXPORT(gradient_of);

using Arguments = SpanLossArguments;

// Turns the contiguous logits of one column of a sequence into their gradient; returns the cross-entropy.
double column_loss(const Arguments& arguments, float* logits, std::int64_t length, std::int32_t label) {
  if (label < 0 || label >= length) {
    std::fill(logits, logits + length, 0.0f);
    return 0;
  }
  const SoftmaxStatistics statistics = HWY_DYNAMIC_DISPATCH(statistics_of)(logits, length);
  const double loss =
      std::log(static_cast<double>(statistics.sum)) + (static_cast<double>(statistics.largest) - logits[label]);
  if (arguments.d_logits != nullptr) {
    const float* from = arguments.gradient_scale_from;
    const float half = (from == nullptr ? arguments.gradient_scale : *from) / 2;
    HWY_DYNAMIC_DISPATCH(gradient_of)(logits, length, statistics.largest, half / statistics.sum, label, half);
  }
  return loss;
}

template <class T>
void sequence_loss(const Arguments& arguments, std::int64_t sequence, float* rows) {
  const std::int64_t first = arguments.cumulative_lengths[sequence];
  const std::int64_t length = arguments.cumulative_lengths[sequence + 1] - first;
  float* start = rows + 2 * first;
  float* end = start + length;
  const T* logits = static_cast<const T*>(arguments.logits) + 2 * first;
  for (std::int64_t i = 0; i < length; ++i) {
    start[i] = to_float(logits[2 * i]);
    end[i] = to_float(logits[2 * i + 1]);
  }
  const double start_loss = column_loss(arguments, start, length, arguments.start_labels[sequence]);
  const double end_loss = column_loss(arguments, end, length, arguments.end_labels[sequence]);
  arguments.loss[sequence] = static_cast<float>((start_loss + end_loss) / 2);
  if (arguments.d_logits == nullptr) return;
  for (std::int64_t i = 0; i < length; ++i) {
    store_element(arguments.d_logits, arguments.type, 2 * (first + i), start[i]);
    store_element(arguments.d_logits, arguments.type, 2 * (first + i) + 1, end[i]);
  }
}

}  // namespace

std::size_t span_loss_cpu_workspace(const Arguments& arguments) {
  return 2 * static_cast<std::size_t>(arguments.tokens) * sizeof(float);
}

void span_loss_cpu(const Context&, const Arguments& arguments, void* workspace) {
  if (arguments.sequences == 0) return;
  const std::int32_t* cumulative = arguments.cumulative_lengths;
  check(cumulative != nullptr, "span loss of ", arguments.sequences, " sequences without cumulative_lengths");
  check(cumulative[0] == 0 && cumulative[arguments.sequences] == arguments.tokens, "span loss: cumulative_lengths run from ",
        cumulative[0], " to ", cumulative[arguments.sequences], ", the batch has ", arguments.tokens, " tokens");
  parallel_for(arguments.sequences, [&](std::int64_t sequence) {
    check(cumulative[sequence] <= cumulative[sequence + 1], "span loss: sequence ", sequence, " has a negative length");
    auto* rows = static_cast<float*>(workspace);
    if (arguments.type == DType::kBFloat16) {
      sequence_loss<BFloat16>(arguments, sequence, rows);
    } else {
      sequence_loss<float>(arguments, sequence, rows);
    }
  });
}

}  // namespace koine
#endif
