// The `koine` command: reads the command line, runs one subcommand, turns exceptions into one line and an exit code.

#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <new>

#include "engine/execution/forced_variants.h"
#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/experiment/task_file.h"
#include "tools/koine/commands.h"
#include "tools/koine/version.h"

namespace koine {

namespace {

/// "--learning_rate=1e-5" -> "--learning-rate=1e-5": both spellings are known.
std::string with_dashes(std::string argument) {
  if (argument.rfind("--", 0) != 0) return argument;
  for (std::size_t i = 2; i < argument.size() && argument[i] != '='; ++i) {
    if (argument[i] == '_') argument[i] = '-';
  }
  return argument;
}

std::vector<std::string> names_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) names.push_back(sub->get_name());
  return names;
}

std::vector<std::string> options_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::string suggestion(const std::string& wrong, const std::vector<std::string>& known) {
  const std::string near = nearest_name(wrong, known);
  return near.empty() ? "" : "; did you mean \"" + near + "\"?";
}

/// Names that people bring from elsewhere, and ours.
constexpr std::array<std::pair<std::string_view, std::string_view>, 14> kOtherNames = {
    {{"--lr", "--learning-rate"},
     {"--epochs", "--num-train-epochs"},
     {"--num-epochs", "--num-train-epochs"},
     {"--batch-size", "--per-device-train-batch-size"},
     {"--steps", "--max-steps"},
     {"--warmup", "--warmup-ratio"},
     {"--max-length", "--max-seq-length"},
     {"--max-len", "--max-seq-length"},
     {"--lang", "--language"},
     {"--langs", "--languages"},
     {"--output-dir", "--output"},
     {"--bf16", "--precision bf16"},
     {"--fp16", "--precision bf16"},
     {"--fp32", "--precision fp32"}}};

/// "; koine calls it --learning-rate" where the command has that option; else empty.
std::string own_name(const std::string& wrong, const std::vector<std::string>& known) {
  for (const auto& [other, own] : kOtherNames) {
    const std::string option(own.substr(0, own.find(' ')));
    if (wrong == other && std::find(known.begin(), known.end(), option) != known.end())
      return concatenate("; koine calls it ", own);
  }
  return "";
}

/// UserError for the first thing on the line nobody asked for.
void refuse_extras(const CLI::App& app, const std::string& path) {
  const std::vector<std::string> rest = app.remaining(false);
  if (!rest.empty()) {
    const std::string first = rest.front().substr(0, rest.front().find('='));
    const std::string help = "; `" + path + " --help` lists what there is";
    if (first.rfind('-', 0) == 0) {
      const std::vector<std::string> options = options_of(app);
      const std::string own = own_name(first, options);
      const std::string near = own.empty() ? suggestion(first, options) : own;
      fail_user("unknown option \"", first, "\" of ", path, near.empty() ? help : near);
    }
    const std::string near = suggestion(first, names_of(app));
    fail_user(names_of(app).empty() ? "unexpected argument \"" : "unknown command \"", first, "\"",
              near.empty() ? help : near);
  }
  for (const CLI::App* sub : app.get_subcommands()) refuse_extras(*sub, path + " " + sub->get_name());
}

/// The command line as a shell reads it.
std::string command_text(int count, char** values) {
  std::string text;
  for (int i = 0; i < count; ++i) text += (i == 0 ? "" : " ") + shell_word(values[i]);
  return text;
}

int parse_and_run(int count, char** values) {
  CommandLine line;
  line.app.description("koine: multilingual encoders trained and run for zero-shot cross-lingual transfer");
  line.app.name("koine");
  line.app.set_version_flag("--version", "koine " + kVersion);
  line.app.allow_extras();
  line.app.get_formatter()->column_width(38);
  add_run_commands(line);
  add_train_command(line);
  add_evaluate_command(line);
  add_predict_command(line);
  add_text_commands(line);
  add_generate_command(line);
  add_result_commands(line);
  add_model_commands(line);
  add_trim_command(line);
  add_estimate_command(line);
  add_scale_command(line);
  add_verify_command(line);
  add_doctor_command(line);

  line.common.command = command_text(count, values);
  line.common.words.assign(values, values + count);
  std::vector<std::string> arguments;  // CLI11 takes them last first
  for (int i = count - 1; i > 0; --i) arguments.push_back(with_dashes(values[i]));
  if (arguments.empty()) {
    print(line.app.help());
    return 2;
  }
  try {
    line.app.parse(arguments);
  } catch (const CLI::Success& wanted) {
    return line.app.exit(wanted);
  } catch (const CLI::ParseError& error) {
    refuse_extras(line.app, "koine");
    fail_user(error.what());
  }
  refuse_extras(line.app, "koine");
  line.common.forced = forced_variants();
  for (const std::string& file : line.common.task_files) add_task_file(file);
  for (const auto& [sub, run] : line.commands) {
    if (sub->parsed() && sub->get_subcommands().empty()) return run();
  }
  fail_user("no command given; `koine --help` lists them");
}

/// One line, whatever a library puts into its message.
void print_error(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (char& c : text) {
    if (c == '\n') c = ' ';
  }
  std::cerr << "koine: " << printable(text) << std::endl;
}

}  // namespace

std::atomic<bool> stop_requested{false};

namespace {

constexpr std::int64_t kSecondsUntilEnd = 3;  ///< who stops a job often signals twice in a row
volatile std::sig_atomic_t begun_to_stop = 0;
std::int64_t stop_began = 0;  ///< seconds of the monotonic clock

std::int64_t seconds_now() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec;
}

/// The first signal asks for a stop. Later ones change nothing, so that they do not break the saving, but for Ctrl-C when
/// the first is a while ago.
extern "C" void on_signal(int signal) {
  if (begun_to_stop != 0) {
    if (signal == SIGINT && seconds_now() - stop_began >= kSecondsUntilEnd) _exit(kExitInterrupted);
    return;
  }
  stop_began = seconds_now();
  begun_to_stop = 1;
  stop_requested.store(true);
  constexpr char kText[] = "\nkoine: stopping after this step; Ctrl-C after 3 seconds ends at once\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kText, sizeof kText - 1);
}

}  // namespace

void install_signal_handlers() {
  static_assert(std::atomic<bool>::is_always_lock_free);
  struct sigaction action = {};
  action.sa_handler = on_signal;
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) sigaddset(&action.sa_mask, signal);  // one after the other
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGUSR1, &action, nullptr);
}

}  // namespace koine

int main(int count, char** values) {
  // Writing where nobody reads, or beyond a file size limit, is then an error of the write and gets its message.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return koine::parse_and_run(count, values);
  } catch (const koine::UserError& error) {
    koine::print_error(error.what());
    return 2;
  } catch (const std::filesystem::filesystem_error& error) {
    koine::print_error(error.path1().string() + ": " + error.code().message());
    return 2;
  } catch (const std::bad_alloc&) {
    koine::print_error("out of memory; `koine estimate` shows what a run needs");
    return 1;
  } catch (const std::exception& error) {
    koine::print_error(error.what());
    return 1;
  }
}
