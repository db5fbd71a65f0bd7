#pragma once

#include "kernels/layernorm/layernorm.h"
#include "kernels/random/dropout_cases.h"

namespace koine::cases {

struct LayerNormShape {
  std::int64_t rows, width;
  bool residual = false;    ///< forward: one is added before; backward: a gradient of the sum comes from elsewhere, too
  float dropout_rate = 0;   ///< of what the residual is added to
  std::int64_t length = 3;  ///< rows of an example
};

inline std::string name_of(const LayerNormShape& shape) {
  return concatenate("[", shape.rows, ", ", shape.width, "]", shape.residual ? " residual" : "",
                     shape.dropout_rate > 0 ? " dropout" : "");
}

inline Case<LayerNormForwardArguments> layernorm_forward_case(const LayerNormShape& shape) {
  using Arguments = LayerNormForwardArguments;
  const std::int64_t rows = shape.rows, width = shape.width, count = rows * width;
  Case<Arguments> one(name_of(shape));
  one.arguments.rows = rows, one.arguments.width = width;
  one.arguments.dropout = row_dropout(one, rows, shape.dropout_rate, shape.length);
  one.input("input", random(count, 1, 1, 0.5), &Arguments::input);
  if (shape.residual) one.input("residual", random(count, 2), &Arguments::residual);
  one.input_fp32("weight", random(width, 3, 0.2, 1), &Arguments::weight);
  one.input_fp32("bias", random(width, 4), &Arguments::bias);
  if (shape.residual || shape.dropout_rate > 0) one.output("sum", count, &Arguments::sum);
  one.output("output", count, &Arguments::output);
  one.output_fp32("mean", rows, &Arguments::mean);
  one.output_fp32("rstd", rows, &Arguments::rstd);
  return one;
}

inline Case<LayerNormBackwardArguments> layernorm_backward_case(const LayerNormShape& shape) {
  using Arguments = LayerNormBackwardArguments;
  const std::int64_t rows = shape.rows, width = shape.width, count = rows * width;
  Case<Arguments> one(name_of(shape));
  one.arguments.rows = rows, one.arguments.width = width;
  one.arguments.dropout = row_dropout(one, rows, shape.dropout_rate, shape.length);
  one.input("d_output", random(count, 1), &Arguments::d_output);
  if (shape.residual) one.input("d_residual_stream", random(count, 2), &Arguments::d_residual_stream);
  one.input("sum", random(count, 3, 1, 0.5), &Arguments::sum);
  one.input_fp32("mean", random(rows, 4, 0.1, 0.5), &Arguments::mean);
  one.input_fp32("rstd", random(rows, 5, 0.1, 1), &Arguments::rstd);
  one.input_fp32("weight", random(width, 6, 0.2, 1), &Arguments::weight);
  one.output("d_sum", count, &Arguments::d_sum);
  if (shape.dropout_rate > 0) one.output("d_input", count, &Arguments::d_input);
  one.in_out_fp32("d_weight", random(width, 7), &Arguments::d_weight);
  one.in_out_fp32("d_bias", random(width, 8), &Arguments::d_bias);
  return one;
}

}  // namespace koine::cases
