// A task is a block of rows; a row is read from memory once and stays in the first-level cache for its second pass. Backward:
// the average and this block's share of d_weight, then the row's gradient. The blocks' shares lie in the workspace and are
// added in order of the blocks.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rmsnorm/rmsnorm_cpu.cpp"
#include "kernels/common/vector_targets.h"
#include "kernels/common/vector-inl.h"
// clang-format on

#include <algorithm>
#include <cmath>

#include "kernels/common/parallel.h"
#include "kernels/common/row_blocks.h"
#include "kernels/rmsnorm/rmsnorm.h"

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace {

template <class T>
void forward_rows(const RmsNormForwardArguments& a, std::int64_t begin, std::int64_t end) {
  const hn::ScalableTag<float> d;
  for (std::int64_t row = begin; row < end; ++row) {
    const T* input = static_cast<const T*>(a.input) + row * a.width;
    T* output = static_cast<T*>(a.output) + row * a.width;
    hn::Vec<decltype(d)> slots[kSlots] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
    for_lanes_in_slots(d, a.width, [&](std::int64_t i, auto lanes, auto slot) KOINE_LANES {
      const auto value = lanes.load(d, input + i);
      slots[slot] = hn::MulAdd(value, value, slots[slot]);
    });
    const float rstd = 1.0f / std::sqrt(sum_slots(d, slots) / static_cast<float>(a.width) + a.epsilon);
    a.rstd[row] = rstd;
    const auto rstds = hn::Set(d, rstd);
    for_lanes(d, a.width, [&](std::int64_t i, auto lanes) KOINE_LANES {
      const auto normalised = hn::Mul(lanes.load(d, input + i), rstds);
      lanes.store(d, hn::Mul(normalised, lanes.load(d, a.weight + i)), output + i);
    });
  }
}

/// The average of g xhat; d_weight gets the row's share.
template <class T>
float average_row(const RmsNormBackwardArguments& a, std::int64_t row, float* d_weight) {
  const hn::ScalableTag<float> d;
  const T* d_output = static_cast<const T*>(a.d_output) + row * a.width;
  const T* input = static_cast<const T*>(a.input) + row * a.width;
  const auto rstd = hn::Set(d, a.rstd[row]);
  hn::Vec<decltype(d)> slots[kSlots] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  for_lanes_in_slots(d, a.width, [&](std::int64_t i, auto lanes, auto slot) KOINE_LANES {
    const auto gradient = lanes.load(d, d_output + i);
    const auto normalised = hn::Mul(lanes.load(d, input + i), rstd);
    lanes.store(d, hn::MulAdd(gradient, normalised, lanes.load(d, d_weight + i)), d_weight + i);
    slots[slot] = hn::MulAdd(hn::Mul(gradient, lanes.load(d, a.weight + i)), normalised, slots[slot]);
  });
  return sum_slots(d, slots) / static_cast<float>(a.width);
}

template <class T>
void backward_rows(const RmsNormBackwardArguments& a, std::int64_t begin, std::int64_t end, float* d_weight) {
  const hn::ScalableTag<float> d;
  std::fill(d_weight, d_weight + a.width, 0.0f);
  for (std::int64_t row = begin; row < end; ++row) {
    const auto average = hn::Set(d, average_row<T>(a, row, d_weight));
    const std::int64_t first = row * a.width;
    const T* d_output = static_cast<const T*>(a.d_output) + first;
    const T* stream = a.d_residual_stream == nullptr ? nullptr : static_cast<const T*>(a.d_residual_stream) + first;
    const T* input = static_cast<const T*>(a.input) + first;
    T* d_input = static_cast<T*>(a.d_input) + first;
    const auto rstd = hn::Set(d, a.rstd[row]);
    for_lanes(d, a.width, [&](std::int64_t i, auto lanes) KOINE_LANES {
      const auto normalised = hn::Mul(lanes.load(d, input + i), rstd);
      const auto g = hn::Mul(lanes.load(d, d_output + i), lanes.load(d, a.weight + i));
      const auto added = stream == nullptr ? hn::Zero(d) : lanes.load(d, stream + i);
      lanes.store(d, hn::MulAdd(rstd, hn::NegMulAdd(normalised, average, g), added), d_input + i);
    });
  }
}

void forward(const RmsNormForwardArguments& a, std::int64_t begin, std::int64_t end) {
  a.type == DType::kFloat32 ? forward_rows<float>(a, begin, end) : forward_rows<BFloat16>(a, begin, end);
}
void backward(const RmsNormBackwardArguments& a, std::int64_t begin, std::int64_t end, float* d_weight) {
  a.type == DType::kFloat32 ? backward_rows<float>(a, begin, end, d_weight)
                            : backward_rows<BFloat16>(a, begin, end, d_weight);
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

void rmsnorm_forward_cpu(const Context&, const RmsNormForwardArguments& a, void*) {
  parallel_ranges(a.rows, rows_of_a_task(a.width), [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(forward)(a, begin, end);
  });
}

std::size_t rmsnorm_backward_cpu_workspace(const RmsNormBackwardArguments& a) {
  return static_cast<std::size_t>(RowBlocks(a.rows).count * a.width) * sizeof(float);
}

void rmsnorm_backward_cpu(const Context&, const RmsNormBackwardArguments& a, void* workspace) {
  auto* sums = static_cast<float*>(workspace);  // [blocks, width]
  const RowBlocks blocks(a.rows);
  parallel_ranges(a.rows, blocks.rows_of_one, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(backward)(a, begin, end, sums + begin / blocks.rows_of_one * a.width);
  });
  add_shares(blocks, sums, a.width, a.width, a.d_weight);
}

}  // namespace koine
#endif
