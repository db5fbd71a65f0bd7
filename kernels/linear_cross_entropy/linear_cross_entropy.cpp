#include "kernels/linear_cross_entropy/linear_cross_entropy.h"

namespace koine {

// linear_cross_entropy_reference.cpp
void linear_cross_entropy_reference(const Context&, const LinearCrossEntropyArguments&, void* workspace);
// linear_cross_entropy_cpu.cpp
std::size_t linear_cross_entropy_cpu_workspace(const LinearCrossEntropyArguments&);
void linear_cross_entropy_cpu(const Context&, const LinearCrossEntropyArguments&, void* workspace);
std::size_t linear_cross_entropy_cpu_kept_workspace(const LinearCrossEntropyArguments&);
void linear_cross_entropy_cpu_kept(const Context&, const LinearCrossEntropyArguments&, void* workspace);
// linear_cross_entropy.cu
std::size_t linear_cross_entropy_portable_workspace(const LinearCrossEntropyArguments&);
void linear_cross_entropy_portable(const Context&, const LinearCrossEntropyArguments&, void* workspace);
std::size_t linear_cross_entropy_portable_kept_workspace(const LinearCrossEntropyArguments&);
void linear_cross_entropy_portable_kept(const Context&, const LinearCrossEntropyArguments&, void* workspace);

namespace {

using Arguments = LinearCrossEntropyArguments;

void validate(const Arguments& a) {
  const auto shape = [&] { return concatenate("[", a.rows, ", ", a.in, "] to ", a.classes, " classes"); };
  check(a.rows >= 0 && a.classes > 0 && a.in > 0, "linear cross-entropy of ", shape());
  check(a.group_rows >= 0 && a.tile_classes >= 0 && a.tile_classes % 8 == 0, "linear cross-entropy of ", shape(),
        ": groups of ", a.group_rows, " rows, tiles of ", a.tile_classes, " classes (a multiple of 8)");
  if (a.rows == 0) return;
  check(a.hidden && a.weight && a.labels && a.loss, "linear cross-entropy of ", shape(),
        ": hidden, weight, labels or loss is null");
  check(!a.d_hidden || a.d_weight, "linear cross-entropy of ", shape(), ": d_hidden without d_weight");
}

// The products; beside them the softmax is little.
double flops(const Arguments& a) {
  const double product = 2.0 * static_cast<double>(a.rows) * static_cast<double>(a.classes) * static_cast<double>(a.in);
  return a.d_hidden == nullptr ? product : 3 * product;
}

double bytes(const Arguments& a) {
  const auto size = static_cast<double>(size_of(a.type));
  const double hidden = static_cast<double>(a.rows) * static_cast<double>(a.in);
  const double weight = static_cast<double>(a.classes) * static_cast<double>(a.in);
  const double forward = (hidden + weight) * size + 8.0 * static_cast<double>(a.rows);
  return a.d_hidden == nullptr ? forward : forward + hidden * size + 2 * 4.0 * weight;
}

bool not_double(const Arguments& a) { return a.type != DType::kFloat64; }

}  // namespace

template <>
const Operation<Arguments>& operation<Arguments>() {
  static const Operation<Arguments> table{
      "linear_cross_entropy",
      validate,
      flops,
      bytes,
      {{"portable", Device::kCuda, kFrom80, not_double, linear_cross_entropy_portable_workspace,
        linear_cross_entropy_portable},
       {"portable_kept", Device::kCuda, kFrom80, not_double, linear_cross_entropy_portable_kept_workspace,
        linear_cross_entropy_portable_kept},
       {"cpu_kept", Device::kCpu, kAnyArchitecture, not_double, linear_cross_entropy_cpu_kept_workspace,
        linear_cross_entropy_cpu_kept},
       {"cpu", Device::kCpu, kAnyArchitecture, not_double, linear_cross_entropy_cpu_workspace, linear_cross_entropy_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, linear_cross_entropy_reference}}};
  return table;
}

}  // namespace koine
