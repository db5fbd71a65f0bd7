#include "kernels/optimizer/adamw_rms.h"

#include <cmath>

namespace koine {

void adamw_rms_reference(const Context&, const AdamWRmsArguments&, void*);
void adamw_rms_cpu(const Context&, const AdamWRmsArguments&, void*);
void adamw_rms_portable(const Context&, const AdamWRmsArguments&, void*);

namespace {

void validate(const AdamWRmsArguments& a) {
  check(a.elements >= 0 && a.segments >= 0 && a.pieces >= 0 && (a.segments > 0 || a.pieces == 0) &&
            a.pieces * kSegmentPiece >= a.elements,
        "adamw_rms: ", a.elements, " elements in ", a.segments, " segments of ", a.pieces, " pieces is not a shape");
}
double flops(const AdamWRmsArguments& a) { return 18 * static_cast<double>(a.elements); }
double bytes(const AdamWRmsArguments& a) {
  return static_cast<double>(a.elements) * (32.0 + (a.zero_gradient ? 4 : 0) + (a.working == nullptr ? 0 : 2));
}

/// A sum for each piece, and a scale for each tensor.
std::size_t workspace(const AdamWRmsArguments& a) {
  return static_cast<std::size_t>(a.pieces) * sizeof(double) + static_cast<std::size_t>(a.segments) * sizeof(float);
}

}  // namespace

AdamWStep adamw_rms_step(std::int64_t step, double learning_rate, double beta1, double beta2, double epsilon, double decay) {
  const double correction = std::sqrt(1 - std::pow(beta2, static_cast<double>(step)));
  return adamw_step(step, learning_rate, beta1, beta2, epsilon / correction, decay);
}

template <>
const Operation<AdamWRmsArguments>& operation<AdamWRmsArguments>() {
  static const Operation<AdamWRmsArguments> table = {
      "adamw_rms",
      validate,
      flops,
      bytes,
      {{"portable", Device::kCuda, kFrom80, nullptr, workspace, adamw_rms_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, nullptr, workspace, adamw_rms_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, adamw_rms_reference}}};
  return table;
}

}  // namespace koine
