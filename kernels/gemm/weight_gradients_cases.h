#pragma once

#include "kernels/common/cases.h"
#include "kernels/gemm/weight_gradients.h"

namespace koine::cases {

struct WeightGradientLayer {
  std::int64_t out, in, rows;
  bool bias = true;
  std::int64_t gap = 0;  ///< elements between the rows of x and dy
};

/// Operands "x 0", "dy 0", "d_weight 0", "d_bias 0", "x 1" ...
inline Case<WeightGradientsArguments> weight_gradients_case(const std::vector<WeightGradientLayer>& layers) {
  using Arguments = WeightGradientsArguments;
  Case<Arguments> one("");
  one.arguments.count = static_cast<int>(layers.size());
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const WeightGradientLayer& layer = layers[i];
    one.name += concatenate(i == 0 ? "" : " ", layer.out, "x", layer.in, "x", layer.rows);
    WeightGradient& e = one.arguments.entries[i];
    e.out = layer.out, e.in = layer.in, e.rows = layer.rows;
    e.ldx = layer.in + layer.gap, e.lddy = layer.out + layer.gap;
    const std::uint64_t seed = 10 * i;
    const auto label = [&](const char* text) { return concatenate(text, " ", i); };
    one.input(label("x"), random(layer.rows * e.ldx, seed + 1), [i](Arguments& to, void* at) { to.entries[i].x = at; });
    one.input(label("dy"), random(layer.rows * e.lddy, seed + 2), [i](Arguments& to, void* at) { to.entries[i].dy = at; });
    one.in_out_fp32(label("d_weight"), random(layer.out * layer.in, seed + 3),
                    [i](Arguments& to, void* at) { to.entries[i].d_weight = static_cast<float*>(at); });
    if (!layer.bias) continue;
    one.in_out_fp32(label("d_bias"), random(layer.out, seed + 4),
                    [i](Arguments& to, void* at) { to.entries[i].d_bias = static_cast<float*>(at); });
  }
  return one;
}

}  // namespace koine::cases
