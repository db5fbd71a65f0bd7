#pragma once

// Adafactor (Shazeer, Stern, arXiv 1804.04235) without momentum, over the tensors of flat buffers, in the two forms that are
// in use: T5's own (tensorflow/mesh, mesh_tensorflow/optimize.py; google-research/t5x, t5x/adafactor.py) and that of
// transformers (optimization.py, class Adafactor). They differ in which tensors are factored and in scale_parameter alone.
//
// Step t (from 1), gradient g = *gradient_factor * gradient, rho = 1 - t^-0.8, G = g^2 + 1e-30. A factored tensor [rows,
// width] keeps R [rows] and C [width], any other one V [rows, width]:
//   R = rho R + (1 - rho) mean over a row of G;  C = rho C + (1 - rho) mean over a column of G;
//   x = g / sqrt(R / mean(R)) / sqrt(C)                                        factored
//   V = rho V + (1 - rho) G;  x = g / sqrt(V)                                  not factored
//   x = x / max(1, RMS(x) / clip_threshold)
//   a = rate, times max(1e-3, RMS(parameter)) where scale_parameter            RMS before the update
//   parameter = parameter (1 - a decay) - a x
// and working = bf16(parameter) where a working copy is given. RMS is over the tensor. All state is fp32; sums are made in
// double, tile by tile, in an order that the shapes fix: no result depends on threads.
//
// A gradient factor of exactly 0 (the norm was not finite: gradient_norm.h) changes nothing at all. Gradients are set to zero
// after use where zero_gradient. Tensors do not overlap, nor do their states. The list, `steps` and the factor lie in memory
// that the variant reads (on CUDA: device memory), so that a recorded launch can be repeated.
//
// Bytes: the gradient is read three times where factored (twice elsewhere), the parameter twice: 24 per element, 4 more to
// clear the gradient, 2 more with working, and 8 more where not factored. FLOPs: about 20 per element.

#include <cstdint>
#include <vector>

#include "kernels/common/registry.h"

namespace koine {

/// The scalars of one step.
struct alignas(16) AdafactorStep {
  float rho = 0;            ///< 1 - t^-0.8
  float one_minus_rho = 1;  ///< t^-0.8
  float rate = 0;
  float decay = 0;  ///< of the weights; multiplied by the rate
};

/// The scalars of step `step` (from 1).
AdafactorStep adafactor_step(std::int64_t step, double learning_rate, double decay);

/// A tensor [rows, width] and where it and its state begin.
struct AdafactorTensor {
  std::int64_t offset = 0;  ///< of its first element in parameter, gradient and working
  std::int64_t rows = 1;
  std::int64_t width = 0;
  std::int64_t factored = 0;  ///< 1: R, then C, are its state; 0: V
  std::int64_t state = 0;     ///< of its first number in the state
  std::int64_t group = 0;     ///< which of the steps is applied
  std::int64_t first_tile = 0;
  std::int64_t first_factor = 0;          ///< among the R and C of all tensors; these and the rest: number_tiles
  std::int64_t first_row_partial = 0;     ///< [column tiles, rows] sums of a tile's rows
  std::int64_t first_column_partial = 0;  ///< [row tiles, width] sums of a tile's columns

  KOINE_HOST_DEVICE std::int64_t count() const { return rows * width; }
  KOINE_HOST_DEVICE std::int64_t state_count() const { return factored != 0 ? rows + width : count(); }
};

/// What a list adds up to.
struct AdafactorSizes {
  std::int64_t tensors = 0;
  std::int64_t elements = 0;
  std::int64_t tiles = 0;
  std::int64_t factors = 0;  ///< R and C
  std::int64_t row_partials = 0;
  std::int64_t column_partials = 0;
};

/// Numbers the tiles and sums of a list of tensors, in order, and returns how many there are.
AdafactorSizes number_tiles(std::vector<AdafactorTensor>& tensors);

struct AdafactorArguments {
  AdafactorSizes sizes;
  const AdafactorTensor* tensor_list = nullptr;  ///< [tensors], numbered
  float* parameter = nullptr;                    ///< the flat buffers, which the offsets count from
  float* gradient = nullptr;
  float* state = nullptr;  ///< zeros before the first step
  BFloat16* working = nullptr;
  const AdafactorStep* steps = nullptr;  ///< [groups] the scalars of this step
  float clip_threshold = 1;
  bool scale_parameter = false;
  const float* gradient_factor = nullptr;  ///< one value; null: 1
  bool zero_gradient = true;
};

inline void adafactor(const Context& context, const AdafactorArguments& arguments) { run(context, arguments); }

}  // namespace koine
