// Whole steps of an XLM-R with random weights: encoding (hidden states pooled) and training (forward, backward with dropout,
// clipping, AdamW), beside the rate of a large matrix product in the same run.
//
//   bench_step --mode encode|train [--device cpu|cuda] [--size base|large|xl|xxl|tiny] [--precision fp32|bf16]
//              [--lengths 16x128|FILE] [--batch N] [--tokens N] [--repeats N] [--threads N] [--layers N] [--vocabulary N]
//              [--model DIR] [--profile] [--expect memory,trace]
//   bench_step --save-model DIR [--size ...]         writes the model as transformers reads it, and does nothing else
//   bench_step --serve NAME=FILE,... [--model DIR]   stays and runs batches of these files on demand, in turns with other programs
//
// --lengths FILE holds one sequence length a line. Training takes --batch sequences a step, in file order; encoding packs up
// to --tokens tokens as it likes. "tiny" is a model that takes no time, to see that everything runs; it is the only one for
// a device in a build whose CUDA kernels run on the CPU, and the result then says that it is not a measurement.
//
// One JSON object on standard output: real tokens per second (of --repeats repeats), share of the ceiling, on a device memory used
// beside the estimate and what a step asked of the device, and with --profile the time by operation. On the CPU that is
// taken in the repeats themselves; on a device in a pass of its own behind them, which waits for the device before and after
// every operation: shares of a step whose operations do not overlap. --expect: exit code 1 where memory is not within 5 % of
// the estimate, where a step allocates or waits.
//
// The ceiling is taken before and behind every repeat. Where the two differ by more than 10 % the machine's speed changed
// within: the repeat is thrown away, counted, and done again, up to four times --repeats in all.
//
// --serve reads commands line by line from standard input and answers each with a line of JSON:
//   losses NAME                  the mean of each batch, dropout off
//   train NAME [FIRST COUNT]     a turn: COUNT batches from number FIRST on, around and around; all of them without numbers.
//   encode NAME [FIRST COUNT]    Answers batches, tokens, seconds, processor_seconds (of all threads of this process), flops
//   probe SECONDS                the FLOP/s of one fixed product in fp32 over that time: how fast the machine is now
//   quit
//
// KOINE_FORCE=operation:variant,... forces variants, as for koine.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "bench/support/machine.h"
#include "bench/support/workload.h"
#include "engine/execution/forced_variants.h"
#include "engine/optimizer/optimizer.h"
#include "kernels/common/parallel.h"
#include "models/models.h"
#include "tasks/experiment/estimate.h"

namespace koine::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

struct Options {
  std::map<std::string, std::string> values = {
      {"mode", "encode"}, {"size", "base"},    {"precision", "fp32"}, {"lengths", "16x128"},
      {"batch", "32"},    {"repeats", "5"},    {"threads", "0"},      {"layers", "0"},
      {"profile", "0"},   {"vocabulary", "0"}, {"tokens", "2048"},    {"device", "cpu"},
      {"model", ""},      {"save-model", ""},  {"serve", ""},         {"expect", ""}};
  const std::string& operator[](const std::string& key) const { return values.at(key); }
  std::int64_t number(const std::string& key) const { return std::stoll(values.at(key)); }
  bool expects(const std::string& what) const {
    return ("," + values.at("expect") + ",").find("," + what + ",") != std::string::npos;
  }
  bool training() const { return values.at("mode") == "train"; }
  Execution execution() const {
    Execution execution;
    execution.device = values.at("device") == "cuda" ? Device::kCuda : Device::kCpu;
    execution.precision = values.at("precision") == "bf16" ? DType::kBFloat16 : DType::kFloat32;
    execution.forced_variants = forced_variants();
    return execution;
  }
};

Options parse(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string key = std::string(arguments[i]).substr(std::min<std::size_t>(2, std::string(arguments[i]).size()));
    require(options.values.count(key) != 0, "unknown option ", arguments[i]);
    if (key == "profile") {
      options.values[key] = "1";
      continue;
    }
    require(i + 1 < count, "option ", arguments[i], " needs a value");
    options.values[key] = arguments[++i];
  }
  require(options.training() || options["mode"] == "encode", "--mode is encode or train");
  require(options["device"] == "cpu" || options["device"] == "cuda", "--device is cpu or cuda");
  require(options["precision"] == "bf16" || options["precision"] == "fp32", "--precision is fp32 or bf16");
  return options;
}

ModelConfig config_of(const Options& options) {
  if (!options["model"].empty()) return read_model_config(options["model"]);
  ModelConfig config;
  if (options["size"] == "tiny") {
    config.vocab_size = 1000, config.hidden_size = 128, config.num_hidden_layers = 2, config.num_attention_heads = 2;
    config.intermediate_size = 256;
  } else {
    config = published_model_config(options["size"]);
  }
  if (options.number("layers") > 0) config.num_hidden_layers = options.number("layers");
  if (options.number("vocabulary") > 0) config.vocab_size = options.number("vocabulary");
  return config;
}

/// A model and what trains it.
class Stepper {
 public:
  Stepper(const Options& options, const ModelConfig& config, bool training) : training_(training) {
    ModelOptions model_options;
    model_options.execution = options.execution();
    model_options.training = training;
    if (training) model_options.heads = heads();
    model_ = options["model"].empty() ? make_model(config, model_options) : load_model(options["model"], model_options);
  }

  static std::vector<HeadSpec> heads() { return {{"", HeadKind::kSequence, 3}}; }
  Model& model() { return *model_; }

  void reserve(std::int64_t tokens) {
    model_->reserve(tokens, training_);
    if (training_ && optimizer_ == nullptr) {
      optimizer_ = std::make_unique<Optimizer>(model_->parameters(), settings_, model_->word_gradient_is_sparse());
    }
  }

  /// Seconds of a pass over all batches, until the device has done everything.
  double pass(const Work& work, bool training) {
    wait();
    const Clock::time_point start = Clock::now();
    for (const PackedBatch& batch : work.batches) step(batch, training);
    wait();
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  void step(const PackedBatch& batch, bool training) {
    if (!training) {
      model_->encode(batch, model_->layers(), Pooling::kMean);
      return;
    }
    optimizer_->prepare_rows(model_->context(), batch);
    model_->add_batch(batch, 1.0 / static_cast<double>(batch.counted_labels), {1, step_++});
    optimizer_->enqueue_step(model_->context(), settings_.learning_rate);
  }

  void wait() {
    if (model_->context().device == Device::kCuda) cuda::synchronize(model_->context().stream);
  }

 private:
  bool training_;
  TrainingSettings settings_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Optimizer> optimizer_;
  std::uint32_t step_ = 0;
};

// --- what a device was asked for -----------------------------------------------------------------------------------------

cuda::Trace combine(const cuda::Trace& left, const cuda::Trace& right, std::int64_t sign) {
  return {left.allocations + sign * right.allocations, left.synchronizations + sign * right.synchronizations,
          left.launches + sign * right.launches, left.graph_launches + sign * right.graph_launches,
          left.copies + sign * right.copies};
}

/// What the steps of a pass ask of the device. Each begins when the device has done everything before, so that a wait in it
/// is one that the step cannot do without, and not one of a host that is too far ahead.
Json trace_result(Stepper& stepper, const Work& work, bool training) {
  cuda::Trace sum;
  for (const PackedBatch& batch : work.batches) {
    stepper.wait();
    const cuda::Trace before = cuda::trace();
    stepper.step(batch, training);
    sum = combine(sum, combine(cuda::trace(), before, -1), 1);
  }
  stepper.wait();
  const auto per_step = [&](std::int64_t count) {
    return static_cast<double>(count) / static_cast<double>(work.batches.size());
  };
  return {{"allocations", sum.allocations},
          {"synchronizations", sum.synchronizations},
          {"steps", work.batches.size()},
          {"launches_per_step", per_step(sum.launches)},
          {"graph_launches_per_step", per_step(sum.graph_launches)},
          {"copies_per_step", per_step(sum.copies)}};
}

Json memory_result(const Options& options, const ModelConfig& config, std::int64_t tokens, std::size_t free_before,
                   bool measures) {
  MemoryQuestion question;
  question.config = config;
  if (options.training()) question.heads = Stepper::heads();
  question.execution = options.execution();
  question.training = options.training();
  question.tokens = tokens;
  const double estimate = estimate_memory(question).back().bytes;
  Json result = {{"estimated_bytes", estimate}};
  if (!measures) return result;
  const double used = static_cast<double>(free_before) - static_cast<double>(cuda::free_memory());
  result["used_bytes"] = used;
  result["used_to_estimated"] = used / estimate;
  return result;
}

Json profile_result(const Profile& profile) {
  Json result = Json::object();
  for (const auto& [name, entry] : profile.operations) {
    result[name] = {{"calls", entry.calls},
                    {"seconds", entry.seconds},
                    {"gflops", entry.flops / entry.seconds / 1e9},
                    {"gigabytes_per_second", entry.bytes / entry.seconds / 1e9}};
  }
  return result;
}

/// Whether the result is what --expect asks for; what is not goes to standard error.
bool as_expected(const Options& options, const Json& result) {
  bool good = true;
  const auto expect = [&](bool holds, const std::string& what) {
    if (!holds) std::cerr << "bench_step: " << what << "\n";
    good = good && holds;
  };
  if (options.expects("memory") && result.contains("memory") && result["memory"].contains("used_to_estimated")) {
    const double ratio = result["memory"]["used_to_estimated"];
    expect(std::fabs(ratio - 1) <= 0.05, concatenate("memory used is ", ratio, " of the estimate"));
  }
  if (options.expects("trace")) {
    expect(result.contains("trace"), "only a run on a device has a trace");
    if (!good) return false;
    expect(result["trace"]["allocations"] == 0,
           concatenate("allocations within steps: ", result["trace"]["allocations"].dump()));
    expect(result["trace"]["synchronizations"] == 0,
           concatenate("waits within steps: ", result["trace"]["synchronizations"].dump()));
  }
  return good;
}

// --- measuring -----------------------------------------------------------------------------------------------------------

double ceiling(Machine& machine, const Options& options) {
  const std::int64_t size = options["size"] == "tiny" ? 64 : machine.on_device() ? 8192 : 2048;
  return product_rate(machine, options.execution().precision, size);
}

/// Of each repeat that is kept.
struct Repeats {
  std::vector<double> rates, shares, ceilings;
  std::int64_t thrown_away = 0;
};

Repeats measure_repeats(const Options& options, Machine& machine, Stepper& stepper, const Work& work) {
  constexpr double kSteady = 1.1;  // as STEADY in bench/peers/turns.py
  constexpr std::int64_t kTries = 4;
  const std::int64_t wanted = options.number("repeats");
  const bool measures = options["size"] != "tiny";
  Repeats kept;
  double before = ceiling(machine, options);
  for (std::int64_t tried = 0; std::ssize(kept.rates) < wanted; ++tried) {
    require(tried < kTries * wanted, "the machine's speed changed by more than 10 % within ", kept.thrown_away, " of ",
            tried, " repeats: nothing can be said on a machine as busy as this");
    const double seconds = stepper.pass(work, options.training());
    const double after = ceiling(machine, options);
    const double rate = (before + after) / 2;
    const bool steady = std::max(before, after) <= kSteady * std::min(before, after);
    before = after;
    if (measures && !steady) {
      ++kept.thrown_away;
      continue;
    }
    kept.rates.push_back(work.tokens / seconds);
    kept.ceilings.push_back(rate / 1e9);
    kept.shares.push_back(work.flops / seconds / rate);
  }
  return kept;
}

int measure(const Options& options) {
  Machine machine(options.execution().device);
  require(machine.measures() || options["size"] == "tiny", "this build runs CUDA kernels on the CPU: only with --size tiny");
  const bool on_device = machine.on_device();
  const ModelConfig config = config_of(options);
  ceiling(machine, options);  // what libraries keep for themselves is taken now
  const std::size_t free_before = on_device ? cuda::free_memory() : 0;
  Stepper stepper(options, config, options.training());
  const Dataset dataset = random_dataset(read_lengths(options["lengths"]), config.vocab_size);
  const Work work =
      pack_work(dataset, stepper.model(), options.training(), options.number("batch"), options.number("tokens"));
  stepper.reserve(work.largest_batch());

  // Primitives are made, pages touched; on a device a size is recorded when it comes for the second time.
  for (int pass = 0; pass < (on_device ? 3 : 1); ++pass) stepper.pass(work, options.training());
  Profile profile;
  profile.clock = [&stepper] {
    stepper.wait();
    return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
  };
  const bool profiled = options["profile"] == "1";
  if (profiled && !on_device) stepper.model().context().profile = &profile;
  const Repeats repeats = measure_repeats(options, machine, stepper, work);
  Json result = {
      {"program", "koine"}, {"mode", options["mode"]}, {"size", options["size"]}, {"precision", options["precision"]}};
  for (const auto& [name, value] : machine.description()) result[name] = value;
  if (options["size"] == "tiny") result["not_a_measurement"] = "a tiny model, to see that everything runs";
  result["threads"] = thread_count();
  result["lengths"] = options["lengths"];
  result["batches"] = work.batches.size();
  result["tokens"] = work.tokens;
  result["tokens_per_second"] = repeats.rates;
  result["ceiling_gflops"] = repeats.ceilings;
  result["share_of_ceiling"] = repeats.shares;
  result["thrown_away"] = repeats.thrown_away;
  if (on_device) {
    result["memory"] = memory_result(options, config, work.largest_batch(), free_before, machine.measures());
    result["trace"] = trace_result(stepper, work, options.training());
    if (profiled) {
      stepper.model().context().profile = &profile;
      stepper.pass(work, options.training());
    }
  }
  result["operations"] = profile_result(profile);
  std::cout << result.dump() << "\n";
  return as_expected(options, result) ? 0 : 1;
}

// --- on demand -----------------------------------------------------------------------------------------------------------

using Sets = std::map<std::string, Work>;

Sets read_sets(const Options& options, const Model& model) {
  Sets sets;
  std::istringstream list(options["serve"]);
  for (std::string entry; std::getline(list, entry, ',');) {
    const std::size_t equals = entry.find('=');
    require(equals != std::string::npos, "--serve wants NAME=FILE, not \"", entry, "\"");
    sets[entry.substr(0, equals)] = read_work(entry.substr(equals + 1), model);
  }
  return sets;
}

/// Processor seconds of all threads of this process.
double processor_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

/// `count` batches from number `first` on, around and around.
Json take_turn(Stepper& stepper, const Work& work, bool training, std::size_t first, std::size_t count) {
  Work turn;
  for (std::size_t i = 0; i < count; ++i) turn.batches.push_back(work.batches[(first + i) % work.batches.size()]);
  const double before = processor_seconds();
  const double seconds = stepper.pass(turn, training);
  const double processor = processor_seconds() - before;
  double tokens = 0;
  for (const PackedBatch& batch : turn.batches) tokens += static_cast<double>(batch.source.tokens);
  return {{"batches", count},
          {"tokens", tokens},
          {"seconds", seconds},
          {"processor_seconds", processor},
          {"flops", flops_of(turn, stepper.model(), training)}};
}

Json answer_to(const std::string& line, Stepper& stepper, Probe& probe, const Sets& sets) {
  std::istringstream words(line);
  std::string command, name;
  words >> command;
  if (command == "probe") {
    double seconds = 0;
    require(static_cast<bool>(words >> seconds) && seconds >= 0, "probe wants seconds, not \"", line, "\"");
    return {{"flops_per_second", probe.rate(seconds)}};
  }
  require(command == "losses" || command == "train" || command == "encode", "unknown command \"", command, "\"");
  words >> name;
  const auto found = sets.find(name);
  require(found != sets.end(), "no batches are named \"", name, "\"");
  const Work& work = found->second;
  if (command == "losses") {
    Json losses = Json::array();
    for (const PackedBatch& batch : work.batches) {
      losses.push_back(stepper.model().evaluate_loss(batch) / static_cast<double>(batch.counted_labels));
    }
    return {{"losses", losses}};
  }
  std::size_t first = 0, count = work.batches.size();
  if (!(words >> std::ws).eof()) {
    require(words >> first >> count && (words >> std::ws).eof() && count > 0 && count < 1000000, "a turn is \"", command,
            " NAME FIRST COUNT\", not \"", line, "\"");
  }
  return take_turn(stepper, work, command == "train", first, count);
}

int serve(const Options& options) {
  Stepper stepper(options, config_of(options), true);
  const Sets sets = read_sets(options, stepper.model());
  std::int64_t largest = 0;
  for (const auto& [name, work] : sets) largest = std::max(largest, work.largest_batch());
  stepper.reserve(largest);
  Machine machine(options.execution().device);
  // About 20 ms on one core of a CPU, and 10 ms on a large GPU: a turn of seconds beside it is a few per cent longer.
  Probe probe(machine, !machine.measures() ? 64 : machine.on_device() ? 4096 : 1024);
  Json ready = {{"ready", true}};
  for (const auto& [name, value] : machine.description()) ready[name] = value;
  std::cout << ready.dump() << std::endl;
  for (std::string line; std::getline(std::cin, line) && line != "quit";) {
    std::cout << answer_to(line, stepper, probe, sets).dump() << std::endl;
  }
  return 0;
}

int save(const Options& options) {
  ModelOptions model_options;
  model_options.heads = Stepper::heads();
  make_model(config_of(options), model_options)->save(options["save-model"]);
  return 0;
}

int run_program(const Options& options) {
  if (options.number("threads") > 0) set_thread_count(static_cast<int>(options.number("threads")));
  if (!options["save-model"].empty()) return save(options);
  return options["serve"].empty() ? measure(options) : serve(options);
}

}  // namespace
}  // namespace koine::bench

int main(int count, char** arguments) {
  try {
    return koine::bench::run_program(koine::bench::parse(count, arguments));
  } catch (const std::exception& error) {
    std::cerr << "bench_step: " << error.what() << "\n";
    return 1;
  }
}
