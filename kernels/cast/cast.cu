// Copies with conversion, 8 elements a thread where both sides are aligned. Bound by memory traffic.

#include <algorithm>

#include "kernels/cast/cast.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kThreads = 256;

template <class From, class To>
struct Params {
  std::int64_t count;
  const From* input;
  To* output;
};

/// Thread i of the grid takes elements [i * kElements, ...), then those one grid further on.
template <class From, class To, int kElements>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) cast_kernel(Params<From, To> p) {
  const std::int64_t stride = std::int64_t{grid_size().x} * kThreads * kElements;
  std::int64_t i = (std::int64_t{block_index().x} * kThreads + thread_index()) * kElements;
  for (; i + kElements <= p.count; i += stride) {
    float values[kElements];
    load_floats(values, p.input + i);
    store_floats(p.output + i, values);
  }
  for (; i < p.count; ++i) round_into(p.output[i], to_float(p.input[i]));  // the last, incomplete group
}

template <class From, class To>
void launch_cast(const Context& context, const CastArguments& a) {
  if (a.count == 0) return;
  const Params<From, To> params = {a.count, static_cast<const From*>(a.input), static_cast<To*>(a.output)};
  constexpr std::int64_t kMostBlocks = 4096;
  const auto start = [&](auto kernel, int elements) {
    const std::int64_t blocks = std::min(divide_up(a.count, std::int64_t{kThreads} * elements), kMostBlocks);
    launch(
        {.kernel = "cast", .shape = {a.count}, .grid = {grid_extent(blocks)}, .threads = kThreads, .stream = context.stream},
        kernel, params);
  };
  if (all_aligned(16, a.input, a.output)) {
    start(cast_kernel<From, To, 8>, 8);
  } else {
    start(cast_kernel<From, To, 1>, 1);
  }
}

}  // namespace

void cast_portable(const Context& context, const CastArguments& a, void*) {
  const bool from_float = a.input_type == DType::kFloat32;
  const bool to_float_type = a.output_type == DType::kFloat32;
  if (from_float && to_float_type) launch_cast<float, float>(context, a);
  if (from_float && !to_float_type) launch_cast<float, BFloat16>(context, a);
  if (!from_float && to_float_type) launch_cast<BFloat16, float>(context, a);
  if (!from_float && !to_float_type) launch_cast<BFloat16, BFloat16>(context, a);
}

}  // namespace koine
