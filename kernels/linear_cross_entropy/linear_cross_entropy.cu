// Linear layer and cross-entropy on CUDA: the products' own kernels, and between them a block a row of a tile, 16 bytes of
// logits a thread and access. Both kernels are bound by traffic, which is L2's: a tile of 2,048 rows and 4,096 classes is 32 MB
// of logits and 16 MB of bf16 gradients. Products of such tiles have hundreds of output tiles, several waves of a large device,
// and d_weight goes through memory once for each group of rows.
//
// A row's sums go by its place in the tile alone: threads' chains, warps and lanes in a fixed order, tiles one after the other.

#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy_tiles.h"
#include "kernels/softmax_cross_entropy/online_softmax.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kThreads = 256;
constexpr int kElements = 4;  // of an access

// Kept logits: 1 GB, as many rows as make d_weight's way through memory short.
constexpr LogitsTileSizes kTiles = {2048, 4096, 0};
constexpr LogitsTileSizes kKept = {2048, 4096, std::int64_t{1} << 28};

KOINE_DEVICE bool is_counted(const LogitsTile& t, std::int64_t row) {
  return t.labels[row] >= 0 && t.labels[row] < t.classes;
}

/// Logits from `first` on, minus infinity behind the tile's end.
KOINE_DEVICE void load_logits(float (&values)[kElements], const float* logits, std::int64_t first, std::int64_t count) {
  if (first + kElements <= count) {
    load_floats(values, logits + first);
  } else {
    KOINE_UNROLL
    for (int i = 0; i < kElements; ++i) values[i] = first + i < count ? logits[first + i] : minus_infinity();
  }
}

template <class T>
KOINE_DEVICE void store_gradients(T* gradients, std::int64_t first, std::int64_t count, const float (&values)[kElements]) {
  if (first + kElements <= count) {
    store_floats(gradients + first, values);
  } else {
    KOINE_UNROLL
    for (int i = 0; i < kElements; ++i) {
      if (first + i < count) round_into(gradients[first + i], values[i]);
    }
  }
}

/// What the tiles before had and what this one has.
KOINE_DEVICE RunningSoftmax put_together(const RunningSoftmax& before, const SoftmaxStatistics& tile) {
  const float largest = before.largest > tile.largest ? before.largest : tile.largest;
  const double sum = before.sum * static_cast<double>(expf(before.largest - largest)) +
                     static_cast<double>(tile.sum) * static_cast<double>(expf(tile.largest - largest));
  return {sum, largest, before.label_logit};
}

template <class T>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) tile_statistics_kernel(LogitsTile t) {
  struct Shared {
    SoftmaxStatistics warps[kThreads / kWarpThreads];
  };
  auto& shared = shared_memory<Shared>();
  const std::int64_t row = block_index().x;
  if (!is_counted(t, row)) {  // the same for the whole block
    if (thread_index() == 0) t.loss[row] = loss_of_uncounted(t.labels[row]);
    return;
  }
  const float* const logits = t.logits + row * t.stride;
  SoftmaxStatistics mine = no_statistics();
  for (std::int64_t first = thread_index() * kElements; first < t.count; first += kThreads * kElements) {
    float values[kElements];
    load_logits(values, logits, first, t.count);
    add_numbers<T>(mine, values);
  }
  const SoftmaxStatistics tile = block_statistics<T>(mine, shared.warps);
  if (thread_index() != 0) return;
  RunningSoftmax running = {static_cast<double>(tile.sum), tile.largest, 0};
  if (t.begin > 0) running = put_together(t.running[row], tile);
  const std::int64_t label = t.labels[row] - t.begin;
  if (label >= 0 && label < t.count) running.label_logit = logits[label];
  t.running[row] = running;
  if (t.begin + t.count == t.classes) {
    t.loss[row] = logf(static_cast<float>(running.sum)) + (running.largest - running.label_logit);
  }
}

template <class T>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) tile_gradients_kernel(LogitsTile t) {
  const std::int64_t row = block_index().x;
  T* const gradients = static_cast<T*>(t.gradients) + row * t.gradient_stride;
  if (!is_counted(t, row)) {
    constexpr float kZeros[kElements] = {};
    for (std::int64_t first = thread_index() * kElements; first < t.count; first += kThreads * kElements) {
      store_gradients(gradients, first, t.count, kZeros);
    }
    return;
  }
  const float* const logits = t.logits + row * t.stride;
  const RunningSoftmax running = t.running[row];
  const float scale = t.gradient_scale_from == nullptr ? t.gradient_scale : *t.gradient_scale_from;
  const float factor = scale / static_cast<float>(running.sum);
  const std::int64_t label = t.labels[row] - t.begin;
  for (std::int64_t first = thread_index() * kElements; first < t.count; first += kThreads * kElements) {
    float values[kElements];
    load_logits(values, logits, first, t.count);
    KOINE_UNROLL
    for (int i = 0; i < kElements; ++i) {
      values[i] = exp_of<T>(values[i] - running.largest) * factor - (label == first + i ? scale : 0.0f);
    }
    store_gradients(gradients, first, t.count, values);
  }
}

void launch_rows(const Context& context, const char* name, std::size_t shared, void (*kernel)(LogitsTile),
                 const LogitsTile& t) {
  launch({.kernel = name,
          .shape = {t.rows, t.count, t.classes},
          .grid = {grid_extent(t.rows)},
          .threads = kThreads,
          .shared_bytes = shared,
          .stream = context.stream},
         kernel, t);
}

void tile_statistics(const Context& context, const LogitsTile& t) {
  launch_rows(context, "linear_cross_entropy_statistics", kThreads / kWarpThreads * sizeof(SoftmaxStatistics),
              t.type == DType::kFloat32 ? tile_statistics_kernel<float> : tile_statistics_kernel<BFloat16>, t);
}
void tile_gradients(const Context& context, const LogitsTile& t) {
  launch_rows(context, "linear_cross_entropy_gradients", 0,
              t.type == DType::kFloat32 ? tile_gradients_kernel<float> : tile_gradients_kernel<BFloat16>, t);
}

constexpr LogitsTileKernels kKernels = {tile_statistics, tile_gradients};

}  // namespace

std::size_t linear_cross_entropy_portable_workspace(const LinearCrossEntropyArguments& a) {
  return logits_tiles_workspace(Device::kCuda, a, kTiles);
}
void linear_cross_entropy_portable(const Context& context, const LinearCrossEntropyArguments& a, void* workspace) {
  run_logits_tiles(context, a, kTiles, kKernels, workspace);
}

std::size_t linear_cross_entropy_portable_kept_workspace(const LinearCrossEntropyArguments& a) {
  return logits_tiles_workspace(Device::kCuda, a, kKept);
}
void linear_cross_entropy_portable_kept(const Context& context, const LinearCrossEntropyArguments& a, void* workspace) {
  run_logits_tiles(context, a, kKept, kKernels, workspace);
}

}  // namespace koine
