// Gradients leave in buckets while backward runs: in order, each only when it is final.

#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <vector>

#include "engine/ranks/gradient_buckets.h"
#include "kernels/common/check.h"
#include "kernels/cuda/runtime.h"
#include "tests/engine/recording_communicator.h"
#include "tests/models/gradient_stages.h"
#include "tests/models/tiny.h"

namespace koine {
namespace {

constexpr std::int64_t kBucket = 2000;

class GradientsLeave : public ::testing::TestWithParam<std::tuple<Device, NormPlacement, HeadKind>> {
 protected:
  void SetUp() override {
    if (device() == Device::kCuda && cuda::device_count() == 0) GTEST_SKIP() << "CUDA finds no device";
  }
  Device device() const { return std::get<0>(GetParam()); }
  NormPlacement norm() const { return std::get<1>(GetParam()); }
  HeadKind kind() const { return std::get<2>(GetParam()); }
};

TEST_P(GradientsLeave, InOrderAndWhenTheyAreFinal) {
  ModelOptions options;
  options.execution.device = device();
  options.training = true;
  options.heads = {tiny::head(kind())};
  const ModelConfig config = tiny::config(norm());
  const std::unique_ptr<Model> model = make_model(config, options);
  model->reserve(128, true);
  ParameterStore& store = model->parameters();
  RecordingCommunicator ranks(device());
  GradientExchange exchange(store, ranks, kBucket);
  const std::vector<GradientBucket>& buckets = exchange.buckets();
  ASSERT_GT(buckets.size(), static_cast<std::size_t>(config.num_hidden_layers)) << "no order to be seen";
  const PackedBatch batch = tiny::packed(tiny::examples(kind(), {5, 9, 3, 7}, 4), kind());
  const std::int64_t graphs = cuda::trace().graph_launches;
  std::vector<std::string> before(buckets.size());
  for (std::uint32_t step = 0; step < 4; ++step) {
    SCOPED_TRACE(step);
    ranks.arrivals.clear();
    std::vector<int> told;
    const GradientReady send = exchange.start();
    // A batch whose gradients nobody asks for goes before.
    model->add_batch(batch, 0.01, {1, 2 * step});
    model->add_batch(batch, 0.01, {1, 2 * step + 1}, [&](int parameters, const cuda::Event* passed) {
      told.push_back(parameters);
      send(parameters, passed);
    });
    EXPECT_TRUE(std::is_sorted(told.begin(), told.end()));
    EXPECT_GE(std::ssize(told), config.num_hidden_layers + 1) << "behind the head and each block, and at the end";
    EXPECT_EQ(told.back(), store.table().size());
    EXPECT_EQ(ranks.arrivals.size(), buckets.size()) << "nothing is left to finish()";
    exchange.finish(model->context());
    if (device() == Device::kCuda) cuda::synchronize(model->context().stream);
    const std::vector<float> gradients = store.read_all(ParameterStore::Values::kGradient);
    ASSERT_EQ(ranks.arrivals.size(), buckets.size());
    for (std::size_t i = 0; i < buckets.size(); ++i) {
      EXPECT_EQ(ranks.arrivals[i].place, store.gradient(buckets[i].first)) << i;
      const auto* expected = reinterpret_cast<const char*>(gradients.data() + buckets[i].begin);
      const std::string final_bytes(expected, static_cast<std::size_t>(buckets[i].count()) * sizeof(float));
      EXPECT_TRUE(ranks.arrivals[i].found() == final_bytes)
          << "bucket " << i << " of " << store.table()[buckets[i].first].name << " left before its gradients were final";
      EXPECT_NE(final_bytes, before[i]) << "bucket " << i << " has no gradients to be early with";
      before[i] = final_bytes;
    }
  }
  if (device() == Device::kCuda && kind() != HeadKind::kMaskedLm) {
    EXPECT_GE(cuda::trace().graph_launches - graphs, 6) << "the steps were no recordings";
  }
  EXPECT_EQ(buckets.back().last - 1, store.table().find("roberta.embeddings.word_embeddings.weight"));
}

TEST(GradientStages, BeginWhenTheOnesBeforeAreFinal) {
  for (const NormPlacement norm : {NormPlacement::kPost, NormPlacement::kPre}) {
    for (const HeadKind kind : {HeadKind::kSequencePooled, HeadKind::kMaskedLm}) {
      const PackedBatch batch = tiny::packed(tiny::examples(kind, {5, 9, 3, 7}, 4), kind);
      tiny::expect_stages(tiny::config(norm), kind, batch);
      tiny::expect_asks(tiny::config(norm), kind, batch);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GradientsLeave,
                         ::testing::Combine(::testing::Values(Device::kCpu, Device::kCuda),
                                            ::testing::Values(NormPlacement::kPost, NormPlacement::kPre),
                                            ::testing::Values(HeadKind::kSequence, HeadKind::kSequencePooled,
                                                              HeadKind::kToken, HeadKind::kMaskedLm)),
                         [](const auto& info) {
                           return concatenate(name_of(std::get<0>(info.param)),
                                              std::get<1>(info.param) == NormPlacement::kPost ? "_post_" : "_pre_",
                                              static_cast<int>(std::get<2>(info.param)));
                         });

}  // namespace
}  // namespace koine
