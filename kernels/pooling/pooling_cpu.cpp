// A task is one sequence. Its sum (forward) and its share of the gradient (backward) lie in the first-level cache, a chunk
// of columns at a time, while the tokens pass by in order.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pooling/pooling_cpu.cpp"
#include "kernels/common/vector_targets.h"
#include "kernels/common/vector-inl.h"
// clang-format on

#include <algorithm>

#include "kernels/common/parallel.h"
#include "kernels/pooling/pooling.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace {

constexpr std::int64_t kChunk = 1024;

// The tokens of a sequence, and those of them that are averaged.
struct Span {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t first;
  std::int64_t last;  // one behind; not behind `first` where nothing is averaged
  float count() const { return static_cast<float>(last - first); }
  float weight(bool by_position, std::int64_t token) const {
    return by_position ? static_cast<float>(token - first + 1) : 1.0f;
  }
  float weights(bool by_position) const { return by_position ? count() * (count() + 1) / 2 : count(); }
};
template <class Arguments>
Span span_of(const Arguments& a, std::int64_t sequence) {
  const std::int64_t begin = a.cumulative_lengths[sequence];
  const std::int64_t end = a.cumulative_lengths[sequence + 1];
  if (!a.skip_special) return {begin, end, begin, end};
  return {begin, end, begin + 1, end - 1};
}

template <class T>
void forward_sequence(const MeanPoolingForwardArguments& a, std::int64_t sequence) {
  const hn::ScalableTag<float> d;
  const Span span = span_of(a, sequence);
  HWY_ALIGN float sum[kChunk];
  for (std::int64_t column = 0; column < a.width; column += kChunk) {
    const std::int64_t count = std::min(kChunk, a.width - column);
    std::fill(sum, sum + count, 0.0f);
    for (std::int64_t token = span.first; token < span.last; ++token) {
      const T* input = static_cast<const T*>(a.input) + token * a.width + column;
      const auto weight = hn::Set(d, span.weight(a.by_position, token));
      for_lanes(d, count, [&](std::int64_t i, auto lanes) KOINE_LANES {
        lanes.store(d, hn::MulAdd(weight, lanes.load(d, input + i), lanes.load(d, sum + i)), sum + i);
      });
    }
    T* output = static_cast<T*>(a.output) + sequence * a.width + column;
    const auto divisor = hn::Set(d, std::max(1.0f, span.weights(a.by_position)));
    for_lanes(d, count, [&](std::int64_t i, auto lanes) KOINE_LANES {
      lanes.store(d, hn::Div(lanes.load(d, sum + i), divisor), output + i);
    });
  }
}

template <class T>
void backward_sequence(const MeanPoolingBackwardArguments& a, std::int64_t sequence) {
  const hn::ScalableTag<float> d;
  const Span span = span_of(a, sequence);
  HWY_ALIGN T share[kChunk];
  for (std::int64_t column = 0; column < a.width; column += kChunk) {
    const std::int64_t count = std::min(kChunk, a.width - column);
    const T* d_output = static_cast<const T*>(a.d_output) + sequence * a.width + column;
    const auto divisor = hn::Set(d, std::max(1.0f, span.count()));
    for_lanes(d, count, [&](std::int64_t i, auto lanes) KOINE_LANES {
      lanes.store(d, hn::Div(lanes.load(d, d_output + i), divisor), share + i);
    });
    for (std::int64_t token = span.begin; token < span.end; ++token) {
      T* d_input = static_cast<T*>(a.d_input) + token * a.width + column;
      const auto bytes = static_cast<std::size_t>(count) * sizeof(T);
      if (token >= span.first && token < span.last) {
        std::memcpy(d_input, share, bytes);
      } else {
        std::memset(d_input, 0, bytes);
      }
    }
  }
}

void forward(const MeanPoolingForwardArguments& a, std::int64_t sequence) {
  a.type == DType::kFloat32 ? forward_sequence<float>(a, sequence) : forward_sequence<BFloat16>(a, sequence);
}
void backward(const MeanPoolingBackwardArguments& a, std::int64_t sequence) {
  a.type == DType::kFloat32 ? backward_sequence<float>(a, sequence) : backward_sequence<BFloat16>(a, sequence);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace koine {
namespace {
HWY_EXPORT(forward);
HWY_EXPORT(backward);
}  // namespace

void mean_pooling_forward_cpu(const Context&, const MeanPoolingForwardArguments& a, void*) {
  parallel_for(a.sequences, [&](std::int64_t sequence) { HWY_DYNAMIC_DISPATCH(forward)(a, sequence); });
}

void mean_pooling_backward_cpu(const Context&, const MeanPoolingBackwardArguments& a, void*) {
  parallel_for(a.sequences, [&](std::int64_t sequence) { HWY_DYNAMIC_DISPATCH(backward)(a, sequence); });
}

}  // namespace koine
#endif
