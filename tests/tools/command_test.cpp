// The subcommands that do no training: help, tokenize, encode, inspect, data check, doctor, estimate.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "kernels/cuda/runtime.h"
#include "program.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

TEST(Help, EverySubcommandIsListedAndExplainsItself) {
  const Outcome help = run_koine({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  for (const char* name :
       {"demo", "run", "train", "evaluate", "encode", "tokenize", "score", "convert", "inspect", "estimate", "report",
        "data", "doctor", "verify", "trim-vocabulary", "predict", "generate", "scale"}) {
    EXPECT_NE(help.output.find(name), std::string::npos) << name;
    const Outcome own = run_koine({name, "--help"});
    for (const char* number : {"e+308", "e+0", "POSITIVE", "NONNEGATIVE", " in ["})
      EXPECT_EQ(own.output.find(number), std::string::npos) << name << " --help says " << number;
    EXPECT_EQ(own.exit_code, 0) << name;
    EXPECT_NE(own.output.find("Usage"), std::string::npos) << name << "\n" << own.output;
  }
  EXPECT_EQ(run_koine({}).exit_code, 2);
  const std::string train = run_koine({"train", "--help"}).output;
  EXPECT_NE(train.find("--gradient-accumulation-steps INT"), std::string::npos) << train;
  EXPECT_NE(train.find("--load-best-model-at-end true|false"), std::string::npos) << train;
  EXPECT_NE(train.find("--task NAME --help"), std::string::npos) << train;
  // XLM-R's learning rate in jiant's scripts, and the micro-batches of XNLI.
  const std::string xnli = run_koine({"train", "--task", "xnli", "--help"}).output;
  EXPECT_NE(xnli.find("--learning-rate 1e-05\n"), std::string::npos) << xnli;
  EXPECT_NE(xnli.find("--lr-scheduler-type linear\n"), std::string::npos) << xnli;
  EXPECT_NE(xnli.find("--gradient-accumulation-steps 8\n"), std::string::npos) << xnli;
  EXPECT_NE(run_koine({"--version"}).output.find("koine"), std::string::npos);
}

class Command : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new Folder;
    write_small_data(folder_->path() / "data");
    write_small_model(folder_->path() / "model", folder_->path() / "data");
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  static std::string at(const std::string& name) { return *folder_ / name; }
  static Folder* folder_;
};
Folder* Command::folder_ = nullptr;

TEST_F(Command, TokenizeGivesOneLinePerLine) {
  ProgramOptions options;
  options.input = "the old king\n\nriver";
  const Outcome ids = run_koine({"tokenize", "--model", at("model"), "--special-tokens"}, options);
  EXPECT_EQ(ids.exit_code, 0) << ids.errors;
  EXPECT_EQ(std::count(ids.output.begin(), ids.output.end(), '\n'), 3);
  EXPECT_EQ(ids.output.rfind("0 ", 0), 0u);
  EXPECT_NE(ids.output.find("\n0 2\n"), std::string::npos) << "an empty line is <s> </s>: " << ids.output;
  const Outcome pieces = run_koine({"tokenize", "--model", at("model"), "--pieces"}, options);
  EXPECT_NE(pieces.output.find("\xe2\x96\x81"), std::string::npos);
}

TEST_F(Command, EncodeWritesNumpyAndSafetensors) {
  for (const char* name : {"vectors.npy", "vectors.safetensors"}) {
    const Outcome outcome =
        run_koine({"encode", "--model", at("model"), "--input", at("data/tatoeba/v1/tatoeba.deu-eng.deu"), "--output",
                   at(name), "--layer", "1", "--precision", "fp32", "--quiet"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  }
  const std::string npy = read_text(at("vectors.npy"));
  const std::string tensors = read_text(at("vectors.safetensors"));
  constexpr std::size_t kBytes = 12 * 16 * sizeof(float);  // 12 lines, hidden size 16
  ASSERT_GT(npy.size(), kBytes);
  EXPECT_EQ((npy.size() - kBytes) % 64, 0u) << "the header is padded to 64 bytes";
  EXPECT_NE(npy.find("'shape': (12, 16)"), std::string::npos);
  EXPECT_EQ(npy.substr(npy.size() - kBytes), tensors.substr(tensors.size() - kBytes)) << "both hold the same values";
  const Outcome inspected = run_koine({"inspect", at("vectors.safetensors")});
  EXPECT_NE(inspected.output.find("[12, 16]"), std::string::npos) << inspected.output;
}

TEST_F(Command, EncodesOnCudaKernelsAsOnTheCpu) {
  if (cuda::device_count() == 0) GTEST_SKIP() << "CUDA finds no device";
  const auto encoded = [&](const std::string& device) {
    const Outcome outcome =
        run_koine({"encode", "--model", at("model"), "--input", at("data/tatoeba/v1/tatoeba.deu-eng.deu"), "--output",
                   at(device + ".npy"), "--precision", "fp32", "--device", device, "--quiet"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
    const std::string npy = read_text(at(device + ".npy"));
    std::vector<float> values(12 * 16);
    std::memcpy(values.data(), npy.data() + npy.size() - values.size() * sizeof(float), values.size() * sizeof(float));
    return values;
  };
  const std::vector<float> on_cpu = encoded("cpu");
  const std::vector<float> on_device = encoded(cuda::on_host() ? "cuda-on-cpu" : "cuda");
  // Sums in another order, of values of size 1 in two layers: some roundings of fp32.
  for (std::size_t i = 0; i < on_cpu.size(); ++i) ASSERT_NEAR(on_cpu[i], on_device[i], 1e-5) << i;
}

TEST_F(Command, InspectShowsAModel) {
  const Outcome outcome = run_koine({"inspect", at("model")});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_NE(outcome.output.find("word_embeddings"), std::string::npos);
  EXPECT_NE(outcome.output.find("post-norm"), std::string::npos);
}

TEST_F(Command, DataCheckListsWhatIsThere) {
  const Outcome outcome = run_koine({"data", "check", at("data")});
  EXPECT_EQ(outcome.exit_code, 0) << "what is not there is no problem: " << outcome.errors;
  EXPECT_EQ(outcome.errors, "");
  for (const char* part :
       {"2 of 15", "en de", "not there", "incomplete: 18 of 10,020", "en 9 of 5,010, de 9 of 5,010", "no problems"}) {
    EXPECT_NE(outcome.output.find(part), std::string::npos) << part << "\n" << outcome.output;
  }
}

TEST_F(Command, DataCheckKnowsAWholeDataSet) {
  std::string german;
  std::string dev;
  for (int i = 0; i < 1000; ++i) german += "river\n";
  for (int i = 0; i < 1221; ++i) {
    dev += R"({"id": "1", "question": {"stem": "q", "choices": [{"label": "A", "text": "a"}, {"label": "B", "text": "b"}, )"
           R"({"label": "C", "text": "c"}, {"label": "D", "text": "d"}, {"label": "E", "text": "e"}]}, "answerKey": "A"})"
           "\n";
  }
  write_text(at("whole/tatoeba/v1/tatoeba.deu-eng.deu"), german);
  write_text(at("whole/tatoeba/v1/tatoeba.deu-eng.eng"), german);
  write_text(at("whole/commonsenseqa/dev_rand_split.jsonl"), dev);
  const Outcome outcome = run_koine({"data", "check", at("whole"), "--complete"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  for (const char* part : {"complete (1,000 of 1,000 official)", "complete (1,221 of 1,221 official)"})
    EXPECT_NE(outcome.output.find(part), std::string::npos) << outcome.output;
  write_text(at("whole/tatoeba/v1/tatoeba.deu-eng.deu"), "river\n");
  write_text(at("whole/tatoeba/v1/tatoeba.deu-eng.eng"), "river\n");
  const Outcome part = run_koine({"data", "check", at("whole")});
  EXPECT_EQ(part.exit_code, 0) << "a sample is no problem: " << part.errors;
  EXPECT_NE(part.output.find("incomplete: 1 of 1,000"), std::string::npos) << part.output;
  expect_mistake(run_koine({"data", "check", at("whole"), "--complete"}), {"tatoeba test", "de 1 of 1,000"});
}

TEST_F(Command, DataCheckCountsWhatATokenizerWouldCut) {
  std::string lines;
  for (int i = 0; i < 200; ++i) lines += "river ";
  write_text(at("long/COPA/train.jsonl"), R"({"premise": ")" + lines +
                                              R"(", "choice1": "a", "choice2": "b", "question": "cause", "label": 0})"
                                              "\n");
  const Outcome outcome = run_koine({"data", "check", at("long"), "--tokenizer", at("model")});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  const std::size_t table = outcome.output.find("longest allowed");
  ASSERT_NE(table, std::string::npos) << outcome.output;
  EXPECT_NE(outcome.output.find("copa", table), std::string::npos) << outcome.output;
  EXPECT_NE(outcome.output.find(" 128 ", table), std::string::npos) << outcome.output;
}

TEST_F(Command, TrimmedVocabulariesGiveTheSameVectors) {
  const std::string text = at("data/tatoeba/v1/tatoeba.deu-eng.deu");
  write_text(at("few.txt"), read_text(text).substr(0, 60));
  const Outcome trimmed =
      run_koine({"trim-vocabulary", "--model", at("model"), "--output", at("trimmed"), "--text", at("few.txt")});
  ASSERT_EQ(trimmed.exit_code, 0) << trimmed.errors;
  const auto vectors = [&](const std::string& model) {
    const Outcome encoded = run_koine({"encode", "--model", at(model), "--input", at("few.txt"), "--output",
                                       at(model + ".npy"), "--precision", "fp32", "--quiet"});
    EXPECT_EQ(encoded.exit_code, 0) << encoded.errors;
    return read_text(at(model + ".npy"));
  };
  EXPECT_EQ(vectors("trimmed"), vectors("model"));
  ProgramOptions piped;
  piped.input = read_text(at("few.txt"));
  const Outcome from_pipe =
      run_koine({"trim-vocabulary", "--model", at("model"), "--output", at("trimmed-pipe"), "--text", "-"}, piped);
  ASSERT_EQ(from_pipe.exit_code, 0) << from_pipe.errors;
  EXPECT_EQ(read_text(at("trimmed-pipe/model.safetensors")), read_text(at("trimmed/model.safetensors")));
  EXPECT_LT(fs::file_size(at("trimmed/model.safetensors")), fs::file_size(at("model/model.safetensors")));
  EXPECT_LT(fs::file_size(at("trimmed/sentencepiece.bpe.model")), fs::file_size(at("model/sentencepiece.bpe.model")));

  // A task's data, by languages.
  const Outcome task = run_koine({"trim-vocabulary", "--model", at("model"), "--output", at("trimmed-task"), "--data",
                                  at("data"), "--tasks", "tatoeba,squad", "--languages", "de,en"});
  EXPECT_EQ(task.exit_code, 0) << task.errors;
  EXPECT_NE(task.output.find("for 25 texts"), std::string::npos) << task.output;
  expect_mistake(run_koine({"trim-vocabulary", "--model", at("model"), "--output", at("x")}), {"--text"});
  expect_mistake(run_koine({"trim-vocabulary", "--model", at("model"), "--output", at("trimmed"), "--text", at("few.txt")}),
                 {"already holds a model"});
}

TEST_F(Command, DataCheckFailsForAFileThatIsBroken) {
  fs::copy(at("data"), at("broken"), fs::copy_options::recursive);
  const std::string file = at("broken/multinli_1.0/multinli_1.0_train.jsonl");
  write_text(file, read_text(file) + "{\n");
  const Outcome outcome = run_koine({"data", "check", at("broken")});
  expect_mistake(outcome, {"multinli_1.0_train.jsonl:49"});
  EXPECT_NE(outcome.output.find("problems: 1"), std::string::npos) << outcome.output;
}

TEST_F(Command, ScoreTakesTheMeanOverTheBenchmarksLanguages) {
  const auto labels = [](const std::string& folder, const std::string& language, const std::string& text) {
    write_text(at(folder + "/xnli/test-" + language + ".tsv"), text);
  };
  for (const char* language : {"de", "en", "fi"}) labels("gold", language, "neutral\nentailment\n");
  labels("guesses", "de", "neutral\nneutral\n");
  labels("guesses", "en", "neutral\nentailment\n");
  labels("guesses", "fi", "contradiction\nneutral\n");
  const Outcome outcome = run_koine({"score", "--task", "xnli", "--predictions", at("guesses"), "--gold", at("gold")});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_EQ(outcome.output,
            "xnli  accuracy  examples\nde       50.00         2\nen      100.00         2\nfi†       0.00         2\n"
            "mean     75.00\n† not a language of xnli: outside the mean\n");
}

TEST_F(Command, ADryRunSaysWhereNumbersComeFrom) {
  write_text(
      at("dry.toml"),
      "recipe = \"xtreme-2020\"\n[model]\ndirectory = \"model\"\n[[target]]\ntask = \"xnli\"\nnum_train_epochs = 1\n");
  const Outcome outcome = run_koine({"run", at("dry.toml"), "--dry-run", "--output", at("dry")});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  for (const char* part : {"target xnli  learning_rate", "2e-05", "recipes/xtreme-2020.toml:", "dry.toml:6", "default"})
    EXPECT_NE(outcome.output.find(part), std::string::npos) << part << "\n" << outcome.output;
  EXPECT_FALSE(fs::exists(at("dry"))) << "nothing is run";
}

TEST_F(Command, ATrainingTakesAPublishedRecipe) {
  const auto train = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"train", "--task", "xnli", "--model", at("model"), "--data", at("data"), "--output",
                                 at("by-recipe"), "--max-steps", "1", "--precision", "fp32"});
    return run_koine(words);
  };
  const Outcome too_long = train({"--recipe", "xtreme-2020", "--quiet"});
  expect_mistake(too_long, {"recipes/xtreme-2020.toml:", "max_seq_length is 128", "at most"});
  const Outcome trained = train({"--recipe", "xtreme-2020", "--max-seq-length", "30", "--gradient-accumulation-steps", "1"});
  ASSERT_EQ(trained.exit_code, 0) << trained.errors;
  EXPECT_NE(trained.errors.find("recipe: learning_rate = 2e-05 (recipes/xtreme-2020.toml:"), std::string::npos)
      << trained.errors;
  for (const char* given : {"recipe: max_seq_length", "recipe: gradient_accumulation_steps"})
    EXPECT_EQ(trained.errors.find(given), std::string::npos) << trained.errors;
  const std::string config = read_text(at("by-recipe/config.toml"));
  for (const char* line : {"\nrecipe = \"xtreme-2020\"\n", "\nlearning_rate = 2e-05\n", "\nmax_seq_length = 30\n",
                           "\ngradient_accumulation_steps = 1\n", "\nper_device_train_batch_size = 2\n", "\"weight_decay\""})
    EXPECT_NE(config.find(line), std::string::npos) << line << config;
  EXPECT_EQ(config.find("\"max_seq_length\""), std::string::npos) << "the option's, not the recipe's: " << config;
  expect_mistake(train({"--quiet", "--max-seq-length", "30", "--gradient-accumulation-steps", "1"}), {"other settings"});
  write_text(at("own.toml"), "[target.squad]\nlearning_rate = 1e-5\n");
  expect_mistake(train({"--quiet", "--recipe", at("own.toml")}), {"knows no training on xnli", "the targets squad"});
  expect_mistake(train({"--quiet", "--recipe", "xtreme-2021"}), {"--recipe is \"xtreme-2021\"", "\"xtreme-2020\""});
  expect_mistake(train({"--quiet", "--recipe", at("none.toml")}), {"--recipe", "there is no file"});
  const Outcome help = run_koine({"train", "--task", "xnli", "--recipe", "xtreme-2020", "--help"});
  for (const char* part : {"by the recipe xtreme-2020 for xnli", "--learning-rate 2e-05", "--max-seq-length 128"})
    EXPECT_NE(help.output.find(part), std::string::npos) << part << help.output;
}

TEST_F(Command, TrainingSetsAreKeptForTheNextRun) {
  std::string rows;
  for (int i = 0; i < 14000; ++i) {  // more than 1 MiB
    rows += R"({"gold_label": "neutral", "sentence1": "the old king sees a bird )" + std::to_string(i) +
            R"(", "sentence2": "a bird"})" + "\n";
  }
  write_text(at("large/multinli_1.0/multinli_1.0_train.jsonl"), rows);
  int runs = 0;
  const auto train = [&](const std::vector<std::string>& environment, std::vector<std::string> more = {"--quiet"}) {
    const std::string output = at("kept-" + std::to_string(++runs));
    more.insert(more.begin(), {"train", "--task", "mnli", "--model", at("model"), "--data", at("large"), "--output", output,
                               "--max-steps", "1", "--precision", "fp32"});
    ProgramOptions options;
    options.environment = environment;
    const Outcome outcome = run_koine(more, options);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
    EXPECT_EQ(read_text(output + "/model/model.safetensors"), read_text(at("kept-1/model/model.safetensors"))) << runs;
    EXPECT_EQ(read_text(output + "/data.json"), read_text(at("kept-1/data.json"))) << runs;
    return outcome;
  };
  const auto entries = [](const fs::path& folder) {
    std::vector<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(folder)) paths.push_back(entry.path());
    return paths;
  };
  train({"KOINE_CACHE=" + at("kept")});
  ASSERT_EQ(entries(at("kept")).size(), 1u);
  std::string bytes = read_text(entries(at("kept"))[0]);
  train({"KOINE_CACHE=" + at("kept")});
  EXPECT_EQ(read_text(entries(at("kept"))[0]), bytes);
  train({"KOINE_CACHE=" + at("kept-elsewhere")}, {"--quiet", "--cache", "none"});
  EXPECT_FALSE(fs::exists(at("kept-elsewhere")));
  bytes[bytes.size() / 2] ^= 1;
  write_text(entries(at("kept"))[0], bytes);
  const Outcome damaged = train({"KOINE_CACHE=", "XDG_CACHE_HOME=" + at("xdg")}, {"--cache", at("kept")});
  EXPECT_NE(damaged.errors.find(".examples is not used but made again: its bytes have changed"), std::string::npos)
      << damaged.errors;
  EXPECT_NE(read_text(entries(at("kept"))[0]), bytes);
  train({"KOINE_CACHE=", "XDG_CACHE_HOME=" + at("xdg")});
  EXPECT_EQ(entries(at("xdg/koine")).size(), 1u);
}

TEST_F(Command, ConvertReadsWhatPyTorchWrote) {
  const fs::path fixture = fs::path(KOINE_SOURCE_DIR) / "tests/fixtures/torch/zip.bin";
  fs::create_directories(at("torch"));
  fs::copy_file(fixture, at("torch/pytorch_model.bin"));
  fs::copy_file(at("model/config.json"), at("torch/config.json"));
  const Outcome converted = run_koine({"convert", at("torch"), at("converted")});
  ASSERT_EQ(converted.exit_code, 0) << converted.errors;
  EXPECT_TRUE(fs::exists(at("converted/config.json")));
  const Outcome before = run_koine({"inspect", at("torch/pytorch_model.bin")});
  const Outcome after = run_koine({"inspect", at("converted/model.safetensors")});
  EXPECT_EQ(before.exit_code, 0) << before.errors;
  EXPECT_EQ(after.exit_code, 0) << after.errors;
  EXPECT_NE(after.output.find("weight"), std::string::npos) << after.output;
  expect_mistake(run_koine({"convert", at("torch"), at("converted")}), {"already holds a model.safetensors"});
}

TEST_F(Command, ForcedVariantsGoByOperationOrFamily) {
  const auto forced_lines = [](const std::string& value) {
    ProgramOptions options;
    options.environment = {"KOINE_FORCE=" + value};
    const Outcome outcome = run_koine({"doctor"}, options);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
    std::size_t lines = 0;
    for (std::size_t found = 0; (found = outcome.output.find("(forced)", found)) != std::string::npos; ++found) ++lines;
    return lines;
  };
  EXPECT_EQ(forced_lines("layernorm_forward:reference"), 1u);
  EXPECT_EQ(forced_lines("layernorm:reference"), 2u) << "forward and backward";
  EXPECT_EQ(forced_lines("layernorm:reference,gemm:packed"), 3u);
}

TEST_F(Command, EstimateShowsEveryWayToKeepTheState) {
  const Outcome outcome = run_koine({"estimate", "--model-size", "base", "--precision", "bf16", "--ways-of-state",
                                     "--device-memory", "3GiB", "--product-rate", "1"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  for (const char* row :
       {"adamw, fp32", "adamw, remainder", "adamw, none", "adafactor_t5, fp32", "adamw_8bit, none", "of 8", "too much"}) {
    EXPECT_NE(outcome.output.find(row), std::string::npos) << row << " is not in\n" << outcome.output;
  }
  EXPECT_EQ(outcome.output.find("adafactor, none"), std::string::npos);
  expect_mistake(run_koine({"estimate", "--model-size", "base", "--output", "x.json"}), {"--output", "--ways-of-state"});
  expect_mistake(run_koine({"estimate", "--model-size", "base", "--optimizer", "adafactor", "--master", "none"}),
                 {"master is none", "adamw_8bit"});
  expect_mistake(run_koine({"estimate", "--model-size", "base", "--precision", "fp32", "--master", "remainder"}),
                 {"master = remainder", "--precision bf16"});
}

// What make_tables.py makes the table of docs/ranks.md of; the other models' files were written with it.
TEST_F(Command, EstimatedWaysOfStateAreThoseCommitted) {
  const Folder folder;
  ASSERT_EQ(run_koine({"estimate", "--model-size", "base", "--device-kind", "h200", "--precision", "bf16", "--ways-of-state",
                       "--zero", "2", "--recompute", "--output", folder / "state.json"})
                .exit_code,
            0);
  EXPECT_EQ(read_json(folder / "state.json"),
            read_json(std::string(KOINE_SOURCE_DIR) + "/bench/results/estimated/state-base.json"));
}

TEST_F(Command, DoctorNamesEveryOperation) {
  const Outcome outcome = run_koine({"doctor"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  for (const char* name : {"gemm", "attention", "layernorm", "GFLOP/s", "--precision auto", "Gloo", "NCCL"}) {
    EXPECT_NE(outcome.output.find(name), std::string::npos) << name;
  }
}

TEST_F(Command, EstimateKnowsThePublishedShapes) {
  const Outcome base = run_koine({"estimate", "--model-size", "base", "--max-tokens", "512", "--precision", "fp32"});
  EXPECT_EQ(base.exit_code, 0) << base.errors;
  // Encoder 277,453,056 (task table of the published model) + classification head 768 * 768 + 768 + 3 * 768 + 3.
  EXPECT_NE(base.output.find("278,045,955"), std::string::npos) << base.output;
  EXPECT_NE(base.output.find("total"), std::string::npos);
}

TEST_F(Command, EstimateSaysWhatHoursOfADeviceBuy) {
  const auto estimate = [](const std::vector<std::string>& more) {
    std::vector<std::string> words = {"estimate", "--precision", "bf16", "--model-size"};
    words.insert(words.end(), more.begin(), more.end());
    return run_koine(words);
  };
  const Outcome there =
      estimate({"base", "--device-kind", "h200", "--price", "4", "--examples", "392702", "--epochs", "2", "--length", "45"});
  EXPECT_EQ(there.exit_code, 0) << there.errors;
  for (const char* words : {"\nfits: ", "most tokens in memory at a time", "activations of 12 blocks", "769 TFLOP/s in bf16",
                            "392,702 examples, 2 times: 35,343,180 tokens", "device-hours", "kWh", "at 4 an hour"})
    EXPECT_NE(there.output.find(words), std::string::npos) << words << "\n" << there.output;
  EXPECT_EQ(there.output.find("query_key_value"), std::string::npos);
  const Outcome small = estimate({"base", "--device-memory", "3GiB", "--details"});
  EXPECT_EQ(small.exit_code, 0) << small.errors;
  for (const char* words : {"does not fit: ", "no number of tokens fits", "query_key_value", "not measured"})
    EXPECT_NE(small.output.find(words), std::string::npos) << words << "\n" << small.output;
  EXPECT_EQ(estimate({"base", "--device-kind", "h300"}).exit_code, 2);
  EXPECT_EQ(estimate({"base", "--device-kind", "h200", "--device-memory", "1GiB"}).exit_code, 2);
}

}  // namespace
}  // namespace koine
