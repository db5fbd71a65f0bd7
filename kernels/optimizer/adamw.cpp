#include "kernels/optimizer/adamw.h"

#include <algorithm>
#include <cmath>

namespace koine {

void adamw_reference(const Context&, const AdamWArguments&, void*);
void adamw_cpu(const Context&, const AdamWArguments&, void*);
void adamw_portable(const Context&, const AdamWArguments&, void*);
void adamw_segments_reference(const Context&, const AdamWSegmentsArguments&, void*);
void adamw_segments_cpu(const Context&, const AdamWSegmentsArguments&, void*);
void adamw_segments_portable(const Context&, const AdamWSegmentsArguments&, void*);
void adamw_rows_reference(const Context&, const AdamWRowsArguments&, void*);
void adamw_rows_cpu(const Context&, const AdamWRowsArguments&, void*);
void adamw_rows_portable(const Context&, const AdamWRowsArguments&, void*);

namespace {

template <class Arguments>
bool state_is_fp32(const Arguments& a) {
  return a.state_type == DType::kFloat32;
}
void validate_range(const char* name, const ElementRange& range) {
  check(range.begin >= 0 && range.begin <= range.end, name, ": elements ", range.begin, " to ", range.end, " are no range");
}

void validate(const AdamWArguments& a) { check(a.count >= 0, "adamw: [count ", a.count, "] is not a shape"); }
void validate_segments(const AdamWSegmentsArguments& a) {
  check(a.elements >= 0 && a.segments >= 0 && a.pieces >= 0 && (a.segments > 0 || a.pieces == 0) &&
            a.pieces * kSegmentPiece >= a.elements,
        "adamw_segments: ", a.elements, " elements in ", a.segments, " segments of ", a.pieces, " pieces is not a shape");
  validate_range("adamw_segments", a.range);
}
void validate_rows(const AdamWRowsArguments& a) {
  check(a.rows >= 0 && a.width > 0 && a.listed >= 0, "adamw_rows: [rows ", a.rows, ", width ", a.width, "], ", a.listed,
        " rows listed, is not a shape");
  check(a.step >= 0, "adamw_rows: [rows ", a.rows, ", width ", a.width, "] cannot be brought to step ", a.step);
  validate_range("adamw_rows", a.range);
}

// Per element and step: 4 multiplications, 3 multiply-adds, 1 subtraction and addition each, a square root, 2 divisions.
constexpr double kFlops = 15;

// Parameter and moments are read and written, the gradient read.
double bytes_of_an_element(bool zero_gradient, const BFloat16* working) {
  return 28.0 + (zero_gradient ? 4 : 0) + (working == nullptr ? 0 : 2);
}
double flops(const AdamWArguments& a) { return kFlops * static_cast<double>(a.count); }
double bytes(const AdamWArguments& a) {
  return static_cast<double>(a.count) * bytes_of_an_element(a.zero_gradient, a.working);
}
// Of one that is kept in bf16, both halves of it or the one.
double bytes_of_an_element(const AdamWSegmentsArguments& a) {
  if (a.master.kind == MasterKind::kFloat32) return bytes_of_an_element(a.zero_gradient, a.working);
  return (a.master.kind == MasterKind::kRemainder ? 28.0 : 24.0) + (a.zero_gradient ? 4 : 0);
}
double elements(const AdamWSegmentsArguments& a) { return static_cast<double>(std::min(a.elements, a.range.count())); }
double segments_flops(const AdamWSegmentsArguments& a) { return kFlops * elements(a); }
double segments_bytes(const AdamWSegmentsArguments& a) { return elements(a) * bytes_of_an_element(a); }
double elements(const AdamWRowsArguments& a) {
  return static_cast<double>(std::min((a.row_list == nullptr ? a.rows : a.listed) * a.width, a.range.count()));
}
// Counts one step a row: how many were missed is the data's, not the shape's.
double rows_flops(const AdamWRowsArguments& a) { return kFlops * elements(a); }
double rows_bytes(const AdamWRowsArguments& a) {
  const double gradient = a.with_gradient ? (a.zero_gradient ? 8 : 4) : 0;
  return elements(a) * (24.0 + gradient + (a.working == nullptr ? 0 : 2));
}

}  // namespace

AdamWStep adamw_step(std::int64_t step, double learning_rate, double beta1, double beta2, double epsilon, double decay) {
  check(step >= 1, "AdamW counts its steps from 1, got ", step);
  AdamWStep result;
  result.one_minus_rate_decay = static_cast<float>(1 - learning_rate * decay);
  result.one_minus_beta1 = static_cast<float>(1 - beta1);
  result.beta2 = static_cast<float>(beta2);
  result.one_minus_beta2 = static_cast<float>(1 - beta2);
  result.step_size = static_cast<float>(learning_rate / (1 - std::pow(beta1, static_cast<double>(step))));
  result.sqrt_correction2 = static_cast<float>(std::sqrt(1 - std::pow(beta2, static_cast<double>(step))));
  result.epsilon = static_cast<float>(epsilon);
  return result;
}

template <>
const Operation<AdamWArguments>& operation<AdamWArguments>() {
  static const Operation<AdamWArguments> table = {
      "adamw",
      validate,
      flops,
      bytes,
      {{"portable", Device::kCuda, kFrom80, nullptr, nullptr, adamw_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, nullptr, nullptr, adamw_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, adamw_reference}}};
  return table;
}

template <>
const Operation<AdamWSegmentsArguments>& operation<AdamWSegmentsArguments>() {
  static const Operation<AdamWSegmentsArguments> table = {
      "adamw_segments",
      validate_segments,
      segments_flops,
      segments_bytes,
      {{"portable", Device::kCuda, kFrom80, state_is_fp32, nullptr, adamw_segments_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, state_is_fp32, nullptr, adamw_segments_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, state_is_fp32, nullptr, adamw_segments_reference}}};
  return table;
}

template <>
const Operation<AdamWRowsArguments>& operation<AdamWRowsArguments>() {
  static const Operation<AdamWRowsArguments> table = {
      "adamw_rows",
      validate_rows,
      rows_flops,
      rows_bytes,
      {{"portable", Device::kCuda, kFrom80, state_is_fp32, nullptr, adamw_rows_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, state_is_fp32, nullptr, adamw_rows_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, state_is_fp32, nullptr, adamw_rows_reference}}};
  return table;
}

}  // namespace koine
