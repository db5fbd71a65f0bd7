#pragma once

#include "kernels/common/cases.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy.h"

namespace koine::cases {

struct LinearCrossEntropyShape {
  std::int64_t classes = 0;
  std::int64_t in = 0;
  bool gradients = true;
  bool bias = true;
  std::int64_t group_rows = 0;
  std::int64_t tile_classes = 0;
};

/// Logits of about 2.
inline Case<LinearCrossEntropyArguments> linear_cross_entropy_case(std::vector<std::int32_t> labels,
                                                                   const LinearCrossEntropyShape& shape) {
  using Arguments = LinearCrossEntropyArguments;
  const std::int64_t rows = std::ssize(labels);
  Case<Arguments> one(concatenate(rows, "x", shape.in, " to ", shape.classes, shape.gradients ? "" : " loss alone",
                                  shape.bias ? " bias" : ""));
  Arguments& a = one.arguments;
  a.rows = rows, a.classes = shape.classes, a.in = shape.in;
  a.group_rows = shape.group_rows, a.tile_classes = shape.tile_classes;
  a.labels = one.keep(std::move(labels));
  a.gradient_scale = 0.3f;
  one.input("hidden", random(rows * shape.in, 1), &Arguments::hidden);
  one.input("weight", random(shape.classes * shape.in, 2, 2 / std::sqrt(static_cast<double>(shape.in))), &Arguments::weight);
  if (shape.bias) one.input_fp32("bias", random(shape.classes, 3, 0.5), &Arguments::bias);
  one.output_fp32("loss", rows, &Arguments::loss);
  if (!shape.gradients) return one;
  one.output("d_hidden", rows * shape.in, &Arguments::d_hidden);
  one.in_out_fp32("d_weight", random(shape.classes * shape.in, 4, 0.1), &Arguments::d_weight);
  if (shape.bias) one.in_out_fp32("d_bias", random(shape.classes, 5, 0.1), &Arguments::d_bias);
  return one;
}

}  // namespace koine::cases
