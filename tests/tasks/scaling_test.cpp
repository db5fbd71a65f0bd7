// The simulation of many devices: against sums done by hand, and what has to hold whatever the numbers.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <string>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "kernels/random/random.h"
#include "models/models.h"
#include "tasks/scaling/link_fit.h"
#include "tasks/scaling/measure.h"
#include "tasks/scaling/published.h"
#include "tasks/scaling/scaling_report.h"
#include "tasks/scaling/step.h"

namespace koine {
namespace {

using Algorithm = CollectiveAlgorithm;

constexpr double kRounding = 1e-12;  ///< relative, of a few operations in double

/// Numbers that are exact in binary: a node of 4, steps of 1/8 s in it and 1/2 s between nodes, 16 and 4 bytes a second.
Machine round_machine() {
  Machine machine;
  machine.name = "round";
  machine.devices_per_node = 4;
  machine.node = {16, 0.125, 0.25};
  machine.network = {4, 0.5, 1};
  machine.memory_rate = 64;
  return machine;
}

Machine random_machine(RandomStream& random) {
  const auto number = [&](double most) { return most * (1 + static_cast<double>(random.below(1000))) / 1000; };
  Machine machine;
  machine.name = "random";
  machine.devices_per_node = std::int64_t{1} << random.below(4);
  machine.node = {number(4e11), number(1e-5), number(1e-5)};
  machine.network = {number(5e10), number(2e-5), number(2e-5)};
  machine.base = number(1e-5);
  machine.tree_share = 0.92;
  machine.pat_share = 0.75;
  machine.multicast_rate = random.below(2) == 0 ? 0 : number(3e11);
  machine.multicast_latency = number(3e-5);
  machine.memory_rate = number(4e12);
  machine.slowdown = number(0.4);
  machine.jitter = number(0.01);
  return machine;
}

std::vector<Algorithm> possible(const Machine& machine) {
  std::vector<Algorithm> all = {Algorithm::kFastest, Algorithm::kRing, Algorithm::kTree, Algorithm::kHierarchical,
                                Algorithm::kAllToAll};
  if (machine.multicast_rate > 0 && machine.devices_per_node > 1) all.push_back(Algorithm::kMulticast);
  return all;
}

double seconds(const Machine& machine, Algorithm algorithm, double bytes, std::int64_t devices) {
  return collective_cost(machine, Collective::kAllReduce, algorithm, bytes, devices).seconds;
}

std::string scaling_refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(SimulatedCollectives, AreWhatOneAddsUpByHand) {
  const Machine machine = round_machine();
  // 4 in a node, 32 bytes: 6 steps of 1/8 s, 48 bytes sent at 16 a second.
  EXPECT_EQ(seconds(machine, Algorithm::kRing, 32, 4), 0.75 + 3);
  // 8 in two nodes: 12 steps of 1/8 and 2 of 1/2; 56 bytes at min(16, 4 rails of 4).
  EXPECT_EQ(seconds(machine, Algorithm::kRing, 32, 8), 1.5 + 1 + 3.5);
  // Reduce-scatter and all-gather in the node, 3 steps of 1/8 and 24 bytes each; 8 bytes over each rail: ring of two, 2 steps of 1/2 and 8 bytes at
  // 4, a tree would take 2 levels of 1 and 16 bytes.
  EXPECT_EQ(seconds(machine, Algorithm::kHierarchical, 32, 8), 0.75 + 3 + 1 + 2);
  // 6 levels of 1/4, 2 of 1, 64 bytes at 16.
  EXPECT_EQ(seconds(machine, Algorithm::kTree, 32, 8), 1.5 + 2 + 4);
  // 3 exchanges of 1/8 and 4 of 1/2; 12 bytes over NVLink beside 16 over the rail at 4; 3 * 7 * 4 bytes of memory at 64; the gather:
  // ring of 7 steps (6 of 1/8, 1 of 1/2), 28 bytes at 16.
  EXPECT_EQ(seconds(machine, Algorithm::kAllToAll, 32, 8), 0.375 + 2 + 4 + 84.0 / 64 + 0.75 + 0.5 + 1.75);
  EXPECT_EQ(collective_cost(machine, Collective::kReduceScatter, Algorithm::kRing, 32, 4).seconds, 0.375 + 1.5);
  // Scattered in the node (3 steps, 24 bytes), then 8 bytes over the rail: a ring of two, 1 step of 1/2 and 4 bytes at 4; of 8 nodes, with
  // slow steps of rings, 3 levels of 1 and 7 bytes at half of 4.
  EXPECT_EQ(collective_cost(machine, Collective::kReduceScatter, Algorithm::kHierarchical, 32, 8).seconds,
            0.375 + 1.5 + 0.5 + 1);
  Machine halves = machine;
  halves.pat_share = 0.5;
  halves.network.ring_step = 4;
  EXPECT_EQ(collective_cost(halves, Collective::kReduceScatter, Algorithm::kHierarchical, 32, 32).seconds,
            0.375 + 1.5 + 3 + 3.5);
  Machine adding = machine;
  adding.multicast_rate = 8;
  adding.multicast_latency = 2;
  EXPECT_EQ(seconds(adding, Algorithm::kMulticast, 32, 4), 2 + 4);
  // The switch's 4 s hide the rails' 2 s of bytes, not their 1 s of latency.
  EXPECT_EQ(seconds(adding, Algorithm::kMulticast, 32, 8), 2 + 1 + 4);
  EXPECT_EQ(collective_cost(machine, Collective::kAllReduce, Algorithm::kFastest, 32, 8).algorithm, Algorithm::kRing);
}

// Two nodes of 4 devices, 32 bytes.
TEST(SimulatedCollectives, SendTheBytesOneCountsByHand) {
  Machine machine = round_machine();
  machine.multicast_rate = 8;
  const auto bytes = [&](Collective collective, Algorithm algorithm, std::int64_t devices) {
    const CollectiveCost cost = collective_cost(machine, collective, algorithm, 32, devices);
    return std::pair{cost.bytes, cost.network_bytes};
  };
  using Bytes = std::pair<double, double>;
  constexpr Collective kSum = Collective::kAllReduce;
  // 2 * 7 / 8 of 32; each of a node's 4 rails carries its quarter of what goes around.
  EXPECT_EQ(bytes(kSum, Algorithm::kRing, 8), (Bytes{56, 14}));
  EXPECT_EQ(bytes(kSum, Algorithm::kRing, 4), (Bytes{48, 0}));
  // As many by a tree on the whole; between two nodes 32 bytes up and down, over four rails.
  EXPECT_EQ(bytes(kSum, Algorithm::kTree, 8), (Bytes{56, 8}));
  // 48 within the node; a quarter, 8 bytes, around two nodes.
  EXPECT_EQ(bytes(kSum, Algorithm::kHierarchical, 8), (Bytes{48 + 8, 8}));
  EXPECT_EQ(bytes(Collective::kReduceScatter, Algorithm::kHierarchical, 8), (Bytes{24 + 4, 4}));
  // Once to the switch.
  EXPECT_EQ(bytes(kSum, Algorithm::kMulticast, 8), (Bytes{32 + 8, 8}));
  // 4 bytes for each of 3 in the node and 4 outside it; then the gather: ring of 28 bytes, 7 on each rail.
  EXPECT_EQ(bytes(kSum, Algorithm::kAllToAll, 8), (Bytes{28 + 28, 16 + 7}));
}

TEST(SimulatedCollectives, ARingSendsTwiceAllButAnNth) {
  RandomStream random(1, 1);
  for (int round = 0; round < 100; ++round) {
    Machine machine = random_machine(random);
    const std::int64_t devices = machine.devices_per_node * (1 + random.below(20));
    const double bytes = 1.0 + static_cast<double>(random.below(1 << 30));
    const auto n = static_cast<double>(devices);
    const CollectiveCost cost = collective_cost(machine, Collective::kAllReduce, Algorithm::kRing, bytes, devices);
    EXPECT_NEAR(cost.bytes, 2 * (n - 1) / n * bytes, kRounding * bytes);
    const CollectiveCost gather = collective_cost(machine, Collective::kAllGather, Algorithm::kRing, bytes, devices);
    EXPECT_NEAR(gather.bytes, (n - 1) / n * bytes, kRounding * bytes);
    EXPECT_LE(cost.network_bytes, cost.bytes);
  }
}

TEST(SimulatedCollectives, OfOneDeviceNeedNothing) {
  RandomStream random(2, 1);
  for (int round = 0; round < 20; ++round) {
    const Machine machine = random_machine(random);
    for (const Algorithm algorithm : possible(machine)) {
      const CollectiveCost cost = collective_cost(machine, Collective::kAllReduce, algorithm, 1e9, 1);
      EXPECT_EQ(cost.seconds, 0);
      EXPECT_EQ(cost.bytes, 0);
    }
  }
}

TEST(SimulatedCollectives, TakeLongerWithMoreBytesAndWithMoreLatency) {
  RandomStream random(3, 1);
  for (int round = 0; round < 200; ++round) {
    const Machine machine = random_machine(random);
    const std::int64_t devices = machine.devices_per_node * (1 + random.below(40));
    const double bytes = 1.0 + static_cast<double>(random.below(1 << 28));
    Machine slower = machine;
    slower.node.ring_step *= 2;
    slower.node.tree_step *= 2;
    slower.network.ring_step *= 2;
    slower.network.tree_step *= 2;
    slower.multicast_latency *= 2;
    if (devices == 1) continue;
    for (const Algorithm algorithm : possible(machine)) {
      SCOPED_TRACE(name_of(algorithm) + " of " + std::to_string(devices));
      EXPECT_LT(seconds(machine, algorithm, bytes, devices), seconds(machine, algorithm, 1.1 * bytes, devices));
      EXPECT_LT(seconds(machine, algorithm, bytes, devices), seconds(slower, algorithm, bytes, devices));
    }
  }
}

/// By bytes alone: a hierarchy has fewer steps.
TEST(SimulatedCollectives, AHierarchyOfEqualLinksIsAFlatRing) {
  RandomStream random(4, 1);
  for (int round = 0; round < 100; ++round) {
    Machine machine = random_machine(random);
    machine.node.ring_step = machine.node.tree_step = machine.network.tree_step = machine.network.ring_step = 0;
    machine.network.rate = machine.node.rate;
    const std::int64_t devices = machine.devices_per_node * (1 + random.below(40));
    const double flat = seconds(machine, Algorithm::kRing, 1e8, devices);
    EXPECT_NEAR(seconds(machine, Algorithm::kHierarchical, 1e8, devices), flat, kRounding * flat);
  }
  // Of one level, with latency as well.
  Machine machine = round_machine();
  EXPECT_EQ(seconds(machine, Algorithm::kHierarchical, 32, 4), seconds(machine, Algorithm::kRing, 32, 4));
  machine.devices_per_node = 1;
  machine.network.tree_step = 100;
  EXPECT_EQ(seconds(machine, Algorithm::kHierarchical, 32, 6), seconds(machine, Algorithm::kRing, 32, 6));
}

TEST(SimulatedCollectives, ThatCannotBeAreRefused) {
  Machine machine = round_machine();
  const auto why = [&](Algorithm algorithm, std::int64_t devices) {
    return scaling_refusal([&] { seconds(machine, algorithm, 8, devices); });
  };
  EXPECT_NE(why(Algorithm::kRing, 0).find("needs a device, not 0"), std::string::npos);
  EXPECT_NE(why(Algorithm::kRing, 6).find("6 devices are not whole nodes of 4"), std::string::npos);
  EXPECT_NE(why(Algorithm::kMulticast, 4).find("multicast needs a switch that adds, which round has not"),
            std::string::npos);
  EXPECT_NE(scaling_refusal([&] {
              collective_cost(machine, Collective::kAllGather, Algorithm::kTree, 8, 4);
            }).find("tree is for all-reduce"),
            std::string::npos);
  machine.network.rate = 0;
  EXPECT_NE(why(Algorithm::kRing, 8).find("no network between nodes is known"), std::string::npos);
  EXPECT_NE(scaling_refusal([] {
              collective_algorithm("rings", "--algorithm");
            }).find("--algorithm rings: there are fastest, ring"),
            std::string::npos);
}

/// Backward of 8 s; buckets of 8 and 16 bytes, final after half and all of it; two devices: 1/8 s * 2 and 1/16 s for each byte.
DeviceStep round_plan() {
  DeviceStep plan;
  plan.forward = 4;
  plan.backward = 8;
  plan.update = 2;
  plan.buckets = {{8, 0.5}, {16, 1}};
  plan.weight_bytes = 16;
  return plan;
}

TEST(SimulatedSteps, AreWhatOneAddsUpByHand) {
  Machine machine = round_machine();
  DeviceStep plan = round_plan();
  StepTime time = simulate_step(machine, plan, {Algorithm::kRing}, 2);
  // The first bucket takes .75 s and is hidden, the second 1.25 s behind backward.
  EXPECT_EQ(time.communication, 2);
  EXPECT_EQ(time.exposed, 1.25);
  EXPECT_EQ(time.slowed, 0);
  EXPECT_EQ(time.seconds, 4 + 8 + 2 + 1.25);
  EXPECT_EQ(time.bytes, 24);
  // While .75 s of communication run beside it, backward does .5 s of work: .25 s longer.
  machine.slowdown = 0.5;
  time = simulate_step(machine, plan, {Algorithm::kRing}, 2);
  EXPECT_NEAR(time.slowed, 0.25, kRounding);
  EXPECT_NEAR(time.exposed, 1.25, kRounding);
  // Without overlap all of it is exposed, and nothing is slower.
  time = simulate_step(machine, plan, {Algorithm::kRing, false}, 2);
  EXPECT_EQ(time.exposed, 2);
  EXPECT_EQ(time.slowed, 0);
  // Sharded: half the update; gradients go half the way (3/8 and 5/8 s), weights the other half (5/8 s) under the forward of 4 s.
  time = simulate_step(machine, plan, {Algorithm::kRing, true, true}, 2);
  EXPECT_EQ(time.compute, 4 + 8 + 1);
  EXPECT_EQ(time.communication, 0.375 + 0.625 + 0.625);
  EXPECT_NEAR(time.exposed, 0.625, kRounding);
  // Only the last of three micro-batches has anything beside it.
  plan.micro_batches = 3;
  time = simulate_step(machine, plan, {Algorithm::kRing}, 2);
  EXPECT_EQ(time.compute, 3 * 12 + 2);
  EXPECT_NEAR(time.exposed, 1.25, kRounding);
  // The slowest of two: sqrt(2 ln 2) standard deviations above the mean.
  machine.jitter = 0.01;
  EXPECT_NEAR(simulate_step(machine, plan, {Algorithm::kRing}, 2).waiting, 0.01 * 38 * 1.1774100225154747, 1e-12);
}

TEST(SimulatedSteps, HideNoLessThanNothingAndNoMoreThanAll) {
  RandomStream random(5, 1);
  for (int round = 0; round < 300; ++round) {
    const Machine machine = random_machine(random);
    DeviceStep plan;
    plan.forward = 1e-4 * static_cast<double>(random.below(1000));
    plan.backward = 1e-4 * static_cast<double>(random.below(1000));
    plan.update = 1e-4 * static_cast<double>(random.below(100));
    plan.micro_batches = 1 + random.below(4);
    plan.weight_bytes = 1e6 * static_cast<double>(random.below(1000));
    double ready = 0;
    for (std::int64_t bucket = 1 + random.below(30); bucket > 0; --bucket) {
      ready = std::min(1.0, ready + 0.001 * static_cast<double>(random.below(100)));
      plan.buckets.push_back({1e6 * static_cast<double>(1 + random.below(30)), ready});
    }
    const std::int64_t devices = machine.devices_per_node * (1 + random.below(64));
    for (const bool overlap : {true, false}) {
      for (const bool sharded : {true, false}) {
        const StepTime time = simulate_step(machine, plan, {Algorithm::kFastest, overlap, sharded}, devices);
        EXPECT_GE(time.exposed, 0);
        EXPECT_LE(time.exposed, time.communication * (1 + kRounding));
        EXPECT_GE(time.slowed, -kRounding);
        EXPECT_GE(time.seconds, time.compute);
        EXPECT_LE(time.seconds, time.compute + time.slowed + time.communication + time.waiting + kRounding);
        EXPECT_TRUE(devices > 1 || time.communication == 0);
      }
    }
    Machine quiet = machine;  // what overlap costs compute may outweigh what it hides
    quiet.slowdown = 0;
    EXPECT_LE(simulate_step(quiet, plan, {Algorithm::kFastest, true}, devices).seconds,
              simulate_step(quiet, plan, {Algorithm::kFastest, false}, devices).seconds * (1 + kRounding));
  }
}

ModelWork large_work() {
  ModelWork work;
  work.config = published_model_config("large");
  work.head = {"", HeadKind::kMaskedLm, 250002};
  work.rate = 500e12;
  return work;
}

TEST(SimulatedSteps, HaveTheBucketsOfTheModel) {
  const ModelWork work = large_work();
  const ParameterTable table = model_parameter_table(work.config, {work.head});
  const std::vector<ReadyBucket> buckets = ready_buckets(table, kBucketElements, 4);
  ASSERT_EQ(buckets.size(), plan_buckets(table, kBucketElements).size());
  double bytes = 0;
  double before = 0;
  for (const ReadyBucket& bucket : buckets) {
    bytes += bucket.bytes;
    EXPECT_GE(bucket.ready, before);
    EXPECT_LE(bucket.ready, 1);
    before = bucket.ready;
  }
  EXPECT_EQ(bytes, 4.0 * static_cast<double>(table.elements()));
  // The head's weights and the first of the last block: with that block, of 24. The word embeddings of 1 GB leave last.
  EXPECT_NEAR(buckets.front().ready, 1.0 / 24, kRounding);
  EXPECT_GT(buckets.back().bytes, 1.0e9);
  EXPECT_EQ(buckets.back().ready, 1);
  // Forward of a token: 1.850 / 3 GFLOP at 128 tokens a sequence, and of the head 514 MFLOP for 15 % of them.
  const DeviceStep plan = device_step(work, machine_of("h200"), 16384);
  EXPECT_NEAR(plan.forward * work.rate / 16384, 1.850e9 / 3 + 0.15 * 0.514e9, 0.002e9);
  EXPECT_EQ(plan.backward, 2 * plan.forward);
}

TEST(SimulatedScaling, WeakKeepsTokensOfADeviceAndStrongTheirSum) {
  const ModelWork work = large_work();
  const Machine machine = machine_of("h200");
  const std::vector<std::int64_t> devices = {1, 8, 64, 512, 4096};
  const std::vector<ScalingRow> weak = weak_scaling(work, machine, {}, devices, 16384);
  const std::vector<ScalingRow> strong = strong_scaling(work, machine, {}, devices, 1 << 20);
  ASSERT_EQ(weak.size(), 5U);
  EXPECT_EQ(weak[0].efficiency, 1);
  EXPECT_EQ(strong[0].efficiency, 1);
  EXPECT_EQ(weak[0].time.bytes, 0);
  for (std::size_t i = 1; i < weak.size(); ++i) {
    EXPECT_LT(weak[i].efficiency, weak[i - 1].efficiency);
    EXPECT_LT(strong[i].efficiency, strong[i - 1].efficiency);
    EXPECT_EQ(weak[i].tokens, 16384);
    EXPECT_EQ(strong[i].tokens * devices[i], 1 << 20);
  }
  EXPECT_LT(strong.back().efficiency, weak.back().efficiency) << "256 tokens of a device cannot hide its communication";
  EXPECT_NE(
      scaling_refusal([&] { strong_scaling(work, machine, {}, {24}, 1 << 20); }).find("do not divide among 24 devices"),
      std::string::npos);
  EXPECT_NE(scaling_refusal([&] { weak_scaling(work, machine, {}, {1}, 1000); }).find("not whole sequences of 128"),
            std::string::npos);
  EXPECT_NE(scaling_refusal([&] { weak_scaling(work, machine, {}, {0}, 128); }).find("needs a device, not 0"),
            std::string::npos);
}

TEST(FittedLinks, AreThoseThatMeasurementsWereMadeOf) {
  const double step = 3e-5;
  const double rate = 2e9;
  std::vector<MeasuredAllReduce> measured;
  for (const std::int64_t ranks : {2, 4}) {
    for (const double bytes : {4e3, 4e4, 4e5, 4e6}) {
      const auto n = static_cast<double>(ranks);
      measured.push_back({ranks, bytes, 2 * (n - 1) * step + 2 * (n - 1) / n * bytes / rate});
    }
  }
  const LinkFit fit = fit_link(measured);
  EXPECT_NEAR(fit.step, step, 1e-9 * step);
  EXPECT_NEAR(fit.rate, rate, 1e-9 * rate);
  EXPECT_NEAR(fit.error, 0, 1e-9);
  // Of pure latency: no rate below zero.
  for (MeasuredAllReduce& one : measured) one.seconds = 1e-4 / (1 + one.bytes * 1e-9);
  const LinkFit flat = fit_link(measured);
  EXPECT_GE(flat.step, 0);
  EXPECT_GT(flat.rate, 0);
  EXPECT_NE(scaling_refusal([] { fit_link({{2, 4e3, 1e-3}, {2, 4e3, 1e-3}}); }).find("several sizes"), std::string::npos);
  EXPECT_NE(scaling_refusal([] { fit_link({{1, 4e3, 1e-3}}); }).find("not of 1"), std::string::npos);
  EXPECT_EQ(median_of({3, 1, 2}), 2);
  EXPECT_EQ(median_of({4, 1, 2, 3}), 2.5);
}

/// What stands between two lines of docs/scaling.md.
std::string published_part(const std::string& page) {
  const std::string begin = "<!-- published -->\n\n";
  const std::size_t from = page.find(begin);
  const std::size_t to = page.find("\n<!-- end of published -->");
  if (from == std::string::npos || to == std::string::npos) return "no marks";
  return page.substr(from + begin.size(), to - from - begin.size());
}

PublishedPoints committed_points() {
  return read_published_points(std::string(KOINE_SOURCE_DIR) + "/bench/results/published/scaling.json");
}

TEST(PublishedScaling, IsWhatThePageSays) {
  const std::string page = read_file(std::string(KOINE_SOURCE_DIR) + "/docs/scaling.md");
  EXPECT_EQ(published_part(page), published_page(committed_points()))
      << "put what `koine scale --against bench/results/published/scaling.json` prints into docs/scaling.md";
}

/// Within 10 % of rings on HGX H100, whose rate is NCCL's own figure, at sizes that can be read off the published charts; and where each training
/// is, so that a change that moves it is seen.
TEST(PublishedScaling, IsMetAsFarAsTheSimulationCarries) {
  const PublishedPoints points = committed_points();
  int rings = 0;
  for (const PublishedCollective& point : points.collectives) {
    if (point.algorithm != Algorithm::kRing) continue;
    ++rings;
    for (const HeldAgainst& row : hold_against(point)) {
      EXPECT_LT(std::abs(row.error()), 0.1) << point.name << ", " << row.bytes;
      EXPECT_LT(std::abs(row.error()), std::abs(row.other_error)) << point.name << ", " << row.bytes;
    }
  }
  EXPECT_EQ(rings, 3);
  ASSERT_EQ(points.trainings.size(), 6U);
  for (const PublishedTraining& point : points.trainings) {
    // The base is what the time of compute is deduced from: simulated again, it is itself.
    PublishedTraining again = point;
    again.runs = {point.base};
    EXPECT_NEAR(hold_against(again).front().error(), 0, 1e-9) << point.name;
  }
}

TEST(PublishedScaling, IsRefusedByFileAndKey) {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("points-" + std::to_string(getpid()) + ".json");
  const auto why = [&](const std::string& text) {
    write_file_atomically(path, text);
    return scaling_refusal([&] { read_published_points(path); });
  };
  EXPECT_NE(why("{\"collectives\": []}").find(path.string() + ": key \"trainings\""), std::string::npos);
  EXPECT_NE(why(R"({"trainings": [], "collectives": [{"name": "x", "source": "", "assumed": "", "device_kind": "h100",
                   "algorithm": "rings", "devices": 8, "bytes": [1], "seconds": [1]}]})")
                .find("\"x\": key \"algorithm\" rings"),
            std::string::npos);
  EXPECT_NE(why(R"({"trainings": [], "collectives": [{"name": "x", "source": "", "assumed": "", "device_kind": "h100",
                   "algorithm": "ring", "devices": 8, "bytes": [1, 2], "seconds": [1]}]})")
                .find("as many \"seconds\""),
            std::string::npos);
  std::filesystem::remove(path);
  EXPECT_NE(scaling_refusal([] { read_published_points("/nowhere.json"); }).find("no file /nowhere.json"),
            std::string::npos);
}

/// What make_tables.py makes docs/scaling.md's tables of.
TEST(SimulatedScaling, IsWhatIsCommitted) {
  for (const bool sharded : {false, true}) {
    const std::string file = std::string("/bench/results/simulated/large-h200") + (sharded ? "-zero" : "") + ".json";
    SimulatedScaling scaling;
    scaling.model = "xlm-roberta-large";
    scaling.machine = machine_of("h200");
    scaling.work = large_work();
    scaling.work.rate = kAssumedStepShare * scaling.machine.product_rate;
    scaling.options.sharded = sharded;
    const std::vector<std::int64_t> devices = {1, 8, 64, 512, 4096};
    scaling.weak = weak_scaling(scaling.work, scaling.machine, scaling.options, devices, 16384);
    scaling.strong = strong_scaling(scaling.work, scaling.machine, scaling.options, devices, 1 << 20);
    const nlohmann::json here = to_json(scaling).flatten();
    const nlohmann::json committed = read_json(std::string(KOINE_SOURCE_DIR) + file).flatten();
    ASSERT_EQ(here.size(), committed.size()) << file;
    for (const auto& [key, value] : here.items()) {
      if (value.is_number()) {
        EXPECT_NEAR(committed.at(key).get<double>(), value.get<double>(), 1e-9 * std::abs(value.get<double>()))
            << file << key;
      } else {
        EXPECT_EQ(committed.at(key), value) << file << key;
      }
    }
  }
}

TEST(MeasuredScaling, IsPredictedFromOneRankAndTheFit) {
  MeasureSettings settings;
  settings.config = measured_model_config();
  settings.head = {"", HeadKind::kSequence, 3};
  const ParameterTable table = model_parameter_table(settings.config, {settings.head});
  const double step = 1e-4;
  const double rate = 1e9;
  RankMeasurement one;
  one.weak = {256, 0.030, 0.030};
  one.strong = {1024, 0.090, 0.090};  // 10 ms and 80 us a token
  RankMeasurement two{2, {256, 0.030, 0.050}, {512, 0.050, 0.070}, {}};
  for (const double bytes : {4e3, 4e5, 4e6}) two.all_reduces.push_back({2, bytes, 2 * step + bytes / rate});
  const MeasuredScaling scaling = predict_measured(settings, {one, two}, 1, 2, 1e10);
  ASSERT_EQ(scaling.steps.size(), 4U);
  EXPECT_EQ(scaling.steps[0].predicted.seconds, 0.030);
  const double buckets = static_cast<double>(plan_buckets(table, settings.bucket_elements).size());
  const double communication = buckets * 2 * step + 4.0 * static_cast<double>(table.elements()) / rate;
  EXPECT_NEAR(scaling.steps[2].predicted.seconds, 0.030 + communication, 1e-9);
  EXPECT_NEAR(scaling.steps[3].predicted.seconds, 0.050 + communication, 1e-9);
  EXPECT_NEAR(scaling.steps[2].efficiency, 0.6, 1e-12);
  EXPECT_NEAR(scaling.steps[3].efficiency, 0.090 / 2 / 0.070, 1e-12);
  // Two threads each on two processors: compute takes twice as long.
  EXPECT_NEAR(predict_measured(settings, {one, two}, 2, 2, 1e10).steps[2].predicted.seconds, 0.060 + communication, 1e-9);
  const RankMeasurement again = measurement_from(to_json(two));
  EXPECT_EQ(to_json(again), to_json(two));
}

class MachineFile : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }
  Machine read(const std::string& text, const Machine& machine = {}) {
    write_file_atomically(path_, text);
    return read_machine(path_, machine);
  }
  std::string why(const std::string& text, const Machine& machine = {}) {
    return scaling_refusal([&] { read(text, machine); });
  }
  std::filesystem::path path_ = std::filesystem::temp_directory_path() / ("machine-" + std::to_string(getpid()) + ".toml");
};

TEST_F(MachineFile, ChangesWhatItNames) {
  const Machine machine = read("[network]\ngigabytes_per_second = 25\nring_step_microseconds = 20\n", machine_of("h100"));
  EXPECT_EQ(machine.network.rate, 25e9);
  EXPECT_NEAR(machine.network.ring_step, 20e-6, 1e-18);
  EXPECT_EQ(machine.node.rate, machine_of("h100").node.rate);
  const Machine own = read("devices_per_node = 2\nmemory_gigabytes_per_second = 10\n[node]\ngigabytes_per_second = 1\n");
  EXPECT_EQ(own.devices_per_node, 2);
  EXPECT_EQ(own.memory_rate, 10e9);
}

TEST_F(MachineFile, IsRefusedByLineAndKey) {
  const std::string file = path_.string();
  EXPECT_NE(why("slowdown = \n").find(file + ":1"), std::string::npos);
  EXPECT_NE(why("jitter = 0\n[node]\ngigabyte_per_second = 3\n").find(file + ":3"), std::string::npos);
  EXPECT_NE(why("slowdown = -1\n").find("slowdown"), std::string::npos);
  EXPECT_NE(why("devices_per_node = 0\n").find("devices_per_node"), std::string::npos);
  EXPECT_NE(why("memory_gigabytes_per_second = 10\n").find("node.gigabytes_per_second is missing"), std::string::npos);
  EXPECT_NE(why("[node]\ngigabytes_per_second = 1\n").find("memory_gigabytes_per_second is missing"), std::string::npos);
  EXPECT_NE(scaling_refusal([] { read_machine("/nowhere.toml", {}); }).find("no file /nowhere.toml"), std::string::npos);
  EXPECT_NE(scaling_refusal([] { machine_of("l40s"); }).find("--parameters FILE"), std::string::npos);
  EXPECT_NE(scaling_refusal([] { machine_of("h300"); }).find("--device-kind h300"), std::string::npos);
}

}  // namespace
}  // namespace koine
