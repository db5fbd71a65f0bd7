#include "kernels/cast/cast.h"

namespace koine {

void cast_reference(const Context&, const CastArguments&, void*);
void cast_cpu(const Context&, const CastArguments&, void*);
void cast_portable(const Context&, const CastArguments&, void*);

namespace {

void validate(const CastArguments& a) {
  check(a.count >= 0, "cast: [count ", a.count, "] ", name_of(a.input_type), " to ", name_of(a.output_type),
        " is not a shape");
}

double flops(const CastArguments&) { return 0; }

double bytes(const CastArguments& a) {
  return static_cast<double>(a.count) * static_cast<double>(size_of(a.input_type) + size_of(a.output_type));
}

bool not_double(const CastArguments& a) { return a.input_type != DType::kFloat64 && a.output_type != DType::kFloat64; }

}  // namespace

template <>
const Operation<CastArguments>& operation<CastArguments>() {
  static const Operation<CastArguments> table = {
      "cast",
      validate,
      flops,
      bytes,
      {{"portable", Device::kCuda, kFrom80, not_double, nullptr, cast_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, not_double, nullptr, cast_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, cast_reference}}};
  return table;
}

}  // namespace koine
