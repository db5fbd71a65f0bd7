#pragma once

// How an operation comes to be measured: a file here with a Measured, which goes over the batches of the plan and gives
// measure() the cases (kernels/<op>/<op>_cases.h) at the shapes of real models.
//
//   const Measured layernorm([] {
//     for (const Batch& batch : batches()) {
//       const LayerNormShape shape = {batch.tokens, batch.model.hidden};
//       measure(batch.name("plain"), batch.type, [=] { return layernorm_forward_case(shape); });
//     }
//   });

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bench/support/machine.h"
#include "kernels/common/cases.h"
#include "kernels/common/registry.h"

namespace koine::bench {

struct ModelShape {
  const char* name;
  std::int64_t hidden, feed_forward, heads;
};

/// What is measured: set once from the command line.
struct Plan {
  Device device = Device::kCpu;
  bool tiny = false;
  int repetitions = 0;  ///< 0: 3 on a device, Google Benchmark's option on the CPU
  int iterations = 0;   ///< of a repetition; 0: 20 on a device
  std::vector<ModelShape> models;
  std::vector<std::int64_t> tokens;
  std::vector<std::string> lengths;  ///< of the sequences in attention: a number, or "mnli"
  /// Only these, in this order, in turns; empty: all of the table, one after the other.
  std::vector<std::string> variants;
  bool ceilings = true;  ///< shares of them are wanted

  bool names(std::string_view variant) const {
    return std::find(variants.begin(), variants.end(), variant) != variants.end();
  }
  std::int64_t vocabulary = 250002;
  std::int64_t optimizer_elements = 16 << 20;
  std::int64_t product_size = 2048;
  std::size_t copy_bytes = 256 << 20;
};
const Plan& plan();
void set_plan(Plan plan);
/// The real shapes for a device, or shapes that take no time.
Plan plan_for(Device device, bool tiny);
/// Another batch and model in place of the plan's: "tokens=1000,hidden=768,heads=12", keys as in the help; throws UserError.
void set_shape(Plan& plan, const std::string& text);
Machine& machine();

/// A batch of a model, in a type.
struct Batch {
  ModelShape model;
  std::int64_t tokens;
  DType type;

  /// what/model/tokens
  std::string name(const std::string& what) const { return name(what, tokens); }
  /// Where another number than the batch's tokens says how large it is.
  std::string name(const std::string& what, std::int64_t rows) const;
  /// Of its model and type: for what does not depend on the tokens.
  bool first() const { return tokens == plan().tokens.front(); }
};
/// Both types, every model, every number of tokens; beyond the second model bf16 alone: nobody waits for its fp32.
std::vector<Batch> batches();

constexpr std::int64_t kLength = 128;  ///< of every sequence, where only rows matter

/// Lengths that add up to `tokens`: all alike ("128"), or as MNLI's pairs are in the XLM-R vocabulary, about lognormal with
/// mean 45 and coefficient of variation 0.55 ("mnli").
std::vector<std::int64_t> lengths_of(const std::string& kind, std::int64_t tokens);
/// Word ids that occur about as often as words do: a few very often, most hardly (rank by Zipf's law).
std::vector<std::int32_t> word_ids(std::int64_t tokens);
/// Positions in sequences of kLength, from XLM-R's first, 2.
std::vector<std::int32_t> positions_of(std::int64_t tokens);

/// A variant's launch on operands in the machine's memory.
struct Launch {
  std::function<void()> run;
  double flops = 0;
  double bytes = 0;
  std::string shape;       ///< the case's name
  std::string tuning_key;  ///< as tools/gpu/tune.py reads it; "": not tuned
};
/// Nothing where the variant is not for this machine or these arguments.
using Prepare = std::function<std::optional<Launch>(Operands&)>;

/// Registers the benchmarks of a case, one a variant: operation/name/type/shape/variant. `shape` is the case's name.
struct PreparedVariant {
  std::string name;
  Prepare prepare;
};
void add_benchmarks(std::string_view operation, const std::string& name, DType type, const std::string& shape,
                    std::vector<PreparedVariant> variants);

template <class Arguments>
std::optional<Launch> prepare(Operands& operands, const Variant<Arguments>& variant, const cases::Case<Arguments>& one,
                              DType type) {
  Arguments arguments = one.typed(type);
  for (const cases::Operand<Arguments>& operand : one.operands) {
    void* const data = operands.filled(operand.type(type), operand.count, operand.values.described());
    if (operand.bind) operand.bind(arguments, data);
  }
  const Operation<Arguments>& table = operation<Arguments>();
  table.validate(arguments);
  if (!usable(variant, machine().context(), arguments)) return std::nullopt;
  Launch launch;
  launch.flops = table.flops(arguments), launch.bytes = table.bytes(arguments), launch.shape = one.name;
  if (table.tuning_key != nullptr) {
    const std::uint64_t key = table.tuning_key(arguments);
    launch.tuning_key = concatenate(key, " ", table.tuning_text(key));
  }
  void* const workspace = operands.unwritten(variant.workspace_bytes == nullptr ? 0 : variant.workspace_bytes(arguments));
  arguments = cases::with_pointers(arguments, operands.uploaded(one.arrays));
  launch.run = [&variant, arguments, workspace] { variant.launch(machine().context(), arguments, workspace); };
  return launch;
}

/// Registers the variants of the device, the reference only where the plan names it; `make()` gives the case when its turn comes, and once for its name.
template <class Make>
void measure(const std::string& name, DType type, Make make) {
  using Arguments = decltype(make().arguments);
  const Operation<Arguments>& table = operation<Arguments>();
  std::vector<PreparedVariant> variants;
  for (const Variant<Arguments>& variant : table.variants) {
    if (variant.device != plan().device || (variant.name == kReference && !plan().names(kReference))) continue;
    variants.push_back({std::string(variant.name), [&variant, type, make](Operands& operands) {
                          return prepare<Arguments>(operands, variant, make(), type);
                        }});
  }
  add_benchmarks(table.name, name, type, make().name, std::move(variants));
}

/// Takes part in a run by standing in a file: `add` is called once the plan is known.
struct Measured {
  explicit Measured(void (*add)());
};
/// Calls them all, and sees that every operation of the build was measured, and that the plan's variants are some operation's.
void add_all();

}  // namespace koine::bench
