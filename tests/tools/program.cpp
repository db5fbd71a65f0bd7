#include "program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

#include "engine/tokenizer/tokenizer.h"
#include "models/models.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

/// What happens between fork and exec.
void become_koine(const std::vector<std::string>& arguments, const ProgramOptions& options, const Folder& folder) {
  const auto redirect = [](const std::string& path, int flags, int descriptor) {
    const int file = open(path.c_str(), flags, 0600);
    if (file < 0 || dup2(file, descriptor) < 0) _exit(99);
  };
  redirect(folder / "input", O_RDONLY, STDIN_FILENO);
  const std::string output = options.standard_output.empty() ? folder / "output" : options.standard_output;
  redirect(output, O_WRONLY | O_CREAT, STDOUT_FILENO);
  redirect(folder / "errors", O_WRONLY | O_CREAT, STDERR_FILENO);
  setenv("KOINE_CACHE", "none", 1);  // nothing of a test is kept where its user's own is
  for (const std::string& entry : options.environment) {
    const std::size_t equals = entry.find('=');
    setenv(entry.substr(0, equals).c_str(), entry.substr(equals + 1).c_str(), 1);
  }
  if (options.file_size_limit > 0) {
    const auto bytes = static_cast<rlim_t>(options.file_size_limit);
    const rlimit limit = {bytes, bytes};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  std::vector<std::string> words = arguments;
  words.insert(words.begin(), KOINE_BINARY_DIR "/koine");
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  execv(pointers.front(), pointers.data());
  _exit(98);
}

int wait_for(int process, const std::function<bool(int)>& while_running) {
  bool calling = static_cast<bool>(while_running);
  int status = 0;
  while (calling) {
    if (waitpid(process, &status, WNOHANG) == process) return status;
    calling = !while_running(process);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  waitpid(process, &status, 0);
  return status;
}

std::string sentence(std::uint32_t& state) {
  static const char* const kWords[] = {"river", "stone", "bird",  "sings", "walks", "old",  "green",
                                       "house", "never", "the",   "a",     "under", "sees", "small",
                                       "king",  "bread", "night", "comes", "long",  "far"};
  std::string text;
  for (int i = 0; i < 6; ++i) {
    state = state * 1664525u + 1013904223u;
    text += std::string(i == 0 ? "" : " ") + kWords[(state >> 10) % 20];
  }
  return text;
}

}  // namespace

Folder::Folder() {
  std::string name = (fs::temp_directory_path() / "koine-tools-XXXXXX").string();
  EXPECT_NE(mkdtemp(name.data()), nullptr);
  path_ = name;
}

Folder::~Folder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void write_text(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Outcome run_koine(const std::vector<std::string>& arguments, const ProgramOptions& options) {
  const Folder folder;
  write_text(folder / "input", options.input);
  write_text(folder / "output", "");
  write_text(folder / "errors", "");
  const int process = fork();
  if (process == 0) become_koine(arguments, options, folder);
  const int status = wait_for(process, options.while_running);
  Outcome outcome;
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  outcome.output = read_text(folder / "output");
  outcome.errors = read_text(folder / "errors");
  return outcome;
}

void expect_mistake(const Outcome& outcome, const std::vector<std::string>& parts) {
  EXPECT_EQ(outcome.exit_code, 2) << outcome.errors;
  EXPECT_EQ(outcome.errors.rfind("koine: ", 0), 0u) << outcome.errors;
  EXPECT_EQ(std::count(outcome.errors.begin(), outcome.errors.end(), '\n'), 1) << outcome.errors;
  for (const std::string& part : parts)
    EXPECT_NE(outcome.errors.find(part), std::string::npos) << outcome.errors << "lacks: " << part;
}

void write_small_data(const fs::path& data) {
  static const char* const kLabels[] = {"entailment", "neutral", "contradiction"};
  std::uint32_t state = 7;
  std::string train;
  std::string dev;
  for (int i = 0; i < 60; ++i) {
    const std::string row = R"({"gold_label": ")" + std::string(kLabels[i % 3]) + R"(", "sentence1": ")" + sentence(state) +
                            R"(", "sentence2": ")" + sentence(state) + "\"}\n";
    (i < 48 ? train : dev) += row;
  }
  write_text(data / "multinli_1.0/multinli_1.0_train.jsonl", train);
  write_text(data / "multinli_1.0/multinli_1.0_dev_matched.jsonl", dev);
  std::string xnli = "language\tgold_label\tsentence1\tsentence2\n";
  for (const char* language : {"en", "de"}) {
    for (int i = 0; i < 9; ++i)
      xnli += std::string(language) + "\t" + kLabels[i % 3] + "\t" + sentence(state) + "\t" + sentence(state) + "\n";
  }
  write_text(data / "XNLI-1.0/xnli.test.tsv", xnli);
  std::string german;
  std::string english;
  std::string text;
  for (int i = 0; i < 12; ++i) {
    german += sentence(state) + "\n";
    english += sentence(state) + "\n";
  }
  for (int i = 0; i < 200; ++i) text += sentence(state) + "\n";
  write_text(data / "tatoeba/v1/tatoeba.deu-eng.deu", german);
  write_text(data / "tatoeba/v1/tatoeba.deu-eng.eng", english);
  write_text(data / "text/en.txt", text);
  write_text(
      data / "squad/train-v1.1.json",
      R"({"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": "the old king sees a green bird", "qas": [)"
      R"({"id": "q1", "question": "who sees a bird", "answers": [{"text": "old king", "answer_start": 4}]}]}]}]})");
}

void write_small_model(const fs::path& model, const fs::path& data) {
  fs::create_directories(model);
  TokenizerTraining training;
  training.inputs = {data / "text/en.txt"};
  training.pieces = 40;
  Tokenizer::train(training, model / "sentencepiece.bpe.model");
  ModelConfig config;
  config.vocab_size = Tokenizer(model).vocabulary_size();
  config.hidden_size = 16;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 2;
  config.intermediate_size = 32;
  config.max_position_embeddings = 66;
  make_model(config, {})->save(model.string());
}

}  // namespace koine
