// Softmax cross-entropy on CUDA: one pass over a row for its maximum and the sum of its exponentials (each thread keeps the
// maximum so far and rescales its sum when that grows), a second that writes the gradient.
//
// Few classes (up to kWarpClasses): a warp a row, element by element, a lane's neighbours beside it.
//
// Many: a block a row, 4 bytes a thread and access, kAhead accesses in flight (a block of 1,024 threads has 32 KiB of reads
// under way). Wider accesses would need rows that begin on multiples of 16 bytes, and a vocabulary of 250,002 has none; 4
// bytes fit every row, a warp's are 128 neighbouring ones, and which thread adds which class does not depend on where the
// row lies: a row has the same loss and gradient bit for bit in every place of a batch. (bf16 rows of odd length take 2
// bytes at a time, by the same threads.) The second pass runs through the row backwards: what the first read last is still
// in L2 when the rows under way do not all fit (500 KB a row of 250,002 bf16). A block of 1,024 threads fills a
// multiprocessor, so there are no more rows under way than multiprocessors.
// Traffic: logits read once from memory and once mostly from L2, d_logits written once. 4 FLOPs an element and pass, of them
// an exponential (16 a cycle and multiprocessor: for 250,002 classes about half of the time the memory takes).
//
// In place is allowed: the thread that reads an element first is the one that overwrites it, and the label's logit is read
// before the barrier. Partial sums depend on the number of classes and the type alone.

#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.h"
#include "kernels/cuda/warp.h"
#include "kernels/softmax_cross_entropy/online_softmax.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kWarpThreadsOfABlock = 128;  // few classes: 4 rows a block
constexpr std::int64_t kWarpClasses = 512;
constexpr int kMostThreads = 1024;
constexpr int kAheadOfAWarp = 4;
constexpr int kAhead = 8;

template <class T>
struct Params {
  std::int64_t rows;
  std::int64_t classes;
  std::int64_t stride;
  const T* logits;
  const std::int32_t* labels;
  const float* gradient_scale_from;
  float gradient_scale;
  float* loss;
  T* d_logits;
};

template <class T>
KOINE_DEVICE float gradient_scale_of(const Params<T>& p) {
  return p.gradient_scale_from == nullptr ? p.gradient_scale : *p.gradient_scale_from;
}

KOINE_DEVICE float loss_of(const SoftmaxStatistics& row, float label_logit) {
  return logf(row.sum) + (row.largest - label_logit);
}

/// Gradients in place of `kCount` logits from class `first` on.
template <class T, int kCount>
KOINE_DEVICE void to_gradients(float (&values)[kCount], std::int64_t first, const SoftmaxStatistics& row, float factor,
                               float scale, std::int64_t label) {
  KOINE_UNROLL
  for (int i = 0; i < kCount; ++i) values[i] = exp_of<T>(values[i] - row.largest) * factor;
  if (label < first || label >= first + kCount) return;
  KOINE_UNROLL
  for (int i = 0; i < kCount; ++i) values[i] -= label == first + i ? scale : 0.0f;
}

// --- few classes --------------------------------------------------------------------------------------------------------

/// Warp w of the grid has row w, lane l of it classes l, l + 32, ...
template <class T>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kWarpThreadsOfABlock) few_classes_kernel(Params<T> p) {
  const std::int64_t row = std::int64_t{block_index().x} * (kWarpThreadsOfABlock / kWarpThreads) + warp_index();
  if (row >= p.rows) return;
  const std::int32_t label = p.labels[row];
  const T* const logits = p.logits + row * p.stride;
  T* const d_logits = p.d_logits == nullptr ? nullptr : p.d_logits + row * p.stride;
  if (label < 0 || label >= p.classes) {
    if (lane_index() == 0) p.loss[row] = loss_of_uncounted(label);
    if (d_logits == nullptr) return;
    for (std::int64_t c = lane_index(); c < p.classes; c += kWarpThreads) round_into(d_logits[c], 0);
    return;
  }
  // The lane that overwrites the label's logit reads it, and writes the loss.
  const bool has_label = lane_index() == label % kWarpThreads;
  const float label_logit = has_label ? to_float(logits[label]) : 0;
  SoftmaxStatistics statistics = no_statistics();
  for (std::int64_t first = lane_index(); first < p.classes; first += kAheadOfAWarp * kWarpThreads) {
    float values[kAheadOfAWarp];
    KOINE_UNROLL
    for (int i = 0; i < kAheadOfAWarp; ++i) {
      const std::int64_t c = first + i * kWarpThreads;
      const float value = to_float(logits[c < p.classes ? c : first]);  // read in any case: nothing waits for a branch
      values[i] = c < p.classes ? value : minus_infinity();
    }
    add_numbers<T>(statistics, values);
  }
  statistics = warp_statistics<T>(statistics);
  if (has_label) p.loss[row] = loss_of(statistics, label_logit);
  if (d_logits == nullptr) return;
  const float scale = gradient_scale_of(p);
  const float factor = scale / statistics.sum;
  for (std::int64_t c = lane_index(); c < p.classes; c += kWarpThreads) {
    float value[1] = {to_float(logits[c])};
    to_gradients<T>(value, c, statistics, factor, scale, label);
    round_into(d_logits[c], value[0]);
  }
}

// --- many classes -------------------------------------------------------------------------------------------------------

/// Elements of an access.
template <class T>
inline constexpr int kElements = 4 / static_cast<int>(sizeof(T));

/// Whether classes [first, first + kElements) can be moved by one access. kTogether: rows are multiples of 4 bytes; kWhole:
/// all of these classes are there.
template <class T, bool kTogether, bool kWhole>
KOINE_DEVICE bool one_access(std::int64_t first, std::int64_t classes) {
  return kTogether && (kWhole || first + kElements<T> <= classes);
}

/// These classes of a row, minus infinity behind its end.
template <bool kTogether, bool kWhole, class T>
KOINE_DEVICE void load_classes(float (&values)[kElements<T>], const T* logits, std::int64_t first, std::int64_t classes) {
  if (one_access<T, kTogether, kWhole>(first, classes)) {
    load_floats(values, logits + first);
  } else {
    KOINE_UNROLL
    for (int i = 0; i < kElements<T>; ++i) {
      values[i] = kWhole || first + i < classes ? to_float(logits[first + i]) : minus_infinity();
    }
  }
}
template <bool kTogether, bool kWhole, class T>
KOINE_DEVICE void store_classes(T* d_logits, std::int64_t first, std::int64_t classes, const float (&values)[kElements<T>]) {
  if (one_access<T, kTogether, kWhole>(first, classes)) {
    store_floats(d_logits + first, values);
  } else {
    KOINE_UNROLL
    for (int i = 0; i < kElements<T>; ++i) {
      if (kWhole || first + i < classes) round_into(d_logits[first + i], values[i]);
    }
  }
}

/// kAhead accesses of the block, from class `begin` on, to the statistics of what this thread has read.
template <class T, bool kTogether, bool kWhole>
KOINE_DEVICE void read_step(SoftmaxStatistics& statistics, const T* logits, std::int64_t begin, std::int64_t classes) {
  const int access = block_threads() * kElements<T>;
  const std::int64_t first = begin + thread_index() * kElements<T>;
  float values[kAhead * kElements<T>];
  KOINE_UNROLL
  for (int j = 0; j < kAhead; ++j) {
    float loaded[kElements<T>];
    load_classes<kTogether, kWhole>(loaded, logits, first + j * access, classes);
    KOINE_UNROLL
    for (int i = 0; i < kElements<T>; ++i) values[j * kElements<T> + i] = loaded[i];
  }
  add_numbers<T>(statistics, values);
}

/// What the gradients of a row are made with.
struct RowGradient {
  SoftmaxStatistics row;
  float factor;
  float scale;
  std::int64_t label;
};

/// The gradients of what this thread has read in the same step.
template <class T, bool kTogether, bool kWhole>
KOINE_DEVICE void write_step(const T* logits, T* d_logits, std::int64_t begin, std::int64_t classes, const RowGradient& g) {
  const int access = block_threads() * kElements<T>;
  const std::int64_t first = begin + thread_index() * kElements<T>;
  float values[kAhead][kElements<T>];
  KOINE_UNROLL
  for (int j = 0; j < kAhead; ++j) load_classes<kTogether, kWhole>(values[j], logits, first + j * access, classes);
  KOINE_UNROLL
  for (int j = 0; j < kAhead; ++j) {
    to_gradients<T>(values[j], first + j * access, g.row, g.factor, g.scale, g.label);
    store_classes<kTogether, kWhole>(d_logits, first + j * access, classes, values[j]);
  }
}

/// This thread's part of a row.
template <class T, bool kTogether>
KOINE_DEVICE SoftmaxStatistics read_row(const T* logits, std::int64_t classes) {
  SoftmaxStatistics statistics = no_statistics();
  const std::int64_t step = kAhead * block_threads() * kElements<T>;
  std::int64_t begin = 0;
  for (; begin + step <= classes; begin += step) read_step<T, kTogether, true>(statistics, logits, begin, classes);
  if (begin < classes) read_step<T, kTogether, false>(statistics, logits, begin, classes);
  return statistics;
}

/// Writes the gradients of the elements that this thread has read, the last step first.
template <class T, bool kTogether>
KOINE_DEVICE void write_row(const T* logits, T* d_logits, std::int64_t classes, const RowGradient& gradient) {
  const std::int64_t step = kAhead * block_threads() * kElements<T>;
  std::int64_t begin = classes / step * step;
  if (begin < classes) write_step<T, kTogether, false>(logits, d_logits, begin, classes, gradient);
  while (begin > 0) {
    begin -= step;
    write_step<T, kTogether, true>(logits, d_logits, begin, classes, gradient);
  }
}

template <class T, bool kTogether>
KOINE_DEVICE void write_zeros(T* d_logits, std::int64_t classes) {
  constexpr float kZeros[kElements<T>] = {};
  const std::int64_t step = std::int64_t{block_threads()} * kElements<T>;
  for (std::int64_t first = thread_index() * kElements<T>; first < classes; first += step) {
    store_classes<kTogether, false>(d_logits, first, classes, kZeros);
  }
}

template <class T, bool kTogether>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kMostThreads) many_classes_kernel(Params<T> p) {
  struct Shared {
    SoftmaxStatistics warps[kMostThreads / kWarpThreads];
  };
  auto& shared = shared_memory<Shared>();
  const std::int64_t row = block_index().x;
  const std::int32_t label = p.labels[row];
  const T* const logits = p.logits + row * p.stride;
  T* const d_logits = p.d_logits == nullptr ? nullptr : p.d_logits + row * p.stride;
  if (label >= 0 && label < p.classes) {  // the same for the whole block
    const float label_logit = thread_index() == 0 ? to_float(logits[label]) : 0;
    const SoftmaxStatistics statistics = block_statistics<T>(read_row<T, kTogether>(logits, p.classes), shared.warps);
    if (thread_index() == 0) p.loss[row] = loss_of(statistics, label_logit);
    if (d_logits == nullptr) return;
    const float scale = gradient_scale_of(p);
    write_row<T, kTogether>(logits, d_logits, p.classes, {statistics, scale / statistics.sum, scale, label});
  } else {
    if (thread_index() == 0) p.loss[row] = loss_of_uncounted(label);
    if (d_logits != nullptr) write_zeros<T, kTogether>(d_logits, p.classes);
  }
}

/// Threads of a block: as many as have something to read at once, in fixed steps.
template <class T>
int threads_for(std::int64_t classes) {
  const std::int64_t threads = classes / kElements<T> / kAhead;
  return threads >= 1024 ? 1024 : threads >= 256 ? 256 : 128;
}

template <class T>
void launch_rows(const Context& context, const SoftmaxCrossEntropyArguments& a) {
  if (a.rows == 0) return;
  const Params<T> params = {a.rows,
                            a.classes,
                            a.stride,
                            static_cast<const T*>(a.logits),
                            a.labels,
                            a.gradient_scale_from,
                            a.gradient_scale,
                            a.loss,
                            static_cast<T*>(a.d_logits)};
  if (a.classes <= kWarpClasses) {
    launch({.kernel = "softmax_cross_entropy_few_classes",
            .shape = {a.rows, a.classes},
            .grid = {grid_extent(divide_up(a.rows, kWarpThreadsOfABlock / kWarpThreads))},
            .threads = kWarpThreadsOfABlock,
            .stream = context.stream},
           few_classes_kernel<T>, params);
  } else {
    const auto start = [&](auto kernel) {
      launch({.kernel = "softmax_cross_entropy_many_classes",
              .shape = {a.rows, a.classes},
              .grid = {grid_extent(a.rows)},
              .threads = threads_for<T>(a.classes),
              .shared_bytes = kMostThreads / kWarpThreads * sizeof(SoftmaxStatistics),
              .stream = context.stream},
             kernel, params);
    };
    if (all_aligned(4, a.logits, a.d_logits, a.stride * static_cast<std::int64_t>(sizeof(T)))) {
      start(many_classes_kernel<T, true>);
    } else if constexpr (kElements<T> > 1) {
      start(many_classes_kernel<T, false>);
    }
  }
}

}  // namespace

void softmax_cross_entropy_portable(const Context& context, const SoftmaxCrossEntropyArguments& a, void*) {
  a.type == DType::kFloat32 ? launch_rows<float>(context, a) : launch_rows<BFloat16>(context, a);
}

}  // namespace koine
