// Linear layer and cross-entropy on the CPU: the products' own variants, and between them a row of a tile a time, in fp32,
// while it is still in cache. A row's sums over the tiles are put together in double.

#include "kernels/linear_cross_entropy/linear_cross_entropy_tiles.h"

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear_cross_entropy/linear_cross_entropy_cpu.cpp"
#include "kernels/common/vector_targets.h"
#include "kernels/common/vector-inl.h"
#include "kernels/softmax_cross_entropy/softmax_row-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace {

SoftmaxStatistics statistics_of(const float* logits, std::int64_t count) { return softmax_statistics(logits, count); }

void gradients_of(DType type, const float* logits, std::int64_t count, float largest, float factor, std::int64_t label,
                  float label_gradient, void* gradients) {
  if (type == DType::kBFloat16) {
    softmax_gradient(logits, count, largest, factor, label, label_gradient, static_cast<BFloat16*>(gradients));
  } else {
    softmax_gradient(logits, count, largest, factor, label, label_gradient, static_cast<float*>(gradients));
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace koine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/common/parallel.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace koine {
namespace {

HWY_EXPORT(statistics_of);
HWY_EXPORT(gradients_of);

using Arguments = LinearCrossEntropyArguments;

// Tiles that stay in the last cache; kept logits of 256 MB.
constexpr LogitsTileSizes kTiles = {512, 2048, 0};
constexpr LogitsTileSizes kKept = {512, 2048, std::int64_t{1} << 26};

void add_tile(const SoftmaxStatistics& tile, RunningSoftmax& row) {
  const float largest = std::max(row.largest, tile.largest);
  row.sum = row.sum * std::exp(static_cast<double>(row.largest) - largest) +
            tile.sum * std::exp(static_cast<double>(tile.largest) - largest);
  row.largest = largest;
}

void row_statistics(const LogitsTile& t, std::int64_t r) {
  const std::int32_t label = t.labels[r];
  if (label == kIgnoredLabel) {
    t.loss[r] = 0;
    return;
  }
  const float* logits = t.logits + r * t.stride;
  RunningSoftmax& row = t.running[r];
  const SoftmaxStatistics tile = HWY_DYNAMIC_DISPATCH(statistics_of)(logits, t.count);
  if (t.begin == 0) {
    row = {tile.sum, tile.largest, 0};
  } else {
    add_tile(tile, row);
  }
  if (label >= t.begin && label < t.begin + t.count) row.label_logit = logits[label - t.begin];
  if (t.last()) t.loss[r] = static_cast<float>(std::log(row.sum) + (static_cast<double>(row.largest) - row.label_logit));
}

void row_gradients(const LogitsTile& t, std::int64_t r) {
  void* gradients = offset_by(t.gradients, t.type, r * t.gradient_stride);
  if (t.labels[r] == kIgnoredLabel) {
    std::memset(gradients, 0, static_cast<std::size_t>(t.count) * size_of(t.type));
    return;
  }
  const float scale = t.gradient_scale_from == nullptr ? t.gradient_scale : *t.gradient_scale_from;
  const auto factor = static_cast<float>(scale / t.running[r].sum);
  HWY_DYNAMIC_DISPATCH(gradients_of)
  (t.type, t.logits + r * t.stride, t.count, t.running[r].largest, factor, t.labels[r] - t.begin, scale, gradients);
}

template <class Row>
void for_each_row(const LogitsTile& t, const Row& work) {
  parallel_ranges(t.rows, rows_of_a_task(t.count), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) work(t, r);
  });
}

void run_tiles(const Context& context, const Arguments& a, const LogitsTileSizes& sizes, void* workspace) {
  for (std::int64_t row = 0; row < a.rows; ++row) {
    const std::int32_t label = a.labels[row];
    check(label == kIgnoredLabel || (label >= 0 && label < a.classes), "linear cross-entropy: label ", label, " of row ",
          row, " is outside [0, ", a.classes, ")");
  }
  const LogitsTileKernels kernels = {[](const Context&, const LogitsTile& t) { for_each_row(t, row_statistics); },
                                     [](const Context&, const LogitsTile& t) { for_each_row(t, row_gradients); }};
  run_logits_tiles(context, a, sizes, kernels, workspace);
}

}  // namespace

std::size_t linear_cross_entropy_cpu_workspace(const Arguments& a) {
  return logits_tiles_workspace(Device::kCpu, a, kTiles);
}
void linear_cross_entropy_cpu(const Context& context, const Arguments& a, void* workspace) {
  run_tiles(context, a, kTiles, workspace);
}

std::size_t linear_cross_entropy_cpu_kept_workspace(const Arguments& a) {
  return logits_tiles_workspace(Device::kCpu, a, kKept);
}
void linear_cross_entropy_cpu_kept(const Context& context, const Arguments& a, void* workspace) {
  run_tiles(context, a, kKept, workspace);
}

}  // namespace koine
#endif
