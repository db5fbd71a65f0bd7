#include "models/layers/linear.h"

#include "kernels/common/check.h"

namespace koine {

void linear_forward(const Context& context, const Linear& linear, const LinearForward& call) {
  GemmArguments product;
  product.m = call.rows;
  product.n = linear.out;
  product.k = linear.in;
  product.input_type = call.type;
  product.a = call.input;
  product.lda = linear.in;
  product.b = linear.weight;
  product.ldb = linear.in;
  product.transpose_b = true;
  product.c = call.output;
  product.ldc = call.output_stride == 0 ? linear.out : call.output_stride;
  product.output_type = call.output_type;
  product.bias = linear.bias;
  product.epilogue = call.epilogue;
  product.pre_activation = call.pre_activation;
  product.residual = call.residual;
  product.dropout = call.dropout;
  gemm(context, product);
}

void linear_backward(const Context& context, const Linear& linear, const LinearBackward& call) {
  const std::int64_t stride = call.d_output_stride == 0 ? linear.out : call.d_output_stride;
  WeightGradientsArguments alone;
  WeightGradientsArguments& weights = call.collect == nullptr ? alone : *call.collect;
  check(weights.count < WeightGradientsArguments::kMost, "too many weight gradients are collected");
  weights.type = call.type;
  weights.entries[weights.count++] = {.out = linear.out,
                                      .in = linear.in,
                                      .rows = call.rows,
                                      .x = call.input,
                                      .ldx = linear.in,
                                      .dy = call.d_output,
                                      .lddy = stride,
                                      .d_weight = linear.d_weight,
                                      .d_bias = linear.d_bias};
  if (call.collect == nullptr) weight_gradients(context, alone);
  if (call.d_input == nullptr) return;

  GemmArguments input;
  input.m = call.rows;
  input.n = linear.in;
  input.k = linear.out;
  input.input_type = call.type;
  input.a = call.d_output;
  input.lda = stride;
  input.b = linear.weight;
  input.ldb = linear.in;
  input.c = call.d_input;
  input.ldc = linear.in;
  input.output_type = call.type;
  if (call.pre_activation != nullptr) {
    input.epilogue = GemmEpilogue::kGeluGradient;
    input.pre_activation = call.pre_activation;
  }
  input.residual = call.residual;
  gemm(context, input);
}

}  // namespace koine
