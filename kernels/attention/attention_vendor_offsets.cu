// What cuDNN wants to know of a packed batch (attention_vendor.cpp), from its cumulative lengths: the length of every
// sequence, and where it starts in query, in output and in log_sum_exp, counted in elements.
//
// Thread n of the grid writes the numbers of sequence n; the one behind the last writes the ends. 4 bytes read and 28
// written a sequence, in one launch of a few blocks: what it costs is the launch.

#include "kernels/attention/attention.h"
#include "kernels/cuda/launch.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kThreads = 128;

struct Params {
  const std::int32_t* cumulative_lengths;
  std::int64_t sequences;
  std::int64_t qkv_stride;
  std::int64_t output_stride;
  std::int64_t heads;
  std::int32_t* lengths;      // [sequences]
  std::int64_t* qkv_offsets;  // [sequences + 1], as are the others
  std::int64_t* output_offsets;
  std::int64_t* statistics_offsets;
};

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) attention_offsets_kernel(Params p) {
  const std::int64_t n = std::int64_t{block_index().x} * kThreads + thread_index();
  if (n > p.sequences) return;
  const std::int64_t first = p.cumulative_lengths[n];
  p.qkv_offsets[n] = first * p.qkv_stride;
  p.output_offsets[n] = first * p.output_stride;
  p.statistics_offsets[n] = first * p.heads;
  if (n < p.sequences) p.lengths[n] = static_cast<std::int32_t>(p.cumulative_lengths[n + 1] - first);
}

}  // namespace

void attention_vendor_offsets(const Context& context, const AttentionShape& shape, std::int32_t* lengths,
                              std::int64_t* qkv_offsets, std::int64_t* output_offsets, std::int64_t* statistics_offsets) {
  const Params params = {shape.queries.cumulative_lengths,
                         shape.sequences,
                         shape.queries.stride,
                         shape.output_stride,
                         shape.heads,
                         lengths,
                         qkv_offsets,
                         output_offsets,
                         statistics_offsets};
  launch({.kernel = "attention_offsets",
          .shape = {shape.sequences},
          .grid = {grid_extent(divide_up(shape.sequences + 1, kThreads))},
          .threads = kThreads,
          .stream = context.stream},
         attention_offsets_kernel, params);
}

}  // namespace koine
