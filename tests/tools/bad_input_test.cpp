// What a user can get wrong from the command line: each mistake ends with exit code 2 and one line that says what, where and
// what to do, and leaves nothing half-written.

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "kernels/cuda/runtime.h"
#include "program.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

/// Data and a model shared by the tests of this file; each test copies what it breaks.
class BadInput : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new Folder;
    write_small_data(shared_->path() / "data");
    write_small_model(shared_->path() / "model", shared_->path() / "data");
  }
  static void TearDownTestSuite() {
    delete shared_;
    shared_ = nullptr;
  }

  std::string data() { return copy("data"); }
  std::string model() { return copy("model"); }
  std::string output() { return folder_ / "output"; }

  Outcome train(const std::string& model, const std::string& data, std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"train",    "--task", "mnli",    "--model",     model,  "--data",      data,
                                      "--output", output(), "--quiet", "--precision", "fp32", "--max-steps", "2"};
    words.insert(words.end(), more.begin(), more.end());
    return run_koine(words);
  }

  /// No model, no end mark and no temporary file in the output.
  void expect_nothing_written() {
    if (!fs::exists(output())) return;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(output())) {
      const std::string name = entry.path().filename().string();
      EXPECT_TRUE(name != "done.json" && name != "model.safetensors" && name.find("tmp") == std::string::npos &&
                  name.find("partial") == std::string::npos)
          << "left behind: " << entry.path();
    }
  }

  Folder folder_;

 private:
  std::string copy(const std::string& name) {
    if (!fs::exists(folder_ / name)) fs::copy(shared_->path() / name, folder_ / name, fs::copy_options::recursive);
    return folder_ / name;
  }
  static Folder* shared_;
};
Folder* BadInput::shared_ = nullptr;

TEST_F(BadInput, TheGoodInputTrains) {
  const Outcome outcome = train(model(), data());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_TRUE(fs::exists(folder_ / "output/model/model.safetensors"));
  EXPECT_TRUE(fs::exists(folder_ / "output/done.json"));
}

TEST_F(BadInput, UnknownCommandNamesTheNearest) {
  expect_mistake(run_koine({"trian"}), {"unknown command \"trian\"", "\"train\""});
  expect_mistake(run_koine({"data", "chekc"}), {"unknown command \"chekc\"", "\"check\""});
}

TEST_F(BadInput, UnknownOptionNamesTheNearest) {
  expect_mistake(
      run_koine({"train", "--task", "mnli", "--model", "m", "--data", "d", "--output", "o", "--learning-rat", "1"}),
      {"unknown option \"--learning-rat\"", "\"--learning-rate\""});
}

TEST_F(BadInput, BothSpellingsOfAnOptionAreKnown) {
  for (const char* spelling : {"--learning_rate", "--learning-rate"}) {
    expect_mistake(train(model(), data(), {spelling, "fast"}), {"--learning-rate", "must be a number"});
  }
  expect_mistake(train(model(), data(), {"--learning_rate", "11"}), {"--learning-rate", "between 0 and 10"});
  expect_mistake(train(model(), data(), {"--eval-steps", "-2"}), {"--eval-steps is -2; it must be at least 0"});
  expect_mistake(train(model(), data(), {"--max-seq-length", "-1"}), {"--max-seq-length: it is -1 and must be 0 or more"});
  expect_mistake(train(model(), data(), {"--threads", "0"}), {"--threads: it is 0 and must be 1 to 4096"});
  expect_mistake(train(model(), data(), {"--seed", "4294967296"}), {"--seed: it is 4294967296 and must be 0 to 4294967295"});
}

TEST_F(BadInput, OptionsThatATrainingMakesNoUseOfAreRefused) {
  const auto refused = [&](const std::vector<std::string>& options, const std::string& whose) {
    expect_mistake(train(model(), data(), options),
                   {options.front() + " is of no use to --task mnli", "it is for " + whose});
  };
  refused({"--sampler", "uniform"}, "several tasks");
  refused({"--temperature", "2"}, "several tasks");
  refused({"--heads", "mnli=x"}, "several tasks");
  refused({"--mlm-languages", "en"}, "mlm among several tasks");
  refused({"--mlm-probability", "0.15"}, "masked-language modelling");
  refused({"--doc-stride", "64"}, "question answering");
  write_text(data() + "/mlm/en.txt", "the old king\n");
  expect_mistake(run_koine({"train", "--task", "mlm", "--model", model(), "--data", data(), "--output", output(), "--quiet",
                            "--equal-tokens"}),
                 {"--equal-tokens is of no use to --task mlm"});
  expect_nothing_written();
}

TEST_F(BadInput, MissingArgument) { expect_mistake(run_koine({"train", "--task", "mnli"}), {"--model", "required"}); }

TEST_F(BadInput, NoCuda) {
  if (!cuda::on_host() && cuda::device_count() > 0) GTEST_SKIP() << "there is a device here";
  expect_mistake(run_koine({"doctor", "--device", "cuda"}), {"CUDA"});
  expect_mistake(run_koine({"doctor", "--device", "cuda:4321"}), {"CUDA"});
  for (const char* name : {"cuda:", "cuda:x", "cuda:1x", "cuda:-1", "gpu"}) {
    expect_mistake(run_koine({"doctor", "--device", name}), {"--device", name, "cuda:0"});
  }
  if (!cuda::on_host()) expect_mistake(run_koine({"doctor", "--device", "cuda-on-cpu"}), {"real CUDA kernels"});
}

TEST_F(BadInput, TheGoodInputTrainsOnCudaKernels) {
  if (cuda::device_count() == 0) GTEST_SKIP() << "CUDA finds no device";
  const Outcome outcome = train(model(), data(), {"--device", cuda::on_host() ? "cuda-on-cpu" : "cuda"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_TRUE(fs::exists(folder_ / "output/model/model.safetensors"));
  EXPECT_TRUE(fs::exists(folder_ / "output/done.json"));
}

TEST_F(BadInput, UnknownTask) {
  expect_mistake(run_koine({"evaluate", "--task", "xnly", "--model", model(), "--data", data(), "--output", output()}),
                 {"xnly", "xnli"});
}

TEST_F(BadInput, MissingFile) {
  expect_mistake(run_koine({"tokenize", "--model", folder_ / "nowhere"}), {"nowhere"});
  expect_mistake(run_koine({"run", folder_ / "nowhere.toml"}), {"nowhere.toml"});
  expect_mistake(train(model(), folder_ / "nowhere"), {"mnli", "nowhere"});
  expect_mistake(run_koine({"inspect", folder_ / "nowhere"}), {"nowhere"});
  expect_nothing_written();
}

TEST_F(BadInput, WrongKindOfFile) {
  write_text(folder_ / "text.safetensors", "this is no safetensors file");
  expect_mistake(run_koine({"inspect", folder_ / "text.safetensors"}), {"text.safetensors"});
  write_text(folder_ / "no.model", "this is no tokenizer");
  expect_mistake(run_koine({"tokenize", "--model", folder_ / "no.model"}), {"no.model"});
}

TEST_F(BadInput, BrokenRow) {
  const std::string file = data() + "/multinli_1.0/multinli_1.0_train.jsonl";
  write_text(file, read_text(file) + "{\"gold_label\": \"neutral\", \"sentence1\": \n");
  expect_mistake(train(model(), data()), {"multinli_1.0_train.jsonl:49"});
  expect_nothing_written();
}

TEST_F(BadInput, UnknownLabel) {
  const std::string file = data() + "/multinli_1.0/multinli_1.0_train.jsonl";
  write_text(file, read_text(file) + "{\"gold_label\": \"maybe\", \"sentence1\": \"a\", \"sentence2\": \"b\"}\n");
  expect_mistake(train(model(), data()), {"multinli_1.0_train.jsonl:49", "maybe"});
  expect_nothing_written();
}

TEST_F(BadInput, AnEmptyLabelStopsBeforeTraining) {
  const std::string file = data() + "/multinli_1.0/multinli_1.0_train.jsonl";
  write_text(file, read_text(file) + "{\"gold_label\": \"\", \"sentence1\": \"a\", \"sentence2\": \"b\"}\n");
  expect_mistake(train(model(), data()), {"multinli_1.0_train.jsonl:49", "label is empty"});
  expect_nothing_written();
}

TEST_F(BadInput, TrainingFileWithoutLabels) {
  fs::remove_all(data() + "/multinli_1.0");
  write_text(data() + "/xnli/train-en.tsv", "a bird\ta king\n");
  expect_mistake(train(model(), data()), {"xnli/train-en.tsv", "no labels"});
  expect_nothing_written();
}

TEST_F(BadInput, DamagedJsonBehindANul) {
  const std::string nul(1, '\0');
  const std::string file = data() + "/multinli_1.0/multinli_1.0_train.jsonl";
  write_text(file,
             read_text(file) + "{\"gold_label\": \"neutral\", \"sentence1\": \"a\", \"sentence2\": \"b\"}" + nul + "\n");
  expect_mistake(train(model(), data()), {"multinli_1.0_train.jsonl:49", "NUL"});
  write_text(model() + "/config.json", read_text(model() + "/config.json") + nul + "{");
  expect_mistake(run_koine({"inspect", model()}), {"config.json", "NUL"});
  expect_nothing_written();
}

TEST_F(BadInput, SequencesTooShortForTheirSpecialTokens) {
  for (const char* length : {"1", "2", "3"})
    expect_mistake(train(model(), data(), {"--max-seq-length", length}), {"max_seq_length " + std::string(length), "room"});
  write_text(folder_ / "lines.txt", "a bird\n");
  expect_mistake(run_koine({"encode", "--model", model(), "--input", folder_ / "lines.txt", "--output", folder_ / "o.npy",
                            "--max-seq-length", "1"}),
                 {"max_seq_length 1", "room"});
  expect_nothing_written();
}

TEST_F(BadInput, InvalidUtf8) {
  const std::string file = data() + "/multinli_1.0/multinli_1.0_train.jsonl";
  write_text(file, read_text(file) + "{\"gold_label\": \"neutral\", \"sentence1\": \"\xff\", \"sentence2\": \"b\"}\n");
  expect_mistake(train(model(), data()), {"multinli_1.0_train.jsonl:49", "UTF-8"});
  ProgramOptions options;
  options.input = "fine\nnot \xc3 fine\n";
  const Outcome outcome = run_koine({"tokenize", "--model", model()}, options);
  expect_mistake(outcome, {"standard input:2", "UTF-8"});
}

TEST_F(BadInput, AnswerThatDoesNotMatchItsOffset) {
  const std::string file = data() + "/squad/train-v1.1.json";
  std::string text = read_text(file);
  const std::size_t at = text.find("\"answer_start\": 4");
  ASSERT_NE(at, std::string::npos);
  write_text(file, text.replace(at, 17, "\"answer_start\": 5"));
  const Outcome outcome = run_koine({"train", "--task", "squad", "--model", model(), "--data", data(), "--output", output(),
                                     "--precision", "fp32", "--quiet"});
  expect_mistake(outcome, {"train-v1.1.json", "q1"});
  expect_nothing_written();
}

TEST_F(BadInput, EmptyDataSet) {
  write_text(data() + "/multinli_1.0/multinli_1.0_train.jsonl", "");
  expect_mistake(train(model(), data()), {"multinli_1.0_train.jsonl"});
  expect_nothing_written();
}

TEST_F(BadInput, TruncatedWeights) {
  const std::string file = model() + "/model.safetensors";
  fs::resize_file(file, fs::file_size(file) - 7);
  expect_mistake(train(model(), data()), {"model.safetensors"});
  expect_nothing_written();
}

TEST_F(BadInput, OversizedHeader) {
  const std::string file = model() + "/model.safetensors";
  std::string bytes = read_text(file);
  bytes[7] = '\x7f';
  write_text(file, bytes);
  expect_mistake(run_koine({"inspect", file}), {"model.safetensors"});
}

TEST_F(BadInput, OverlappingTensors) {
  const std::string header =
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})";
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(header.size());
  write_text(folder_ / "overlap.safetensors", bytes + header + std::string(12, '\0'));
  expect_mistake(run_koine({"inspect", folder_ / "overlap.safetensors"}), {"overlap.safetensors", "b"});
}

TEST_F(BadInput, WeightsOfAnotherShape) {
  const std::string file = model() + "/config.json";
  std::string text = read_text(file);
  const std::size_t at = text.find("\"intermediate_size\": 32");
  ASSERT_NE(at, std::string::npos) << text;
  write_text(file, text.replace(at, 23, "\"intermediate_size\": 48"));
  expect_mistake(train(model(), data()), {"model.safetensors", "dense.weight", "48"});
  expect_nothing_written();
}

TEST_F(BadInput, PickleThatRunsSomething) {
  // A pickle of protocol 2 that calls os.system("true").
  write_text(folder_ / "evil/pytorch_model.bin",
             std::string("\x80\x02") + "cos\nsystem\nX" + std::string("\x04\x00\x00\x00", 4) + "true\x85R.");
  expect_mistake(run_koine({"convert", folder_ / "evil", folder_ / "converted"}), {"pytorch_model.bin"});
  EXPECT_FALSE(fs::exists(folder_ / "converted/model.safetensors"));
}

TEST_F(BadInput, TokenizerOfAnotherModel) {
  const std::string file = model() + "/config.json";
  std::string text = read_text(file);
  const std::size_t at = text.find("\"vocab_size\": ");
  ASSERT_NE(at, std::string::npos) << text;
  write_text(file, text.insert(at + 14, "99"));
  expect_mistake(train(model(), data()), {"tokenizer", "embedding rows"});
  expect_nothing_written();
}

TEST_F(BadInput, SequencesBeyondThePositions) {
  expect_mistake(train(model(), data(), {"--max-seq-length", "65"}), {"--max-seq-length", "65", "64"});
  expect_nothing_written();
}

TEST_F(BadInput, UnknownKeyOfAnExperiment) {
  write_text(folder_ / "experiment.toml",
             "name = \"x\"\n[model]\ndirectory = \"m\"\n[[target]]\ntask = \"xnli\"\nlearning_rat = 1e-3\n");
  expect_mistake(run_koine({"run", folder_ / "experiment.toml", "--data", data()}),
                 {"experiment.toml:6", "learning_rat", "\"learning_rate\""});
}

TEST_F(BadInput, WrongTypeOrRangeInAnExperiment) {
  write_text(folder_ / "type.toml", "[model]\ndirectory = \"m\"\n[[target]]\ntask = \"xnli\"\nlearning_rate = \"high\"\n");
  expect_mistake(run_koine({"run", folder_ / "type.toml"}), {"type.toml:5", "learning_rate", "a number"});
  write_text(folder_ / "range.toml", "[model]\ndirectory = \"m\"\n[[target]]\ntask = \"xnli\"\nwarmup_ratio = 2\n");
  expect_mistake(run_koine({"run", folder_ / "range.toml"}), {"range.toml:5", "warmup_ratio", "between 0 and 1"});
  write_text(folder_ / "syntax.toml", "[model\n");
  expect_mistake(run_koine({"run", folder_ / "syntax.toml"}), {"syntax.toml:1", "TOML"});
}

TEST_F(BadInput, FullDisk) {
  ProgramOptions limited;
  limited.file_size_limit = 4096;
  const Outcome outcome = run_koine({"train", "--task", "mnli", "--model", model(), "--data", data(), "--output", output(),
                                     "--quiet", "--precision", "fp32", "--max-steps", "2"},
                                    limited);
  expect_mistake(outcome, {"output"});
  expect_nothing_written();
  ProgramOptions full;
  full.input = "text\n";
  full.standard_output = "/dev/full";
  expect_mistake(run_koine({"tokenize", "--model", model()}, full), {"standard output"});
}

TEST_F(BadInput, CheckpointWithoutItsEndMark) {
  const Outcome first = train(model(), data());
  ASSERT_EQ(first.exit_code, 0) << first.errors;
  fs::remove(folder_ / "output/done.json");
  fs::remove_all(folder_ / "output/model");
  fs::create_directories(folder_ / "output/checkpoints/step-1");
  expect_mistake(train(model(), data(), {"--resume"}), {"step-1", "complete.json"});
}

TEST_F(BadInput, OtherSettingsForTheSameOutput) {
  ASSERT_EQ(train(model(), data()).exit_code, 0);
  expect_mistake(train(model(), data(), {"--weight-decay", "0.5"}),
                 {"weight_decay = 0.01 there, weight_decay = 0.5 here", "--output"});
}

TEST_F(BadInput, AModelWhoseLossIsNotANumberStopsWithStepAndExamples) {
  const std::string file = model() + "/model.safetensors";
  std::string bytes = read_text(file);
  const auto header =
      static_cast<unsigned char>(bytes[0]) + 256 * static_cast<unsigned char>(bytes[1]);  // shorter than 64 KiB
  std::fill(bytes.begin() + 8 + header, bytes.end(), '\x7e');  // 8.5e37 everywhere: finite, its products are not
  write_text(file, bytes);
  const Outcome outcome = train(model(), data());
  EXPECT_EQ(outcome.exit_code, 1) << outcome.errors;
  EXPECT_NE(outcome.errors.find("step"), std::string::npos) << outcome.errors;
  EXPECT_NE(outcome.errors.find("example"), std::string::npos) << outcome.errors;
  expect_nothing_written();
}

TEST_F(BadInput, EvaluationWithoutATrainedHead) {
  expect_mistake(run_koine({"evaluate", "--task", "xnli", "--model", model(), "--data", data(), "--output", output(),
                            "--precision", "fp32", "--quiet"}),
                 {"no trained head", "classifier"});
}

TEST_F(BadInput, ForcedVariantOfNoOperation) {
  ProgramOptions options;
  options.environment = {"KOINE_FORCE=layernrom_forward:cpu"};
  expect_mistake(run_koine({"doctor"}, options), {"KOINE_FORCE", "layernrom_forward", "\"layernorm_forward\""});
  options.environment = {"KOINE_FORCE=layernrom:cpu"};
  expect_mistake(run_koine({"doctor"}, options), {"KOINE_FORCE", "layernrom", "\"layernorm\""});
  options.environment = {"KOINE_FORCE=gemm:pakced"};
  expect_mistake(run_koine({"doctor"}, options), {"operation \"gemm\" has no variant \"pakced\"", "\"packed\""});
}

}  // namespace
}  // namespace koine
