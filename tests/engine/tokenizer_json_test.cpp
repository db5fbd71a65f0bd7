// tokenizer.json, in and out: the same ids as the SentencePiece model, everything else refused by name.

#include "engine/tokenizer/tokenizer_json.h"

#include <cstdlib>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "engine/files/base64.h"
#include "engine/files/text_file.h"
#include "engine/tokenizer/model_file.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/tokenizer_files.h"
#include "temporary_folder.h"

namespace koine {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

TEST(Base64, IsRfc4648s) {
  // Its section 10.
  const std::pair<const char*, const char*> kVectors[] = {{"", ""},
                                                          {"f", "Zg=="},
                                                          {"fo", "Zm8="},
                                                          {"foo", "Zm9v"},
                                                          {"foob", "Zm9vYg=="},
                                                          {"fooba", "Zm9vYmE="},
                                                          {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : kVectors) {
    EXPECT_EQ(base64(bytes), text);
    EXPECT_EQ(from_base64(text), bytes);
  }
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  EXPECT_EQ(from_base64(base64(all)), all);
  for (const char* wrong : {"Zg=", "Zg", "Z===", "Zm9v\n", "Zh==", "=Zm8", "Zm 8", "===="})
    EXPECT_FALSE(from_base64(wrong).has_value()) << wrong;
}

class TokenizerJson : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    const char* const kStems[] = {"mal", "ken", "tor", "vis", "bru", "lan", "gol", "rit", "dax", "d\u00e9"};
    std::ofstream text(*folder_ / "text");
    for (std::uint32_t i = 0; i < 3000; ++i) {
      const std::uint32_t draw = i * 2654435761u >> 8;
      text << kStems[draw % 10] << kStems[draw / 10 % 10] << (i % 50 == 0 ? " \uac01" : "") << (i % 6 == 5 ? ".\n" : " ");
    }
    text.close();
    Tokenizer::train({{*folder_ / "text"}, 60, 1.0}, *folder_ / "sentencepiece.bpe.model");
    tokenizer_ = new Tokenizer(folder_->path());
  }
  static void TearDownTestSuite() {
    delete tokenizer_;
    delete folder_;
  }

  static json own_json() {
    return json::parse(tokenizer_json_of_sentencepiece(tokenizer_->sentencepiece_model(), tokenizer_->numbering(), "model"));
  }
  static void write_json(const fs::path& folder, const json& content) {
    write_file_atomically(folder / "tokenizer.json", content.dump());
  }

  static TemporaryFolder* folder_;
  static Tokenizer* tokenizer_;
};
TemporaryFolder* TokenizerJson::folder_ = nullptr;
Tokenizer* TokenizerJson::tokenizer_ = nullptr;

/// `read` gives the pieces of `tokenizer`, with decomposed, unknown and special-looking text among the texts.
void expect_same(const Tokenizer& tokenizer, const Tokenizer& read) {
  EXPECT_EQ(read.vocabulary_size(), tokenizer.vocabulary_size());
  EXPECT_EQ(read.special().all(), tokenizer.special().all());
  for (const char* text : {"", " ", "malken  torvis\tbrulan.", "de\u0301 d\u00e9 \u1100\u1161\u11a8 \uac01",
                           "<s> </s> <mask>", "\uff4d\uff41\uff4c sem3\u200bgolrit", "\u4e2d\u6587 dax \u2581dax"}) {
    EXPECT_EQ(read.encode(text), tokenizer.encode(text)) << text;
    EXPECT_EQ(read.encode_by_library(text).size(), tokenizer.encode(text).size()) << text;
  }
}

TEST_F(TokenizerJson, ReadsWhatItWrites) {
  const TemporaryFolder other;
  write_json(other.path(), own_json());
  const Tokenizer read(other.path());
  EXPECT_EQ(read.file(), other / "tokenizer.json");
  expect_same(*tokenizer_, read);
  expect_same(*tokenizer_, Tokenizer(other / "tokenizer.json"));
}

/// As transformers 5 saves XLMRobertaTokenizer: the rules alone, and <mask> without lstrip.
TEST_F(TokenizerJson, ReadsWhatTransformersSaves) {
  json root = own_json();
  root["normalizer"] = json(root["normalizer"]["normalizers"][1]);
  root["added_tokens"][4]["lstrip"] = false;
  const TemporaryFolder other;
  write_json(other.path(), root);
  expect_same(*tokenizer_, Tokenizer(other.path()));
  // Older ones: no WhitespaceSplit, spaces made one by a Replace, the older name of prepend_scheme.
  root["normalizer"] = {
      {"type", "Sequence"},
      {"normalizers",
       json::array({root["normalizer"], {{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", "\u2581"}}})}};
  root["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"add_prefix_space", true}};
  write_json(other.path(), root);
  expect_same(*tokenizer_, Tokenizer(other.path()));
}

TEST_F(TokenizerJson, SaysWhatTheLibraryNeeds) {
  const json root = own_json();
  const auto pieces = static_cast<std::size_t>(tokenizer_->vocabulary_size());
  EXPECT_EQ(root["model"]["vocab"].size(), pieces);
  EXPECT_EQ(root["model"]["unk_id"], 3);
  const char* const kNames[] = {"<s>", "<pad>", "</s>", "<unk>"};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(root["model"]["vocab"][i], json::array({kNames[i], 0.0}));
  EXPECT_EQ(root["model"]["vocab"][pieces - 1], json::array({"<mask>", 0.0}));
  const TokenizerModel model = parse_tokenizer_model(tokenizer_->sentencepiece_model(), "model");
  for (std::size_t id = 4; id + 1 < pieces; ++id) {
    EXPECT_EQ(root["model"]["vocab"][id][0], tokenizer_->piece(static_cast<std::int32_t>(id)));
    EXPECT_EQ(root["model"]["vocab"][id][1].get<double>(), static_cast<double>(model.pieces[id - 1].score));
  }
  std::string pair;
  for (const json& part : root["post_processor"]["pair"])
    pair += (part.contains("Sequence") ? part["Sequence"]["id"] : part["SpecialToken"]["id"]).get<std::string>() + " ";
  EXPECT_EQ(pair, "<s> A </s> </s> B </s> ");
  EXPECT_EQ(root["post_processor"]["special_tokens"]["</s>"]["ids"], json::array({2}));
  EXPECT_EQ(root["added_tokens"].size(), 5u);
}

TEST_F(TokenizerJson, RefusesOthersByName) {
  const TemporaryFolder other;
  const auto refused = [&](const std::function<void(json&)>& change, const std::vector<std::string>& parts) {
    json root = own_json();
    change(root);
    write_json(other.path(), root);
    std::vector<std::string> all = parts;
    all.emplace_back("tokenizer.json");
    expect_user_error([&] { Tokenizer tokenizer(other.path()); }, all);
  };
  refused([](json& root) { root["model"]["type"] = "BPE"; }, {"\"BPE\"", "Unigram", "--tokenizer"});
  refused([](json& root) { root["model"]["byte_fallback"] = true; }, {"bytes", "--tokenizer"});
  refused([](json& root) { root["model"].erase("vocab"); }, {"model.vocab is missing"});
  refused([](json& root) { root["model"]["vocab"][7] = "x"; }, {"model.vocab[7]"});
  refused([](json& root) { root["model"]["vocab"][9] = root["model"]["vocab"][8]; }, {"same text"});
  refused([](json& root) { root["model"]["vocab"] = json::array({json::array({"<s>", 0.0})}); }, {"no text"});
  refused([](json& root) { std::swap(root["model"]["vocab"][0], root["model"]["vocab"][1]); },
          {"id 0 is \"<pad>\"", "<s>", "--tokenizer"});
  refused([](json& root) { root["model"]["vocab"].push_back(json::array({"more", -1.0})); }, {"\"more\"", "<mask>"});
  refused([](json& root) { root["model"]["unk_id"] = 0; }, {"unk_id"});
  refused(
      [](json& root) {
        root["added_tokens"].push_back({{"id", 99}, {"content", "<extra>"}});
      },
      {"<extra>", "--tokenizer"});
  refused([](json& root) { root["normalizer"] = nullptr; }, {"Precompiled", "--tokenizer"});
  refused([](json& root) { root["normalizer"] = {{"type", "Lowercase"}}; }, {"Lowercase", "--tokenizer"});
  refused([](json& root) { root["normalizer"]["normalizers"][1]["precompiled_charsmap"] = "A"; }, {"base64"});
  refused([](json& root) { root["normalizer"]["normalizers"][1]["precompiled_charsmap"] = "AAAA"; },
          {"normalisation rules are damaged"});
  refused([](json& root) { root["pre_tokenizer"] = {{"type", "ByteLevel"}}; }, {"ByteLevel", "--tokenizer"});
  refused([](json& root) { root["pre_tokenizer"]["pretokenizers"][1]["prepend_scheme"] = "never"; },
          {"Metaspace in another form"});
  refused([](json& root) { root["pre_tokenizer"] = nullptr; }, {"no \"Metaspace\""});
  write_file_atomically(other / "tokenizer.json", "[]");
  expect_user_error([&] { Tokenizer tokenizer(other.path()); }, {"tokenizer.json", "no JSON object"});
  write_file_atomically(other / "tokenizer.json", "{\"model\": {");
  expect_user_error([&] { Tokenizer tokenizer(other.path()); }, {"tokenizer.json:1"});
}

json saved_settings(const fs::path& folder) { return read_json(folder / "tokenizer_config.json"); }

TEST_F(TokenizerJson, SavesAModelsTokenizer) {
  const TemporaryFolder other;
  save_tokenizer(*tokenizer_, 62, other.path());
  EXPECT_EQ(read_file(other / "sentencepiece.bpe.model"), read_file(tokenizer_->file()));
  EXPECT_EQ(read_json(other / "tokenizer.json"), own_json());
  EXPECT_EQ(saved_settings(other.path())["model_max_length"], 62);
  EXPECT_EQ(saved_settings(other.path())["mask_token"], "<mask>");
  EXPECT_FALSE(fs::exists(other / "special_tokens_map.json"));
  // Of a tokenizer.json: the same model, and again.
  fs::remove(other / "sentencepiece.bpe.model");
  const TemporaryFolder third;
  const Tokenizer read(other.path());
  save_tokenizer(read, 62, third.path());
  EXPECT_EQ(Tokenizer(third.path()).fingerprint(), read.fingerprint());
  EXPECT_EQ(read_file(third / "tokenizer.json"), read_file(other / "tokenizer.json"));
}

TEST_F(TokenizerJson, TakesOverTheFilesBesideIt) {
  const TemporaryFolder source;
  const TemporaryFolder target;
  write_file_atomically(source / "sentencepiece.bpe.model", tokenizer_->sentencepiece_model());
  json root = own_json();
  root["normalizer"] = json(root["normalizer"]["normalizers"][1]);
  write_json(source.path(), root);
  write_file_atomically(source / "special_tokens_map.json", "{}");
  // What transformers writes where nobody gave a length is above every one.
  write_file_atomically(
      source / "tokenizer_config.json",
      R"({"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 1000000000000000019884624838656})");
  save_tokenizer(Tokenizer(source.path()), 62, target.path());
  EXPECT_EQ(read_file(target / "tokenizer.json"), read_file(source / "tokenizer.json"));
  EXPECT_EQ(read_file(target / "special_tokens_map.json"), "{}");
  EXPECT_EQ(saved_settings(target.path()), json({{"tokenizer_class", "XLMRobertaTokenizer"}, {"model_max_length", 62}}));
  write_file_atomically(source / "tokenizer_config.json", R"({"model_max_length": 40})");
  save_tokenizer(Tokenizer(source.path()), 62, target.path());
  EXPECT_EQ(saved_settings(target.path()), json({{"model_max_length", 40}})) << "a shorter one is somebody's choice";

  // One of another vocabulary says nothing of this tokenizer.
  root["model"]["vocab"][10][1] = -0.5;
  write_json(source.path(), root);
  save_tokenizer(Tokenizer(source.path()), 62, target.path());
  EXPECT_EQ(read_json(target / "tokenizer.json"), own_json());
  EXPECT_EQ(saved_settings(target.path())["tokenizer_class"], "PreTrainedTokenizerFast");
}

TEST(GoldenTokenizerJson, GivesTheGoldenEncodings) {
  const char* data = std::getenv("KOINE_DATA");
  if (data == nullptr) GTEST_SKIP() << "KOINE_DATA is not set: the golden encodings are not there";
  const fs::path golden = fs::path(data) / "xlmr";
  const std::string model = read_file(golden / "sentencepiece.bpe.model");
  const TemporaryFolder folder;
  write_file_atomically(folder / "tokenizer.json", tokenizer_json_of_sentencepiece(model, kFairseqNumbering, "model"));
  const Tokenizer read(folder.path());
  const Tokenizer original(golden / "sentencepiece.bpe.model");
  std::int64_t rows = 0;
  for (const char* name : {"golden_text.jsonl", "golden_edge.jsonl"}) {
    for_each_json_line(golden / name, [&](const json& row, std::int64_t) {
      ++rows;
      const auto text = row["text"].get<std::string>();
      std::vector<std::int32_t> expected;
      for (const json& id : row["ids"]) expected.push_back(id == 0 ? 3 : id.get<std::int32_t>() + 1);
      // 48 times "a": two orders of the same pieces, of which the original file's tokenizer gives the other, too.
      EXPECT_TRUE(read.encode(text) == expected || read.encode(text) == original.encode(text)) << text;
      EXPECT_EQ(read.encode(text), original.encode(text)) << text;
    });
  }
  EXPECT_EQ(rows, 228 + 45);
}

}  // namespace
}  // namespace koine
