#pragma once

// The registry of operations and their variants.
//
// An operation is a struct of arguments. `<op>.cpp` specialises `operation<Arguments>()` with the one place that checks the
// shapes, counts FLOPs and bytes, and lists the variants in order of preference. `run` picks the variant the context forces,
// else the one measured as the fastest for such arguments, else the first that is for the context's device and architecture
// and supports the arguments. Tests and benchmarks walk `Operation::variants`, so a variant is tested and measured by
// standing in that list; kernels/operations.h lists the operations.

#include <algorithm>
#include <cstddef>
#include <functional>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/common/check.h"
#include "kernels/common/stack_memory.h"
#include "kernels/common/tuning_table.h"
#include "kernels/common/types.h"

namespace koine {

/// Time and work by operation, filled by run() where a context has one.
struct Profile {
  /// Seconds, read when all work of the context is done: on a device it waits for the stream, before and after every
  /// operation.
  std::function<double()> clock;
  struct Entry {
    std::int64_t calls = 0;
    double seconds = 0;
    double flops = 0;
    double bytes = 0;
  };
  std::map<std::string, Entry, std::less<>> operations;
};

/// The architectures a variant's code runs on: compute capabilities times ten (80, 90, 100), both ends included.
struct ArchitectureWindow {
  int first = 0;
  int last = std::numeric_limits<int>::max();

  constexpr bool holds(int architecture) const { return first <= architecture && architecture <= last; }
};
inline constexpr ArchitectureWindow kAnyArchitecture = {};  ///< on the CPU
inline constexpr ArchitectureWindow kFrom80 = {80};         ///< what the portable CUDA kernels are written for
inline constexpr ArchitectureWindow kFrom90 = {90};
/// Code compiled for 90a (wgmma, TMA): it runs on 9.0 and on nothing that came after.
inline constexpr ArchitectureWindow kOnly90 = {90, 90};

/// What every operation is called with besides its arguments.
struct Context {
  Device device = Device::kCpu;
  /// Scratch of the operations: what a variant's workspace_bytes asks for, taken before its launch and given back after.
  StackMemory* scratch = nullptr;
  /// Operation name -> variant name, where somebody wants another than the first that fits.
  const std::map<std::string, std::string, std::less<>>* forced = nullptr;
  /// What was measured as the fastest, where nothing is forced.
  std::span<const TunedVariant> tuning = tuning_table();
  /// Where to add up time and work, or null.
  Profile* profile = nullptr;
  /// CUDA stream (kernels/cuda/runtime.h); null on the CPU.
  void* stream = nullptr;
  /// Compute capability times ten (80, 90) on CUDA; 0 on the CPU.
  int architecture = 0;
  /// Plan memory only: arguments are checked, workspaces taken from the (planning) scratch, nothing is launched.
  bool dry_run = false;
};

template <class Arguments>
struct Variant {
  /// "reference", "cpu", "packed", "onednn", "portable", "sm90", "vendor" ...; the reference is never picked unless forced.
  std::string_view name;
  Device device = Device::kCpu;
  ArchitectureWindow architectures;
  bool (*supports)(const Arguments&) = nullptr;                ///< null: everything the operation allows
  std::size_t (*workspace_bytes)(const Arguments&) = nullptr;  ///< null: none
  void (*launch)(const Context&, const Arguments&, void* workspace) = nullptr;
};

template <class Arguments>
struct Operation {
  std::string_view name;
  void (*validate)(const Arguments&) = nullptr;  ///< throws Error with the offending shape
  double (*flops)(const Arguments&) = nullptr;
  double (*bytes)(const Arguments&) = nullptr;  ///< least memory traffic: every operand read once, every result written once
  std::vector<Variant<Arguments>> variants;     ///< in order of preference
  /// What the speed of variants depends on, in one number, as the tuning table has it; null: not tuned.
  std::uint64_t (*tuning_key)(const Arguments&) = nullptr;
  /// The same for people: "nt 16384x4096x1024 bf16 to bf16 gelu".
  std::string (*tuning_text)(std::uint64_t key) = nullptr;
};

inline constexpr std::string_view kReference = "reference";

/// The table of one operation; specialised in `<op>.cpp`.
template <class Arguments>
const Operation<Arguments>& operation();

/// Whether a variant is for the context's device, whatever the arguments.
template <class AnyVariant>
bool runs_on_device(const AnyVariant& variant, const Context& context) {
  return variant.device == context.device && variant.architectures.holds(context.architecture);
}

template <class Arguments>
bool usable(const Variant<Arguments>& variant, const Context& context, const Arguments& arguments) {
  return runs_on_device(variant, context) && (variant.supports == nullptr || variant.supports(arguments));
}

/// The variant that the context forces for an operation, or "".
std::string_view forced_variant(const Context& context, std::string_view operation);
/// The variant that the context's table of measurements holds for the fastest, or "".
std::string_view tuned_variant(const Context& context, std::string_view operation, std::uint64_t key);

/// The one decision of who runs: the forced variant and no other; else the tuned one where it fits; else the first that fits
/// and is not the reference. Null: none. `fits` sees arguments (run()) or the device alone (`koine doctor`).
template <class Variants, class Fits>
auto preferred_variant(const Variants& variants, std::string_view forced, std::string_view tuned, const Fits& fits) -> const
    typename Variants::value_type* {
  if (forced.empty()) {
    for (const auto& variant : variants) {
      if (variant.name == tuned && fits(variant)) return &variant;
    }
  }
  for (const auto& variant : variants) {
    if (forced.empty() ? variant.name == kReference : variant.name != forced) continue;
    if (fits(variant)) return &variant;
  }
  return nullptr;
}

/// The variant run() would launch. Throws Error where there is none, or where the forced one does not fit.
template <class Arguments>
const Variant<Arguments>& choose_variant(const Context& context, const Arguments& arguments) {
  const Operation<Arguments>& table = operation<Arguments>();
  const std::string_view forced = forced_variant(context, table.name);
  std::string_view tuned;
  if (table.tuning_key != nullptr && !context.tuning.empty() && context.device == Device::kCuda) {
    tuned = tuned_variant(context, table.name, table.tuning_key(arguments));
  }
  const Variant<Arguments>* const chosen = preferred_variant(
      table.variants, forced, tuned, [&](const Variant<Arguments>& variant) { return usable(variant, context, arguments); });
  if (chosen != nullptr) return *chosen;
  throw Error(concatenate("operation ", table.name, " has no variant ", forced, forced.empty() ? "" : " ",
                          "for these arguments on device ", name_of(context.device)));
}

/// Checks the arguments, takes the workspace, launches `variant`.
template <class Arguments>
void run_variant(const Context& context, const Variant<Arguments>& variant, const Arguments& arguments) {
  const std::size_t bytes = variant.workspace_bytes == nullptr ? 0 : variant.workspace_bytes(arguments);
  const auto launch = [&](void* workspace) {
    if (context.dry_run) return;
    if (context.profile == nullptr) {
      variant.launch(context, arguments, workspace);
      return;
    }
    const Operation<Arguments>& table = operation<Arguments>();
    const double start = context.profile->clock();
    variant.launch(context, arguments, workspace);
    Profile::Entry& entry = context.profile->operations[std::string(table.name)];
    entry.seconds += context.profile->clock() - start;
    entry.calls += 1;
    entry.flops += table.flops(arguments);
    entry.bytes += table.bytes(arguments);
  };
  if (bytes == 0) {
    launch(nullptr);
    return;
  }
  check(context.scratch != nullptr, "the operation needs scratch and the context has none");
  const StackScope scope(*context.scratch);
  launch(context.scratch->allocate(operation<Arguments>().name, bytes));
}

/// The most workspace any variant wants that may be picked for arguments of about these sizes: for plans of memory.
template <class Arguments>
std::size_t planned_workspace_bytes(const Context& context, const Arguments& arguments) {
  const Variant<Arguments>& chosen = choose_variant(context, arguments);
  std::size_t most = chosen.workspace_bytes == nullptr ? 0 : chosen.workspace_bytes(arguments);
  if (operation<Arguments>().tuning_key == nullptr || context.device == Device::kCpu) return most;
  for (const Variant<Arguments>& variant : operation<Arguments>().variants) {
    if (!usable(variant, context, arguments) || variant.workspace_bytes == nullptr) continue;
    most = std::max(most, variant.workspace_bytes(arguments));
  }
  return most;
}

template <class Arguments>
void run(const Context& context, const Arguments& arguments) {
  operation<Arguments>().validate(arguments);
  if (!context.dry_run) {
    run_variant(context, choose_variant(context, arguments), arguments);
  } else if (const std::size_t bytes = planned_workspace_bytes(context, arguments); bytes > 0) {
    check(context.scratch != nullptr, "the operation needs scratch and the context has none");
    const StackScope scope(*context.scratch);
    context.scratch->allocate(operation<Arguments>().name, bytes);
  }
}

}  // namespace koine
