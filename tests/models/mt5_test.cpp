// The encoder-decoder: gradients, what does not depend on the batch, checkpoints there and back, and what is refused.
// (tests/parity/ holds it against transformers.)

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/files/safetensors.h"
#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/cuda/runtime.h"
#include "models/families.h"
#include "models/mt5/families.h"
#include "tests/models/finite_differences.h"
#include "tests/models/gradient_stages.h"
#include "tests/models/tiny.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

constexpr HeadKind kText = HeadKind::kTextToText;

/// Two blocks and three, heads whose width is not the hidden size, buckets that lengths of 13 reach the last of.
ModelConfig text_config(const ModelFamily& family, bool tied, double dropout = 0) {
  ModelConfig config;
  config.family = &family;
  config.norm = NormPlacement::kPre;
  config.vocab_size = tiny::kVocabulary;
  config.hidden_size = 16;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 3;
  config.intermediate_size = 20;
  config.max_position_embeddings = 64;
  config.first_position = 0;
  config.layer_norm_eps = 1e-6;
  config.pad_token_id = 0;
  config.hidden_dropout_prob = dropout;
  config.attention_probs_dropout_prob = dropout;
  config.initializer_range = 0.2;
  config.tie_word_embeddings = tied;
  config.encoder_decoder = {.head_size = 8, .decoder_layers = 3, .relative_buckets = 8, .relative_max_distance = 10};
  config.encoder_decoder.bias_in_every_block = &family == &umt5_family();
  return config;
}

std::unique_ptr<Model> text_model(const ModelConfig& config, DType precision, bool reference = false) {
  return tiny::model(config, kText, precision, reference);
}

/// Sources and targets of the given lengths.
std::vector<Example> text_examples(const std::vector<std::pair<int, int>>& lengths, std::uint32_t seed) {
  std::uint32_t drawn = 0;
  const auto piece = [&] {
    return static_cast<std::int32_t>(3 + philox({drawn++, 0, 0, 0}, {seed, 7})[0] % (tiny::kVocabulary - 3));
  };
  std::vector<Example> result;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    Example example;
    example.number = static_cast<std::uint32_t>(100 + 3 * i);
    for (int t = 0; t < lengths[i].first; ++t) example.ids.push_back(piece());
    std::vector<std::int32_t> text;
    for (int t = 0; t < lengths[i].second; ++t) text.push_back(t % 4 == 2 ? kIgnoredLabel : piece());
    set_target(example, std::move(text), 0, 0);
    result.push_back(std::move(example));
  }
  return result;
}

const std::vector<std::pair<int, int>> kLengths = {{5, 2}, {1, 1}, {13, 4}, {3, 12}};

PackedBatch text_batch(std::uint32_t seed) { return tiny::packed(text_examples(kLengths, seed), kText); }

class TextToText : public testing::TestWithParam<std::tuple<const ModelFamily* (*)(), bool>> {
 protected:
  static ModelConfig config(double dropout = 0) {
    const auto [family, tied] = GetParam();
    return text_config(*family(), tied, dropout);
  }
};

TEST_P(TextToText, GradientIsTheFiniteDifferences) {
  const std::unique_ptr<Model> model = text_model(config(0.2), DType::kFloat64, /*reference=*/true);
  expect_finite_differences(*model, text_batch(1));
}

TEST_P(TextToText, StagesOfGradientsBeginWhenTheOnesBeforeAreFinal) {
  tiny::expect_stages(config(), kText, text_batch(1));
  tiny::expect_asks(config(), kText, text_batch(1));
}

TEST_P(TextToText, PackedIsAlone) {
  for (const DType precision : {DType::kFloat32, DType::kBFloat16}) {
    const std::unique_ptr<Model> model = text_model(config(), precision);
    const std::vector<Example> examples = text_examples(kLengths, 3);
    const std::vector<float> together = model->predict(tiny::packed(examples, kText));
    std::vector<float> alone;
    for (const Example& example : examples) {
      const std::vector<float> part = model->predict(tiny::packed({example}, kText));
      alone.insert(alone.end(), part.begin(), part.end());
    }
    EXPECT_EQ(together, alone);
  }
}

TEST_P(TextToText, DropoutDoesNotDependOnTheBatch) {
  const std::unique_ptr<Model> model = text_model(config(0.3), DType::kFloat32);
  std::vector<Example> examples = text_examples(kLengths, 3);
  const double together = model->train_batch(tiny::packed(examples, kText), 1, {4, 2});
  double alone = 0;
  for (const Example& example : examples) alone += model->train_batch(tiny::packed({example}, kText), 1, {4, 2});
  EXPECT_EQ(together, alone);
  EXPECT_NE(together, model->train_batch(tiny::packed(examples, kText), 1, {4, 3}));
}

TEST_P(TextToText, SameBitsWithAnyNumberOfThreads) {
  const int before = thread_count();
  const auto gradients = [&](int threads) {
    set_thread_count(threads);
    const std::unique_ptr<Model> model = text_model(config(0.1), DType::kFloat32);
    model->train_batch(text_batch(5), 1, {1, 1});
    return model->parameters().read_all(ParameterStore::Values::kGradient);
  };
  EXPECT_EQ(gradients(1), gradients(3));
  set_thread_count(before);
}

INSTANTIATE_TEST_SUITE_P(Families, TextToText,
                         testing::Values(std::tuple{+[] { return &mt5_family(); }, false},
                                         std::tuple{+[] { return &mt5_family(); }, true},
                                         std::tuple{+[] { return &umt5_family(); }, false}));

TEST(TextToTextModel, ReservesWhatItUses) {
  const std::unique_ptr<Model> model = text_model(text_config(mt5_family(), false, 0.1), DType::kFloat32);
  // 256 tokens, sources and targets together; a stack that is too small throws.
  for (const auto& lengths : {std::vector<std::pair<int, int>>(128, {1, 1}), std::vector<std::pair<int, int>>(4, {63, 1}),
                              std::vector<std::pair<int, int>>(4, {1, 63}), std::vector<std::pair<int, int>>(8, {16, 16})}) {
    const PackedBatch batch = tiny::packed(text_examples(lengths, 2), kText);
    EXPECT_TRUE(std::isfinite(model->train_batch(batch, 1, {1, 1})));
    EXPECT_TRUE(std::isfinite(model->evaluate_loss(batch)));
  }
}

// A device pads each list by itself, so that both together have more tokens than the batch had, and it is planned for.
TEST(TextToTextModel, ADeviceReservesWhatPaddingAdds) {
  if (cuda::device_count() == 0) GTEST_SKIP() << "CUDA finds no device";
  ModelOptions options;
  options.execution = {.device = Device::kCuda, .precision = DType::kFloat32};
  options.training = true;
  options.heads = {{"", kText, tiny::kVocabulary}};
  ModelConfig config = text_config(mt5_family(), false, 0.1);
  config.num_hidden_layers = config.encoder_decoder.decoder_layers = 1;
  const std::unique_ptr<Model> model = make_model(config, options);
  model->reserve(64, true);
  for (const auto& lengths :
       {std::vector<std::pair<int, int>>{{5, 3}, {9, 3}, {3, 3}, {7, 3}}, {{3, 50}, {2, 9}}, {{58, 1}, {1, 1}}}) {
    EXPECT_TRUE(std::isfinite(model->train_batch(tiny::packed(text_examples(lengths, 2), kText), 1, {1, 1})));
  }
}

// A word met once has a gradient of zero where dropout dropped it: the encoder's and the decoder's embeddings, of one example and one
// place, are dropped by draws of their own.
TEST(TextToTextModel, EncoderAndDecoderDropByThemselves) {
  const std::unique_ptr<Model> model = text_model(text_config(mt5_family(), false, 0.5), DType::kFloat32);
  Example example;
  example.number = 7;
  example.ids = {3, 4};
  set_target(example, {5, 6}, 0, 0);  // read behind the start, so that 5 stands where 4 does
  model->train_batch(tiny::packed({example}, kText), 1, {4, 2});
  ParameterStore& store = model->parameters();
  const float* words = store.gradient(store.table().find("shared.weight"));
  const auto dropped = [&](int word) {
    std::vector<bool> zeros;
    for (int i = 0; i < 16; ++i) zeros.push_back(words[word * 16 + i] == 0);
    return zeros;
  };
  EXPECT_NE(dropped(4), dropped(5));
  for (const int word : {4, 5}) {
    const std::vector<bool> zeros = dropped(word);
    const auto count = std::count(zeros.begin(), zeros.end(), true);
    EXPECT_TRUE(count > 0 && count < 16) << count;
  }
}

TEST(TextToTextModel, SentencesAreTheEncodersAlone) {
  const std::unique_ptr<Model> model = text_model(text_config(mt5_family(), false), DType::kFloat32);
  PackedBatch batch = text_batch(4);
  const std::vector<float> with_targets = model->encode(batch, 2, Pooling::kMean);
  batch.target = {};
  batch.labels.clear();
  EXPECT_EQ(model->encode(batch, 2, Pooling::kMean), with_targets);
  EXPECT_EQ(with_targets.size(), 4u * 16);
}

TEST(TextToTextModel, TargetsAreShifted) {
  Example example;
  set_target(example, {7, kIgnoredLabel, 9, 1}, /*start=*/5, /*pad=*/0);
  EXPECT_EQ(example.target_ids, (std::vector<std::int32_t>{5, 7, 0, 9}));
  EXPECT_EQ(example.labels, (std::vector<std::int32_t>{7, kIgnoredLabel, 9, 1}));
  EXPECT_THROW(set_target(example, {}, 5, 0), UserError);
}

PackedBatch sources_of(const std::vector<Example>& examples) {
  PackedBatch batch = tiny::packed(examples, kText);
  batch.target = {};
  batch.labels.clear();
  recount_labels(batch);
  return batch;
}

TEST(TextToTextModel, GeneratesForEachSourceAsIfAlone) {
  for (const DType precision : {DType::kFloat32, DType::kBFloat16}) {
    const std::unique_ptr<Model> model = text_model(text_config(mt5_family(), false), precision);
    const std::vector<Example> examples = text_examples(kLengths, 3);
    for (const std::int32_t beams : {1, 3}) {
      const GenerationSettings settings = {.beams = beams, .maximum_length = 9, .end = 11};
      const std::vector<Generation> together = model->generate(sources_of(examples), settings);
      for (std::size_t i = 0; i < examples.size(); ++i) {
        const Generation alone = model->generate(sources_of({examples[i]}), settings).front();
        EXPECT_EQ(together[i].ids, alone.ids);
        EXPECT_EQ(together[i].score, alone.score);
      }
    }
  }
}

// What a decoder with kept keys and values says is what it says when it reads the whole text at once.
TEST(TextToTextModel, KeptKeysAreThoseOfTheWholeText) {
  const std::unique_ptr<Model> model = text_model(text_config(umt5_family(), false), DType::kFloat32);
  std::vector<Example> examples = text_examples(kLengths, 8);
  const std::vector<Generation> answers = model->generate(sources_of(examples), {.maximum_length = 12, .end = 11});
  for (std::size_t i = 0; i < examples.size(); ++i) {
    set_target(examples[i], answers[i].ids, 0, 0);
    const double loss = model->evaluate_loss(tiny::packed({examples[i]}, kText));
    EXPECT_NEAR(answers[i].score, -loss / static_cast<double>(answers[i].ids.size()), 1e-6);
  }
}

TEST(TextToTextModel, AnswersOnlyWhatIsAllowed) {
  const std::unique_ptr<Model> model = text_model(text_config(mt5_family(), false), DType::kFloat32);
  // Two begin alike, and one is the beginning of another but for its end.
  const std::vector<std::vector<std::int32_t>> answers = {{5, 6, 1}, {5, 6, 7, 1}, {9, 1}};
  for (const std::int32_t beams : {1, 2}) {
    GenerationSettings settings = {.beams = beams, .maximum_length = 9, .end = 1, .answers = answers};
    for (const Generation& answer : model->generate(sources_of(text_examples(kLengths, 3)), settings)) {
      EXPECT_NE(std::find(answers.begin(), answers.end(), answer.ids), answers.end());
    }
    settings.answers = {{5, 6}};
    EXPECT_THROW(model->generate(sources_of(text_examples(kLengths, 3)), settings), UserError);
  }
}

TEST(TextToTextModel, EachSourceAnswersOnlyWhatIsItsOwn) {
  const std::unique_ptr<Model> model = text_model(text_config(mt5_family(), false), DType::kFloat32);
  const std::vector<Example> examples = text_examples(kLengths, 3);
  GenerationSettings settings = {.maximum_length = 9, .end = 1};
  settings.own_answers = {{{5, 6, 1}, {9, 1}}, {{7, 1}}, {{5, 1}, {6, 1}}, {{5, 6, 1}, {5, 6, 7, 1}}};
  const std::vector<Generation> together = model->generate(sources_of(examples), settings);
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const auto& own = settings.own_answers[i];
    EXPECT_NE(std::find(own.begin(), own.end(), together[i].ids), own.end()) << i;
    const Generation alone =
        model->generate(sources_of({examples[i]}), {.maximum_length = 9, .end = 1, .answers = own}).front();
    EXPECT_EQ(together[i].ids, alone.ids);
    EXPECT_EQ(together[i].score, alone.score);
  }
  settings.own_answers.pop_back();
  EXPECT_THROW(model->generate(sources_of(examples), settings), UserError);
  settings.own_answers.push_back({});
  EXPECT_THROW(model->generate(sources_of(examples), settings), UserError) << "nothing is allowed";
}

// Answers that are compared have the log-probabilities that a decoder which reads them whole gives: of every source its own list or
// one list, answers that begin alike, that are the same, and of one token.
TEST(TextToTextModel, AnswersAreCompared) {
  const std::vector<std::vector<std::vector<std::int32_t>>> own = {
      {{5, 6, 7, 1}, {5, 6, 1}, {5, 1}, {1}}, {{9, 1}, {9, 1}, {4, 4, 4, 4, 4, 1}}, {}, {{5, 6, 7, 1}}};
  for (const DType precision : {DType::kFloat32, DType::kBFloat16}) {
    const std::unique_ptr<Model> model = text_model(text_config(mt5_family(), false), precision);
    std::vector<Example> examples = text_examples(kLengths, 3);
    const PackedBatch sources = sources_of(examples);
    const auto each = model->answer_scores(sources, own);
    const auto all = model->answer_scores(sources, {own.front()});
    ASSERT_EQ(each.size(), examples.size());
    EXPECT_TRUE(each[2].empty());
    for (std::size_t i = 0; i < examples.size(); ++i) {
      const auto expect_scores = [&](const std::vector<float>& scores,
                                     const std::vector<std::vector<std::int32_t>>& answers) {
        ASSERT_EQ(scores.size(), answers.size());
        EXPECT_EQ(scores, model->answer_scores(sources_of({examples[i]}), {answers}).front()) << "as if alone";
        for (std::size_t a = 0; a < answers.size(); ++a) {
          set_target(examples[i], answers[a], 0, 0);
          const double loss = model->evaluate_loss(tiny::packed({examples[i]}, kText));
          // fp32 roundings of a few losses near 4; in bf16 hidden states are rounded to 2^-9 of numbers near 1.
          EXPECT_NEAR(scores[a], -loss, precision == DType::kFloat32 ? 1e-5 : 0.02 * loss) << i << ", " << a;
        }
      };
      expect_scores(each[i], own[i]);
      expect_scores(all[i], own.front());
    }
    EXPECT_THROW(model->answer_scores(sources, {{{5, tiny::kVocabulary}}}), UserError);
    EXPECT_THROW(model->answer_scores(sources, {{{}}}), UserError);
    EXPECT_THROW(model->answer_scores(sources, {own[0], own[1]}), Error);
  }
  const std::unique_ptr<Model> encoder =
      tiny::model(tiny::config(NormPlacement::kPost), HeadKind::kSequence, DType::kFloat32);
  const PackedBatch batch = tiny::packed(tiny::examples(HeadKind::kSequence, {5}, 3), HeadKind::kSequence);
  EXPECT_THROW(encoder->answer_scores(batch, {{{5}}}), Error);
}

// On a device, or the host implementation of its kernels, as on the CPU.
TEST(TextToTextModel, ADeviceAnswersAsTheCpu) {
  if (cuda::device_count() == 0) GTEST_SKIP() << "CUDA finds no device";
  const PackedBatch sources = sources_of(text_examples({{3, 1}, {5, 1}}, 3));
  const GenerationSettings settings = {.beams = 2, .maximum_length = 3, .end = 11};
  std::vector<std::vector<Generation>> answers;
  for (const Device device : {Device::kCpu, Device::kCuda}) {
    ModelOptions options;
    options.execution = {.device = device, .precision = DType::kFloat32};
    options.heads = {{"", kText, tiny::kVocabulary}};
    const std::unique_ptr<Model> model = make_model(text_config(mt5_family(), false), options);
    model->reserve(16, false);
    answers.push_back(model->generate(sources, settings));
  }
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(answers[0][i].ids, answers[1][i].ids);
    EXPECT_NEAR(answers[0][i].score, answers[1][i].score, 1e-5);  // fp32 roundings of scores near 3
  }
}

TEST(TextToTextModel, AnEncoderGeneratesNothing) {
  const std::unique_ptr<Model> model = tiny::model(tiny::config(NormPlacement::kPost), HeadKind::kSequence, DType::kFloat32);
  const PackedBatch batch = tiny::packed(tiny::examples(HeadKind::kSequence, {5}, 3), HeadKind::kSequence);
  EXPECT_THROW(model->generate(batch, {}), Error);
}

class TextToTextFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              ("koine_mt5_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  static fs::path fixture(const std::string& family) {
    return fs::path(KOINE_SOURCE_DIR) / "tests" / "fixtures" / family / "text_to_text";
  }
  static ModelOptions options() {
    ModelOptions options;
    options.heads = {{"", kText, 50}};
    return options;
  }
  /// The fixture's config.json with one key changed; its tensors.
  fs::path changed(const std::string& family, const std::string& key, const nlohmann::json& value) const {
    nlohmann::json json = read_json(fixture(family) / "config.json");
    if (value.is_null()) {
      json.erase(key);
    } else {
      json[key] = value;
    }
    write_file_atomically(folder_ / "config.json", json.dump());
    fs::copy(fixture(family) / "model.safetensors", folder_ / "model.safetensors", fs::copy_options::overwrite_existing);
    return folder_;
  }
  static std::string error_of(const fs::path& directory) {
    try {
      load_model(directory, options());
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  }

  fs::path folder_;
};

TEST_F(TextToTextFiles, SavesWhatTransformersSaved) {
  for (const char* family : {"mt5", "mt5_tied", "t5", "umt5"}) {
    LoadReport report;
    const std::unique_ptr<Model> model = load_model(fixture(family), options(), &report);
    EXPECT_TRUE(report.fresh.empty() && report.unused.empty()) << family;
    const fs::path output = folder_ / family;
    model->save(output.string());
    const SafetensorsFile before(fixture(family) / "model.safetensors");
    const SafetensorsFile after(output / "model.safetensors");
    ASSERT_EQ(before.tensors().size(), after.tensors().size()) << family;
    for (const auto& [name, entry] : before.tensors()) {
      ASSERT_TRUE(after.contains(name)) << name;
      EXPECT_EQ(after.entry(name).shape, entry.shape) << name;
      EXPECT_EQ(std::memcmp(before.bytes(name), after.bytes(name), entry.end - entry.begin), 0) << name;
    }
    const nlohmann::json expected = read_json(fixture(family) / "config.json");
    const nlohmann::json written = read_json(output / "config.json");
    for (const char* key : {"architectures", "model_type", "d_model", "d_kv", "num_decoder_layers", "vocab_size"}) {
      EXPECT_EQ(written[key], expected[key]) << family << " " << key;
    }
  }
}

// transformers writes "tie_word_embeddings" true whatever the head is.
TEST_F(TextToTextFiles, TheTensorsSayWhetherTheHeadIsTied) {
  for (const bool tied : {false, true}) {
    for (const bool told : {false, true}) {
      LoadReport report;
      const fs::path directory = changed(tied ? "mt5_tied" : "mt5", "tie_word_embeddings", told);
      const std::unique_ptr<Model> model = load_model(directory, options(), &report);
      EXPECT_EQ(model->parameters().table().find("lm_head.weight") < 0, tied);
      EXPECT_EQ(report.notes.size(), told == tied ? 0u : 1u);
    }
  }
}

TEST_F(TextToTextFiles, NamesWhatItCannotRead) {
  EXPECT_NE(error_of(changed("mt5", "decoder_start_token_id", nullptr)).find("decoder_start_token_id"), std::string::npos);
  EXPECT_NE(error_of(changed("mt5", "feed_forward_proj", "relu")).find("feed_forward_proj"), std::string::npos);
  EXPECT_NE(error_of(changed("t5", "scale_decoder_outputs", true)).find("scale_decoder_outputs"), std::string::npos);
  EXPECT_NE(error_of(changed("mt5", "num_decoder_layers", 1 << 20)).find("num_decoder_layers"), std::string::npos);
  EXPECT_NE(error_of(changed("mt5", "relative_attention_max_distance", 16)).find("max_distance"), std::string::npos);
}

}  // namespace
}  // namespace koine
