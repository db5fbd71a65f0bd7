#pragma once

// AdamW whose step is multiplied by the RMS of each tensor, as Adafactor's is: the rule that PiotrNawrot/nanoT5 trains T5 with
// (its class AdamWScale), over the tensors of flat fp32 buffers.
//
// Step t (from 1), gradient g = *gradient_factor * gradient, with the scalars of adamw.h:
//   m = m + (1 - beta1)(g - m);   v = beta2 v + (1 - beta2) g^2
//   s = max(1e-3, RMS(parameter))                                        over the tensor, before the update
//   parameter = (parameter - s step_size m / (sqrt(v) / sqrt_correction2 + epsilon)) one_minus_rate_decay
// and working = bf16(parameter) where a working copy is given. The decay comes last and is not scaled, as there. There epsilon
// is added to the root of v before its correction: adamw_rms_step makes the scalars so. The squares are summed in double, piece
// by piece of a tensor, in an order that the shapes fix.
//
// A gradient factor of exactly 0 (the norm was not finite: gradient_norm.h) changes nothing at all. Gradients are set to zero
// after use where zero_gradient. The list, `steps` and the factor lie in memory that the variant reads (on CUDA: device
// memory). Bytes: 32 per element, the parameter being read twice, 4 more to clear the gradient, 2 more with working.

#include <cstdint>

#include "kernels/common/registry.h"
#include "kernels/optimizer/adamw.h"
#include "kernels/optimizer/segments.h"

namespace koine {

inline constexpr double kAdamWRmsLeastScale = 1e-3;  ///< the RMS of a tensor counts as at least this

/// The scalars of step `step` (from 1).
AdamWStep adamw_rms_step(std::int64_t step, double learning_rate, double beta1, double beta2, double epsilon, double decay);

struct AdamWRmsArguments {
  std::int64_t elements = 0;  ///< of all segments
  std::int64_t segments = 0;
  std::int64_t pieces = 0;                    ///< what number_pieces returned
  const FlatSegment* segment_list = nullptr;  ///< [segments], numbered; a tensor each; they do not overlap
  float* parameter = nullptr;                 ///< the flat buffers, which the segments' offsets count from
  float* gradient = nullptr;
  float* first_moment = nullptr;
  float* second_moment = nullptr;
  BFloat16* working = nullptr;
  const AdamWStep* steps = nullptr;        ///< [groups] the scalars of this step
  const float* gradient_factor = nullptr;  ///< one value; null: 1
  bool zero_gradient = true;
};

inline void adamw_rms(const Context& context, const AdamWRmsArguments& arguments) { run(context, arguments); }

}  // namespace koine
