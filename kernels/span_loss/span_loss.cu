// Span loss on CUDA: a block a sequence, thread t of it tokens t, t + 128, ..., both logits of a token in one access where
// they lie together. One pass for the maximum and the sum of exponentials of each column, one for the gradient (read again
// from L1 or L2). Traffic is a few kilobytes; the time is that of a launch. Partial sums depend on the sequence's length
// alone. Lengths and labels are read on the device. In place is allowed: a thread overwrites only what it reads, and the
// labels' logits are read before the barrier.

#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/cuda/warp.h"
#include "kernels/softmax_cross_entropy/online_softmax.h"
#include "kernels/span_loss/span_loss.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kThreads = 128;
constexpr int kAhead = 4;

template <class T>
struct Params {
  const std::int32_t* cumulative_lengths;
  const T* logits;
  const std::int32_t* start_labels;
  const std::int32_t* end_labels;
  const float* gradient_scale_from;
  float gradient_scale;
  float* loss;
  T* d_logits;
};

/// The two logits of token `i` of a sequence. kTogether: they lie on a multiple of their size.
template <bool kTogether, class T>
KOINE_DEVICE void load_token(float (&values)[2], const T* logits, std::int64_t i) {
  if constexpr (kTogether) {
    load_floats(values, logits + 2 * i);
  } else {
    values[0] = to_float(logits[2 * i]);
    values[1] = to_float(logits[2 * i + 1]);
  }
}
template <bool kTogether, class T>
KOINE_DEVICE void store_token(T* d_logits, std::int64_t i, const float (&values)[2]) {
  if constexpr (kTogether) {
    store_floats(d_logits + 2 * i, values);
  } else {
    round_into(d_logits[2 * i], values[0]);
    round_into(d_logits[2 * i + 1], values[1]);
  }
}

template <class T, bool kTogether>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) span_loss_kernel(Params<T> p) {
  struct Shared {
    SoftmaxStatistics warps[2][kThreads / kWarpThreads];
  };
  auto& shared = shared_memory<Shared>();
  const std::int64_t sequence = block_index().x;
  const std::int64_t first = p.cumulative_lengths[sequence];
  const std::int64_t length = p.cumulative_lengths[sequence + 1] - first;
  const std::int32_t labels[2] = {p.start_labels[sequence], p.end_labels[sequence]};
  const bool counted[2] = {labels[0] >= 0 && labels[0] < length, labels[1] >= 0 && labels[1] < length};
  const std::int64_t read = counted[0] || counted[1] ? length : 0;  // tokens that need to be read
  const T* const logits = p.logits + 2 * first;

  float label_logits[2] = {0, 0};
  KOINE_UNROLL
  for (int column = 0; column < 2; ++column) {
    if (thread_index() == 0 && counted[column]) label_logits[column] = to_float(logits[2 * labels[column] + column]);
  }
  SoftmaxStatistics statistics[2] = {no_statistics(), no_statistics()};
  for (std::int64_t begin = thread_index(); begin < read; begin += kAhead * kThreads) {
    float columns[2][kAhead];
    KOINE_UNROLL
    for (int j = 0; j < kAhead; ++j) {
      const bool inside = begin + j * kThreads < read;
      float token[2];
      load_token<kTogether>(token, logits,
                            inside ? begin + j * kThreads : begin);  // in any case: nothing waits for a branch
      columns[0][j] = inside ? token[0] : minus_infinity();
      columns[1][j] = inside ? token[1] : minus_infinity();
    }
    add_numbers<T>(statistics[0], columns[0]);
    add_numbers<T>(statistics[1], columns[1]);
  }
  float loss = 0;
  float factors[2] = {0, 0};
  const float half = (p.gradient_scale_from == nullptr ? p.gradient_scale : *p.gradient_scale_from) / 2;
  KOINE_UNROLL
  for (int column = 0; column < 2; ++column) {
    statistics[column] = block_statistics<T>(statistics[column], shared.warps[column]);
    if (!counted[column]) continue;
    loss += logf(statistics[column].sum) + (statistics[column].largest - label_logits[column]);
    factors[column] = half / statistics[column].sum;
  }
  if (thread_index() == 0) p.loss[sequence] = loss / 2;
  if (p.d_logits == nullptr) return;
  T* const d_logits = p.d_logits + 2 * first;
  for (std::int64_t i = thread_index(); i < length; i += kThreads) {
    float token[2] = {0, 0};
    if (i < read) load_token<kTogether>(token, logits, i);
    KOINE_UNROLL
    for (int column = 0; column < 2; ++column) {
      const float gradient = exp_of<T>(token[column] - statistics[column].largest) * factors[column];
      token[column] = counted[column] ? gradient - (i == labels[column] ? half : 0.0f) : 0.0f;
    }
    store_token<kTogether>(d_logits, i, token);
  }
}

template <class T>
void launch_span_loss(const Context& context, const SpanLossArguments& a) {
  if (a.sequences == 0) return;
  const Params<T> params = {a.cumulative_lengths,
                            static_cast<const T*>(a.logits),
                            a.start_labels,
                            a.end_labels,
                            a.gradient_scale_from,
                            a.gradient_scale,
                            a.loss,
                            static_cast<T*>(a.d_logits)};
  const auto start = [&](auto kernel) {
    launch({.kernel = "span_loss",
            .shape = {a.tokens, a.sequences},
            .grid = {grid_extent(a.sequences)},
            .threads = kThreads,
            .shared_bytes = 2 * kThreads / kWarpThreads * sizeof(SoftmaxStatistics),
            .stream = context.stream},
           kernel, params);
  };
  if (all_aligned(2 * sizeof(T), a.logits, a.d_logits)) {
    start(span_loss_kernel<T, true>);
  } else {
    start(span_loss_kernel<T, false>);
  }
}

}  // namespace

void span_loss_portable(const Context& context, const SpanLossArguments& a, void*) {
  a.type == DType::kFloat32 ? launch_span_loss<float>(context, a) : launch_span_loss<BFloat16>(context, a);
}

}  // namespace koine
