#include "kernels/topk/topk.h"

#include <limits>

namespace koine {

// topk_reference.cpp
void top_k_reference(const Context&, const TopKArguments&, void* workspace);
// topk_cpu.cpp
std::size_t top_k_cpu_workspace(const TopKArguments&);
void top_k_cpu(const Context&, const TopKArguments&, void* workspace);
// topk.cu
bool top_k_portable_supports(const TopKArguments&);
std::size_t top_k_portable_workspace(const TopKArguments&);
void top_k_portable(const Context&, const TopKArguments&, void* workspace);
// The same of two ways.
void top_k_two_way_reference(const Context&, const TwoWayTopKArguments&, void* workspace);
std::size_t top_k_two_way_cpu_workspace(const TwoWayTopKArguments&);
void top_k_two_way_cpu(const Context&, const TwoWayTopKArguments&, void* workspace);
bool top_k_two_way_portable_supports(const TwoWayTopKArguments&);
std::size_t top_k_two_way_portable_workspace(const TwoWayTopKArguments&);
void top_k_two_way_portable(const Context&, const TwoWayTopKArguments&, void* workspace);

namespace {

using Arguments = TopKArguments;

void validate(const Arguments& arguments) {
  check(arguments.queries_count >= 0 && arguments.width > 0, "top_k of [", arguments.queries_count, ", ", arguments.width,
        "] queries");
  check(arguments.candidates_count <= std::numeric_limits<std::int32_t>::max(),
        "top_k numbers candidates with 32 bits, got ", arguments.candidates_count);
  check(arguments.k >= 1 && arguments.k <= arguments.candidates_count, "top_k: k is ", arguments.k, " of ",
        arguments.candidates_count, " candidates");
  if (arguments.queries_count == 0) return;
  check(arguments.queries && arguments.candidates && arguments.indices && arguments.scores, "top_k of [",
        arguments.queries_count, ", ", arguments.width, "] queries: an operand is null");
}

double flops(const Arguments& arguments) {
  return 2.0 * static_cast<double>(arguments.queries_count) * static_cast<double>(arguments.candidates_count) *
         static_cast<double>(arguments.width);
}

double bytes(const Arguments& arguments) {
  return 4.0 * static_cast<double>((arguments.queries_count + arguments.candidates_count) * arguments.width) +
         8.0 * static_cast<double>(arguments.queries_count * arguments.k);
}

void validate_two_way(const TwoWayTopKArguments& arguments) {
  check(arguments.queries_count >= 1, "top_k_two_way without queries");
  validate(arguments.forth());
  validate(arguments.back());
}

double two_way_flops(const TwoWayTopKArguments& arguments) { return flops(arguments.forth()); }

double two_way_bytes(const TwoWayTopKArguments& arguments) {
  return bytes(arguments.forth()) + 8.0 * static_cast<double>(arguments.candidates_count * arguments.back_k);
}

}  // namespace

template <>
const Operation<Arguments>& operation<Arguments>() {
  static const Operation<Arguments> table{
      "top_k",
      validate,
      flops,
      bytes,
      {{"portable", Device::kCuda, kFrom80, top_k_portable_supports, top_k_portable_workspace, top_k_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, nullptr, top_k_cpu_workspace, top_k_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, top_k_reference}}};
  return table;
}

template <>
const Operation<TwoWayTopKArguments>& operation<TwoWayTopKArguments>() {
  static const Operation<TwoWayTopKArguments> table{
      "top_k_two_way",
      validate_two_way,
      two_way_flops,
      two_way_bytes,
      {{"portable", Device::kCuda, kFrom80, top_k_two_way_portable_supports, top_k_two_way_portable_workspace,
        top_k_two_way_portable},
       {"cpu", Device::kCpu, kAnyArchitecture, nullptr, top_k_two_way_cpu_workspace, top_k_two_way_cpu},
       {kReference, Device::kCpu, kAnyArchitecture, nullptr, nullptr, top_k_two_way_reference}}};
  return table;
}

}  // namespace koine
