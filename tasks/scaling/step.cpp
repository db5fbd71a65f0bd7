#include "tasks/scaling/step.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "kernels/common/check.h"

namespace koine {
namespace {

/// Backward of the last micro-batch with buckets leaving beside it.
class OverlappedBackward {
 public:
  OverlappedBackward(double seconds, double slowdown) : seconds_(seconds), speed_(1 / (1 + slowdown)) {}

  void run_until(double share) {
    const double work = std::max(0.0, share * seconds_ - done_);
    const double beside = std::min(work, std::max(0.0, arrived_ - now_) * speed_);
    now_ += beside / speed_ + (work - beside);
    done_ += work;
  }
  void send(double seconds) { arrived_ = std::max(arrived_, now_) + seconds; }

  double now() const { return now_; }
  double arrived() const { return arrived_; }

 private:
  double seconds_;
  double speed_;  ///< beside communication
  double now_ = 0;
  double done_ = 0;
  double arrived_ = 0;
};

struct Sent {
  double seconds = 0;
  double bytes = 0;
  double network_bytes = 0;

  void add(const CollectiveCost& cost) {
    seconds += cost.seconds;
    bytes += cost.bytes;
    network_bytes += cost.network_bytes;
  }
};

/// The part of a name that is one block's: "roberta.encoder.layer.3."; empty where the name has no number.
std::string block_of(const std::string& name) {
  for (std::size_t at = name.find('.'); at != std::string::npos; at = name.find('.', at + 1)) {
    const std::size_t end = name.find('.', at + 1);
    if (end == std::string::npos) break;
    if (std::all_of(name.begin() + static_cast<std::ptrdiff_t>(at) + 1, name.begin() + static_cast<std::ptrdiff_t>(end),
                    [](unsigned char c) { return std::isdigit(c) != 0; }))
      return name.substr(0, end + 1);
  }
  return "";
}

/// Elements that a token is multiplied with.
double product_elements(const ParameterSpec& parameter) {
  return parameter.shape.size() == 2 && !parameter.embedding && !parameter.head ? static_cast<double>(parameter.count()) : 0;
}

}  // namespace

StepTime simulate_step(const Machine& machine, const DeviceStep& plan, const ExchangeOptions& options,
                       std::int64_t devices) {
  check(plan.micro_batches >= 1, "a step of no micro-batch");
  StepTime time;
  const auto micro_batches = static_cast<double>(plan.micro_batches);
  const bool sharded = options.sharded && devices > 1;
  const double update = sharded ? plan.update / static_cast<double>(devices) : plan.update;
  time.compute = micro_batches * (plan.forward + plan.backward) + update;
  if (devices == 1) {
    time.seconds = time.compute;
    return time;
  }
  const CollectiveAlgorithm algorithm = sharded ? CollectiveAlgorithm::kFastest : options.algorithm;
  Sent sent;
  OverlappedBackward backward(plan.backward, machine.slowdown);
  for (const ReadyBucket& bucket : plan.buckets) {
    const CollectiveCost cost = collective_cost(machine, sharded ? Collective::kReduceScatter : Collective::kAllReduce,
                                                algorithm, bucket.bytes, devices);
    sent.add(cost);
    backward.run_until(bucket.ready);
    backward.send(cost.seconds);
  }
  backward.run_until(1);
  if (options.overlap) {
    time.slowed = backward.now() - plan.backward;
    time.exposed = std::max(0.0, backward.arrived() - backward.now());
  } else {
    time.exposed = sent.seconds;
  }
  if (sharded) {
    const CollectiveCost gather =
        collective_cost(machine, Collective::kAllGather, CollectiveAlgorithm::kFastest, plan.weight_bytes, devices);
    sent.add(gather);
    time.exposed += options.overlap ? std::max(0.0, gather.seconds - plan.forward) : gather.seconds;
    if (options.overlap) time.slowed += machine.slowdown * std::min(gather.seconds, plan.forward);
  }
  time.communication = sent.seconds;
  time.bytes = sent.bytes;
  time.network_bytes = sent.network_bytes;
  time.waiting = time.compute * machine.jitter * std::sqrt(2 * std::log(static_cast<double>(devices)));
  time.seconds = time.compute + time.slowed + time.exposed + time.waiting;
  return time;
}

std::vector<ReadyBucket> ready_buckets(const ParameterTable& table, std::int64_t bucket_elements, double gradient_bytes) {
  double all = 0;
  for (const ParameterSpec& parameter : table.specs()) all += product_elements(parameter);
  // The work behind which each parameter is final: that of its whole block.
  std::vector<double> done(static_cast<std::size_t>(table.size()));
  double sum = 0;
  for (int index = 0; index < table.size(); ++index) {
    sum += product_elements(table[index]);
    done[static_cast<std::size_t>(index)] = sum;
  }
  for (int index = table.size() - 2; index >= 0; --index) {
    const std::string block = block_of(table[index].name);
    if (!block.empty() && block == block_of(table[index + 1].name))
      done[static_cast<std::size_t>(index)] = done[static_cast<std::size_t>(index) + 1];
  }
  std::vector<ReadyBucket> buckets;
  for (const GradientBucket& bucket : plan_buckets(table, bucket_elements)) {
    const double work = done[static_cast<std::size_t>(bucket.last) - 1];
    const bool last = bucket.last == table.size();
    buckets.push_back({static_cast<double>(bucket.count()) * gradient_bytes, last || all == 0 ? 1 : work / all});
  }
  return buckets;
}

DeviceStep device_step(const ModelWork& work, const Machine& machine, std::int64_t tokens) {
  require(work.config.encoder_decoder.decoder_layers == 0, "scaling is simulated of encoders, not of encoder-decoders");
  require(tokens >= 1 && tokens % work.length == 0, tokens, " tokens of a device in a step are not whole sequences of ",
          work.length, " (--length)");
  check(work.rate > 0, "a step at ", work.rate, " FLOP/s");
  const ParameterTable table = model_parameter_table(work.config, {work.head});
  const std::vector<std::int64_t> lengths(static_cast<std::size_t>(tokens / work.length), work.length);
  const auto counted = static_cast<std::int64_t>(0.15 * static_cast<double>(tokens));  // as masked batches have them
  DeviceStep plan;
  plan.micro_batches = (tokens + work.micro_tokens - 1) / work.micro_tokens;
  plan.forward =
      model_forward_flops(work.config, &work.head, lengths, counted) / work.rate / static_cast<double>(plan.micro_batches);
  plan.backward = 2 * plan.forward;
  plan.update = work.update_bytes * static_cast<double>(table.elements()) / machine.memory_rate;
  plan.buckets = ready_buckets(table, work.bucket_elements, work.gradient_bytes);
  plan.weight_bytes = work.weight_bytes * static_cast<double>(table.elements());
  return plan;
}

std::vector<ScalingRow> weak_scaling(const ModelWork& work, const Machine& machine, const ExchangeOptions& options,
                                     const std::vector<std::int64_t>& devices, std::int64_t tokens) {
  const DeviceStep plan = device_step(work, machine, tokens);
  const double alone = simulate_step(machine, plan, options, 1).seconds;
  std::vector<ScalingRow> rows;
  for (const std::int64_t count : devices) {
    const StepTime time = simulate_step(machine, plan, options, count);
    rows.push_back({count, tokens, time, alone / time.seconds});
  }
  return rows;
}

std::vector<ScalingRow> strong_scaling(const ModelWork& work, const Machine& machine, const ExchangeOptions& options,
                                       const std::vector<std::int64_t>& devices, std::int64_t tokens) {
  const double alone = simulate_step(machine, device_step(work, machine, tokens), options, 1).seconds;
  std::vector<ScalingRow> rows;
  for (const std::int64_t count : devices) {
    require(count >= 1, "a simulation needs a device, not ", count);
    require(tokens % count == 0, tokens, " tokens of a step do not divide among ", count, " devices");
    const StepTime time = simulate_step(machine, device_step(work, machine, tokens / count), options, count);
    rows.push_back({count, tokens / count, time, alone / (static_cast<double>(count) * time.seconds)});
  }
  return rows;
}

}  // namespace koine
