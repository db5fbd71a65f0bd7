// The communicator of GPUs against a stand-in for NCCL that moves memory of the host implementation of CUDA: one rank gives what no
// communicator gives, and every failure that NCCL documents ends in an Error that says so.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "engine/ranks/nccl_communicator.h"
#include "engine/training/trainer.h"
#include "kernels/common/buffer.h"
#include "kernels/common/check.h"
#include "kernels/cuda/runtime.h"
#include "tests/engine/nccl_stand_in.h"
#include "tests/models/tiny_training.h"

namespace koine {
namespace {

class Nccl : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cuda::on_host()) GTEST_SKIP() << "the stand-in moves memory of the host implementation of CUDA";
    nccl_stand_in::state() = {};
  }
  std::unique_ptr<Communicator> connect(double timeout = 5) {
    return make_nccl_communicator(host_, nccl_stand_in::api(), nullptr, timeout);
  }
  static std::int64_t calls_of(const std::string& name) {
    const std::vector<std::string>& calls = nccl_stand_in::state().calls;
    return std::count(calls.begin(), calls.end(), name);
  }
  static void expect_error(const std::function<void()>& action, const std::vector<std::string>& parts) {
    try {
      action();
      ADD_FAILURE() << "no error, expected one with " << parts.front();
    } catch (const Error& error) {
      for (const std::string& part : parts)
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what() << " lacks " << part;
    }
  }

  OneRank host_{Device::kCpu};
};

struct Trained {
  std::vector<double> losses;
  std::vector<double> norms;
  std::vector<float> weights;
};

class LossRecorder : public TrainingObserver {
 public:
  explicit LossRecorder(Trained& trained) : trained_(trained) {}
  void on_step(const Step& step) override {
    trained_.losses.push_back(step.loss);
    trained_.norms.push_back(step.gradient_norm);
  }
  void on_evaluation(std::int64_t, const std::map<std::string, double>&, bool) override {}
  void on_message(const std::string&) override {}

 private:
  Trained& trained_;
};

Trained train_on_device(Communicator* ranks, std::int64_t parts) {
  tiny::Training training(Device::kCuda);
  training.model->reserve(128, true);
  training.run.settings.gradient_parts = parts;
  Trained trained;
  LossRecorder recorder(trained);
  training.run.observers = {&recorder};
  training.run.communicator = ranks;
  train(training.run);
  trained.weights = training.model->parameters().read_all(ParameterStore::Values::kMaster);
  return trained;
}

void expect_same(const Trained& a, const Trained& b) {
  EXPECT_EQ(a.losses, b.losses);
  EXPECT_EQ(a.norms, b.norms);
  ASSERT_EQ(a.weights.size(), b.weights.size());
  EXPECT_EQ(std::memcmp(a.weights.data(), b.weights.data(), a.weights.size() * sizeof(float)), 0);
}

TEST_F(Nccl, OneRankIsThePlainRunBitForBit) {
  const Trained plain = train_on_device(nullptr, 0);
  ASSERT_EQ(plain.losses.size(), 2u);
  nccl_stand_in::state().polls_in_progress = 3;
  const std::unique_ptr<Communicator> ranks = connect();
  const Trained through = train_on_device(ranks.get(), 0);
  expect_same(through, plain);
  EXPECT_GE(calls_of("ncclAllReduce"), 4) << "gradients and loss of two steps";
}

TEST_F(Nccl, OperationsOfOneRankLeaveWhatTheyFind) {
  {
    const std::unique_ptr<Communicator> ranks = connect();
    for (const DType type : {DType::kFloat32, DType::kBFloat16, DType::kFloat64}) {
      const std::int64_t count = 100;
      const std::size_t bytes = static_cast<std::size_t>(count) * size_of(type);
      std::vector<std::byte> values(bytes);
      for (std::int64_t i = 0; i < count; ++i) store_element(values.data(), type, i, static_cast<double>(i - 50));
      Buffer from(Device::kCuda, "from", bytes);
      const auto expect_values = [&](const Buffer& buffer, const char* what) {
        cuda::synchronize_device();
        std::vector<std::byte> found(bytes);
        buffer.read(found.data(), bytes);
        EXPECT_EQ(found, values) << what << " of " << name_of(type);
      };
      from.write(values.data(), bytes);
      ranks->all_reduce(type, from.data(), count, nullptr);
      expect_values(from, "all_reduce");
      ranks->broadcast(type, from.data(), count, 0, nullptr);
      expect_values(from, "broadcast");
      using Move = void (Communicator::*)(DType, const void*, void*, std::int64_t, void*);
      for (const Move move : {&Communicator::reduce_scatter, &Communicator::all_gather, &Communicator::all_to_all}) {
        const Buffer to = Buffer::zeroed(Device::kCuda, "to", bytes);
        (ranks.get()->*move)(type, from.data(), to.data(), count, nullptr);
        expect_values(to, "a move");
      }
    }
  }
  EXPECT_EQ(nccl_stand_in::state().calls.back(), "ncclCommDestroy");
  EXPECT_EQ(calls_of("ncclCommAbort"), 0);
}

TEST_F(Nccl, AFailureNamesOperationRankAndNcclsWords) {
  const Buffer values = Buffer::zeroed(Device::kCuda, "values", 64);
  const auto reduce = [&](Communicator& ranks) { ranks.all_reduce(DType::kFloat32, values.data(), 16, nullptr); };
  const std::unique_ptr<Communicator> ranks = connect();
  reduce(*ranks);
  nccl_stand_in::state().results["ncclAllReduce"] = nccl::kSystemError;
  expect_error([&] { reduce(*ranks); }, {"all_reduce of 16 elements at rank 0", "unhandled system error", "told to"});
  EXPECT_EQ(calls_of("ncclCommAbort"), 1) << "kernels that wait for other ranks have to end";
  expect_error([&] { reduce(*ranks); }, {"an earlier operation has failed"});
  EXPECT_EQ(calls_of("ncclAllReduce"), 2) << "a communicator that was aborted is not called";
}

TEST_F(Nccl, ARankThatIsGoneIsNoticedAtTheNextOperation) {
  const Buffer values = Buffer::zeroed(Device::kCuda, "values", 64);
  const std::unique_ptr<Communicator> ranks = connect();
  nccl_stand_in::state().async_error = nccl::kRemoteError;
  expect_error([&] { ranks->all_gather(DType::kFloat32, values.data(), values.data(), 16, nullptr); },
               {"all_gather", "rank 0", "remote process exited"});
  EXPECT_EQ(calls_of("ncclCommAbort"), 1);
  EXPECT_EQ(calls_of("ncclAllGather"), 0);
}

TEST_F(Nccl, WhatIsInProgressForTooLongIsGivenUp) {
  nccl_stand_in::state().polls_in_progress = 1 << 30;
  expect_error([&] { connect(0.05); }, {"connecting", "not done after 0.05 s"});
  EXPECT_EQ(calls_of("ncclCommAbort"), 1);
  nccl_stand_in::state() = {};
  nccl_stand_in::state().results["ncclCommInitRankConfig"] = nccl::kSystemError;
  expect_error([&] { connect(); }, {"connecting", "unhandled system error"});
  nccl_stand_in::state() = {};
  const Buffer values = Buffer::zeroed(Device::kCuda, "values", 64);
  const Buffer others = Buffer::zeroed(Device::kCuda, "others", 64);
  const std::unique_ptr<Communicator> ranks = connect(0.05);
  nccl_stand_in::state().polls_in_progress = 1 << 30;
  expect_error([&] { ranks->all_to_all(DType::kFloat32, values.data(), others.data(), 16, nullptr); },
               {"all_to_all of 16 elements", "not done after 0.05 s"});
}

// The fixed order on a device: parts that one rank adds up by itself. The sum of one part is the plain sum.
TEST_F(Nccl, PartsOfOneRankAreAddedUpInTheirOrder) {
  const Trained plain = train_on_device(nullptr, 0);
  expect_same(train_on_device(nullptr, 1), plain);
  const Trained parts = train_on_device(nullptr, 4);
  const std::unique_ptr<Communicator> ranks = connect();
  expect_same(train_on_device(ranks.get(), 4), parts);
  // Other sums of fp32 gradients, and other batches of the same examples in bf16: a rounding of 2^-8 now and then.
  for (std::size_t i = 0; i < plain.losses.size(); ++i) EXPECT_NEAR(parts.losses[i], plain.losses[i], 1e-2) << i;
}

}  // namespace
}  // namespace koine
