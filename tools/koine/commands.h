#pragma once

// The subcommands of `koine`: each adds itself to the command line and says what to run when it is chosen.

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/files/comma_list.h"
#include "kernels/operations.h"
#include "tasks/experiment/experiment.h"
#include "tasks/experiment/training_phase.h"
#include "tools/koine/machine.h"

namespace koine {

inline constexpr int kExitInterrupted = 130;  ///< as shells report a program ended by Ctrl-C

/// Options every subcommand has.
struct CommonOptions {
  std::string device = "auto";
  std::string precision = "auto";
  int threads = 0;  ///< 0: all this process may use
  std::optional<std::uint32_t> seed;
  bool quiet = false;
  ForcedVariants forced;  ///< KOINE_FORCE
  std::vector<std::string> task_files;
  std::string command;             ///< the whole command line, as a shell reads it
  std::vector<std::string> words;  ///< the same, word by word
  std::string cache;               ///< --cache; empty: not given
  std::string ranks;               ///< --ranks: a number, "launcher", or empty: this process alone
};

struct CommandLine {
  CLI::App app;
  CommonOptions common;
  std::vector<std::pair<CLI::App*, std::function<int()>>> commands;

  /// A subcommand with the common options; `run` returns the exit code.
  CLI::App* add(const std::string& name, const std::string& description, std::function<int()> run);
  /// Gives a subcommand --task-file, whose tasks are known before it runs.
  void take_task_files(CLI::App& command);
  /// Gives a subcommand --cache.
  void take_cache(CLI::App& command);
  /// Gives a subcommand --ranks.
  void take_ranks(CLI::App& command);
};

/// What `koine report --study` is asked.
struct StudyArguments {
  std::string study;
  std::vector<std::string> runs;
  std::string morphology;
  std::string parameters;
  double price = 0;
  double watts = 0;
  std::optional<double> translation_flops;  ///< these three as TranslationCost's, before what the runs' [study] says
  std::optional<double> translation_efficiency;
  std::optional<double> translation_price;
};
/// Prints question and answer, and writes the page as each output's ending asks.
int report_study(const StudyArguments& arguments, const std::vector<std::string>& outputs);

/// Puts a transformers directory in the place of an experiment's; empty: leaves it. UserError where the experiment trains a fresh model.
void use_model(Experiment& experiment, const std::string& directory);

void add_run_commands(CommandLine& line);                        // demo, run
void add_train_command(CommandLine& line);                       // train
void add_evaluate_command(CommandLine& line);                    // evaluate
void add_predict_command(CommandLine& line);                     // predict
void add_text_commands(CommandLine& line);                       // tokenize, encode
void add_generate_command(CommandLine& line);                    // generate
void add_morphology_command(CommandLine& line, CLI::App& data);  // data morphology
void add_result_commands(CommandLine& line);                     // score, report, data check
void add_model_commands(CommandLine& line);                      // inspect, convert
void add_trim_command(CommandLine& line);                        // trim-vocabulary
void add_estimate_command(CommandLine& line);                    // estimate
void add_scale_command(CommandLine& line);                       // scale
void add_verify_command(CommandLine& line);                      // verify
void add_doctor_command(CommandLine& line);                      // doctor

/// What the number of an option must be: in its --help as "1 or more", in messages as "it must be 1 or more".
CLI::Validator at_least(double minimum);
CLI::Validator above_zero();
CLI::Validator between(double minimum, double maximum);

/// The folder of what is kept between runs (tasks/experiment/example_cache.h): --cache, else KOINE_CACHE, else
/// XDG_CACHE_HOME/koine, else HOME/.cache/koine; empty where one of these says "none", or there is none.
std::filesystem::path cache_folder(const CommonOptions& common);
/// "" for a value --device may have, else why not.
std::string check_device_name(const std::string& text);
/// Sets threads, checks the device and works with it.
void apply(const CommonOptions& common);
/// How a command is carried out. The device is that of --device: UserError for one that this build or this machine has not.
/// The precision is the first of these that is not "auto": --precision; `wanted`, as an experiment names it; "precision" in
/// the file `settled`, config.toml of an earlier part of a run, where there is one; else bf16 on CUDA; else the faster one,
/// measured, which goes to stderr unless quiet.
Execution resolve_execution(const CommonOptions& common, const std::string& wanted = "auto",
                            const std::filesystem::path& settled = {});
/// The same for plans: with --device cuda also where this machine has none.
Execution planned_execution(const CommonOptions& common, const std::string& wanted = "auto");
/// "device: NVIDIA ..., compute capability 9.0, ..." of a CUDA device.
std::string device_summary(int index);
/// The variant of every operation that runs unless its arguments do not suit it: "kernels: portable: gemm ...".
std::string chosen_variants(const Execution& execution);
/// "portable", "packed (forced)", "portable (by shape: 3 others)", "none".
std::string choice_text(const VariantChoice& choice);
/// How a run reports and stops: messages and a progress line on stderr, the stop flag of Ctrl-C.
RunOptions run_options(const CommonOptions& common, Execution execution);

/// A model, and what reading its directory noticed (LoadReport::notes) on standard error.
std::unique_ptr<Model> load_told(const std::filesystem::path& directory, const ModelOptions& options,
                                 LoadReport* report = nullptr);
/// The model in a directory with the trained head of a task (without one for tasks of sentence vectors), its classes in the
/// order of the task's labels (order_classes; `labels` is what --labels says). UserError where it has no such head; but a
/// model without a dual encoder is given without one, which is told, for its hidden states can be compared. `hidden_states`:
/// those are asked for, whether it has one or not.
std::unique_ptr<Model> load_task_model(const std::filesystem::path& directory, const ModelConfig& config, const Task& task,
                                       const std::vector<std::string>& labels, const Execution& execution,
                                       bool hidden_states = false);

/// Set by the first Ctrl-C, SIGTERM or SIGUSR1. A later Ctrl-C ends the program at once, but not within seconds.
extern std::atomic<bool> stop_requested;
void install_signal_handlers();

/// Rows in columns, the first row a heading; numbers to the right.
std::string format_table(const std::vector<std::vector<std::string>>& rows);
/// Figures of a task in one language.
struct LanguageFigures {
  std::string language;
  std::map<std::string, double> metrics;
  std::int64_t examples = 0;
};
/// A row for each language and their mean. Languages that are not the benchmark's (Task::is_official) are marked and outside
/// the mean.
std::string language_table(const Task& task, const std::vector<LanguageFigures>& figures);
std::string format_number(double value, int decimals);
/// "2 h 5 min", "12 s".
std::string format_seconds(double seconds);
/// "1,234,567".
std::string format_count(std::int64_t value);
/// Writes to standard output; Error where it cannot be written (a closed pipe, a full disk).
void print(const std::string& text);

/// Text of a file or of a library as it may go to a terminal: control characters, which could change what it shows, as
/// \x1b, and what is longer than anybody reads left out of the middle.
std::string printable(const std::string& text);

/// A word as a shell reads it: in quotes where it holds what a shell would not leave alone.
std::string shell_word(const std::string& word);

/// What a command that reads a file reads: "-" is standard input. UserError, beginning with the option, where there is no file.
std::filesystem::path input_path(const std::string& text, const std::string& option);

/// The task of that name, upper-case letters or not. UserError, beginning with the option, as find_task.
const Task& task_named(const std::string& text, const std::string& option);
/// UserError for an option of one command that a task makes no use of.
void refuse_options_without_use(const Task& task, const std::string& layer, const std::string& pooling,
                                const std::string& choices, const FeatureOptions& features);

}  // namespace koine
