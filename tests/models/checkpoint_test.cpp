// Model directories: what koine saves is what transformers saved, and what is refused.

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/files/safetensors.h"
#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "models/config.h"
#include "tests/models/tiny.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

class CheckpointTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              ("koine_checkpoint_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  static fs::path fixture(const std::string& family, const std::string& head) {
    return fs::path(KOINE_SOURCE_DIR) / "tests" / "fixtures" / family / head;
  }
  fs::path copy_of(const fs::path& directory) const {
    fs::copy(directory / "config.json", folder_ / "config.json", fs::copy_options::overwrite_existing);
    fs::copy(directory / "model.safetensors", folder_ / "model.safetensors", fs::copy_options::overwrite_existing);
    return folder_;
  }
  static ModelOptions options_for(HeadKind kind, std::int32_t classes) {
    ModelOptions options;
    options.heads = {{"", kind, classes}};
    return options;
  }

  fs::path folder_;
};

struct Saved {
  const char* head;
  HeadKind kind;
  std::int32_t classes;
};

TEST_F(CheckpointTest, SavesWhatTransformersSaved) {
  const Saved cases[] = {{"masked_lm", HeadKind::kMaskedLm, 50},
                         {"sequence", HeadKind::kSequence, 3},
                         {"token", HeadKind::kToken, 5},
                         {"span", HeadKind::kSpan, 2},
                         {"choice", HeadKind::kChoice, 1}};
  for (const char* family : {"xlm_roberta", "xlm_roberta_xl", "bert"}) {
    for (const Saved& saved : cases) {
      const fs::path source = fixture(family, saved.head);
      LoadReport report;
      const std::unique_ptr<Model> model = load_model(source, options_for(saved.kind, saved.classes), &report);
      EXPECT_TRUE(report.fresh.empty() && report.unused.empty());
      const fs::path output = folder_ / family / saved.head;
      model->save(output.string());
      const SafetensorsFile before(source / "model.safetensors");
      const SafetensorsFile after(output / "model.safetensors");
      ASSERT_EQ(before.tensors().size(), after.tensors().size()) << family << " " << saved.head;
      for (const auto& [name, entry] : before.tensors()) {
        ASSERT_TRUE(after.contains(name)) << name;
        EXPECT_EQ(after.entry(name).shape, entry.shape) << name;
        EXPECT_EQ(std::memcmp(before.bytes(name), after.bytes(name), entry.end - entry.begin), 0) << name;
      }
      EXPECT_EQ(after.metadata().at("format"), "pt");
      const nlohmann::json expected = read_json(source / "config.json");
      const nlohmann::json written = read_json(output / "config.json");
      EXPECT_EQ(written["architectures"], expected["architectures"]);
      EXPECT_EQ(written["model_type"], expected["model_type"]);
      EXPECT_EQ(written["hidden_size"], expected["hidden_size"]);
      EXPECT_EQ(written["transformers_version"], expected.value("transformers_version", "5.0.0"));
      if (expected.contains("id2label") && saved.kind != HeadKind::kChoice && saved.kind != HeadKind::kSpan) {
        EXPECT_EQ(written["id2label"].size(), expected["id2label"].size());
      }
    }
  }
}

TEST_F(CheckpointTest, NamedHeadsAreSavedUnderTransformersNames) {
  ModelOptions options;
  options.heads = {{"mnli", HeadKind::kSequence, 3}, {"squad", HeadKind::kSpan, 2}};
  load_model(fixture("xlm_roberta", "sequence"), options)->save((folder_ / "several").string());
  options.heads.resize(1);
  load_model(fixture("xlm_roberta", "sequence"), options)->save((folder_ / "one").string());
  const SafetensorsFile expected(fixture("xlm_roberta", "sequence") / "model.safetensors");
  for (const char* saved : {"several", "one"}) {
    const SafetensorsFile written(folder_ / saved / "model.safetensors");
    EXPECT_EQ(written.tensors().size(), expected.tensors().size());
    for (const auto& [name, entry] : expected.tensors()) EXPECT_TRUE(written.contains(name)) << saved << " lacks " << name;
    EXPECT_EQ(read_json(folder_ / saved / "config.json")["architectures"][0], "XLMRobertaForSequenceClassification");
  }
}

/// The tensors of a bare XLM-R under BERT's names: without the position rows that XLM-R never reads, and with a second token
/// type, which no token has.
class Twin {
 public:
  Twin(const fs::path& source, const std::string& prefix) : file_(source / "model.safetensors") {
    for (const auto& [name, entry] : file_.tensors()) {
      TensorSource tensor;
      tensor.name = prefix + name;
      tensor.shape = entry.shape;
      tensor.data = file_.bytes(name);
      if (name == "embeddings.position_embeddings.weight") {
        tensor.shape[0] -= 2;
        tensor.data = reinterpret_cast<const float*>(file_.bytes(name)) + 2 * entry.shape[1];
      }
      if (name == "embeddings.token_type_embeddings.weight") {
        types_ = file_.read_float(name);
        for (std::int64_t i = 0; i < entry.shape[1]; ++i) types_.push_back(7);
        tensor.shape[0] = 2;
        tensor.data = types_.data();
      }
      tensors_.push_back(tensor);
    }
    config_ = read_json(source / "config.json");
    config_["model_type"] = "bert";
    config_["architectures"] = {"BertModel"};
    config_["max_position_embeddings"] = config_["max_position_embeddings"].get<std::int64_t>() - 2;
    config_["type_vocab_size"] = 2;
  }
  void write(const fs::path& directory) const {
    fs::create_directories(directory);
    write_safetensors(directory / "model.safetensors", tensors_);
    write_file_atomically(directory / "config.json", config_.dump());
  }

 private:
  SafetensorsFile file_;
  std::vector<float> types_;
  std::vector<TensorSource> tensors_;
  nlohmann::json config_;
};

TEST_F(CheckpointTest, AModelUnderBertsNamesIsTheSameFunction) {
  const std::unique_ptr<Model> original = make_model(tiny::config(NormPlacement::kPost), {});
  original->save((folder_ / "xlmr").string());
  for (const char* prefix : {"", "bert."}) {
    Twin(folder_ / "xlmr", prefix).write(folder_ / "bert");
    LoadReport report;
    const std::unique_ptr<Model> twin = load_model(folder_ / "bert", {}, &report);
    EXPECT_TRUE(report.fresh.empty() && report.unused.empty());
    EXPECT_EQ(twin->maximum_length(), original->maximum_length());
    const PackedBatch batch = tiny::packed(tiny::examples(HeadKind::kSequence, {32, 1, 9}, 6), HeadKind::kSequence);
    for (std::int64_t layer = 0; layer <= original->layers(); ++layer) {
      EXPECT_EQ(twin->hidden_states(batch, layer), original->hidden_states(batch, layer)) << "hidden state " << layer;
    }
    twin->save((folder_ / "again").string());
    const SafetensorsFile before(folder_ / "xlmr" / "model.safetensors");
    const SafetensorsFile after(folder_ / "again" / "model.safetensors");
    EXPECT_EQ(after.tensors().size(), before.tensors().size());
    for (const auto& [name, entry] : before.tensors()) EXPECT_TRUE(after.contains(name)) << name;
    EXPECT_EQ(after.entry("embeddings.token_type_embeddings.weight").shape[0], 2);
    const nlohmann::json config = read_json(folder_ / "again" / "config.json");
    EXPECT_EQ(config["model_type"], "bert");
    EXPECT_EQ(config["architectures"][0], "BertModel");
  }
}

TEST_F(CheckpointTest, ReadsOldSpellings) {
  const fs::path source = fixture("xlm_roberta", "masked_lm");
  const SafetensorsFile original(source / "model.safetensors");
  std::vector<TensorSource> tensors;
  for (const auto& [name, entry] : original.tensors()) {
    TensorSource tensor;
    tensor.name = name;
    tensor.shape = entry.shape;
    tensor.data = original.bytes(name);
    if (const std::size_t at = tensor.name.find("LayerNorm.weight"); at != std::string::npos)
      tensor.name.replace(at, 16, "LayerNorm.gamma");
    if (const std::size_t at = tensor.name.find("LayerNorm.bias"); at != std::string::npos)
      tensor.name.replace(at, 14, "LayerNorm.beta");
    if (tensor.name.starts_with("roberta.")) tensor.name = tensor.name.substr(8);
    tensors.push_back(tensor);
  }
  const std::vector<std::int64_t> positions(40);
  tensors.push_back({"embeddings.position_ids", "I64", {1, 40}, positions.data()});
  fs::copy(source / "config.json", folder_ / "config.json");
  write_safetensors(folder_ / "model.safetensors", tensors);
  LoadReport report;
  const std::unique_ptr<Model> old = load_model(folder_, options_for(HeadKind::kMaskedLm, 50), &report);
  const std::unique_ptr<Model> model = load_model(source, options_for(HeadKind::kMaskedLm, 50));
  EXPECT_TRUE(report.fresh.empty());
  EXPECT_TRUE(report.unused.empty());
  const ParameterTable& table = model->parameters().table();
  for (int index = 0; index < table.size(); ++index) {
    EXPECT_EQ(std::memcmp(old->parameters().master(index), model->parameters().master(index),
                          static_cast<std::size_t>(table[index].count()) * sizeof(float)),
              0)
        << table[index].name;
  }
}

TEST_F(CheckpointTest, WrongDeclaredFamilyIsCorrectedByTheTensors) {
  copy_of(fixture("xlm_roberta_xl", "sequence"));
  nlohmann::json config = read_json(folder_ / "config.json");
  config["model_type"] = "xlm-roberta";
  config["architectures"] = {"XLMRobertaForSequenceClassification"};
  write_file_atomically(folder_ / "config.json", config.dump());
  LoadReport report;
  load_model(folder_, options_for(HeadKind::kSequence, 3), &report);
  EXPECT_TRUE(report.fresh.empty());
}

TEST_F(CheckpointTest, HeadsOfAnotherTaskAreFresh) {
  LoadReport report;
  load_model(fixture("xlm_roberta", "sequence"), options_for(HeadKind::kSequence, 7), &report);
  EXPECT_EQ(report.fresh, (std::vector<std::string>{"classifier.out_proj.weight", "classifier.out_proj.bias"}));
  load_model(fixture("xlm_roberta", "masked_lm"), options_for(HeadKind::kSpan, 2), &report);
  EXPECT_EQ(report.fresh, (std::vector<std::string>{"qa_outputs.weight", "qa_outputs.bias"}));
  EXPECT_EQ(report.unused.size(), 5u);  // lm_head.{dense.weight, dense.bias, layer_norm.weight, layer_norm.bias, bias}
}

void expect_refused(const fs::path& folder, const std::vector<std::string>& words) {
  ModelOptions options;
  options.heads = {{"", HeadKind::kSequence, 3}};
  try {
    load_model(folder, options);
    FAIL() << "accepted";
  } catch (const UserError& error) {
    for (const std::string& word : words) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << "no \"" << word << "\" in: " << error.what();
    }
  }
}

TEST_F(CheckpointTest, WrongDirectoriesAreRefusedByName) {
  expect_refused(folder_, {"config.json"});
  copy_of(fixture("xlm_roberta", "sequence"));
  nlohmann::json config = read_json(folder_ / "config.json");
  const auto write = [&](const nlohmann::json& json) { write_file_atomically(folder_ / "config.json", json.dump()); };

  nlohmann::json changed = config;
  changed.erase("hidden_size");
  write(changed);
  expect_refused(folder_, {"config.json", "hidden_size", "missing"});
  changed = config;
  changed["num_attention_heads"] = 5;
  write(changed);
  expect_refused(folder_, {"config.json", "num_attention_heads"});
  changed = config;
  changed["model_type"] = "gpt2";
  write(changed);
  expect_refused(folder_, {"config.json", "model_type", "gpt2"});
  changed = config;
  changed["vocab_size"] = 51;
  write(changed);
  expect_refused(folder_, {"model.safetensors", "word_embeddings.weight", "[50, 32]", "[51, 32]"});
  changed = config;
  changed["num_hidden_layers"] = 3;
  write(changed);
  expect_refused(folder_, {"roberta.encoder.layer.2.", "missing"});
  changed = config;
  changed["hidden_size"] = -8;
  write(changed);
  expect_refused(folder_, {"hidden_size", "-8"});
  changed = config;
  changed["hidden_dropout_prob"] = 1.5;
  write(changed);
  expect_refused(folder_, {"hidden_dropout_prob", "1.5"});

  write(config);
  fs::resize_file(folder_ / "model.safetensors", 5000);
  expect_refused(folder_, {"model.safetensors"});
}

TEST_F(CheckpointTest, ADecoderIsRefused) {
  copy_of(fixture("xlm_roberta", "sequence"));
  const nlohmann::json config = read_json(folder_ / "config.json");
  for (const char* key : {"is_decoder", "add_cross_attention"}) {
    nlohmann::json changed = config;
    changed[key] = true;
    write_file_atomically(folder_ / "config.json", changed.dump());
    expect_refused(folder_, {"config.json", key, "decoder"});
    changed[key] = 1;
    write_file_atomically(folder_ / "config.json", changed.dump());
    expect_refused(folder_, {"config.json", key, "true or false"});
  }
}

TEST_F(CheckpointTest, RelativePositionsAreRefused) {
  copy_of(fixture("bert", "sequence"));
  nlohmann::json config = read_json(folder_ / "config.json");
  config["position_embedding_type"] = "relative_key";
  write_file_atomically(folder_ / "config.json", config.dump());
  expect_refused(folder_, {"config.json", "position_embedding_type", "relative_key", "absolute"});
}

TEST_F(CheckpointTest, AnUntiedDecoderIsRefusedWhereItWouldRun) {
  for (const char* family : {"xlm_roberta", "bert"}) {
    copy_of(fixture(family, "masked_lm"));
    nlohmann::json config = read_json(folder_ / "config.json");
    config["tie_word_embeddings"] = false;
    write_file_atomically(folder_ / "config.json", config.dump());
    EXPECT_NO_THROW(load_model(folder_, options_for(HeadKind::kSequence, 3)));
    try {
      load_model(folder_, options_for(HeadKind::kMaskedLm, 50));
      FAIL() << "accepted";
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find("tie_word_embeddings"), std::string::npos) << error.what();
    }
  }
}

TEST_F(CheckpointTest, NumbersThatNoModelHasAreRefused) {
  const std::pair<const char*, nlohmann::json> cases[] = {{"num_hidden_layers", 16'777'216},
                                                          {"num_hidden_layers", 1025},
                                                          {"num_attention_heads", 1025},
                                                          {"hidden_dropout_prob", 0.999999},
                                                          {"attention_probs_dropout_prob", 0.999999},
                                                          {"classifier_dropout", 0.999999}};
  for (const auto& [key, value] : cases) {
    copy_of(fixture("xlm_roberta", "sequence"));
    nlohmann::json config = read_json(folder_ / "config.json");
    config[key] = value;
    write_file_atomically(folder_ / "config.json", config.dump());
    expect_refused(folder_, {"config.json", key, value.dump()});
  }
}

TEST_F(CheckpointTest, ValuesThatAreNoNumbersAreRefusedByTensor) {
  copy_of(fixture("xlm_roberta", "sequence"));
  const std::string name = "roberta.encoder.layer.0.attention.self.query.weight";
  const SafetensorsFile file(folder_ / "model.safetensors");
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
    std::vector<TensorSource> tensors;
    std::vector<std::vector<float>> values;
    values.reserve(file.tensors().size());
    for (const auto& [tensor, entry] : file.tensors()) {
      if (entry.dtype != "F32") continue;
      values.push_back(file.read_float(tensor));
      if (tensor == name) values.back()[1] = value;
      tensors.push_back({tensor, "F32", entry.shape, values.back().data(), {}});
    }
    const fs::path broken = folder_ / "broken";
    fs::create_directories(broken);
    fs::copy_file(folder_ / "config.json", broken / "config.json", fs::copy_options::overwrite_existing);
    write_safetensors(broken / "model.safetensors", tensors);
    expect_refused(broken, {"model.safetensors", name, "1 of ", "not a number"});
  }
}

TEST_F(CheckpointTest, AMissingEpsilonIsTransformersDefault) {
  const std::pair<const char*, double> cases[] = {{"xlm_roberta", 1e-12}, {"xlm_roberta_xl", 1e-5}, {"bert", 1e-12}};
  for (const auto& [family, expected] : cases) {
    copy_of(fixture(family, "sequence"));
    nlohmann::json config = read_json(folder_ / "config.json");
    config.erase("layer_norm_eps");
    write_file_atomically(folder_ / "config.json", config.dump());
    EXPECT_EQ(read_model_config(folder_).layer_norm_eps, expected) << family;
  }
}

/// Writes the tensors of `source` under names that `rename` changes.
void write_renamed(const fs::path& source, const fs::path& target, const std::string& from, const std::string& to) {
  const SafetensorsFile file(source / "model.safetensors");
  std::vector<TensorSource> tensors;
  for (const auto& [name, entry] : file.tensors()) {
    TensorSource tensor;
    tensor.name = name == from ? to : name;
    tensor.shape = entry.shape;
    tensor.data = file.bytes(name);
    tensors.push_back(std::move(tensor));
  }
  write_safetensors(target, tensors);
}

TEST_F(CheckpointTest, TheTiedWeightMayStandUnderTheDecodersName) {
  const std::pair<const char*, std::pair<const char*, const char*>> cases[] = {
      {"xlm_roberta", {"roberta.embeddings.word_embeddings.weight", "lm_head.decoder.weight"}},
      {"bert", {"bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"}}};
  for (const auto& [family, names] : cases) {
    const fs::path source = fixture(family, "masked_lm");
    copy_of(source);
    write_renamed(source, folder_ / "model.safetensors", names.first, names.second);
    LoadReport report;
    const auto model = load_model(folder_, options_for(HeadKind::kMaskedLm, 50), &report);
    EXPECT_TRUE(report.fresh.empty() && report.unused.empty());
    const SafetensorsFile expected(source / "model.safetensors");
    const int index = model->parameters().table().find(names.first);
    EXPECT_EQ(std::memcmp(model->parameters().master(index), expected.bytes(names.first),
                          static_cast<std::size_t>(model->parameters().table()[index].count()) * sizeof(float)),
              0);
  }
}

TEST_F(CheckpointTest, ClassesAreOrderedByTheirNames) {
  copy_of(fixture("xlm_roberta", "sequence"));
  nlohmann::json config = read_json(folder_ / "config.json");
  const auto ordered = [&](const nlohmann::json& names, const std::vector<std::string>& told = {}) {
    config["id2label"] = names;
    if (names.is_null()) config.erase("id2label");
    write_file_atomically(folder_ / "config.json", config.dump());
    std::unique_ptr<Model> model = load_model(folder_, options_for(HeadKind::kSequence, 3));
    order_classes(*model, read_model_config(folder_), {"contradiction", "entailment", "neutral"}, told, "config.json");
    std::vector<std::vector<float>> values;
    for (const char* name : {"classifier.out_proj.weight", "classifier.out_proj.bias"}) {
      const int index = model->parameters().table().find(name);
      const float* master = model->parameters().master(index);
      values.emplace_back(master, master + model->parameters().table()[index].count());
    }
    return values;
  };
  const auto same = ordered({{"0", "contradiction"}, {"1", "ENTAILMENT"}, {"2", "neutral"}});
  const nlohmann::json placeholders = {{"0", "LABEL_0"}, {"1", "LABEL_1"}, {"2", "LABEL_2"}};
  EXPECT_EQ(ordered(placeholders, {"contradiction", "entailment", "neutral"}), same);
  const auto turned = ordered({{"0", "entailment"}, {"1", "neutral"}, {"2", "Contradiction"}});
  const std::size_t row = same[0].size() / 3;
  for (std::size_t label = 0; label < 3; ++label) {
    const std::size_t from = (label + 2) % 3;  // contradiction is the checkpoint's class 2, entailment 0, neutral 1
    EXPECT_EQ(turned[1][label], same[1][from]);
    for (std::size_t i = 0; i < row; ++i) EXPECT_EQ(turned[0][label * row + i], same[0][from * row + i]);
  }
  EXPECT_EQ(ordered(placeholders, {"Entailment", "neutral", "contradiction"}), turned) << "what is told counts";
  EXPECT_EQ(ordered({{"0", "b"}, {"1", "c"}, {"2", "a"}}, {"entailment", "neutral", "contradiction"}), turned);
  const auto refused = [&](const nlohmann::json& names, const std::vector<std::string>& told,
                           const std::vector<std::string>& parts) {
    try {
      ordered(names, told);
      FAIL() << "accepted";
    } catch (const UserError& error) {
      for (const std::string& part : parts)
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  refused({{"0", "positive"}, {"1", "neutral"}, {"2", "negative"}}, {},
          {"config.json", "\"contradiction\", \"entailment\"", "\"positive\""});
  for (const nlohmann::json& nothing : {placeholders, nlohmann::json()})
    refused(nothing, {}, {"config.json", "LABEL_0", "--labels contradiction,entailment,neutral"});
  refused(placeholders, {"entailment", "neutral"}, {"--labels names 2", "has 3"});
  refused(placeholders, {"entailment", "neutral", "no"}, {"--labels has no class \"contradiction\"", "\"no\""});
}

TEST_F(CheckpointTest, TheConfigMayPutTheClassifierOnThePooler) {
  copy_of(fixture("xlm_roberta", "sequence_pooled"));
  const std::vector<Example> examples = tiny::examples(HeadKind::kSequence, {7, 1, 12}, 6);
  const PackedBatch batch = tiny::packed(examples, HeadKind::kSequence);
  const std::vector<float> raw = load_model(folder_, options_for(HeadKind::kSequence, 3))->predict(batch);
  const std::vector<float> pooled = load_model(folder_, options_for(HeadKind::kSequencePooled, 3))
                                        ->predict(tiny::packed(examples, HeadKind::kSequencePooled));
  EXPECT_NE(raw, pooled);

  nlohmann::json config = read_json(folder_ / "config.json");
  config["classifier_pooler"] = true;
  write_file_atomically(folder_ / "config.json", config.dump());
  LoadReport report;
  const std::unique_ptr<Model> model = load_model(folder_, options_for(HeadKind::kSequence, 3), &report);
  EXPECT_TRUE(report.fresh.empty() && report.unused.empty());
  EXPECT_EQ(model->predict(batch), pooled);
  model->save((folder_ / "again").string());
  EXPECT_EQ(load_model(folder_ / "again", options_for(HeadKind::kSequence, 3))->predict(batch), pooled);

  config["classifier_pooler"] = "yes";
  write_file_atomically(folder_ / "config.json", config.dump());
  try {
    read_model_config(folder_);
    FAIL() << "accepted";
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("classifier_pooler"), std::string::npos) << error.what();
  }
}

TEST(PublishedShapes, HaveThePublishedParameterCounts) {
  // Hugging Face checkpoints: encoder without pooler and with the masked-language head counted once.
  const std::vector<std::tuple<const char*, std::int64_t, std::int64_t>> expected = {{"base", 277453056, 278295186},
                                                                                     {"large", 558840832, 560142482},
                                                                                     {"xl", 3475929600, 3482741760},
                                                                                     {"xxl", 10695954432, 10712994816}};
  for (const auto& [size, encoder, with_head] : expected) {
    const ModelConfig config = published_model_config(size);
    const std::int64_t pooler = config.hidden_size * config.hidden_size + config.hidden_size;
    EXPECT_EQ(model_parameter_table(config, {}).parameters() - pooler, encoder) << size;
    const HeadSpec head = {"", HeadKind::kMaskedLm, static_cast<std::int32_t>(config.vocab_size)};
    EXPECT_EQ(model_parameter_table(config, {head}).parameters(), with_head) << size;
  }
}

TEST(PublishedShapes, MemoryIsPlannedWithoutTakingIt) {
  ModelOptions options;
  options.execution.precision = DType::kBFloat16;
  options.training = true;
  options.heads = {{"", HeadKind::kSequence, 3}};
  const MemoryPlan plan = plan_model_memory(published_model_config("xxl"), options, 4096);
  // 48 blocks keep 16 values of width 4096 and two of width 16384 a token, in bf16, besides statistics.
  const double least = 48.0 * 4096 * (8.0 * 4096 + 2.0 * 16384) * 2;
  EXPECT_GT(static_cast<double>(plan.activation_bytes), least);
  EXPECT_LT(static_cast<double>(plan.activation_bytes), 1.2 * least);
  EXPECT_FALSE(plan.activations.empty());
}

}  // namespace
}  // namespace koine
