// What must not get into a run's figures, and what must not get lost of it: other data and models than those it began with,
// damaged ones, a second run in the same folder, signals.

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "program.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

class Integrity : public ::testing::Test {
 protected:
  void SetUp() override {
    write_small_data(folder_ / "data");
    write_small_model(folder_ / "model", folder_ / "data");
    write_text(folder_ / "own.toml", "name = \"own\"\nprecision = \"fp32\"\nseeds = [1]\n[model]\ndirectory = \"" +
                                         (folder_ / "model") +
                                         "\"\n[[target]]\ntask = \"xnli\"\nmax_steps = 2\n[[target]]\ntask = \"tatoeba\"\n");
  }
  std::vector<std::string> train_words(const std::string& output, std::vector<std::string> more) {
    std::vector<std::string> words = {
        "train",    "--task",         "mnli",        "--model", folder_ / "model", "--data", folder_ / "data",
        "--output", folder_ / output, "--precision", "fp32",    "--threads",       "1",      "--per-device-train-batch-size",
        "4"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  /// A training without an end, and what `then` does when it is under way.
  Outcome train_until(const std::string& output, const std::function<void(int process)>& then,
                      std::vector<std::string> more = {}) {
    ProgramOptions options;
    options.while_running = [&](int process) {
      std::error_code ignored;
      const fs::path metrics = folder_ / (output + "/metrics.jsonl");
      if (!fs::exists(metrics, ignored) || fs::file_size(metrics, ignored) == 0) return false;
      then(process);
      return true;
    };
    more.insert(more.end(), {"--max-steps", "10000000", "--logging-steps", "1"});
    return run_koine(train_words(output, more), options);
  }
  Outcome run(const std::string& output, std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"run",      folder_ / "own.toml", "--data",    folder_ / "data",
                                      "--output", folder_ / output,     "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return run_koine(words);
  }
  Outcome quiet(const std::string& output) { return run(output, {"--quiet"}); }

  Folder folder_;
};

/// Changes the bytes at a place, and the file's time with them.
void overwrite(const fs::path& path, std::int64_t from_end, const std::string& bytes) {
  std::string text = read_text(path);
  text.replace(text.size() - static_cast<std::size_t>(from_end), bytes.size(), bytes);
  write_text(path, text);
}

const std::string kNaN("\x00\x00\xc0\x7f", 4);

TEST_F(Integrity, ASecondRunInTheSameFolderIsToldAndTheFirstIsNotDisturbed) {
  const Outcome first = train_until("out", [&](int process) {
    for (const char* option : {"--resume", "--redo"}) {
      expect_mistake(run_koine(train_words("out", {"--max-steps", "10000000", "--logging-steps", "1", "--quiet", option})),
                     {folder_ / "out", "another koine", "process " + std::to_string(process)});
    }
    kill(process, SIGTERM);
  });
  EXPECT_EQ(first.exit_code, 130) << first.errors;
  EXPECT_FALSE(fs::exists(folder_ / "out/run.lock"));
}

TEST_F(Integrity, OneSignalSavesAndTheNextDoNotBreakTheSaving) {
  for (const int signal : {SIGUSR1, SIGTERM, SIGINT}) {
    const std::string output = "out " + std::to_string(signal);  // a name that a shell needs in quotes
    const Outcome stopped = train_until(output, [&](int process) {
      for (const int next : {signal, SIGTERM, SIGINT, signal}) kill(process, next);
    });
    EXPECT_EQ(stopped.exit_code, 130) << stopped.errors;
    const fs::path checkpoints = folder_ / (output + "/checkpoints");
    ASSERT_TRUE(fs::exists(checkpoints)) << stopped.errors;
    EXPECT_NE(stopped.errors.find("'" + (folder_ / output) + "' --precision fp32"), std::string::npos) << stopped.errors;
    EXPECT_NE(stopped.errors.find("--logging-steps 1 --resume` continues"), std::string::npos) << stopped.errors;
  }
}

TEST_F(Integrity, ResumingWithoutACheckpointIsSaid) {
  const Outcome fresh = run_koine(train_words("out", {"--max-steps", "2"}));
  ASSERT_EQ(fresh.exit_code, 0) << fresh.errors;
  EXPECT_EQ(fresh.errors.find("starts over"), std::string::npos) << fresh.errors;
  fs::remove_all(folder_ / "out/model");  // as a kill before the first checkpoint leaves it
  fs::remove(folder_ / "out/done.json");
  const Outcome resumed = run_koine(train_words("out", {"--max-steps", "2", "--resume"}));
  EXPECT_EQ(resumed.exit_code, 0) << resumed.errors;
  EXPECT_NE(resumed.errors.find("no checkpoint of it: it starts over"), std::string::npos) << resumed.errors;
}

TEST_F(Integrity, WhereARunStandsIsSaid) {
  const Outcome outcome = run("out");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_NE(outcome.errors.find("[1/2] none / xnli / seed 1, 2 phases of unknown length left in all\n"), std::string::npos)
      << outcome.errors;
  EXPECT_NE(outcome.errors.find("[2/2] none / tatoeba / seed 1, "), std::string::npos) << outcome.errors;
}

TEST_F(Integrity, ChangedDataAreNamedAndTheirPhasesMadeAgainOnlyWhenAsked) {
  ASSERT_EQ(quiet("out").exit_code, 0);
  ASSERT_EQ(quiet("out").exit_code, 0);
  const std::string test = folder_ / "data/XNLI-1.0/xnli.test.tsv";
  std::string text = read_text(test);
  text.replace(text.find("neutral"), 7, "contradiction");
  write_text(test, text);
  expect_mistake(quiet("out"), {"target/none/xnli/seed-1", "\"XNLI-1.0/xnli.test.tsv\" has changed", "--redo"});
  const std::string before = read_text(folder_ / "out/target/none/tatoeba/seed-1/done.json");
  const Outcome redone = run("out", {"--redo"});
  EXPECT_EQ(redone.exit_code, 0) << redone.errors;
  EXPECT_NE(redone.errors.find("[1/2]"), std::string::npos) << redone.errors;
  EXPECT_EQ(read_text(folder_ / "out/target/none/tatoeba/seed-1/done.json"), before) << "nothing of it has changed";
  EXPECT_EQ(quiet("out").exit_code, 0);
}

TEST_F(Integrity, AnotherFileOfTheSameTaskIsNotTakenForOneThatIsGone) {
  // Two targets, of which the first is done; the second would be trained on GLUE's file.
  const std::string row = "\tid\tp\tg\ts1p\ts2p\tp1\tp2\ta bird\tthe bird\tneutral\tneutral\n";
  ASSERT_EQ(quiet("out").exit_code, 0);
  std::string header =
      "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
      "sentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label\n";
  for (int i = 0; i < 20; ++i) header += std::to_string(i) + row;
  write_text(folder_ / "data/glue/MNLI/train.tsv", header);
  EXPECT_EQ(quiet("out").exit_code, 0) << "the first candidate is still there";
  fs::remove(folder_ / "data/multinli_1.0/multinli_1.0_train.jsonl");
  fs::remove(folder_ / "out/target/none/tatoeba/seed-1/done.json");
  const Outcome refused = quiet("out");
  expect_mistake(refused, {"target/none/xnli/seed-1", "multinli_1.0_train.jsonl\" is gone"});
}

TEST_F(Integrity, AnotherModelOfTheSameShapeUnderTheSameNameIsRefused) {
  ASSERT_EQ(quiet("out").exit_code, 0);
  overwrite(folder_ / "model/model.safetensors", 4, std::string("\x00\x00\x80\x3f", 4));
  expect_mistake(quiet("out"), {"target/none/xnli/seed-1", "\"model/model.safetensors\" has changed"});
  const std::vector<std::string> words = train_words("trained", {"--max-steps", "2", "--quiet"});
  ASSERT_EQ(run_koine(words).exit_code, 0);
  overwrite(folder_ / "model/model.safetensors", 4, std::string("\x00\x00\x00\x40", 4));
  expect_mistake(run_koine(words), {"\"model/model.safetensors\" has changed"});
}

TEST_F(Integrity, ADamagedIntermediateModelIsNamedAndNotUsed) {
  const std::string arm = "[[intermediate]]\nname = \"mnli\"\ntasks = [\"mnli\"]\nmax_steps = 2\n";
  write_text(folder_ / "own.toml", read_text(folder_ / "own.toml") + arm);
  ASSERT_EQ(quiet("out").exit_code, 0);
  const fs::path model = folder_ / "out/intermediate/mnli/seed-1/model/model.safetensors";
  std::string bytes = read_text(model);
  bytes[bytes.size() - 9] ^= 1;
  write_text(model, bytes);
  EXPECT_EQ(quiet("out").exit_code, 0) << "nobody reads it";
  fs::remove_all(folder_ / "out/target/mnli/tatoeba");
  expect_mistake(quiet("out"), {model.string(), "not the file that was written"});
}

TEST_F(Integrity, WeightsThatAreNoNumbersAreRefusedByName) {
  const std::string bytes = read_text(folder_ / "model/model.safetensors");
  const std::int64_t header =
      static_cast<unsigned char>(bytes[0]) + 256 * static_cast<unsigned char>(bytes[1]);  // shorter than 64 KiB
  // The first tensor behind the header is of the embeddings, which every use of the model reads.
  overwrite(folder_ / "model/model.safetensors", static_cast<std::int64_t>(bytes.size()) - 8 - header, kNaN);
  const std::vector<std::string> parts = {"model.safetensors", "tensor \"", "1 of ", "not a number"};
  expect_mistake(run_koine(train_words("out", {"--max-steps", "2", "--quiet"})), parts);
  expect_mistake(run_koine({"encode", "--model", folder_ / "model", "--input", folder_ / "data/text/en.txt", "--output",
                            folder_ / "x.npy", "--precision", "fp32", "--quiet"}),
                 parts);
  expect_mistake(quiet("run"), parts);
  EXPECT_FALSE(fs::exists(folder_ / "x.npy"));
}

}  // namespace
}  // namespace koine
