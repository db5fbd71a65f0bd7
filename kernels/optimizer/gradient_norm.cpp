#include "kernels/optimizer/gradient_norm.h"

#include <algorithm>

namespace koine {

void clip_factor_reference(const Context&, const ClipFactorArguments&, void*);
void clip_factor_cpu(const Context&, const ClipFactorArguments&, void*);
void clip_factor_portable(const Context&, const ClipFactorArguments&, void*);
void gradient_norm_reference(const Context&, const GradientNormArguments&, void*);
void gradient_norm_cpu(const Context&, const GradientNormArguments&, void*);
std::size_t gradient_norm_cpu_workspace(const GradientNormArguments&);
void gradient_norm_portable(const Context&, const GradientNormArguments&, void*);
std::size_t gradient_norm_portable_workspace(const GradientNormArguments&);
std::int64_t gradient_norm_cpu_cells(const GradientNormArguments&);
std::int64_t gradient_norm_portable_cells(const GradientNormArguments&);
std::int64_t gradient_norm_portable_next_cell(bool table, std::int64_t rows, std::int64_t width, std::int64_t element);

namespace {

void validate_clip(const ClipFactorArguments&) {}
double clip_flops(const ClipFactorArguments&) { return 3; }
double clip_bytes(const ClipFactorArguments&) { return 16; }

void validate(const GradientNormArguments& a) {
  check(a.elements >= 0 && a.segments >= 0 && a.pieces >= 0 && (a.segments > 0 || a.pieces == 0) &&
            a.pieces * kSegmentPiece >= a.elements,
        "gradient_norm: ", a.elements, " elements in ", a.segments, " segments of ", a.pieces, " pieces is not a shape");
  check(a.rows >= 0 && a.width > 0 && a.listed >= 0, "gradient_norm: table [rows ", a.rows, ", width ", a.width, "], ",
        a.listed, " rows listed, is not a shape");
  check(a.range.begin >= 0 && a.range.begin <= a.range.end, "gradient_norm: elements ", a.range.begin, " to ", a.range.end,
        " are no range");
  check(a.stage == NormStage::kWhole || (a.cells != nullptr && a.row_list == nullptr),
        "gradient_norm: cells need a list of their sums, and no list of rows");
}
double elements(const GradientNormArguments& a) {
  const std::int64_t rows = a.row_list == nullptr ? a.rows : a.listed;
  return static_cast<double>(std::min(a.elements + rows * a.width, a.range.count()));
}
double flops(const GradientNormArguments& a) { return 2 * elements(a); }
double bytes(const GradientNormArguments& a) { return 4 * elements(a) + 16; }

}  // namespace

std::int64_t norm_cells(Device device, const GradientNormArguments& arguments) {
  return device == Device::kCuda ? gradient_norm_portable_cells(arguments) : gradient_norm_cpu_cells(arguments);
}

std::int64_t next_norm_cell(Device device, bool table, std::int64_t rows, std::int64_t width, std::int64_t element) {
  if (device == Device::kCuda) return gradient_norm_portable_next_cell(table, rows, width, element);
  return (element + width - 1) / width * width;
}

template <>
const Operation<ClipFactorArguments>& operation<ClipFactorArguments>() {
  static const Operation<ClipFactorArguments> table = {
      "clip_factor",
      validate_clip,
      clip_flops,
      clip_bytes,
      {{"portable", Device::kCuda, kFrom80, nullptr, nullptr, clip_factor_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, nullptr, nullptr, clip_factor_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, clip_factor_reference}}};
  return table;
}

template <>
const Operation<GradientNormArguments>& operation<GradientNormArguments>() {
  static const Operation<GradientNormArguments> table = {
      "gradient_norm",
      validate,
      flops,
      bytes,
      {{"portable", Device::kCuda, kFrom80, nullptr, gradient_norm_portable_workspace, gradient_norm_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, nullptr, gradient_norm_cpu_workspace, gradient_norm_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, gradient_norm_reference}}};
  return table;
}

}  // namespace koine
