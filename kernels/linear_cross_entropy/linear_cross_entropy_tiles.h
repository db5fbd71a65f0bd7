#pragma once

// The order in which tiles of logits are computed and used, the same on the CPU and on a device: products by gemm and
// weight_gradients, and between them two kernels of the device's own.

#include "kernels/linear_cross_entropy/linear_cross_entropy.h"

namespace koine {

/// Of a row, over the classes seen so far.
struct RunningSoftmax {
  double sum = 0;  ///< of exp(logit - largest)
  float largest = 0;
  float label_logit = 0;
};

/// Logits [rows, count] of classes from `begin` on, and what is made of them.
struct LogitsTile {
  DType type = DType::kFloat32;  ///< of the gradients
  std::int64_t rows = 0;
  std::int64_t begin = 0;
  std::int64_t count = 0;
  std::int64_t classes = 0;  ///< of all tiles
  float* logits = nullptr;
  std::int64_t stride = 0;  ///< of the logits' rows, a multiple of 8, as the place of their first element
  const std::int32_t* labels = nullptr;
  RunningSoftmax* running = nullptr;  ///< [rows]
  float* loss = nullptr;              ///< [rows]
  float gradient_scale = 1;
  const float* gradient_scale_from = nullptr;
  void* gradients = nullptr;  ///< [rows, count]; the logits themselves where type is fp32
  std::int64_t gradient_stride = 0;

  bool last() const { return begin + count == classes; }
};

struct LogitsTileKernels {
  /// Takes the tile into `running`, which the first tile begins; the last one writes the losses.
  void (*statistics)(const Context&, const LogitsTile&) = nullptr;
  /// Gradients of the tile's logits, when `running` has seen all tiles.
  void (*gradients)(const Context&, const LogitsTile&) = nullptr;
};

/// Rows of a group and classes of a tile where the arguments say nothing. With `kept_elements`, and where gradients are wanted,
/// logits of all classes stay for backward, and a group has as many rows as make about so many of them.
struct LogitsTileSizes {
  std::int64_t rows = 0;
  std::int64_t classes = 0;
  std::int64_t kept_elements = 0;  ///< 0: nothing is kept but the tile
};

std::size_t logits_tiles_workspace(Device device, const LinearCrossEntropyArguments& a, const LogitsTileSizes& sizes);
void run_logits_tiles(const Context& context, const LinearCrossEntropyArguments& a, const LogitsTileSizes& sizes,
                      const LogitsTileKernels& kernels, void* workspace);

}  // namespace koine
