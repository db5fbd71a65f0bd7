// A task is a block of rows; a row is read from memory once and stays in the first-level cache for the later passes over it.
// Forward: sum and mean; centred squares; output. Backward: the two averages and this block's share of the parameter
// gradients; the row's gradient. The blocks' shares lie in the workspace and are added in order of the blocks.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/layernorm/layernorm_cpu.cpp"
#include "kernels/common/vector_targets.h"
#include "kernels/common/vector-inl.h"
#include "kernels/random/dropout_mask-inl.h"
// clang-format on

#include <algorithm>
#include <cmath>

#include "kernels/common/parallel.h"
#include "kernels/common/row_blocks.h"
#include "kernels/layernorm/layernorm.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace {

// Columns whose draws are made at a time.
constexpr std::int64_t kSegment = 512;

// sum = dropout(input) + residual of one row; returns its mean.
template <class T>
float sum_row(const LayerNormForwardArguments& a, std::int64_t row, std::uint32_t threshold, float scale) {
  const hn::ScalableTag<float> d;
  const T* input = static_cast<const T*>(a.input) + row * a.width;
  const T* residual = a.residual == nullptr ? nullptr : static_cast<const T*>(a.residual) + row * a.width;
  T* sum = a.sum == nullptr ? nullptr : static_cast<T*>(a.sum) + row * a.width;
  const bool drops = a.dropout.active();
  HWY_ALIGN std::uint16_t draws[kSegment + kDrawPadding];
  hn::Vec<decltype(d)> slots[kSlots] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  for (std::int64_t begin = 0; begin < a.width; begin += kSegment) {
    const std::int64_t count = std::min(kSegment, a.width - begin);
    if (drops) {
      fill_hidden_draws(a.dropout, a.dropout.examples[row], static_cast<std::uint32_t>(a.dropout.positions[row]), begin,
                        count, draws);
    }
    for_lanes_in_slots(d, count, [&](std::int64_t i, auto lanes, auto slot) KOINE_LANES {
      auto value = lanes.load(d, input + begin + i);
      const auto multiplier = drops ? keep_multiplier(d, draws + i, threshold, scale) : hn::Set(d, 1.0f);
      const auto added = residual == nullptr ? hn::Zero(d) : lanes.load(d, residual + begin + i);
      value = rounded_to<T>(d, hn::MulAdd(value, multiplier, added));
      if (sum != nullptr) lanes.store(d, value, sum + begin + i);
      slots[slot] = hn::Add(slots[slot], value);
    });
  }
  return sum_slots(d, slots) / static_cast<float>(a.width);
}

template <class T>
float centred_squares(const T* row, std::int64_t width, float mean) {
  const hn::ScalableTag<float> d;
  const auto means = hn::Set(d, mean);
  hn::Vec<decltype(d)> slots[kSlots] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  for_lanes_in_slots(d, width, [&](std::int64_t i, auto lanes, auto slot) KOINE_LANES {
    const auto centred = lanes.zero_outside(d, hn::Sub(lanes.load(d, row + i), means));
    slots[slot] = hn::MulAdd(centred, centred, slots[slot]);
  });
  return sum_slots(d, slots);
}

template <class T>
void forward_rows(const LayerNormForwardArguments& a, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  const std::uint32_t threshold = a.dropout.threshold();
  const float scale = a.dropout.scale();
  for (std::int64_t row = begin; row < end; ++row) {
    const float mean = sum_row<T>(a, row, threshold, scale);
    const T* source = static_cast<const T*>(a.sum == nullptr ? a.input : a.sum) + row * a.width;
    const float variance = centred_squares(source, a.width, mean) / static_cast<float>(a.width);
    const float rstd = 1.0f / std::sqrt(variance + a.epsilon);
    a.mean[row] = mean;
    a.rstd[row] = rstd;
    T* output = static_cast<T*>(a.output) + row * a.width;
    const auto means = hn::Set(d, mean);
    const auto rstds = hn::Set(d, rstd);
    for_lanes(d, a.width, [&](std::int64_t i, auto lanes) KOINE_LANES {
      const auto normalised = hn::Mul(hn::Sub(lanes.load(d, source + i), means), rstds);
      lanes.store(d, hn::MulAdd(normalised, lanes.load(d, a.weight + i), lanes.load(d, a.bias + i)), output + i);
    });
  }
}

void forward(const LayerNormForwardArguments& a, std::int64_t begin, std::int64_t end) {
  a.type == DType::kFloat32 ? forward_rows<float>(a, begin, end) : forward_rows<BFloat16>(a, begin, end);
}

// The averages over a row of g and g xhat, and the row's share of the parameter gradients added to d_weight and d_bias.
struct Averages {
  float g;
  float g_normalised;
};
template <class T>
Averages average_row(const LayerNormBackwardArguments& a, std::int64_t row, float* d_weight, float* d_bias) {
  const hn::ScalableTag<float> d;
  const T* d_output = static_cast<const T*>(a.d_output) + row * a.width;
  const T* sum = static_cast<const T*>(a.sum) + row * a.width;
  const auto mean = hn::Set(d, a.mean[row]);
  const auto rstd = hn::Set(d, a.rstd[row]);
  hn::Vec<decltype(d)> g_slots[kSlots] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  hn::Vec<decltype(d)> slots[kSlots] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  for_lanes_in_slots(d, a.width, [&](std::int64_t i, auto lanes, auto slot) KOINE_LANES {
    const auto gradient = lanes.load(d, d_output + i);
    const auto normalised = hn::Mul(hn::Sub(lanes.load(d, sum + i), mean), rstd);
    const auto g = hn::Mul(gradient, lanes.load(d, a.weight + i));
    lanes.store(d, hn::MulAdd(gradient, normalised, lanes.load(d, d_weight + i)), d_weight + i);
    lanes.store(d, hn::Add(gradient, lanes.load(d, d_bias + i)), d_bias + i);
    g_slots[slot] = hn::Add(g_slots[slot], g);
    slots[slot] = hn::MulAdd(g, normalised, slots[slot]);
  });
  const auto width = static_cast<float>(a.width);
  return {sum_slots(d, g_slots) / width, sum_slots(d, slots) / width};
}

template <class T>
void gradient_row(const LayerNormBackwardArguments& a, std::int64_t row, Averages averages, std::uint32_t threshold,
                  float scale) {
  const hn::ScalableTag<float> d;
  const std::int64_t first = row * a.width;
  const T* d_output = static_cast<const T*>(a.d_output) + first;
  const T* stream = a.d_residual_stream == nullptr ? nullptr : static_cast<const T*>(a.d_residual_stream) + first;
  const T* sum = static_cast<const T*>(a.sum) + first;
  T* d_sum = static_cast<T*>(a.d_sum) + first;
  T* d_input = a.d_input == nullptr ? nullptr : static_cast<T*>(a.d_input) + first;
  const auto mean = hn::Set(d, a.mean[row]);
  const auto rstd = hn::Set(d, a.rstd[row]);
  const auto average = hn::Set(d, averages.g);
  const auto average_normalised = hn::Set(d, averages.g_normalised);
  HWY_ALIGN std::uint16_t draws[kSegment + kDrawPadding];
  for (std::int64_t begin = 0; begin < a.width; begin += kSegment) {
    const std::int64_t count = std::min(kSegment, a.width - begin);
    if (d_input != nullptr) {
      fill_hidden_draws(a.dropout, a.dropout.examples[row], static_cast<std::uint32_t>(a.dropout.positions[row]), begin,
                        count, draws);
    }
    for_lanes(d, count, [&](std::int64_t i, auto lanes) KOINE_LANES {
      const std::int64_t c = begin + i;
      const auto normalised = hn::Mul(hn::Sub(lanes.load(d, sum + c), mean), rstd);
      const auto g = hn::Mul(lanes.load(d, d_output + c), lanes.load(d, a.weight + c));
      const auto centred = hn::NegMulAdd(normalised, average_normalised, hn::Sub(g, average));
      const auto added = stream == nullptr ? hn::Zero(d) : lanes.load(d, stream + c);
      const auto gradient = hn::MulAdd(rstd, centred, added);
      lanes.store(d, gradient, d_sum + c);
      if (d_input != nullptr) {
        lanes.store(d, hn::Mul(gradient, keep_multiplier(d, draws + i, threshold, scale)), d_input + c);
      }
    });
  }
}

template <class T>
void backward_rows(const LayerNormBackwardArguments& a, std::int64_t begin, std::int64_t end, float* d_weight,
                   float* d_bias) {
  const std::uint32_t threshold = a.dropout.threshold();
  const float scale = a.dropout.scale();
  std::fill(d_weight, d_weight + a.width, 0.0f);
  std::fill(d_bias, d_bias + a.width, 0.0f);
  for (std::int64_t row = begin; row < end; ++row) {
    gradient_row<T>(a, row, average_row<T>(a, row, d_weight, d_bias), threshold, scale);
  }
}

void backward(const LayerNormBackwardArguments& a, std::int64_t begin, std::int64_t end, float* d_weight, float* d_bias) {
  a.type == DType::kFloat32 ? backward_rows<float>(a, begin, end, d_weight, d_bias)
                            : backward_rows<BFloat16>(a, begin, end, d_weight, d_bias);
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

void layernorm_forward_cpu(const Context&, const LayerNormForwardArguments& a, void*) {
  parallel_ranges(a.rows, rows_of_a_task(a.width), [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(forward)(a, begin, end);
  });
}

std::size_t layernorm_backward_cpu_workspace(const LayerNormBackwardArguments& a) {
  return static_cast<std::size_t>(RowBlocks(a.rows).count * 2 * a.width) * sizeof(float);
}

void layernorm_backward_cpu(const Context&, const LayerNormBackwardArguments& a, void* workspace) {
  auto* sums = static_cast<float*>(workspace);  // [blocks][d_weight, d_bias][width]
  const RowBlocks blocks(a.rows);
  parallel_ranges(a.rows, blocks.rows_of_one, [&](std::int64_t begin, std::int64_t end) {
    float* d_weight = sums + begin / blocks.rows_of_one * 2 * a.width;
    HWY_DYNAMIC_DISPATCH(backward)(a, begin, end, d_weight, d_weight + a.width);
  });
  add_shares(blocks, sums, 2 * a.width, a.width, a.d_weight);
  add_shares(blocks, sums + a.width, 2 * a.width, a.width, a.d_bias);
}

}  // namespace koine
#endif
