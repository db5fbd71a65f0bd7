#include "bench/operations/measure.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <deque>
#include <memory>
#include <set>

#include "bench/operations/ceilings.h"
#include "engine/files/comma_list.h"
#include "kernels/operations.h"
#include "kernels/random/random.h"

namespace koine::bench {
namespace {

Plan the_plan;
std::set<std::string, std::less<>> measured_operations, known_variants;

std::vector<void (*)()>& all_measured() {
  static std::vector<void (*)()> list;
  return list;
}

/// Seconds of each launch of this repetition.
std::vector<double> time_launches(benchmark::State& state, const Operands& operands, const Launch& launch) {
  if (machine().on_device()) {
    for (int warm_up = 0; warm_up < (the_plan.tiny ? 0 : 3); ++warm_up) operands.restore(), launch.run();
  }
  std::vector<double> seconds;
  for (auto _ : state) {
    operands.restore();
    machine().flush_cache();
    seconds.push_back(machine().seconds(launch.run));
    state.SetIterationTime(seconds.back());
  }
  return seconds;
}

/// What a launch took, in the table's terms.
void report(benchmark::State& state, const Launch& launch, DType type, const std::vector<double>& seconds) {
  if (the_plan.tiny) {
    state.SetLabel("not a measurement");
    return;
  }
  const double taken = median(seconds);
  state.SetLabel(launch.tuning_key.empty() ? launch.shape : launch.shape + " | key " + launch.tuning_key);
  state.counters["us"] = taken * 1e6;
  std::vector<double> sorted = seconds;
  std::sort(sorted.begin(), sorted.end());
  state.counters["us_lower"] = sorted[(sorted.size() - 1) / 4] * 1e6;  // quartiles
  state.counters["us_upper"] = sorted[3 * (sorted.size() - 1) / 4] * 1e6;
  state.counters["us_least"] = sorted.front() * 1e6;
  state.counters["us_most"] = sorted.back() * 1e6;
  state.counters["TFLOP/s"] = launch.flops / taken * 1e-12;
  state.counters["GB/s"] = launch.bytes / taken * 1e-9;
  if (!the_plan.ceilings) return;
  state.counters["of_product"] = launch.flops / taken / product_ceiling(type).rate;
  state.counters["of_copy"] = launch.bytes / taken / copy_ceiling();
}

constexpr const char* kUnsuitable = "not for this machine or these arguments";

void measure_launch(benchmark::State& state, const Prepare& prepare, DType type) {
  Operands operands(machine());
  const std::optional<Launch> launch = prepare(operands);
  if (!launch) {
    state.SkipWithError(kUnsuitable);
    return;
  }
  report(state, *launch, type, time_launches(state, operands, *launch));
}

// --- variants in turns ---------------------------------------------------------------------------------------------------

constexpr double kTurn = 2e-3;  ///< seconds, at least: on the CPU, where one launch of a small shape is all noise

/// The variants of a case that take turns. Google Benchmark runs one benchmark after the other: whichever of them comes first
/// measures a repetition of all, and the others hand out what was measured then.
class InTurns {
 public:
  explicit InTurns(std::vector<PreparedVariant> variants) {
    for (PreparedVariant& variant : variants) members_.push_back({std::move(variant.prepare), {}});
  }

  void measure(benchmark::State& state, std::size_t place, DType type) {
    if (members_[place].waiting.empty()) take_turns(static_cast<std::size_t>(state.max_iterations));
    const Taken measured = std::move(members_[place].waiting.front());
    members_[place].waiting.pop_front();
    if (!measured.launch) {
      state.SkipWithError(kUnsuitable);
      return;
    }
    std::size_t turn = 0;
    for (auto _ : state) state.SetIterationTime(measured.seconds[turn++]);
    report(state, *measured.launch, type, measured.seconds);
    if (!the_plan.tiny && !measured.to_first.empty()) state.counters["to_first"] = median(measured.to_first);
  }

 private:
  struct Taken {
    std::optional<Launch> launch;  ///< not to be run any more
    std::vector<double> seconds;   ///< of a launch, turn by turn
    std::vector<double> to_first;  ///< the seconds of the first variant that runs here by these, turn by turn
  };
  struct Member {
    Prepare prepare;
    std::deque<Taken> waiting;  ///< a repetition each
  };

  /// Seconds of a launch: the mean of `launches`.
  static double turn_of(const Operands& operands, const Launch& launch, int launches) {
    double seconds = 0;
    for (int i = 0; i < launches; ++i) {
      operands.restore();
      machine().flush_cache();
      seconds += machine().seconds(launch.run);
    }
    return seconds / launches;
  }

  /// `turns` of every variant, forwards and backwards by turns, so that a machine that speeds up or slows down favours nobody.
  void take_turns(std::size_t turns) {
    std::vector<std::unique_ptr<Operands>> operands;
    std::vector<Taken> measured(members_.size());
    std::vector<int> launches(members_.size(), 1);
    for (std::size_t i = 0; i < members_.size(); ++i) {
      operands.push_back(std::make_unique<Operands>(machine()));
      measured[i].launch = members_[i].prepare(*operands[i]);
      if (!measured[i].launch || the_plan.tiny) continue;
      turn_of(*operands[i], *measured[i].launch, 1);  // what is made at the first time
      const double once = turn_of(*operands[i], *measured[i].launch, 2);
      if (!machine().on_device()) launches[i] = std::clamp(static_cast<int>(kTurn / std::max(once, 1e-9)), 1, 10000);
    }
    for (std::size_t turn = 0; turn < turns; ++turn) {
      for (std::size_t step = 0; step < members_.size(); ++step) {
        const std::size_t i = turn % 2 == 0 ? step : members_.size() - 1 - step;
        if (measured[i].launch) measured[i].seconds.push_back(turn_of(*operands[i], *measured[i].launch, launches[i]));
      }
    }
    const auto first =
        std::find_if(measured.begin(), measured.end(), [](const Taken& taken) { return taken.launch.has_value(); });
    for (Taken& taken : measured) {
      for (std::size_t turn = 0; turn < taken.seconds.size(); ++turn) {
        taken.to_first.push_back(first->seconds[turn] / taken.seconds[turn]);
      }
    }
    for (std::size_t i = 0; i < members_.size(); ++i) members_[i].waiting.push_back(std::move(measured[i]));
  }

  std::vector<Member> members_;
};

/// Of those of a case the plan's, in the plan's order.
std::vector<PreparedVariant> chosen(std::vector<PreparedVariant> variants) {
  for (const PreparedVariant& variant : variants) known_variants.insert(variant.name);
  if (the_plan.variants.empty()) return variants;
  std::vector<PreparedVariant> result;
  for (const std::string& wanted : the_plan.variants) {
    for (const PreparedVariant& variant : variants) {
      if (variant.name == wanted) result.push_back(variant);
    }
  }
  return result;
}

/// A case's name as a part of a benchmark's: "[1024, 768] residual" -> "1024x768_residual".
std::string name_part(const std::string& shape) {
  std::string part;
  bool inside = false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const char c = shape[i];
    if (c == '[' || c == ']') {
      inside = c == '[';
    } else if (c == ',' && i + 1 < shape.size() && shape[i + 1] == ' ') {
      part += inside ? 'x' : '_';
      ++i;
    } else {
      part += c == ' ' ? '_' : c == '/' ? '-' : c;
    }
  }
  return part;
}

}  // namespace

// --- the plan ------------------------------------------------------------------------------------------------------------

const Plan& plan() { return the_plan; }

void set_plan(Plan plan) { the_plan = std::move(plan); }

Plan plan_for(Device device, bool tiny) {
  Plan plan;
  plan.device = device, plan.tiny = tiny;
  if (tiny) {
    plan.models = {{"tiny", 64, 256, 1}};
    plan.tokens = {48};
    plan.lengths = {"16", "mnli"};
    plan.vocabulary = 500, plan.optimizer_elements = 4096, plan.product_size = 64, plan.copy_bytes = 1 << 16;
  } else if (device == Device::kCpu) {
    plan.models = {{"base", 768, 3072, 12}, {"large", 1024, 4096, 16}};
    plan.tokens = {256, 1024, 4096};
    plan.lengths = {"128"};
  } else {
    plan.models = {{"base", 768, 3072, 12}, {"large", 1024, 4096, 16}, {"xl", 2560, 10240, 32}, {"xxl", 4096, 16384, 32}};
    plan.tokens = {1024, 4096, 16384};
    plan.lengths = {"128", "512", "mnli"};
    plan.optimizer_elements = 64 << 20;
    plan.product_size = 8192, plan.copy_bytes = std::size_t{4} << 30;  // 8.6 GB read and written
  }
  return plan;
}

void set_shape(Plan& plan, const std::string& text) {
  std::map<std::string, std::int64_t> values = {{"tokens", 0}, {"hidden", 0},     {"feed_forward", 0}, {"heads", 0},
                                                {"length", 0}, {"vocabulary", 0}, {"elements", 0}};
  for (const std::string& entry : split_commas(text)) {
    const std::size_t equals = std::min(entry.find('='), entry.size());
    const auto found = values.find(entry.substr(0, equals));
    require(found != values.end(), "--shape: \"", entry,
            "\" is not KEY=NUMBER with a key of tokens, hidden, feed_forward, heads, length, vocabulary, elements");
    const char* const begin = entry.data() + std::min(equals + 1, entry.size());
    const char* const end = entry.data() + entry.size();
    const auto [stop, error] = std::from_chars(begin, end, found->second);
    require(error == std::errc() && stop == end && found->second > 0 && found->second <= 1000000000, "--shape: \"", entry,
            "\": not a number from 1 to 1000000000");
  }
  const auto given = [&](const char* key, std::int64_t otherwise) { return values[key] > 0 ? values[key] : otherwise; };
  const std::int64_t hidden = given("hidden", 768);
  const std::int64_t heads = given("heads", std::max<std::int64_t>(1, hidden / 64));
  require(hidden % heads == 0, "--shape: ", heads, " heads do not divide hidden ", hidden, "; say heads=");
  plan.models = {{"custom", hidden, given("feed_forward", 4 * hidden), heads}};
  plan.tokens = {given("tokens", 1024)};
  if (values["length"] > 0) plan.lengths = {std::to_string(values["length"])};
  plan.vocabulary = given("vocabulary", plan.vocabulary);
  plan.optimizer_elements = given("elements", plan.optimizer_elements);
}

Machine& machine() {
  static Machine made(the_plan.device);
  return made;
}

std::string Batch::name(const std::string& what, std::int64_t rows) const {
  return concatenate(what, "/", model.name, "/", rows);
}

std::vector<Batch> batches() {
  std::vector<Batch> list;
  for (const DType type : {DType::kFloat32, DType::kBFloat16}) {
    for (std::size_t i = 0; i < the_plan.models.size(); ++i) {
      if (type == DType::kFloat32 && i >= 2) continue;
      for (const std::int64_t tokens : the_plan.tokens) list.push_back({the_plan.models[i], tokens, type});
    }
  }
  return list;
}

// --- batches -------------------------------------------------------------------------------------------------------------

std::vector<std::int64_t> lengths_of(const std::string& kind, std::int64_t tokens) {
  std::vector<std::int64_t> lengths;
  RandomStream random(1, 1);
  constexpr double kSigma = 0.514;
  for (std::int64_t left = tokens; left > 0; left -= lengths.back()) {
    const std::int64_t wanted =
        kind == "mnli"
            ? std::clamp<std::int64_t>(std::lround(45 * std::exp(kSigma * random.normal() - kSigma * kSigma / 2)), 8, 256)
            : std::stoll(kind);
    lengths.push_back(std::min(wanted, left));
  }
  return lengths;
}

std::vector<std::int32_t> word_ids(std::int64_t tokens) {
  RandomStream random(2, 1);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens));
  for (std::int32_t& id : ids) {
    id = static_cast<std::int32_t>(std::pow(static_cast<double>(the_plan.vocabulary), random.uniform())) - 1;
  }
  return ids;
}

std::vector<std::int32_t> positions_of(std::int64_t tokens) {
  std::vector<std::int32_t> positions(static_cast<std::size_t>(tokens));
  for (std::size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<std::int32_t>(i % kLength) + 2;
  return positions;
}

// --- benchmarks ----------------------------------------------------------------------------------------------------------

void add_benchmarks(std::string_view operation, const std::string& name, DType type, const std::string& shape,
                    std::vector<PreparedVariant> variants) {
  measured_operations.insert(std::string(operation));
  variants = chosen(std::move(variants));
  const bool turns = !the_plan.variants.empty(), device = the_plan.device == Device::kCuda;
  const auto in_turns = turns ? std::make_shared<InTurns>(variants) : nullptr;
  for (std::size_t place = 0; place < variants.size(); ++place) {
    const std::string full = concatenate(the_plan.tiny ? "smoke/" : "", operation, "/", name, "/", name_of(type), "/",
                                         name_part(shape), "/", variants[place].name);
    benchmark::internal::Benchmark* const added = benchmark::RegisterBenchmark(
        full.c_str(), [type, in_turns, place, prepare = variants[place].prepare](benchmark::State& state) {
          if (in_turns != nullptr) {
            in_turns->measure(state, place, type);
          } else {
            measure_launch(state, prepare, type);
          }
        });
    added->UseManualTime()->Unit(benchmark::kMicrosecond);
    if (the_plan.iterations > 0 || device || turns || the_plan.tiny) {
      added->Iterations(the_plan.iterations > 0 ? the_plan.iterations : the_plan.tiny ? 1 : 20);
    }
    if (the_plan.repetitions > 0 || (device && !the_plan.tiny)) {
      added->Repetitions(the_plan.repetitions > 0 ? the_plan.repetitions : 3);
    }
  }
}

Measured::Measured(void (*add)()) { all_measured().push_back(add); }

void add_all() {
  for (void (*add)() : all_measured()) add();
  for (const OperationSummary& summary : all_operations()) {
    check(measured_operations.count(summary.name) > 0, "bench_operations has no shapes for operation ", summary.name);
  }
  for (const std::string& wanted : the_plan.variants) {
    std::string all;
    for (const std::string& name : known_variants) all += (all.empty() ? "" : ", ") + name;
    require(known_variants.count(wanted) > 0, "--variants: no operation has a variant \"", wanted,
            "\" on this device; there are ", all);
  }
}

}  // namespace koine::bench
