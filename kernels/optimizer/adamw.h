#pragma once

// AdamW (Loshchilov, Hutter, arXiv 1711.05101) as PyTorch computes it, on flat fp32 buffers, and its lazy form for tables of
// which a step touches few rows.
//
// Step t (counted from 1) with rate lr_t, gradient g (already summed over the batch), c = *gradient_factor (clipping):
//   g' = c g;   p = p (1 - lr_t decay);   m = m + (1 - beta1)(g' - m);   v = beta2 v + (1 - beta2) g'^2
//   p = p - (lr_t / (1 - beta1^t)) m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
// and working = bf16(p) where a working copy is given. AdamWStep holds the scalars of one step, computed once in double.
//
// Lazy rows. A row whose gradient is zero still moves (leftover momentum, decay), but its recurrence needs no gradient. So
// each row remembers the last step applied to it, and adamw_rows first replays the missed steps with g = 0, then (where the
// row is listed with a gradient) applies step t. The same operations in the same order: bit for bit the dense update. A row
// is to be replayed before it is read (forward of a batch that contains it) and before a checkpoint.
//
// Segments. adamw_segments is adamw over many tensors of flat buffers at once, each with the scalars of its group.
//
// Shards. Segments and rows may be cut to a range of elements: nothing outside of it is read or written (but `last_step`,
// which is the row's), and first_moment and second_moment hold the range's elements alone. Updating range after range, each
// with its own moments, gives the bits of updating all. The moments are of state_type; every variant here takes kFloat32.
//
// Masters. adamw_segments may update weights that are kept otherwise than in fp32 (master_weights.h): the update is the same,
// of numbers that are joined before it and split, or rounded at random, after it. So with remainders it leaves the bits that it
// leaves of fp32 weights.
//
// A gradient factor of exactly 0 says that the norm was not finite (clip_factor, gradient_norm): an update that would read a
// gradient then changes nothing at all: no parameter, moment, gradient or last step.
//
// parameter, gradient [count] or [rows, width] fp32, first_moment, second_moment as many; working bf16 or null. Elementwise,
// exact order; gradients are set to zero after use where zero_gradient. Bytes dense: 28 per element, 4 more to clear the
// gradient, 2 more with working; with remainders 28 in all, without a master 24, and 4 more to clear the gradient.
//
// Numbers that change from step to step may lie in memory the variant reads (on CUDA: device memory), so that a recorded
// launch can be repeated: the ..._from pointers, null where the number is given by value. On CUDA so do the lists of rows
// and segments, `history` and `last_step`; no variant for CUDA can refuse what it finds there.

#include <cstdint>

#include "kernels/common/registry.h"
#include "kernels/optimizer/master_weights.h"
#include "kernels/optimizer/segments.h"

namespace koine {

/// The scalars of one optimizer step, as the kernels use them: two loads of 16 bytes.
struct alignas(16) AdamWStep {
  float one_minus_rate_decay = 1;  ///< 1 - lr_t * decay
  float one_minus_beta1 = 0;
  float beta2 = 0;
  float one_minus_beta2 = 0;
  float step_size = 0;         ///< lr_t / (1 - beta1^t)
  float sqrt_correction2 = 1;  ///< sqrt(1 - beta2^t)
  float epsilon = 0;
};

/// The scalars of step `step` (from 1).
AdamWStep adamw_step(std::int64_t step, double learning_rate, double beta1, double beta2, double epsilon, double decay);

struct AdamWArguments {
  std::int64_t count = 0;
  float* parameter = nullptr;
  float* gradient = nullptr;
  float* first_moment = nullptr;
  float* second_moment = nullptr;
  BFloat16* working = nullptr;
  AdamWStep step;
  const AdamWStep* step_from = nullptr;
  const float* gradient_factor = nullptr;  ///< one value; null: 1
  bool zero_gradient = true;
};

struct AdamWSegmentsArguments {
  std::int64_t elements = 0;  ///< of all segments
  std::int64_t segments = 0;
  std::int64_t pieces = 0;                    ///< what number_pieces returned
  const FlatSegment* segment_list = nullptr;  ///< [segments], numbered; they do not overlap
  float* parameter = nullptr;                 ///< the flat buffers, which the segments' offsets count from
  float* gradient = nullptr;
  ElementRange range;  ///< of the flat buffers
  DType state_type = DType::kFloat32;
  void* first_moment = nullptr;  ///< of element range.begin and those behind it
  void* second_moment = nullptr;
  BFloat16* working = nullptr;
  MasterWeights master;              ///< of any kind but kFloat32, `parameter` is not read
  const AdamWStep* steps = nullptr;  ///< [groups] the scalars of this step
  const float* gradient_factor = nullptr;
  bool zero_gradient = true;
};

struct AdamWRowsArguments {
  std::int64_t rows = 0;  ///< of the table
  std::int64_t width = 0;
  float* parameter = nullptr;
  float* gradient = nullptr;
  ElementRange range;  ///< of the table
  DType state_type = DType::kFloat32;
  void* first_moment = nullptr;  ///< of element range.begin and those behind it
  void* second_moment = nullptr;
  BFloat16* working = nullptr;
  const std::int32_t* row_list = nullptr;  ///< [listed] distinct rows; null: all rows
  std::int64_t listed = 0;                 ///< how many; where listed_from is given: at most
  const std::int64_t* listed_from = nullptr;
  std::int32_t* last_step = nullptr;   ///< [rows] the last step applied to each row; updated
  const AdamWStep* history = nullptr;  ///< [step + 1]; history[t] = the scalars of step t (history[0] unused)
  std::int64_t step = 0;               ///< the step to bring the listed rows to
  const std::int64_t* step_from = nullptr;
  bool with_gradient = false;  ///< true: steps last+1 .. step-1 are replayed and step is applied with the gradient;
                               ///< false: steps last+1 .. step are replayed
  const float* gradient_factor = nullptr;
  bool zero_gradient = true;
};

inline void adamw(const Context& context, const AdamWArguments& arguments) { run(context, arguments); }
inline void adamw_segments(const Context& context, const AdamWSegmentsArguments& arguments) { run(context, arguments); }
inline void adamw_rows(const Context& context, const AdamWRowsArguments& arguments) { run(context, arguments); }

}  // namespace koine
