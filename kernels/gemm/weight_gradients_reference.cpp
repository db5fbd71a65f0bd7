#include "kernels/gemm/weight_gradients.h"

namespace koine {
namespace {

void add_to(float& to, double value) { to = static_cast<float>(static_cast<double>(to) + value); }

void reference_of(DType type, const WeightGradient& e) {
  const auto dy = [&](std::int64_t row, std::int64_t column) { return load_element(e.dy, type, row * e.lddy + column); };
  for (std::int64_t o = 0; o < e.out; ++o) {
    for (std::int64_t i = 0; i < e.in; ++i) {
      double sum = 0;
      for (std::int64_t row = 0; row < e.rows; ++row) sum += dy(row, o) * load_element(e.x, type, row * e.ldx + i);
      add_to(e.d_weight[o * e.in + i], sum);
    }
    if (e.d_bias == nullptr) continue;
    double sum = 0;
    for (std::int64_t row = 0; row < e.rows; ++row) sum += dy(row, o);
    add_to(e.d_bias[o], sum);
  }
}

}  // namespace

void weight_gradients_reference(const Context&, const WeightGradientsArguments& a, void*) {
  for (int i = 0; i < a.count; ++i) reference_of(a.type, a.entries[i]);
}

}  // namespace koine
