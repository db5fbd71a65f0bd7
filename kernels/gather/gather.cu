// gather_rows and scatter_rows: copies of rows in words of 16 bytes, or of an element's size where they do not fit.
//
// A block takes as many of the listed rows as make about 1,024 words; thread t takes the words t, t + 256, ... of them, four
// at a time: first the four rows' places in the list are read, then four words, then they are written. scatter_rows fills
// its output with zeros before that, unless others are kept. Traffic of gather: the rows read and written once; of scatter: the listed rows read
// once and written twice, the others written once. Indices that are not rows are not noticed here.

#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/vector.h"
#include "kernels/gather/gather.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kThreads = 256;
constexpr int kInFlight = 4;

struct Params {
  std::int64_t count;
  int block_rows;
  int words;  // of a row
  const std::int32_t* indices;
  const void* input;
  void* output;
};

/// A word is kWord numbers of type Part.
template <class Part, int kWord, bool kScatter>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads) copy_rows_kernel(Params p) {
  const std::int64_t first_row = std::int64_t{block_index().x} * p.block_rows;
  const auto rows = static_cast<int>(p.count - first_row < p.block_rows ? p.count - first_row : p.block_rows);
  const auto* input = static_cast<const Part*>(p.input);
  auto* output = static_cast<Part*>(p.output);
  const int words = rows * p.words;
  for (int base = thread_index(); base < words; base += kThreads * kInFlight) {
    std::int64_t listed[kInFlight];
    std::int64_t packed[kInFlight];
    KOINE_UNROLL
    for (int k = 0; k < kInFlight; ++k) {
      // Behind the last word that one again, so that no load waits for a branch.
      const int i = base + k * kThreads < words ? base + k * kThreads : words - 1;
      const auto row = static_cast<int>(static_cast<unsigned>(i) / static_cast<unsigned>(p.words));
      packed[k] = first_row * p.words + i;
      listed[k] = std::int64_t{p.indices[first_row + row]} * p.words + (i - row * p.words);
    }
    Pack<Part, kWord> copied[kInFlight];
    KOINE_UNROLL
    for (int k = 0; k < kInFlight; ++k) {
      copied[k] = load_pack<Part, kWord>(input + (kScatter ? packed[k] : listed[k]) * kWord);
    }
    KOINE_UNROLL
    for (int k = 0; k < kInFlight; ++k) {
      if (base + k * kThreads < words) {
        store_pack<Part, kWord>(output + (kScatter ? listed[k] : packed[k]) * kWord, copied[k]);
      }
    }
  }
}

template <class Part, int kWord, bool kScatter, class Arguments>
void launch_words(const Context& context, const Arguments& a) {
  const auto bytes = a.width * static_cast<std::int64_t>(size_of(a.type));
  const auto words = static_cast<int>(bytes / static_cast<std::int64_t>(sizeof(Part) * kWord));
  const int block_rows = std::max(1, kThreads * kInFlight / words);
  launch({.kernel = kScatter ? "scatter_rows" : "gather_rows",
          .shape = {a.count, a.width, a.rows},
          .grid = {grid_extent(divide_up(a.count, block_rows))},
          .threads = kThreads,
          .stream = context.stream},
         copy_rows_kernel<Part, kWord, kScatter>, Params{a.count, block_rows, words, a.indices, a.input, a.output});
}

template <bool kScatter, class Arguments>
void launch_copy(const Context& context, const Arguments& a) {
  if (a.count == 0) return;
  if (all_aligned(16, a.input, a.output, static_cast<std::size_t>(a.width) * size_of(a.type))) {
    launch_words<std::uint32_t, 4, kScatter>(context, a);
  } else if (a.type == DType::kBFloat16) {
    launch_words<std::uint16_t, 1, kScatter>(context, a);
  } else {
    launch_words<std::uint32_t, 1, kScatter>(context, a);
  }
}

}  // namespace

void gather_rows_portable(const Context& context, const GatherRowsArguments& a, void*) { launch_copy<false>(context, a); }

void scatter_rows_portable(const Context& context, const ScatterRowsArguments& a, void*) {
  if (a.rows == 0) return;
  if (!a.keep_others) fill_with_zero(a.output, static_cast<std::size_t>(a.rows * a.width) * size_of(a.type), context.stream);
  launch_copy<true>(context, a);
}

}  // namespace koine
