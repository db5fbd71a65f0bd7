#include "kernels/l2_normalise/l2_normalise.h"

namespace koine {

// l2_normalise_reference.cpp
void l2_normalise_forward_reference(const Context&, const L2NormaliseForwardArguments&, void*);
void l2_normalise_backward_reference(const Context&, const L2NormaliseBackwardArguments&, void*);
// l2_normalise_cpu.cpp
void l2_normalise_forward_cpu(const Context&, const L2NormaliseForwardArguments&, void*);
std::size_t l2_normalise_backward_cpu_workspace(const L2NormaliseBackwardArguments&);
void l2_normalise_backward_cpu(const Context&, const L2NormaliseBackwardArguments&, void*);
// l2_normalise.cu
void l2_normalise_forward_portable(const Context&, const L2NormaliseForwardArguments&, void*);
std::size_t l2_normalise_backward_portable_workspace(const L2NormaliseBackwardArguments&);
void l2_normalise_backward_portable(const Context&, const L2NormaliseBackwardArguments&, void*);

namespace {

template <class Arguments>
void validate(const Arguments& a) {
  check(a.rows >= 0 && a.width > 0 && a.stride >= a.width, "l2_normalise: [", a.rows, ", ", a.width, "] with rows ",
        a.stride, " apart is not a shape");
}

double elements(std::int64_t rows, std::int64_t width) { return static_cast<double>(rows) * static_cast<double>(width); }

template <class Arguments>
bool not_double(const Arguments& a) {
  return a.type != DType::kFloat64;
}

}  // namespace

template <>
const Operation<L2NormaliseForwardArguments>& operation<L2NormaliseForwardArguments>() {
  using Arguments = L2NormaliseForwardArguments;
  static const Operation<Arguments> table = {
      "l2_normalise_forward",
      validate<Arguments>,
      [](const Arguments& a) { return 3 * elements(a.rows, a.width); },
      [](const Arguments& a) { return 2 * elements(a.rows, a.width) * static_cast<double>(size_of(a.type)); },
      {{"portable", Device::kCuda, kFrom80, not_double<Arguments>, nullptr, l2_normalise_forward_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, not_double<Arguments>, nullptr, l2_normalise_forward_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, l2_normalise_forward_reference}}};
  return table;
}

template <>
const Operation<L2NormaliseBackwardArguments>& operation<L2NormaliseBackwardArguments>() {
  using Arguments = L2NormaliseBackwardArguments;
  static const Operation<Arguments> table = {
      "l2_normalise_backward",
      validate<Arguments>,
      [](const Arguments& a) { return 7 * elements(a.rows, a.width); },
      [](const Arguments& a) { return 3 * elements(a.rows, a.width) * static_cast<double>(size_of(a.type)); },
      {{"portable", Device::kCuda, kFrom80, not_double<Arguments>, l2_normalise_backward_portable_workspace,
        l2_normalise_backward_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, not_double<Arguments>, l2_normalise_backward_cpu_workspace,
        l2_normalise_backward_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, l2_normalise_backward_reference}}};
  return table;
}

}  // namespace koine
