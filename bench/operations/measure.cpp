#include "bench/operations/measure.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "bench/operations/ceilings.h"
#include "kernels/operations.h"
#include "kernels/random/random.h"

namespace koine::bench {
namespace {

Plan the_plan;
std::set<std::string, std::less<>> measured_operations;

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

void measure_launch(benchmark::State& state, const Prepare& prepare, DType type) {
  Operands operands(machine());
  const std::optional<Launch> launch = prepare(operands);
  if (!launch) {
    state.SkipWithError("not for this machine or these arguments");
    return;
  }
  const std::vector<double> seconds = time_launches(state, operands, *launch);
  if (the_plan.tiny) {
    state.SetLabel("not a measurement");
    return;
  }
  const double taken = median(seconds);
  state.SetLabel(launch->tuning_key.empty() ? launch->shape : launch->shape + " | key " + launch->tuning_key);
  state.counters["us"] = taken * 1e6;
  state.counters["us_least"] = *std::min_element(seconds.begin(), seconds.end()) * 1e6;
  state.counters["us_most"] = *std::max_element(seconds.begin(), seconds.end()) * 1e6;
  state.counters["TFLOP/s"] = launch->flops / taken * 1e-12;
  state.counters["GB/s"] = launch->bytes / taken * 1e-9;
  state.counters["of_product"] = launch->flops / taken / product_ceiling(type).rate;
  state.counters["of_copy"] = launch->bytes / taken / copy_ceiling();
}

}  // namespace

// --- the plan ------------------------------------------------------------------------------------------------------------

const Plan& plan() { return the_plan; }

void set_plan(Device device, bool tiny, int repetitions, int iterations) {
  Plan plan;
  plan.device = device, plan.tiny = tiny, plan.repetitions = repetitions, plan.iterations = iterations;
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
  the_plan = plan;
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

void add_benchmark(std::string_view operation, const std::string& name, DType type, std::string_view variant,
                   Prepare prepare) {
  measured_operations.insert(std::string(operation));
  const std::string full =
      concatenate(the_plan.tiny ? "smoke/" : "", operation, "/", name, "/", name_of(type), "/", variant);
  benchmark::internal::Benchmark* added = benchmark::RegisterBenchmark(
      full.c_str(), [type, prepare = std::move(prepare)](benchmark::State& state) { measure_launch(state, prepare, type); });
  added->UseManualTime()->Unit(benchmark::kMicrosecond);
  const bool device = the_plan.device == Device::kCuda;
  if (the_plan.iterations > 0 || device || the_plan.tiny) {
    added->Iterations(the_plan.iterations > 0 ? the_plan.iterations : the_plan.tiny ? 1 : 20);
  }
  if (the_plan.repetitions > 0 || (device && !the_plan.tiny)) {
    added->Repetitions(the_plan.repetitions > 0 ? the_plan.repetitions : 3);
  }
}

Measured::Measured(void (*add)()) { all_measured().push_back(add); }

void add_all() {
  for (void (*add)() : all_measured()) add();
  for (const OperationSummary& summary : all_operations()) {
    check(measured_operations.count(summary.name) > 0, "bench_operations has no shapes for operation ", summary.name);
  }
}

}  // namespace koine::bench
