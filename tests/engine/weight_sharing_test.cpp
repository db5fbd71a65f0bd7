// Weights, and gradients that are shared out, that leave stage by stage, and what waits for them.

#include "engine/ranks/weight_sharing.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <vector>

#include "engine/ranks/shards_of.h"
#include "kernels/common/check.h"
#include "tests/engine/recording_communicator.h"

namespace koine {
namespace {

/// The first of two ranks, whose broadcasts wait until somebody lets them through.
class HeldCommunicator : public RecordingCommunicator {
 public:
  HeldCommunicator() : RecordingCommunicator(Device::kCpu) {}
  int size() const override { return 2; }
  void broadcast(DType, void* values, std::int64_t count, int root, void*) override {
    const std::size_t number = sent.size();
    sent.push_back({values, count, root});
    if (number < gates.size()) gates[number].get_future().wait();
    check(number != failing, "rank 1 is gone");
  }
  void all_to_all(DType, const void*, void*, std::int64_t, void*) override {
    if (exchanges < gates.size()) gates[exchanges].get_future().wait();
    ++exchanges;
  }
  void all_gather(DType, const void*, void*, std::int64_t, void*) override {}
  std::size_t exchanges = 0;
  struct Sent {
    const void* values;
    std::int64_t count;
    int root;
  };
  std::vector<Sent> sent;
  std::vector<std::promise<void>> gates;
  std::size_t failing = 1000;
};

// Three stages, cut in the middle by two ranks: what forward reads first, the end of the table, goes first, and forward waits
// for no more than it reads.
TEST(WeightSharing, GoesWithTheForwardStageByStage) {
  ParameterTable table;
  for (const char* name : {"c", "b", "a"}) {
    table.add({name, {4, 256}});
    table.end_stage();
  }
  HeldCommunicator ranks;
  const Shards shards = shards_of(table, ranks);
  ParameterStore store(table, DType::kFloat32, true, Device::kCpu, MasterKind::kFloat32, &shards);
  GradientExchange exchange(store, ranks, kBucketElements, 2);
  WeightSharing sharing(store, exchange);
  sharing.wait_for(0, nullptr);  // nothing is on its way
  ranks.gates.resize(4);
  sharing.begin(nullptr);
  ranks.gates[0].set_value();
  sharing.wait_for(2, nullptr);  // the last of the table is here
  const auto next = std::async(std::launch::async, [&] { sharing.wait_for(1, nullptr); });
  ranks.gates[1].set_value();
  EXPECT_EQ(next.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout)
      << "the middle stage is told by both ranks, and one of them has not";
  ranks.gates[2].set_value();
  next.wait();
  ranks.gates[3].set_value();
  sharing.wait_for(0, nullptr);
  ASSERT_EQ(ranks.sent.size(), 4u);
  EXPECT_GT(sharing.take_waited(), 0.015);
  const std::int64_t counts[] = {1024, 512, 512, 1024};
  const int roots[] = {1, 0, 1, 0};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(ranks.sent[i].count, counts[i]) << i;
    EXPECT_EQ(ranks.sent[i].root, roots[i]) << i;
  }
  EXPECT_EQ(ranks.sent[0].values, store.master(2));
  EXPECT_EQ(ranks.sent[3].values, store.master(0));
  ranks.failing = 5;
  sharing.begin(nullptr);
  EXPECT_THROW(sharing.wait_for(0, nullptr), Error);
}

// Backward may write a stage while the one before it is on its way, and not before the one before that has left.
TEST(SharedGradients, BackwardWaitsForMemoryThatHasNotLeft) {
  ParameterTable table;
  for (const char* name : {"c", "b", "a"}) {
    table.add({name, {4, 256}});
    table.end_stage();
  }
  HeldCommunicator ranks;
  const Shards shards = shards_of(table, ranks, true);
  ParameterStore store(table, DType::kFloat32, true, Device::kCpu, MasterKind::kFloat32, &shards);
  GradientExchange exchange(store, ranks, kBucketElements, 2);
  ASSERT_TRUE(exchange.shares());
  ASSERT_EQ(store.gradient(0), store.gradient(2)) << "the first stage and the last have one memory";
  store.gradient(0)[0] = 1;
  ranks.gates.resize(2);
  const GradientReady ready = exchange.start();
  ready(1, nullptr);  // "b" lies elsewhere
  auto last = std::async(std::launch::async, [&] {
    ready(2, nullptr);
    return store.gradient(2)[0];
  });
  EXPECT_EQ(last.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout) << "\"c\" is on its way";
  ranks.gates[0].set_value();
  EXPECT_EQ(last.get(), 0) << "what has left is zero, for the next gradient to be added to";
  ranks.gates[1].set_value();
  ready(3, nullptr);
  exchange.finish(Context());
  EXPECT_EQ(ranks.exchanges, 3u);
  EXPECT_GT(exchange.take_seconds().waited, 0.015);
}

}  // namespace
}  // namespace koine
