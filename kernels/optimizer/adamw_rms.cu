// adamw_rms in three launches of blocks of 256 threads: the sum of the parameters' squares of each piece of a segment (8,192
// elements), in double; the scale of each segment from its pieces, a block each; the update of each piece, an element a
// thread at a time, neighbouring threads neighbouring elements. Traffic: adamw_rms.h. The order of all additions is fixed by
// the shapes.

#include "kernels/optimizer/adamw_rms.h"
#include "kernels/optimizer/segments_device.h"
#include "kernels/reduce/squares.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kThreads = kSquaresThreads;
constexpr int kGroups = static_cast<int>(kSegmentPiece / (4 * kThreads));

struct Params {
  AdamWRmsArguments a;
  double* sums;   ///< [pieces]
  float* scales;  ///< [segments]
};
struct Shared {
  double sums[32];
};

KOINE_DEVICE float factor_of(const AdamWRmsArguments& a) { return a.gradient_factor == nullptr ? 1.0f : *a.gradient_factor; }

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) adamw_rms_squares_kernel(Params p) {
  if (factor_of(p.a) == 0) return;  // the whole block, here and below
  const SegmentPiece piece = find_piece(p.a.segment_list, p.a.segments, block_index().x);
  const double sum = squares_of_groups<kGroups>(p.a.parameter + piece.begin, piece.count, thread_index(), kThreads);
  const double total = block_sum(sum, shared_memory<Shared>().sums);
  if (thread_index() == 0) p.sums[block_index().x] = total;
}

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) adamw_rms_scales_kernel(Params p) {
  if (factor_of(p.a) == 0) return;
  const FlatSegment segment = p.a.segment_list[block_index().x];
  double sum = 0;
  for (std::int64_t piece = thread_index(); piece < pieces_of(segment); piece += kThreads) {
    sum += p.sums[segment.first_piece + piece];
  }
  sum = block_sum(sum, shared_memory<Shared>().sums);
  if (thread_index() != 0) return;
  const double root = sqrt(sum / static_cast<double>(segment.count()));
  p.scales[block_index().x] = static_cast<float>(root > kAdamWRmsLeastScale ? root : kAdamWRmsLeastScale);
}

/// The segment that piece `piece` belongs to.
KOINE_DEVICE std::int64_t segment_of(const FlatSegment* list, std::int64_t segments, std::int64_t piece) {
  std::int64_t begin = 0;
  std::int64_t end = segments;  // it is one of [begin, end)
  while (end - begin > 1) {
    const std::int64_t middle = (begin + end) / 2;
    if (list[middle].first_piece <= piece) {
      begin = middle;
    } else {
      end = middle;
    }
  }
  return begin;
}

KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) adamw_rms_update_kernel(Params p) {
  const float factor = factor_of(p.a);
  if (factor == 0) return;
  const std::int64_t index = segment_of(p.a.segment_list, p.a.segments, block_index().x);
  const SegmentPiece piece = find_piece(p.a.segment_list + index, 1, block_index().x);
  const AdamWStep step = p.a.steps[piece.group];
  const float size = p.scales[index] * step.step_size;
  const int count = static_cast<int>(piece.count);
  float* parameters = p.a.parameter + piece.begin;
  float* gradients = p.a.gradient + piece.begin;
  float* firsts = p.a.first_moment + piece.begin;
  float* seconds = p.a.second_moment + piece.begin;
  BFloat16* working = p.a.working == nullptr ? nullptr : p.a.working + piece.begin;
  const bool zero_gradient = p.a.zero_gradient;
  for (int i = thread_index(); i < count; i += kThreads) {
    const float gradient = factor * gradients[i];
    const float first = fused(step.one_minus_beta1, gradient - firsts[i], firsts[i]);
    const float second = fused(step.one_minus_beta2, gradient * gradient, step.beta2 * seconds[i]);
    const float denominator = sqrtf(second) / step.sqrt_correction2 + step.epsilon;
    const float parameter = (parameters[i] - size * first / denominator) * step.one_minus_rate_decay;
    parameters[i] = parameter;
    firsts[i] = first;
    seconds[i] = second;
    if (working != nullptr) round_into(working[i], parameter);
    if (zero_gradient) gradients[i] = 0;
  }
}

}  // namespace

void adamw_rms_portable(const Context& context, const AdamWRmsArguments& a, void* workspace) {
  if (a.pieces == 0) return;
  auto* sums = static_cast<double*>(workspace);
  const Params params = {a, sums, reinterpret_cast<float*>(sums + a.pieces)};
  const auto start = [&](const char* name, std::int64_t blocks, std::size_t shared, void (*kernel)(Params)) {
    launch({.kernel = name,
            .shape = {a.elements, a.segments},
            .grid = {grid_extent(blocks)},
            .threads = kThreads,
            .shared_bytes = shared,
            .stream = context.stream},
           kernel, params);
  };
  start("adamw_rms_squares", a.pieces, sizeof(Shared), adamw_rms_squares_kernel);
  start("adamw_rms_scales", a.segments, sizeof(Shared), adamw_rms_scales_kernel);
  start("adamw_rms_update", a.pieces, 0, adamw_rms_update_kernel);
}

}  // namespace koine
