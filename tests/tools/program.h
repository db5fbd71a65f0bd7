#pragma once

// The built program as a process, and the small data and models the tests of it need.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace koine {

struct Outcome {
  int exit_code = -1;  ///< 128 + signal where one ended it
  std::string output;
  std::string errors;
};

struct ProgramOptions {
  std::string input;                     ///< standard input
  std::vector<std::string> environment;  ///< "NAME=value", besides the own
  std::int64_t file_size_limit = 0;      ///< bytes; 0: none. Writing beyond it fails as on a full disk
  std::string standard_output;           ///< a file instead of Outcome::output ("/dev/full")
  /// Called with the process id while it runs, every few milliseconds, until it returns true.
  std::function<bool(int process)> while_running;
};

/// Runs build/koine with these arguments to its end.
Outcome run_koine(const std::vector<std::string>& arguments, const ProgramOptions& options = {});

/// Exit code 2, nothing but one line "koine: ..." on standard error with all of `parts` in it.
void expect_mistake(const Outcome& outcome, const std::vector<std::string>& parts);

/// A folder of its own, gone with it.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

void write_text(const std::filesystem::path& path, const std::string& text);
std::string read_text(const std::filesystem::path& path);

/// Small files in the official layouts: MNLI (train, dev), XNLI (test, en and de), SQuAD 1.1 (train), Tatoeba (German),
/// text.
void write_small_data(const std::filesystem::path& data);
/// Of an experiment on that data: a model of two layers, a tokenizer.
inline constexpr char kSmallModel[] = R"(
[model]
hidden_size = 16
num_hidden_layers = 2
num_attention_heads = 2
intermediate_size = 32
max_position_embeddings = 66

[tokenizer]
inputs = ["text/en.txt"]
pieces = 40
)";
/// The beginning of the smallest experiment: one layer, one seed, a few steps of MNLI; goes on within the arm "mnli".
inline constexpr char kSmallestExperiment[] = R"(
seeds = [1]
precision = "fp32"
save_models = true

[model]
hidden_size = 16
num_hidden_layers = 1
num_attention_heads = 2
intermediate_size = 16
max_position_embeddings = 66

[tokenizer]
inputs = ["text/en.txt"]
pieces = 40

[[intermediate]]
name = "mnli"
tasks = ["mnli"]
max_steps = 4
eval_steps = 2
)";
/// A transformers directory with a fresh two-layer model and a tokenizer trained on the text of `data`.
void write_small_model(const std::filesystem::path& model, const std::filesystem::path& data);

}  // namespace koine
