// mean_pooling. Bound by memory traffic: the tokens once, the sequences once.
//
// Forward: a thread has four columns of one sequence and adds up its tokens in their order, in fp32, 16 tokens loaded at a
// time: what is under way is 16 rows of every sequence. Backward: a thread has eight columns of one sequence, divides and
// rounds their gradient once, and writes it to every kth token of the sequence; k blocks share a sequence, as many as leave
// each some 16 tokens. Where rows are no multiple of 16 bytes, a thread has one column.

#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/pooling/pooling.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kThreads = 128;
constexpr int kForwardColumns = 4;
constexpr int kForwardTokens = 16;
constexpr int kBackwardColumns = 8;
constexpr std::int64_t kBackwardTokens = 16;  // of a block, about
constexpr std::int64_t kMostSlices = 16;

template <class T>
struct Params {
  std::int64_t width;
  const std::int32_t* cumulative_lengths;
  bool skip_special;
  const T* input;  // or d_output
  T* output;       // or d_input
};

/// The tokens of a sequence, and those of them that are averaged: none where `last` is not behind `first`.
struct Span {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t first;
  std::int64_t last;

  KOINE_DEVICE float divisor() const { return last - first > 1 ? static_cast<float>(last - first) : 1.0f; }
  /// The sum of 1, 2 ... to the number of tokens.
  KOINE_DEVICE float divisor_by_position() const { return divisor() * (divisor() + 1) / 2; }
};
template <class T>
KOINE_DEVICE Span span_of(const Params<T>& p, std::int64_t sequence) {
  const std::int64_t begin = p.cumulative_lengths[sequence];
  const std::int64_t end = p.cumulative_lengths[sequence + 1];
  const int special = p.skip_special ? 1 : 0;
  return {begin, end, begin + special, end - special};
}

template <class T, int kColumns, bool kByPosition>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) mean_pooling_forward_kernel(Params<T> p) {
  const std::int64_t sequence = block_index().x;
  const std::int64_t column = (std::int64_t{block_index().y} * kThreads + thread_index()) * kColumns;
  if (column >= p.width) return;
  const Span span = span_of(p, sequence);
  float sums[kColumns] = {};
  for (std::int64_t token = span.first; token < span.last; token += kForwardTokens) {
    Pack<T, kColumns> values[kForwardTokens];
    KOINE_UNROLL
    for (int k = 0; k < kForwardTokens; ++k) {
      // Behind the last token that one again, so that no load waits for a branch.
      const std::int64_t one = token + k < span.last ? token + k : span.last - 1;
      values[k] = load_pack<T, kColumns>(p.input + one * p.width + column);
    }
    KOINE_UNROLL
    for (int k = 0; k < kForwardTokens; ++k) {
      const float weight = kByPosition ? static_cast<float>(token + k - span.first + 1) : 1.0f;
      KOINE_UNROLL
      for (int i = 0; i < kColumns; ++i) {
        if (token + k < span.last) sums[i] += weight * to_float(values[k].values[i]);
      }
    }
  }
  const float divisor = kByPosition ? span.divisor_by_position() : span.divisor();
  KOINE_UNROLL
  for (int i = 0; i < kColumns; ++i) sums[i] /= divisor;
  store_floats(p.output + sequence * p.width + column, sums);
}

/// Block (sequence, columns, slice): the tokens slice, slice + slices, ... of the sequence.
template <class T, int kColumns>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) mean_pooling_backward_kernel(Params<T> p) {
  constexpr int kPack = kPackSize<T, kColumns>;
  const std::int64_t sequence = block_index().x;
  const std::int64_t column = (std::int64_t{block_index().y} * kThreads + thread_index()) * kColumns;
  if (column >= p.width) return;
  const Span span = span_of(p, sequence);
  const float divisor = span.divisor();
  Pack<T, kPack> share[kColumns / kPack];
  KOINE_UNROLL
  for (int i = 0; i < kColumns / kPack; ++i) {
    share[i] = load_pack<T, kPack>(p.input + sequence * p.width + column + i * kPack);
    KOINE_UNROLL
    for (int j = 0; j < kPack; ++j) round_into(share[i].values[j], to_float(share[i].values[j]) / divisor);
  }
  for (std::int64_t token = span.begin + block_index().z; token < span.end; token += grid_size().z) {
    const bool averaged = token >= span.first && token < span.last;
    KOINE_UNROLL
    for (int i = 0; i < kColumns / kPack; ++i) {
      store_pack<T, kPack>(p.output + token * p.width + column + i * kPack, averaged ? share[i] : Pack<T, kPack>{});
    }
  }
}

template <class Arguments>
Launch launch_of(const Context& context, const Arguments& a, const char* name, int columns, std::int64_t slices) {
  return {.kernel = name,
          .shape = {a.tokens, a.sequences, a.width},
          .grid = {grid_extent(a.sequences), grid_extent(divide_up(a.width, std::int64_t{kThreads} * columns)),
                   grid_extent(slices)},
          .threads = kThreads,
          .stream = context.stream};
}

template <class T, bool kByPosition>
void launch_forward_kernel(const Context& context, const MeanPoolingForwardArguments& a) {
  if (a.sequences == 0) return;
  const Params<T> params = {a.width, a.cumulative_lengths, a.skip_special, static_cast<const T*>(a.input),
                            static_cast<T*>(a.output)};
  if (all_aligned(16, a.input, a.output, static_cast<std::size_t>(a.width) * sizeof(T))) {
    launch(launch_of(context, a, "mean_pooling_forward", kForwardColumns, 1),
           mean_pooling_forward_kernel<T, kForwardColumns, kByPosition>, params);
  } else {
    launch(launch_of(context, a, "mean_pooling_forward", 1, 1), mean_pooling_forward_kernel<T, 1, kByPosition>, params);
  }
}

template <class T>
void launch_forward(const Context& context, const MeanPoolingForwardArguments& a) {
  a.by_position ? launch_forward_kernel<T, true>(context, a) : launch_forward_kernel<T, false>(context, a);
}

template <class T>
void launch_backward(const Context& context, const MeanPoolingBackwardArguments& a) {
  if (a.sequences == 0) return;
  const Params<T> params = {a.width, a.cumulative_lengths, a.skip_special, static_cast<const T*>(a.d_output),
                            static_cast<T*>(a.d_input)};
  const std::int64_t slices = std::clamp<std::int64_t>(divide_up(a.tokens, a.sequences * kBackwardTokens), 1, kMostSlices);
  if (a.width % kBackwardColumns == 0 && all_aligned(16, a.d_output, a.d_input)) {
    launch(launch_of(context, a, "mean_pooling_backward", kBackwardColumns, slices),
           mean_pooling_backward_kernel<T, kBackwardColumns>, params);
  } else {
    launch(launch_of(context, a, "mean_pooling_backward", 1, slices), mean_pooling_backward_kernel<T, 1>, params);
  }
}

}  // namespace

void mean_pooling_forward_portable(const Context& context, const MeanPoolingForwardArguments& a, void*) {
  a.type == DType::kFloat32 ? launch_forward<float>(context, a) : launch_forward<BFloat16>(context, a);
}

void mean_pooling_backward_portable(const Context& context, const MeanPoolingBackwardArguments& a, void*) {
  a.type == DType::kFloat32 ? launch_backward<float>(context, a) : launch_backward<BFloat16>(context, a);
}

}  // namespace koine
