// Softmax cross-entropy on the CPU. A row is worked through in blocks of kBlock classes that stay in the first-level cache
// between the search for the maximum and the sum of exponentials; the blocks' sums are put together in order in double.
// Rows of one block are shared out row by row; longer rows block by block, as many rows at a time as there are threads, so
// that few rows over a large vocabulary keep all threads busy and a row is still in cache when its gradient is formed.
// Which thread does what changes no bit. Arithmetic in fp32; d_logits is rounded once.

#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/softmax_cross_entropy/softmax_cross_entropy_cpu.cpp"
#include "kernels/common/vector_targets.h"
#include "kernels/common/vector-inl.h"
#include "kernels/softmax_cross_entropy/softmax_row-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace koine {
namespace HWY_NAMESPACE {
namespace {

SoftmaxStatistics statistics_of(DType type, const void* logits, std::int64_t count) {
  if (type == DType::kBFloat16) return softmax_statistics(static_cast<const BFloat16*>(logits), count);
  return softmax_statistics(static_cast<const float*>(logits), count);
}

void gradient_of(DType type, const void* logits, std::int64_t count, float largest, float factor, std::int64_t label,
                 float label_gradient, void* d_logits) {
  if (type == DType::kBFloat16) {
    softmax_gradient(static_cast<const BFloat16*>(logits), count, largest, factor, label, label_gradient,
                     static_cast<BFloat16*>(d_logits));
  } else {
    softmax_gradient(static_cast<const float*>(logits), count, largest, factor, label, label_gradient,
                     static_cast<float*>(d_logits));
  }
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

using Arguments = SoftmaxCrossEntropyArguments;

constexpr std::int64_t kBlock = 4096;

std::int64_t block_count(const Arguments& arguments) { return (arguments.classes + kBlock - 1) / kBlock; }

// Rows of several blocks that are worked on together.
std::int64_t group_rows(const Arguments& arguments) { return std::min<std::int64_t>(arguments.rows, thread_count()); }

const void* logits_at(const Arguments& arguments, std::int64_t row, std::int64_t column) {
  return offset_by(arguments.logits, arguments.type, row * arguments.stride + column);
}

SoftmaxStatistics block_statistics(const Arguments& arguments, std::int64_t row, std::int64_t block) {
  const std::int64_t begin = block * kBlock;
  const std::int64_t count = std::min(kBlock, arguments.classes - begin);
  return HWY_DYNAMIC_DISPATCH(statistics_of)(arguments.type, logits_at(arguments, row, begin), count);
}

// Statistics of the row from those of its blocks; writes the loss.
SoftmaxStatistics finish_row(const Arguments& arguments, std::int64_t row, const SoftmaxStatistics* blocks) {
  SoftmaxStatistics whole = blocks[0];
  for (std::int64_t b = 1; b < block_count(arguments); ++b) whole.largest = std::max(whole.largest, blocks[b].largest);
  double sum = 0;
  for (std::int64_t b = 0; b < block_count(arguments); ++b) {
    sum += blocks[b].sum * std::exp(static_cast<double>(blocks[b].largest) - whole.largest);
  }
  whole.sum = static_cast<float>(sum);
  const std::int32_t label = arguments.labels[row];
  const double logit =
      label == kIgnoredLabel ? 0 : load_element(arguments.logits, arguments.type, row * arguments.stride + label);
  arguments.loss[row] = label == kIgnoredLabel ? 0.0f : static_cast<float>(std::log(sum) + (whole.largest - logit));
  return whole;
}

void block_gradient(const Arguments& arguments, std::int64_t row, std::int64_t block, const SoftmaxStatistics& whole) {
  const std::int64_t begin = block * kBlock;
  const std::int64_t count = std::min(kBlock, arguments.classes - begin);
  const std::int64_t at = row * arguments.stride + begin;
  void* d_logits = offset_by(arguments.d_logits, arguments.type, at);
  const std::int32_t label = arguments.labels[row];
  if (label == kIgnoredLabel) {
    std::memset(d_logits, 0, static_cast<std::size_t>(count) * size_of(arguments.type));
    return;
  }
  const float scale = arguments.gradient_scale_from == nullptr ? arguments.gradient_scale : *arguments.gradient_scale_from;
  HWY_DYNAMIC_DISPATCH(gradient_of)
  (arguments.type, logits_at(arguments, row, begin), count, whole.largest, scale / whole.sum, label - begin, scale,
   d_logits);
}

void run_short_rows(const Arguments& arguments) {
  const std::int64_t rows_per_task = std::max<std::int64_t>(1, 4 * kBlock / arguments.classes);
  parallel_ranges(arguments.rows, rows_per_task, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const SoftmaxStatistics block = block_statistics(arguments, row, 0);
      const SoftmaxStatistics whole = finish_row(arguments, row, &block);
      if (arguments.d_logits != nullptr) block_gradient(arguments, row, 0, whole);
    }
  });
}

// workspace: the statistics of each block of a group of rows, then those of each row.
void run_long_rows(const Arguments& arguments, void* workspace) {
  const std::int64_t blocks = block_count(arguments);
  const std::int64_t group = group_rows(arguments);
  auto* block_results = static_cast<SoftmaxStatistics*>(workspace);
  SoftmaxStatistics* row_results = block_results + group * blocks;
  for (std::int64_t first = 0; first < arguments.rows; first += group) {
    const std::int64_t rows = std::min(group, arguments.rows - first);
    parallel_for(rows * blocks, [&](std::int64_t index) {
      block_results[index] = block_statistics(arguments, first + index / blocks, index % blocks);
    });
    for (std::int64_t r = 0; r < rows; ++r) row_results[r] = finish_row(arguments, first + r, block_results + r * blocks);
    if (arguments.d_logits == nullptr) continue;
    parallel_for(rows * blocks, [&](std::int64_t index) {
      block_gradient(arguments, first + index / blocks, index % blocks, row_results[index / blocks]);
    });
  }
}

}  // namespace

std::size_t softmax_cross_entropy_cpu_workspace(const Arguments& arguments) {
  const std::int64_t blocks = block_count(arguments);
  if (blocks == 1) return 0;
  return static_cast<std::size_t>(group_rows(arguments) * (blocks + 1)) * sizeof(SoftmaxStatistics);
}

void softmax_cross_entropy_cpu(const Context&, const Arguments& arguments, void* workspace) {
  for (std::int64_t row = 0; row < arguments.rows; ++row) {
    const std::int32_t label = arguments.labels[row];
    check(label == kIgnoredLabel || (label >= 0 && label < arguments.classes), "softmax cross-entropy: label ", label,
          " of row ", row, " is outside [0, ", arguments.classes, ")");
  }
  if (block_count(arguments) == 1) {
    run_short_rows(arguments);
  } else {
    run_long_rows(arguments, workspace);
  }
}

}  // namespace koine
#endif
