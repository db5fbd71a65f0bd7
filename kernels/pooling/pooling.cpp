#include "kernels/pooling/pooling.h"

namespace koine {

void mean_pooling_forward_reference(const Context&, const MeanPoolingForwardArguments&, void*);
void mean_pooling_forward_cpu(const Context&, const MeanPoolingForwardArguments&, void*);
void mean_pooling_forward_portable(const Context&, const MeanPoolingForwardArguments&, void*);
void mean_pooling_backward_reference(const Context&, const MeanPoolingBackwardArguments&, void*);
void mean_pooling_backward_cpu(const Context&, const MeanPoolingBackwardArguments&, void*);
void mean_pooling_backward_portable(const Context&, const MeanPoolingBackwardArguments&, void*);

namespace {

template <class Arguments>
void validate(const Arguments& a) {
  check(a.tokens >= 0 && a.sequences >= 0 && a.width > 0, "mean_pooling: [tokens ", a.tokens, ", width ", a.width, "] of ",
        a.sequences, " sequences is not a shape");
}

template <class Arguments>
double flops(const Arguments& a) {
  return static_cast<double>(a.tokens) * static_cast<double>(a.width);
}

template <class Arguments>
double bytes(const Arguments& a) {
  return static_cast<double>(a.tokens + a.sequences) * static_cast<double>(a.width) * static_cast<double>(size_of(a.type)) +
         4.0 * static_cast<double>(a.sequences + 1);
}

template <class Arguments>
bool not_double(const Arguments& a) {
  return a.type != DType::kFloat64;
}

}  // namespace

template <>
const Operation<MeanPoolingForwardArguments>& operation<MeanPoolingForwardArguments>() {
  using Arguments = MeanPoolingForwardArguments;
  static const Operation<Arguments> table = {
      "mean_pooling_forward",
      validate<Arguments>,
      flops<Arguments>,
      bytes<Arguments>,
      {{"portable", Device::kCuda, kFrom80, not_double<Arguments>, nullptr, mean_pooling_forward_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, not_double<Arguments>, nullptr, mean_pooling_forward_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, mean_pooling_forward_reference}}};
  return table;
}

template <>
const Operation<MeanPoolingBackwardArguments>& operation<MeanPoolingBackwardArguments>() {
  using Arguments = MeanPoolingBackwardArguments;
  static const Operation<Arguments> table = {
      "mean_pooling_backward",
      validate<Arguments>,
      flops<Arguments>,
      bytes<Arguments>,
      {{"portable", Device::kCuda, kFrom80, not_double<Arguments>, nullptr, mean_pooling_backward_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, not_double<Arguments>, nullptr, mean_pooling_backward_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, mean_pooling_backward_reference}}};
  return table;
}

}  // namespace koine
