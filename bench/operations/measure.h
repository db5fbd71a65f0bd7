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
  std::int64_t vocabulary = 250002;
  std::int64_t optimizer_elements = 16 << 20;
  std::int64_t product_size = 2048;
  std::size_t copy_bytes = 256 << 20;
};
const Plan& plan();
void set_plan(Device device, bool tiny, int repetitions, int iterations);
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

/// Registers a benchmark: operation/name/type/variant.
void add_benchmark(std::string_view operation, const std::string& name, DType type, std::string_view variant,
                   Prepare prepare);

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

/// Registers all variants of the device but the reference; `make()` gives the case when its turn comes.
template <class Make>
void measure(const std::string& name, DType type, Make make) {
  using Arguments = decltype(make().arguments);
  const Operation<Arguments>& table = operation<Arguments>();
  for (const Variant<Arguments>& variant : table.variants) {
    if (variant.name == kReference || variant.device != plan().device) continue;
    add_benchmark(table.name, name, type, variant.name, [&variant, type, make](Operands& operands) {
      return prepare<Arguments>(operands, variant, make(), type);
    });
  }
}

/// Takes part in a run by standing in a file: `add` is called once the plan is known.
struct Measured {
  explicit Measured(void (*add)());
};
/// Calls them all, and sees that every operation of the build was measured.
void add_all();

}  // namespace koine::bench
