#include "kernels/layernorm/layernorm.h"

#include <string>

namespace koine {

void layernorm_forward_reference(const Context&, const LayerNormForwardArguments&, void*);
void layernorm_forward_cpu(const Context&, const LayerNormForwardArguments&, void*);
void layernorm_forward_portable(const Context&, const LayerNormForwardArguments&, void*);
void layernorm_backward_reference(const Context&, const LayerNormBackwardArguments&, void*);
void layernorm_backward_cpu(const Context&, const LayerNormBackwardArguments&, void*);
std::size_t layernorm_backward_cpu_workspace(const LayerNormBackwardArguments&);
void layernorm_backward_portable(const Context&, const LayerNormBackwardArguments&, void*);
std::size_t layernorm_backward_portable_workspace(const LayerNormBackwardArguments&);

namespace {

template <class Arguments>
void validate_shape(const Arguments& a, const char* name) {
  const std::string shape = concatenate(": [rows ", a.rows, ", width ", a.width, "]");
  check(a.rows >= 0 && a.width > 0, name, shape, " is not a shape");
  check(a.dropout.rate >= 0 && a.dropout.threshold() < 65536, name, shape, ": dropout rate ", a.dropout.rate,
        " is not in [0, 1)");
  check(a.dropout.site < 65536, name, shape, ": dropout site ", a.dropout.site, " is not below 65536");
}

void validate_forward(const LayerNormForwardArguments& a) {
  validate_shape(a, "layernorm_forward");
  check(a.epsilon >= 0, "layernorm_forward: epsilon ", a.epsilon, " is negative");
  check(a.sum != nullptr || a.rows == 0 || (a.residual == nullptr && !a.dropout.active()), "layernorm_forward: [rows ",
        a.rows, ", width ", a.width, "] with dropout or residual needs memory for their sum");
}

void validate_backward(const LayerNormBackwardArguments& a) {
  validate_shape(a, "layernorm_backward");
  check(a.rows == 0 || a.dropout.active() == (a.d_input != nullptr), "layernorm_backward: [rows ", a.rows, ", width ",
        a.width, "]: d_input is for active dropout, and needed then");
}

template <class Arguments>
double elements(const Arguments& a) {
  return static_cast<double>(a.rows) * static_cast<double>(a.width);
}

double forward_flops(const LayerNormForwardArguments& a) { return 8 * elements(a); }
double forward_bytes(const LayerNormForwardArguments& a) {
  const int operands = 2 + (a.residual != nullptr) + (a.sum != nullptr);
  return operands * elements(a) * static_cast<double>(size_of(a.type)) + 8.0 * static_cast<double>(a.rows + a.width);
}
double backward_flops(const LayerNormBackwardArguments& a) { return 14 * elements(a); }
double backward_bytes(const LayerNormBackwardArguments& a) {
  const int operands = 3 + (a.d_residual_stream != nullptr) + (a.d_input != nullptr);
  return operands * elements(a) * static_cast<double>(size_of(a.type)) + 8.0 * static_cast<double>(a.rows) +
         20.0 * static_cast<double>(a.width);
}

template <class Arguments>
bool not_double(const Arguments& a) {
  return a.type != DType::kFloat64;
}

}  // namespace

template <>
const Operation<LayerNormForwardArguments>& operation<LayerNormForwardArguments>() {
  static const Operation<LayerNormForwardArguments> table = {
      "layernorm_forward",
      validate_forward,
      forward_flops,
      forward_bytes,
      {{"portable", Device::kCuda, kFrom80, not_double<LayerNormForwardArguments>, nullptr, layernorm_forward_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, not_double<LayerNormForwardArguments>, nullptr, layernorm_forward_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, layernorm_forward_reference}}};
  return table;
}

template <>
const Operation<LayerNormBackwardArguments>& operation<LayerNormBackwardArguments>() {
  static const Operation<LayerNormBackwardArguments> table = {
      "layernorm_backward",
      validate_backward,
      backward_flops,
      backward_bytes,
      {{"portable", Device::kCuda, kFrom80, not_double<LayerNormBackwardArguments>, layernorm_backward_portable_workspace,
        layernorm_backward_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, not_double<LayerNormBackwardArguments>, layernorm_backward_cpu_workspace,
        layernorm_backward_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, layernorm_backward_reference}}};
  return table;
}

}  // namespace koine
