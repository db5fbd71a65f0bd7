// One product and one column sum after the other, by the variants that gemm and column_sum have on the CPU, in one workspace
// that holds what the hungriest of them wants.

#include <algorithm>

#include "kernels/gemm/gemm.h"
#include "kernels/gemm/weight_gradients.h"
#include "kernels/reduce/reduce.h"

namespace koine {
namespace {

GemmArguments product_of(DType type, const WeightGradient& e) {
  GemmArguments g;
  g.m = e.out, g.n = e.in, g.k = e.rows;
  g.a = e.dy, g.lda = e.lddy, g.transpose_a = true;
  g.b = e.x, g.ldb = e.ldx;
  g.input_type = type;
  g.c = e.d_weight, g.ldc = e.in;
  g.accumulate = true;
  return g;
}

ColumnSumArguments sum_of(DType type, const WeightGradient& e) {
  return {.type = type, .rows = e.rows, .width = e.out, .stride = e.lddy, .input = e.dy, .output = e.d_bias};
}

/// Of whichever variant a context may force.
template <class Arguments>
std::size_t most_workspace(const Arguments& arguments) {
  std::size_t most = 0;
  for (const Variant<Arguments>& variant : operation<Arguments>().variants) {
    if (variant.workspace_bytes != nullptr && usable(variant, Context{}, arguments)) {
      most = std::max(most, variant.workspace_bytes(arguments));
    }
  }
  return most;
}

}  // namespace

std::size_t weight_gradients_cpu_workspace(const WeightGradientsArguments& a) {
  std::size_t most = 0;
  for (int i = 0; i < a.count; ++i) {
    most = std::max(most, most_workspace(product_of(a.type, a.entries[i])));
    if (a.entries[i].d_bias != nullptr) most = std::max(most, most_workspace(sum_of(a.type, a.entries[i])));
  }
  return most;
}

void weight_gradients_cpu(const Context& context, const WeightGradientsArguments& a, void* workspace) {
  for (int i = 0; i < a.count; ++i) {
    const WeightGradient& e = a.entries[i];
    const GemmArguments product = product_of(a.type, e);
    choose_variant(context, product).launch(context, product, workspace);
    if (e.d_bias == nullptr) continue;
    const ColumnSumArguments sum = sum_of(a.type, e);
    choose_variant(context, sum).launch(context, sum, workspace);
  }
}

}  // namespace koine
