#include "kernels/rmsnorm/rmsnorm.h"

namespace koine {

// rmsnorm_reference.cpp
void rmsnorm_forward_reference(const Context&, const RmsNormForwardArguments&, void*);
void rmsnorm_backward_reference(const Context&, const RmsNormBackwardArguments&, void*);
// rmsnorm_cpu.cpp
void rmsnorm_forward_cpu(const Context&, const RmsNormForwardArguments&, void*);
std::size_t rmsnorm_backward_cpu_workspace(const RmsNormBackwardArguments&);
void rmsnorm_backward_cpu(const Context&, const RmsNormBackwardArguments&, void*);
// rmsnorm.cu
void rmsnorm_forward_portable(const Context&, const RmsNormForwardArguments&, void*);
std::size_t rmsnorm_backward_portable_workspace(const RmsNormBackwardArguments&);
void rmsnorm_backward_portable(const Context&, const RmsNormBackwardArguments&, void*);

namespace {

void validate_forward(const RmsNormForwardArguments& a) {
  check(a.rows >= 0 && a.width > 0, "rmsnorm_forward: [rows ", a.rows, ", width ", a.width, "] is not a shape");
  check(a.epsilon >= 0, "rmsnorm_forward: epsilon ", a.epsilon, " is negative");
}
void validate_backward(const RmsNormBackwardArguments& a) {
  check(a.rows >= 0 && a.width > 0, "rmsnorm_backward: [rows ", a.rows, ", width ", a.width, "] is not a shape");
}

template <class Arguments>
double elements(const Arguments& a) {
  return static_cast<double>(a.rows) * static_cast<double>(a.width);
}

double forward_flops(const RmsNormForwardArguments& a) { return 4 * elements(a); }
double forward_bytes(const RmsNormForwardArguments& a) {
  return 2 * elements(a) * static_cast<double>(size_of(a.type)) + 4.0 * static_cast<double>(a.rows + a.width);
}
double backward_flops(const RmsNormBackwardArguments& a) { return 9 * elements(a); }
double backward_bytes(const RmsNormBackwardArguments& a) {
  const int operands = 3 + (a.d_residual_stream != nullptr);
  return operands * elements(a) * static_cast<double>(size_of(a.type)) + 4.0 * static_cast<double>(a.rows) +
         12.0 * static_cast<double>(a.width);
}

template <class Arguments>
bool not_double(const Arguments& a) {
  return a.type != DType::kFloat64;
}

}  // namespace

template <>
const Operation<RmsNormForwardArguments>& operation<RmsNormForwardArguments>() {
  using Arguments = RmsNormForwardArguments;
  static const Operation<Arguments> table = {
      "rmsnorm_forward",
      validate_forward,
      forward_flops,
      forward_bytes,
      {{"portable", Device::kCuda, kFrom80, not_double<Arguments>, nullptr, rmsnorm_forward_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, not_double<Arguments>, nullptr, rmsnorm_forward_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, rmsnorm_forward_reference}}};
  return table;
}

template <>
const Operation<RmsNormBackwardArguments>& operation<RmsNormBackwardArguments>() {
  using Arguments = RmsNormBackwardArguments;
  static const Operation<Arguments> table = {
      "rmsnorm_backward",
      validate_backward,
      backward_flops,
      backward_bytes,
      {{"portable", Device::kCuda, kFrom80, not_double<Arguments>, rmsnorm_backward_portable_workspace,
        rmsnorm_backward_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, not_double<Arguments>, rmsnorm_backward_cpu_workspace, rmsnorm_backward_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, rmsnorm_backward_reference}}};
  return table;
}

}  // namespace koine
