#include "tasks/scaling/measure.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>

#include "engine/batch/packed_batch.h"
#include "engine/optimizer/optimizer.h"
#include "engine/ranks/gradient_buckets.h"
#include "kernels/common/check.h"
#include "kernels/random/random.h"

namespace koine {
namespace {

using Clock = std::chrono::steady_clock;

/// Elements of the all-reduces that latency and rate are fitted to: 4 KiB to 16 MiB.
constexpr std::int64_t kFewest = 1 << 10;
constexpr std::int64_t kMostElements = 1 << 22;

/// The longest time of a rank, in all of them.
double slowest(Communicator& communicator, double seconds) {
  std::vector<double> all(static_cast<std::size_t>(communicator.size()));
  communicator.all_gather(DType::kFloat64, &seconds, all.data(), 1, nullptr);
  return *std::max_element(all.begin(), all.end());
}

double timed(Communicator& communicator, const std::function<void()>& work) {
  communicator.barrier();
  const Clock::time_point begin = Clock::now();
  work();
  return slowest(communicator, std::chrono::duration<double>(Clock::now() - begin).count());
}

PackedBatch random_batch(const MeasureSettings& settings, std::int64_t tokens, std::uint64_t rank) {
  RandomStream random(1, rank);
  std::vector<Example> examples(static_cast<std::size_t>(tokens / settings.length));
  std::vector<const Example*> pointers;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    Example& example = examples[i];
    example.number = static_cast<std::uint32_t>(i);
    for (std::int64_t t = 0; t < settings.length; ++t)
      example.ids.push_back(static_cast<std::int32_t>(random.below(settings.config.vocab_size)));
    example.labels = {static_cast<std::int32_t>(random.below(settings.head.classes))};
    pointers.push_back(&example);
  }
  return pack(pointers, settings.head.kind);
}

/// A model and what trains it, as one rank has them.
class MeasuredModel {
 public:
  MeasuredModel(const MeasureSettings& settings, const Execution& execution, Communicator& communicator)
      : settings_(settings),
        communicator_(communicator),
        model_(make_model(settings.config, options_of(settings, execution))),
        exchange_(model_->parameters(), communicator, settings.bucket_elements, settings.ordered ? communicator.size() : 0),
        optimizer_(model_->parameters(), {}, false) {}

  MeasuredStep measure(std::int64_t tokens) {
    const PackedBatch batch = random_batch(settings_, tokens, static_cast<std::uint64_t>(communicator_.rank()));
    model_->reserve(tokens, true);
    const double scale = 1.0 / static_cast<double>(batch.counted_labels * communicator_.size());
    const auto compute = [&](const GradientReady& ready) {
      model_->add_batch(batch, scale, {1, step_++}, ready);
      if (ready) exchange_.finish(model_->context());
      optimizer_.step(model_->context(), 0);
    };
    std::vector<double> alone;
    std::vector<double> together;
    // In turns, so that what else the machine does is in both.
    for (std::int64_t repetition = -1; repetition < settings_.repetitions; ++repetition) {
      const double without = timed(communicator_, [&] { compute({}); });
      const double with = timed(communicator_, [&] { compute(exchange_.start()); });
      if (repetition < 0) continue;  // the first is for pages and caches
      alone.push_back(without);
      together.push_back(with);
    }
    return {tokens, median_of(alone), median_of(together)};
  }

 private:
  static ModelOptions options_of(const MeasureSettings& settings, const Execution& execution) {
    ModelOptions options;
    options.execution = execution;
    options.training = true;
    options.heads = {settings.head};
    return options;
  }

  const MeasureSettings& settings_;
  Communicator& communicator_;
  std::unique_ptr<Model> model_;
  GradientExchange exchange_;
  Optimizer optimizer_;
  std::uint32_t step_ = 0;
};

std::vector<MeasuredAllReduce> measure_all_reduces(Communicator& communicator, std::int64_t repetitions) {
  std::vector<MeasuredAllReduce> measured;
  std::vector<float> values(static_cast<std::size_t>(kMostElements));
  for (std::int64_t count = kFewest; count <= kMostElements; count *= 4) {
    std::vector<double> seconds;
    for (std::int64_t repetition = -1; repetition < repetitions; ++repetition) {
      const double one =
          timed(communicator, [&] { communicator.all_reduce(DType::kFloat32, values.data(), count, nullptr); });
      if (repetition >= 0) seconds.push_back(one);
    }
    measured.push_back({communicator.size(), static_cast<double>(count) * sizeof(float), median_of(seconds)});
  }
  return measured;
}

nlohmann::json json_of(const MeasuredStep& step) {
  return {{"tokens", step.tokens}, {"compute_seconds", step.compute}, {"seconds", step.seconds}};
}

MeasuredStep step_from(const nlohmann::json& json) {
  return {json.at("tokens"), json.at("compute_seconds"), json.at("seconds")};
}

/// What one rank computes in a step of so many tokens: the line through its two steps.
double compute_of_one(const RankMeasurement& one, double tokens) {
  const auto few = static_cast<double>(std::min(one.weak.tokens, one.strong.tokens));
  const auto many = static_cast<double>(std::max(one.weak.tokens, one.strong.tokens));
  const double at_few = one.weak.tokens <= one.strong.tokens ? one.weak.compute : one.strong.compute;
  const double at_many = one.weak.tokens <= one.strong.tokens ? one.strong.compute : one.weak.compute;
  if (few == many) return at_few * tokens / few;
  return std::max(0.0, at_few + (at_many - at_few) * (tokens - few) / (many - few));
}

}  // namespace

ModelConfig measured_model_config() {
  ModelConfig config;
  config.vocab_size = 2048;
  config.hidden_size = 256;
  config.num_hidden_layers = 4;
  config.num_attention_heads = 4;
  config.intermediate_size = 1024;
  config.max_position_embeddings = 514;
  return config;
}

RankMeasurement measure_rank(const MeasureSettings& settings, const Execution& execution, Communicator& communicator) {
  const std::int64_t ranks = communicator.size();
  require(settings.tokens % settings.length == 0, "--tokens ", settings.tokens, " are not whole sequences of ",
          settings.length, " (--length)");
  require(settings.total_tokens % (ranks * settings.length) == 0, "--total-tokens ", settings.total_tokens,
          " do not divide among ", ranks, " ranks in whole sequences of ", settings.length, " (--length)");
  RankMeasurement measurement;
  measurement.ranks = ranks;
  MeasuredModel model(settings, execution, communicator);
  measurement.weak = model.measure(settings.tokens);
  measurement.strong = model.measure(settings.total_tokens / ranks);
  if (ranks > 1) measurement.all_reduces = measure_all_reduces(communicator, settings.repetitions);
  return measurement;
}

nlohmann::json to_json(const RankMeasurement& measurement) {
  nlohmann::json json = {
      {"ranks", measurement.ranks}, {"weak", json_of(measurement.weak)}, {"strong", json_of(measurement.strong)}};
  json["all_reduces"] = nlohmann::json::array();
  for (const MeasuredAllReduce& one : measurement.all_reduces)
    json["all_reduces"].push_back({{"bytes", one.bytes}, {"seconds", one.seconds}});
  return json;
}

RankMeasurement measurement_from(const nlohmann::json& json) {
  RankMeasurement measurement;
  measurement.ranks = json.at("ranks");
  measurement.weak = step_from(json.at("weak"));
  measurement.strong = step_from(json.at("strong"));
  for (const nlohmann::json& one : json.at("all_reduces"))
    measurement.all_reduces.push_back({measurement.ranks, one.at("bytes"), one.at("seconds")});
  return measurement;
}

MeasuredScaling predict_measured(const MeasureSettings& settings, std::vector<RankMeasurement> measurements,
                                 std::int64_t threads, std::int64_t processors, double memory_rate) {
  check(!measurements.empty() && measurements.front().ranks == 1, "a prediction begins with one rank");
  MeasuredScaling scaling;
  const RankMeasurement& one = measurements.front();
  const ParameterTable table = model_parameter_table(settings.config, {settings.head});
  DeviceStep plan;
  plan.buckets = ready_buckets(table, settings.bucket_elements, sizeof(float));
  const ExchangeOptions options{settings.ordered ? CollectiveAlgorithm::kAllToAll : CollectiveAlgorithm::kRing, false,
                                false};
  for (const RankMeasurement& measurement : measurements) {
    LinkFit fit;
    if (measurement.ranks > 1) fit = fit_link(measurement.all_reduces);
    scaling.fits.push_back(fit);
    Machine machine;
    machine.name = "this machine";
    machine.devices_per_node = measurement.ranks;
    machine.node = {fit.rate, fit.step, fit.step};
    machine.memory_rate = memory_rate;
    const double sharing = std::max(1.0, static_cast<double>(measurement.ranks * threads) / static_cast<double>(processors));
    for (const bool strong : {false, true}) {
      PredictedStep step;
      step.ranks = measurement.ranks;
      step.strong = strong;
      step.measured = strong ? measurement.strong : measurement.weak;
      plan.forward = compute_of_one(one, static_cast<double>(step.measured.tokens)) * sharing;
      step.predicted = simulate_step(machine, plan, options, measurement.ranks);
      const auto ranks = static_cast<double>(measurement.ranks);
      const MeasuredStep& alone = strong ? one.strong : one.weak;
      const double times = strong ? ranks : 1;
      step.efficiency = alone.seconds / (times * step.measured.seconds);
      step.predicted_efficiency = alone.compute / (times * step.predicted.seconds);
      scaling.steps.push_back(step);
    }
  }
  scaling.measurements = std::move(measurements);
  return scaling;
}

}  // namespace koine
