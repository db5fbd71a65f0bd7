#include "kernels/gemm/weight_gradients.h"

namespace koine {

void weight_gradients_reference(const Context&, const WeightGradientsArguments&, void*);
std::size_t weight_gradients_cpu_workspace(const WeightGradientsArguments&);
void weight_gradients_cpu(const Context&, const WeightGradientsArguments&, void*);
bool weight_gradients_portable_supports(const WeightGradientsArguments&);
void weight_gradients_portable(const Context&, const WeightGradientsArguments&, void*);

namespace {

void validate(const WeightGradientsArguments& a) {
  check(a.count >= 0 && a.count <= WeightGradientsArguments::kMost, "weight_gradients: ", a.count, " entries, at most ",
        WeightGradientsArguments::kMost, " go together");
  for (int i = 0; i < a.count; ++i) {
    const WeightGradient& e = a.entries[i];
    const auto shape = [&] {
      return concatenate("entry ", i, ", out ", e.out, ", in ", e.in, ", rows ", e.rows, ", ldx ", e.ldx, ", lddy ", e.lddy);
    };
    check(e.out >= 0 && e.in >= 0 && e.rows >= 0, "weight_gradients: negative size: ", shape());
    check(e.ldx >= e.in, "weight_gradients: ldx is shorter than a row of x: ", shape());
    check(e.lddy >= e.out, "weight_gradients: lddy is shorter than a row of dy: ", shape());
    check(e.out == 0 || e.in == 0 || e.d_weight != nullptr, "weight_gradients: d_weight is null: ", shape());
    check(e.rows == 0 || ((e.in == 0 || e.x != nullptr) && (e.out == 0 || e.dy != nullptr)),
          "weight_gradients: x or dy is null: ", shape());
  }
}

double flops(const WeightGradientsArguments& a) {
  double total = 0;
  for (int i = 0; i < a.count; ++i) {
    const WeightGradient& e = a.entries[i];
    total += 2.0 * static_cast<double>(e.rows) * static_cast<double>(e.out) * static_cast<double>(e.in);
    if (e.d_bias != nullptr) total += static_cast<double>(e.rows) * static_cast<double>(e.out);
  }
  return total;
}

double bytes(const WeightGradientsArguments& a) {
  double total = 0;
  for (int i = 0; i < a.count; ++i) {
    const WeightGradient& e = a.entries[i];
    total += static_cast<double>(e.rows * (e.in + e.out)) * static_cast<double>(size_of(a.type));
    total += static_cast<double>(e.out * e.in) * 2 * sizeof(float);
    if (e.d_bias != nullptr) total += static_cast<double>(e.out) * 2 * sizeof(float);
  }
  return total;
}

bool not_double(const WeightGradientsArguments& a) { return a.type != DType::kFloat64; }

}  // namespace

template <>
const Operation<WeightGradientsArguments>& operation<WeightGradientsArguments>() {
  static const Operation<WeightGradientsArguments> table = {
      "weight_gradients",
      validate,
      flops,
      bytes,
      {{"portable", Device::kCuda, kFrom80, weight_gradients_portable_supports, nullptr, weight_gradients_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, not_double, weight_gradients_cpu_workspace, weight_gradients_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, weight_gradients_reference}}};
  return table;
}

}  // namespace koine
