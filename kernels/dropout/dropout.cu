// dropout, alone or with a residual. Bound by memory traffic: input, residual and output once.
//
// A block takes as many whole rows as make about 1,024 groups of 8 elements; thread t takes the groups t, t + 256, ... of
// them, two at a time, whose loads (16 bytes each in bf16) are all under way before the first is used. One Philox call,
// some 80 operations, draws for a group. Where rows are no multiple of 16 bytes, the same by single elements.

#include <algorithm>

#include "kernels/cuda/launch.h"
#include "kernels/dropout/dropout.h"
#include "kernels/dropout/hidden_group.h"

namespace koine {
namespace {

using namespace cuda;

constexpr int kThreads = 256;
constexpr int kInFlight = 2;
constexpr int kBlockGroups = 1024;

template <class T>
struct Params {
  std::int64_t rows;
  int block_rows;
  int width;
  int groups;  // of a row, the last of them perhaps incomplete
  const T* input;
  const T* residual;
  DropoutParams dropout;
  T* output;
};

template <bool kAligned, class T>
KOINE_DEVICE HiddenGroup<T> load_values(const T* from, int count) {
  if constexpr (kAligned) return load_group(from);
  float values[kGroup];
  load_some(values, from, count);
  return rounded_group<T>(values);  // exact
}

template <class T, bool kAligned>
KOINE_KERNEL KOINE_LAUNCH_BOUNDS(kThreads, 3) dropout_kernel(Params<T> p) {
  const std::int64_t first_row = std::int64_t{block_index().x} * p.block_rows;
  const auto rows = static_cast<int>(p.rows - first_row < p.block_rows ? p.rows - first_row : p.block_rows);
  const std::int64_t start = first_row * p.width;
  for (int base = thread_index(); base < rows * p.groups; base += kThreads * kInFlight) {
    int row[kInFlight];
    int column[kInFlight];
    HiddenGroup<T> input[kInFlight] = {};
    HiddenGroup<T> residual[kInFlight] = {};
    RowDraws draws[kInFlight];
    KOINE_UNROLL
    for (int k = 0; k < kInFlight; ++k) {
      const unsigned i = static_cast<unsigned>(base + k * kThreads);
      row[k] = static_cast<int>(i / static_cast<unsigned>(p.groups));
      column[k] = (static_cast<int>(i) - row[k] * p.groups) * kGroup;
      const std::int64_t place = start + std::int64_t{row[k]} * p.width + column[k];
      if (row[k] >= rows) continue;
      draws[k] = row_draws(p.dropout, first_row + row[k]);
      input[k] = load_values<kAligned>(p.input + place, p.width - column[k]);
      if (p.residual != nullptr) residual[k] = load_values<kAligned>(p.residual + place, p.width - column[k]);
    }
    KOINE_UNROLL
    for (int k = 0; k < kInFlight; ++k) {
      if (row[k] >= rows) continue;
      const GroupMask mask = group_mask(p.dropout, draws[k], column[k] / kGroup);
      float values[kGroup];
      KOINE_UNROLL
      for (int i = 0; i < kGroup; ++i) {
        values[i] = p.residual == nullptr ? input[k][i] * mask[i] : fused(input[k][i], mask[i], residual[k][i]);
      }
      T* const output = p.output + start + std::int64_t{row[k]} * p.width + column[k];
      if constexpr (kAligned) {
        store_group(output, rounded_group<T>(values));
      } else {
        store_some(output, values, p.width - column[k]);
      }
    }
  }
}

template <class T>
void launch_dropout(const Context& context, const DropoutArguments& a) {
  if (a.rows == 0) return;
  const auto groups = static_cast<int>(divide_up(a.width, kGroup));
  const int block_rows = std::max(1, kBlockGroups / groups);
  const Params<T> params = {a.rows,
                            block_rows,
                            static_cast<int>(a.width),
                            groups,
                            static_cast<const T*>(a.input),
                            static_cast<const T*>(a.residual),
                            dropout_params(a.dropout),
                            static_cast<T*>(a.output)};
  const bool aligned = a.width % kGroup == 0 && all_aligned(16, a.input, a.residual, a.output);
  launch({.kernel = aligned ? "dropout" : "dropout_elements",
          .shape = {a.rows, a.width},
          .grid = {grid_extent(divide_up(a.rows, block_rows))},
          .threads = kThreads,
          .stream = context.stream},
         aligned ? dropout_kernel<T, true> : dropout_kernel<T, false>, params);
}

}  // namespace

void dropout_portable(const Context& context, const DropoutArguments& a, void*) {
  a.type == DType::kFloat32 ? launch_dropout<float>(context, a) : launch_dropout<BFloat16>(context, a);
}

}  // namespace koine
