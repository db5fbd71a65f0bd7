#include "models/layers/norm.h"

namespace koine {

LayerNormForwardArguments norm_forward(DType type, std::int64_t rows, std::int64_t width, float epsilon, const Norm& norm) {
  LayerNormForwardArguments call;
  call.type = type;
  call.rows = rows;
  call.width = width;
  call.epsilon = epsilon;
  call.weight = norm.weight;
  call.bias = norm.bias;
  return call;
}

LayerNormBackwardArguments norm_backward(DType type, std::int64_t rows, std::int64_t width, const Norm& norm) {
  LayerNormBackwardArguments call;
  call.type = type;
  call.rows = rows;
  call.width = width;
  call.weight = norm.weight;
  call.d_weight = norm.d_weight;
  call.d_bias = norm.d_bias;
  return call;
}

}  // namespace koine
