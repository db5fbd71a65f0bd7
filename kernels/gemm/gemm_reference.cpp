#include <cmath>
#include <numbers>

#include "kernels/gemm/gemm.h"

namespace koine {
namespace {

double gelu_erf(double x) { return 0.5 * x * (1.0 + std::erf(x / std::numbers::sqrt2)); }

double gelu_erf_gradient(double x) {
  const double distribution = 0.5 * (1.0 + std::erf(x / std::numbers::sqrt2));
  return distribution + x * std::exp(-0.5 * x * x) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
}

double dot(const GemmArguments& g, std::int64_t row, std::int64_t column) {
  double sum = 0;
  for (std::int64_t i = 0; i < g.k; ++i) {
    const std::int64_t a = g.transpose_a ? i * g.lda + row : row * g.lda + i;
    const std::int64_t b = g.transpose_b ? column * g.ldb + i : i * g.ldb + column;
    sum += load_element(g.a, g.input_type, a) * load_element(g.b, g.input_type, b);
  }
  return sum;
}

// Dropout of the value as C's type holds it: rounded by way of C, which is overwritten later.
double drop(const GemmArguments& g, std::int64_t row, std::int64_t column, double value) {
  store_element(g.c, g.output_type, row * g.ldc + column, value);
  value = load_element(g.c, g.output_type, row * g.ldc + column);
  const bool kept = keeps_hidden(g.dropout, g.dropout.examples[row], static_cast<std::uint32_t>(g.dropout.positions[row]),
                                 static_cast<std::uint32_t>(column));
  return kept ? value * static_cast<double>(g.dropout.scale()) : 0;
}

void store_result(const GemmArguments& g, std::int64_t row, std::int64_t column, double value) {
  const std::int64_t offset = row * g.ldc + column;
  if (g.epilogue == GemmEpilogue::kGelu) {
    // Rounded by way of C, which is overwritten below, so that the activation is that of the stored value.
    store_element(g.c, g.output_type, offset, value);
    value = load_element(g.c, g.output_type, offset);
    if (g.pre_activation != nullptr) store_element(g.pre_activation, g.output_type, offset, value);
    value = gelu_erf(value);
  } else if (g.epilogue == GemmEpilogue::kGeluGradient) {
    value *= gelu_erf_gradient(load_element(g.pre_activation, g.output_type, offset));
  }
  if (g.dropout.active()) value = drop(g, row, column, value);
  if (g.residual != nullptr) value += load_element(g.residual, g.output_type, offset);
  if (g.accumulate) value += load_element(g.c, g.output_type, offset);
  store_element(g.c, g.output_type, offset, value);
}

}  // namespace

void gemm_reference(const Context&, const GemmArguments& g, void*) {
  for (std::int64_t row = 0; row < g.m; ++row) {
    for (std::int64_t column = 0; column < g.n; ++column) {
      const double bias = g.bias == nullptr ? 0.0 : static_cast<double>(g.bias[column]);
      store_result(g, row, column, dot(g, row, column) + bias);
    }
  }
}

}  // namespace koine
