#include "kernels/gather/gather.h"

namespace koine {

void gather_rows_reference(const Context&, const GatherRowsArguments&, void*);
void gather_rows_cpu(const Context&, const GatherRowsArguments&, void*);
void gather_rows_portable(const Context&, const GatherRowsArguments&, void*);
void scatter_rows_reference(const Context&, const ScatterRowsArguments&, void*);
void scatter_rows_cpu(const Context&, const ScatterRowsArguments&, void*);
void scatter_rows_portable(const Context&, const ScatterRowsArguments&, void*);

namespace {

void validate_gather(const GatherRowsArguments& a) {
  check(a.count >= 0 && a.width > 0 && a.rows >= 0 && (a.rows > 0 || a.count == 0), "gather_rows: ", a.count,
        " rows out of [", a.rows, ", ", a.width, "]");
}
void validate_scatter(const ScatterRowsArguments& a) {
  check(a.count >= 0 && a.width > 0 && a.rows >= a.count, "scatter_rows: ", a.count, " distinct rows into [", a.rows, ", ",
        a.width, "]");
}

template <class Arguments>
double row_bytes(const Arguments& a) {
  return static_cast<double>(a.width) * static_cast<double>(size_of(a.type));
}

template <class Arguments>
double flops(const Arguments&) {
  return 0;
}
double gather_bytes(const GatherRowsArguments& a) { return static_cast<double>(a.count) * (2 * row_bytes(a) + 4); }
double scatter_bytes(const ScatterRowsArguments& a) {
  return static_cast<double>(a.count) * (row_bytes(a) + 4) +
         static_cast<double>(a.keep_others ? a.count : a.rows) * row_bytes(a);
}

}  // namespace

template <>
const Operation<GatherRowsArguments>& operation<GatherRowsArguments>() {
  static const Operation<GatherRowsArguments> table = {
      "gather_rows",
      validate_gather,
      flops<GatherRowsArguments>,
      gather_bytes,
      {{"portable", Device::kCuda, kFrom80, nullptr, nullptr, gather_rows_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, nullptr, nullptr, gather_rows_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, gather_rows_reference}}};
  return table;
}

template <>
const Operation<ScatterRowsArguments>& operation<ScatterRowsArguments>() {
  static const Operation<ScatterRowsArguments> table = {
      "scatter_rows",
      validate_scatter,
      flops<ScatterRowsArguments>,
      scatter_bytes,
      {{"portable", Device::kCuda, kFrom80, nullptr, nullptr, scatter_rows_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, nullptr, nullptr, scatter_rows_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, scatter_rows_reference}}};
  return table;
}

}  // namespace koine
