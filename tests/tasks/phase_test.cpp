// The folder of a phase: what is its own, what is refused, what is cleaned.

#include "tasks/experiment/phase.h"

#include <gtest/gtest.h>

#include "engine/files/text_file.h"
#include "tasks/experiment/toml_section.h"
#include "tests/engine/temporary_folder.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

const FileHashes kFiles = {{"mnli/train.jsonl", "aa"}, {"model/config.json", "bb"}};

void expect_clean(const fs::path& folder) {
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    EXPECT_TRUE(name.find(".tmp") == std::string::npos && name != "checkpoints" && name != kLockFile) << entry.path();
  }
}

TEST(PhaseFolder, OneKilledBeforeItsFirstFileStoodIsBegunAnew) {
  const TemporaryFolder folder;
  const fs::path phase = folder / "phase";
  make_directory(phase);
  write_file_atomically(phase / ".config.toml.1-0.tmp", "seed = ");
  write_file_atomically(phase / kLockFile, "");
  {
    PhaseFolder opened(phase, "seed = 1\n", kFiles, false);
    EXPECT_FALSE(opened.done());
    EXPECT_FALSE(opened.continued());
    opened.finish({{"value", 7}});
  }
  expect_clean(phase);
  const PhaseFolder again(phase, "seed = 1\n", kFiles, false);
  EXPECT_TRUE(again.done());
  EXPECT_EQ(again.result().at("value"), 7);
}

TEST(PhaseFolder, WhatIsNotOfARunIsRefused) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "thesis.tex", "");
  expect_user_error([&] { PhaseFolder(folder.path(), "seed = 1\n", {}, false); }, {"no config.toml", "--output"});
  expect_user_error([&] { PhaseFolder(folder.path(), "seed = 1\n", {}, true); }, {"no config.toml", "--output"});
}

TEST(PhaseFolder, LeftoversBehindAnEndMarkAreCleaned) {
  const TemporaryFolder folder;
  PhaseFolder(folder.path(), "seed = 1\n", kFiles, false).finish(nlohmann::json::object());
  for (const char* name : {"checkpoints/step-3", "attempt-2/checkpoints", "model", ".checkpoints.5-0.tmp/step-1"})
    make_directory(folder / name);
  write_file_atomically(folder / "model/.model.safetensors.5-1.tmp", "half");
  write_file_atomically(folder / kLockFile, "{}");
  EXPECT_TRUE(PhaseFolder(folder.path(), "seed = 1\n", kFiles, false).done());
  expect_clean(folder.path());
  EXPECT_TRUE(fs::exists(folder / "model"));
}

// The hashes stand beside a phase's own settings, pretraining's `files` among them; earlier programs called their part so, too.
TEST(PhaseFolder, ItsConfigIsTomlAndThatOfAnEarlierProgramIsTheSame) {
  const TemporaryFolder folder;
  const std::string config = "seed = 1\nfiles = []\n";
  PhaseFolder(folder.path(), config, kFiles, false);
  const std::string text = read_file(folder / "config.toml");
  EXPECT_EQ(TomlSection::parse(text, "config.toml").integer("seed", 0, 0, 9), 1);
  const std::size_t at = text.find("[file_hashes]");
  ASSERT_NE(at, std::string::npos);
  write_file_atomically(folder / "config.toml", text.substr(0, at) + "[files]" + text.substr(at + 13));
  require_same_phase(folder.path(), config, kFiles);
  expect_user_error(
      [&] {
        require_same_phase(folder.path(), config, {{"mnli/train.jsonl", "ab"}});
      },
      {"mnli/train.jsonl", "has changed"});
}

TEST(PhaseFolder, HasOneWriter) {
  const TemporaryFolder folder;
  {
    const PhaseFolder first(folder.path(), "seed = 1\n", kFiles, false);
    expect_user_error([&] { PhaseFolder(folder.path(), "seed = 1\n", kFiles, false); }, {"another koine"});
    expect_user_error([&] { PhaseFolder(folder.path(), "seed = 2\n", kFiles, true); }, {"another koine"});
    EXPECT_TRUE(fs::exists(folder / "config.toml"));
  }
  const PhaseFolder second(folder.path(), "seed = 1\n", kFiles, false);
  EXPECT_TRUE(second.continued());
}

TEST(PhaseFolder, OtherSettingsAndOtherFilesAreNamedAndMadeAgainOnlyWhenAsked) {
  const TemporaryFolder folder;
  const fs::path phase = folder / "phase";
  const auto refused = [&](const std::string& config, const FileHashes& files, const std::vector<std::string>& parts) {
    expect_user_error([&] { PhaseFolder(phase, config, files, false); }, parts);
  };
  PhaseFolder(phase, "seed = 1\n", kFiles, false).finish(nlohmann::json::object());
  refused("seed = 2\n", kFiles, {"phase", "other settings", "seed = 1 there, seed = 2 here", "--redo"});
  refused("seed = 1\n", {{"mnli/train.jsonl", "ac"}, {"model/config.json", "bb"}},
          {"other files", "\"mnli/train.jsonl\" has changed", "\"aa\" then", "\"ac\" now", "--redo"});
  refused("seed = 1\n", {{"glue/train.tsv", "aa"}, {"model/config.json", "bb"}},
          {"other files", "\"mnli/train.jsonl\" is gone", "\"glue/train.tsv\" would be read now"});
  refused("seed = 1\n", {{"model/config.json", "bb"}}, {"other files", "\"mnli/train.jsonl\" is gone)"});
  FileHashes more = kFiles;
  more["mnli/x.jsonl"] = "dd";
  refused("seed = 1\n", more, {"\"mnli/x.jsonl\" would be read besides"});

  write_file_atomically(phase / "evaluations.json", "{}");
  make_directory(phase / "model");
  const PhaseFolder again(phase, "seed = 2\n", more, true);
  EXPECT_FALSE(again.done());
  EXPECT_FALSE(again.continued());
  EXPECT_FALSE(fs::exists(phase / "evaluations.json"));
  EXPECT_FALSE(fs::exists(phase / "model"));
  EXPECT_EQ(read_file(phase / "config.toml"), phase_config("seed = 2\n", more));
}

TEST(PhaseFolder, OneOfAProgramThatKeptNoFilesIsStillAsGoodAsItsSettings) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "config.toml", "seed = 1\n");
  write_file_atomically(folder / "done.json", R"({"fingerprint": ")" + xxh3_hex("seed = 1\n") + "\"}");
  const PhaseFolder opened(folder.path(), "seed = 1\n", kFiles, false);
  EXPECT_TRUE(opened.done());
  EXPECT_EQ(opened.fingerprint(), xxh3_hex("seed = 1\n"));
  EXPECT_EQ(phase_fingerprint(folder.path(), "seed = 1\n", kFiles), opened.fingerprint());
}

TEST(PhaseFolder, AnEndMarkThatIsNoneIsRefused) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "config.toml", "seed = 1\n");
  for (const char* mark : {R"({"fingerprint": 1})", "[]", R"({"fingerprint": "ab"})", "{}"}) {
    write_file_atomically(folder / "done.json", mark);
    expect_user_error([&] { PhaseFolder(folder.path(), "seed = 1\n", {}, false); }, {"done.json", "does not belong"});
  }
}

TEST(PhaseModel, AFlippedBitOfWhatAnEarlierPhaseLeftIsNamed) {
  const TemporaryFolder folder;
  make_directory(folder / "model");
  write_file_atomically(folder / "model/model.safetensors", "weights");
  write_file_atomically(folder / "model/sentencepiece.bpe.model", "pieces");
  const nlohmann::json mark = {{"files", model_record(folder.path())}};
  EXPECT_EQ(mark.at("files").size(), 2u);
  require_same_model(folder.path(), mark);
  require_same_model(folder.path(), nlohmann::json::object());
  write_file_atomically(folder / "model/sentencepiece.bpe.model", "qieces");
  expect_user_error([&] { require_same_model(folder.path(), mark); }, {"sentencepiece.bpe.model", "not the file", "delete"});
  fs::remove(folder / "model/sentencepiece.bpe.model");
  expect_user_error([&] { require_same_model(folder.path(), mark); }, {"sentencepiece.bpe.model", "is gone"});
}

}  // namespace
}  // namespace koine
