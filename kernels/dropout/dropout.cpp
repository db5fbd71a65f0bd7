#include "kernels/dropout/dropout.h"

namespace koine {

void dropout_reference(const Context&, const DropoutArguments&, void*);
void dropout_cpu(const Context&, const DropoutArguments&, void*);
void dropout_portable(const Context&, const DropoutArguments&, void*);

namespace {

void validate(const DropoutArguments& a) {
  check(a.rows >= 0 && a.width > 0, "dropout: [rows ", a.rows, ", width ", a.width, "] is not a shape");
  check(a.dropout.rate >= 0 && a.dropout.threshold() < 65536, "dropout: [rows ", a.rows, ", width ", a.width, "]: rate ",
        a.dropout.rate, " is not in [0, 1)");
  check(a.dropout.site < 65536, "dropout: site ", a.dropout.site, " is not below 65536");
}

double elements(const DropoutArguments& a) { return static_cast<double>(a.rows) * static_cast<double>(a.width); }

double flops(const DropoutArguments& a) { return (1 + (a.residual != nullptr)) * elements(a); }

double bytes(const DropoutArguments& a) {
  return (2 + (a.residual != nullptr)) * elements(a) * static_cast<double>(size_of(a.type));
}

bool not_double(const DropoutArguments& a) { return a.type != DType::kFloat64; }

}  // namespace

template <>
const Operation<DropoutArguments>& operation<DropoutArguments>() {
  static const Operation<DropoutArguments> table = {
      "dropout",
      validate,
      flops,
      bytes,
      {{"portable", Device::kCuda, kFrom80, not_double, nullptr, dropout_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, not_double, nullptr, dropout_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, dropout_reference}}};
  return table;
}

}  // namespace koine
