// Buckets of gradients, the communicator of one rank, and the training loop through both.

#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <thread>
#include <vector>

#include "engine/ranks/communicator.h"
#include "engine/ranks/gradient_buckets.h"
#include "engine/ranks/touched_rows.h"
#include "engine/training/trainer.h"
#include "kernels/common/buffer.h"
#include "kernels/common/check.h"
#include "kernels/random/random.h"
#include "tests/engine/bag_model.h"
#include "tests/engine/recording_communicator.h"

namespace koine {
namespace {

ParameterTable random_table(RandomStream& random) {
  ParameterTable table;
  const std::int64_t parameters = 1 + random.below(40);
  for (std::int64_t i = 0; i < parameters; ++i) {
    const std::int64_t rows = random.below(8) == 0 ? 1 + random.below(500) : 1 + random.below(20);
    table.add({"p" + std::to_string(i), {rows, 1 + random.below(30)}});
  }
  return table;
}

TEST(GradientBuckets, HoldEveryElementOnceInOrderAndSplitNoParameter) {
  RandomStream random(7, 1);
  for (int round = 0; round < 200; ++round) {
    const ParameterTable table = random_table(random);
    const std::int64_t wish = 1 + random.below(round % 2 == 0 ? 300 : 20000);
    const std::vector<GradientBucket> buckets = plan_buckets(table, wish);
    int parameter = 0;
    std::int64_t element = 0;
    for (const GradientBucket& bucket : buckets) {
      ASSERT_EQ(bucket.first, parameter);
      ASSERT_EQ(bucket.begin, element);
      ASSERT_LT(bucket.first, bucket.last);
      ASSERT_EQ(bucket.begin, table[bucket.first].offset);
      const ParameterSpec& last = table[bucket.last - 1];
      ASSERT_LE(last.offset + last.count(), bucket.end);
      // As small as the wish allows: without its last parameter it would be too small.
      ASSERT_TRUE(bucket.count() >= wish || bucket.last == table.size());
      ASSERT_LT(last.offset - bucket.begin, wish);
      parameter = bucket.last;
      element = bucket.end;
    }
    EXPECT_EQ(parameter, table.size());
    EXPECT_EQ(element, table.elements());
  }
}

TEST(GradientBuckets, OfNothingAreNoneAndOfNoSizeAreRefused) {
  EXPECT_TRUE(plan_buckets(ParameterTable(), 10).empty());
  EXPECT_THROW(plan_buckets(ParameterTable(), 0), Error);
}

TEST(RowMarks, OfAllRanksAreTheUnionOfEach) {
  RandomStream random(5, 2);
  for (const int ranks : {1, 2, 3, 4, 15, 16, 1000}) {
    for (const std::int64_t rows : {1, 15, 16, 97, 1001}) {
      const RowMarks marks(rows, ranks);
      std::vector<std::int64_t> sums(static_cast<std::size_t>(marks.words()), 0);
      std::set<std::int32_t> all;
      for (int rank = 0; rank < ranks; ++rank) {
        // The last row by every rank: its field is full, and no other has any of it.
        std::set<std::int32_t> own = {static_cast<std::int32_t>(rows - 1)};
        for (int i = 0; i < 5; ++i) own.insert(static_cast<std::int32_t>(random.below(rows)));
        all.insert(own.begin(), own.end());
        marks.mark(std::vector<std::int32_t>(own.begin(), own.end()), sums);
      }
      EXPECT_EQ(marks.rows_of(sums), std::vector<std::int32_t>(all.begin(), all.end())) << ranks << " ranks, " << rows;
    }
  }
  const RowMarks marks(97, 2);
  std::vector<std::int64_t> words(static_cast<std::size_t>(marks.words()), 0);
  EXPECT_TRUE(marks.rows_of(words).empty());
  EXPECT_THROW(marks.mark(std::vector<std::int32_t>{97}, words), Error);
  EXPECT_LE(RowMarks(250002, 15).words() * 8, 134000) << "4 bits a row";
}

TEST(TouchedRows, AreExchangedWhereTheyAreFewerBytes) {
  ParameterTable table;
  table.add({"before", {100}});
  ParameterSpec word{"word", {50, 24}};
  word.lazy_rows = true;
  table.add(word);
  table.add({"behind", {10}});
  const std::int64_t begin = table[1].offset;
  const ParameterStore store(table, DType::kFloat32, true);
  TouchedRows touched(store, table_of_rows(table));
  const auto spans = [&](std::int64_t rows, std::int64_t at_once, const ElementRange& run) {
    std::vector<std::int32_t> list;
    for (std::int64_t row = 0; row < rows; ++row) list.push_back(static_cast<std::int32_t>(50 - rows + row));
    touched.set(list, nullptr);
    return spans_to_exchange(run, &touched, at_once, 2);
  };
  const ElementRange all = {0, table.elements()};
  const std::vector<FlatSpan> few = spans(20, 512, all);
  ASSERT_EQ(few.size(), 3u);
  EXPECT_EQ(few[0].begin, 0);
  EXPECT_EQ(few[0].units, begin);
  EXPECT_EQ(few[1].units, 20);
  EXPECT_EQ(few[1].rows[0], 30);
  EXPECT_EQ(few[2].begin, begin + 50 * 24);
  EXPECT_EQ(few[2].begin + few[2].units, table.elements());
  // Two ranks' shares at a time, in multiples of 64 numbers: 10 rows each of 256.
  EXPECT_EQ(units_at_once(few[1], 512, 2), 20);
  EXPECT_EQ(share_of_span(few[1], 2).elements, 256);
  EXPECT_EQ(spans(50, 512, all).size(), 1u) << "no fewer bytes";
  EXPECT_EQ(spans(0, 512, all).size(), 3u);
  EXPECT_EQ(spans(20, 40, all).size(), 1u) << "a row is more than a rank's share";
  EXPECT_EQ(spans(20, 512, {0, begin}).size(), 1u) << "the table lies elsewhere";
  EXPECT_EQ(spans_to_exchange(all, nullptr, 512, 2).size(), 1u);
}

class OneRankOn : public ::testing::TestWithParam<Device> {
 protected:
  void SetUp() override {
    if (GetParam() == Device::kCuda && cuda::device_count() == 0) GTEST_SKIP() << "CUDA finds no device";
  }
};

TEST_P(OneRankOn, MovesNothingInPlaceAndCopiesBetweenMemories) {
  const std::vector<float> values = {1, 2, 3, 4};
  Buffer from(GetParam(), "from", 16);
  from.write(values.data(), 16);
  const auto holds = [&](const Buffer& buffer) {
    std::vector<float> found(4);
    buffer.read(found.data(), 16);
    return found == values;
  };
  OneRank alone(GetParam());
  Communicator& ranks = alone;
  EXPECT_EQ(ranks.rank(), 0);
  EXPECT_EQ(ranks.size(), 1);
  EXPECT_EQ(ranks.sum(17), 17);
  ranks.barrier();
  const std::int64_t copies = cuda::trace().copies;
  ranks.all_reduce(DType::kFloat32, from.data(), 4, nullptr);
  ranks.broadcast(DType::kFloat32, from.data(), 4, 0, nullptr);
  ranks.reduce_scatter(DType::kFloat32, from.data(), from.data(), 4, nullptr);
  ranks.all_gather(DType::kFloat32, from.data(), from.data(), 4, nullptr);
  EXPECT_EQ(cuda::trace().copies, copies);
  EXPECT_TRUE(holds(from));
  EXPECT_THROW(ranks.broadcast(DType::kFloat32, from.data(), 4, 1, nullptr), Error);
  using Move = void (Communicator::*)(DType, const void*, void*, std::int64_t, void*);
  for (const Move move : {&Communicator::reduce_scatter, &Communicator::all_gather, &Communicator::all_to_all}) {
    const Buffer to = Buffer::zeroed(GetParam(), "to", 16);
    (ranks.*move)(DType::kFloat32, from.data(), to.data(), 4, nullptr);
    EXPECT_TRUE(holds(to));
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, OneRankOn, ::testing::Values(Device::kCpu, Device::kCuda),
                         [](const auto& info) { return std::string(name_of(info.param)); });

TEST(GradientExchange, SendsABucketWhenItsLastParameterIsComplete) {
  ParameterTable table;
  for (const char* name : {"a", "b", "c", "d", "e"}) table.add({name, {64}});
  ParameterStore store(table, DType::kFloat32, true);
  RecordingCommunicator ranks(Device::kCpu);
  GradientExchange exchange(store, ranks, 128);  // a b, c d, e
  ASSERT_EQ(exchange.buckets().size(), 3u);
  const Context context;
  for (int step = 0; step < 2; ++step) {
    ranks.arrivals.clear();
    const GradientReady ready = exchange.start();
    const std::vector<std::pair<int, std::size_t>> sent_behind = {{1, 0}, {2, 1}, {3, 1}, {4, 2}};
    for (const auto& [parameters, sent] : sent_behind) {
      ready(parameters, nullptr);
      EXPECT_EQ(ranks.arrivals.size(), sent) << parameters;
    }
    exchange.finish(context);
    ASSERT_EQ(ranks.arrivals.size(), 3u);
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(ranks.arrivals[i].place, store.gradient(static_cast<int>(2 * i)));
      EXPECT_EQ(ranks.arrivals[i].count, i < 2 ? 128 : 64);
      EXPECT_EQ(ranks.arrivals[i].type, DType::kFloat32);
    }
  }
  ranks.arrivals.clear();
  exchange.finish(context);  // a step without a batch: the other ranks wait for its zeros
  EXPECT_EQ(ranks.arrivals.size(), 3u);
}

/// One of two ranks, whose every sum takes 20 ms or fails.
class SlowCommunicator : public RecordingCommunicator {
 public:
  SlowCommunicator() : RecordingCommunicator(Device::kCpu) {}
  int size() const override { return 2; }
  void all_reduce(DType type, void* values, std::int64_t count, void* stream) override {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    check(!fails, "rank 1 is gone");
    RecordingCommunicator::all_reduce(type, values, count, stream);
  }
  bool fails = false;
};

// What takes 60 ms beside 100 ms of something else is hardly waited for, and what goes wrong there is known behind it.
TEST(GradientExchange, OfSeveralRanksGoesOnBesideBackward) {
  ParameterTable table;
  for (const char* name : {"a", "b", "c"}) table.add({name, {64}});
  ParameterStore store(table, DType::kFloat32, true);
  SlowCommunicator ranks;
  GradientExchange exchange(store, ranks, 64);
  const Context context;
  const GradientReady ready = exchange.start();
  ready(3, nullptr);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  exchange.finish(context);
  ASSERT_EQ(ranks.arrivals.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(ranks.arrivals[i].place, store.gradient(static_cast<int>(i)));
  const CommunicationSeconds seconds = exchange.take_seconds();
  EXPECT_GE(seconds.all, 0.06);
  EXPECT_LT(seconds.waited, 0.7 * seconds.all);
  EXPECT_EQ(exchange.take_seconds().all, 0);
  ranks.fails = true;
  exchange.start()(3, nullptr);
  EXPECT_THROW(exchange.finish(context), Error);
}

TEST(GradientExchange, RefusesACommunicatorOfAnotherDevice) {
  ParameterTable table;
  table.add({"a", {64}});
  ParameterStore store(table, DType::kFloat32, true);
  OneRank elsewhere(Device::kCuda);
  EXPECT_THROW(GradientExchange(store, elsewhere), Error);
}

// --- the training loop --------------------------------------------------------------------------------------------------

struct RankRecorder : TrainingObserver {
  std::vector<Step> steps;
  void on_step(const Step& step) override { steps.push_back(step); }
  void on_evaluation(std::int64_t, const std::map<std::string, double>&, bool) override {}
  void on_message(const std::string&) override {}
};

TrainingRun run_of(BagModel& model, RankRecorder& recorder, Communicator* ranks) {
  static const Dataset data = bag_dataset(60);
  TrainingRun run;
  run.model = &model;
  TrainingTask task;
  task.name = "bags";
  task.train = &data;
  run.tasks = {task};
  run.settings.learning_rate = 2e-2;
  run.settings.per_device_train_batch_size = 16;
  run.settings.max_tokens_per_batch = 64;
  run.settings.max_steps = 12;
  run.settings.load_best_model_at_end = false;
  run.observers = {&recorder};
  run.communicator = ranks;
  return run;
}

// Every step: the gradients, all of them and in order, then the loss.
TEST(Train, SendsGradientsAndLossOfEveryStep) {
  BagModel model;
  RankRecorder recorder;
  RecordingCommunicator ranks(Device::kCpu);
  train(run_of(model, recorder, &ranks));
  const std::vector<GradientBucket> buckets = plan_buckets(model.parameters().table(), kBucketElements);
  const std::size_t of_a_step = buckets.size() + 1;
  ASSERT_EQ(ranks.arrivals.size(), 12 * of_a_step);
  for (std::size_t i = 0; i < ranks.arrivals.size(); ++i) {
    const std::size_t place = i % of_a_step;
    const bool loss = place == buckets.size();
    const void* expected =
        loss ? static_cast<const void*>(model.loss_sum()) : model.parameters().gradient(buckets[place].first);
    EXPECT_EQ(ranks.arrivals[i].place, expected);
    EXPECT_EQ(ranks.arrivals[i].count, loss ? 1 : buckets[place].count());
    EXPECT_EQ(ranks.arrivals[i].type, loss ? DType::kFloat64 : DType::kFloat32);
  }
}

}  // namespace
}  // namespace koine
