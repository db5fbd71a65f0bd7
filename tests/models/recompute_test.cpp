// Activations that backward computes again: the same losses and gradients, bit for bit, in less memory.

#include <gtest/gtest.h>

#include <cstring>
#include <tuple>

#include "kernels/cuda/runtime.h"
#include "models/mt5/families.h"
#include "tests/models/tiny.h"

namespace koine {
namespace {

constexpr std::int64_t kRecomputeTokens = 64;

ModelConfig recomputed_config(bool encoder_decoder, NormPlacement norm) {
  ModelConfig config = tiny::config(norm);
  config.num_hidden_layers = 5;
  config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.1;
  if (!encoder_decoder) return config;
  config.family = &mt5_family();
  config.first_position = 0;
  config.pad_token_id = 0;
  config.encoder_decoder.decoder_layers = 4;
  config.encoder_decoder.head_size = 8;
  config.encoder_decoder.relative_buckets = 8;
  config.encoder_decoder.relative_max_distance = 16;
  config.tie_word_embeddings = false;
  return config;
}

PackedBatch recomputed_batch(bool encoder_decoder) {
  std::vector<Example> examples = tiny::examples(HeadKind::kToken, {5, 9, 3, 7}, 4);
  if (!encoder_decoder) return tiny::packed(examples, HeadKind::kToken);
  for (Example& example : examples) {
    set_target(example, {5, 9, 7}, 0, 0);
  }
  return tiny::packed(examples, HeadKind::kTextToText);
}

ModelOptions recomputed_options(Device device, bool encoder_decoder, bool recompute) {
  ModelOptions options;
  options.execution.device = device;
  options.execution.precision = DType::kBFloat16;
  options.training = true;
  options.heads = {tiny::head(encoder_decoder ? HeadKind::kTextToText : HeadKind::kToken)};
  options.recompute = recompute;
  return options;
}

class Recompute : public ::testing::TestWithParam<std::tuple<Device, bool, NormPlacement>> {
 protected:
  void SetUp() override {
    if (std::get<0>(GetParam()) == Device::kCuda && cuda::device_count() == 0) GTEST_SKIP() << "CUDA finds no device";
  }
};

TEST_P(Recompute, GivesTheSameGradientsInLessMemory) {
  const auto& [device, encoder_decoder, norm] = GetParam();
  const ModelConfig config = recomputed_config(encoder_decoder, norm);
  const PackedBatch batch = recomputed_batch(encoder_decoder);
  std::vector<float> gradients[2];
  double losses[2];
  std::size_t bytes[2];
  for (const bool recompute : {false, true}) {
    const ModelOptions options = recomputed_options(device, encoder_decoder, recompute);
    const std::unique_ptr<Model> model = make_model(config, options);
    model->reserve(kRecomputeTokens, true);
    losses[recompute] = 0;
    for (std::uint32_t step = 0; step < 3; ++step) losses[recompute] += model->train_batch(batch, 0.01, {1, step});
    gradients[recompute] = model->parameters().read_all(ParameterStore::Values::kGradient);
    bytes[recompute] = plan_model_memory(config, options, kRecomputeTokens).activation_bytes;
  }
  EXPECT_EQ(losses[0], losses[1]);
  EXPECT_NE(losses[0], 0);
  ASSERT_EQ(gradients[0].size(), gradients[1].size());
  EXPECT_EQ(std::memcmp(gradients[0].data(), gradients[1].data(), gradients[0].size() * sizeof(float)), 0);
  EXPECT_LT(bytes[1], bytes[0] / 2) << "of five blocks, one and the outputs of four";
}

INSTANTIATE_TEST_SUITE_P(Models, Recompute,
                         ::testing::Values(std::tuple{Device::kCpu, false, NormPlacement::kPost},
                                           std::tuple{Device::kCpu, false, NormPlacement::kPre},
                                           std::tuple{Device::kCpu, true, NormPlacement::kPre},
                                           std::tuple{Device::kCuda, false, NormPlacement::kPost}),
                         [](const auto& info) {
                           return concatenate(name_of(std::get<0>(info.param)),
                                              std::get<1>(info.param) ? "_encoder_decoder" : "_encoder",
                                              std::get<2>(info.param) == NormPlacement::kPost ? "_post" : "_pre");
                         });

}  // namespace
}  // namespace koine
