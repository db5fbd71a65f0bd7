#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <map>

#include "engine/training/observers.h"
#include "kernels/common/check.h"
#include "kernels/cuda/runtime.h"
#include "tasks/experiment/device_kinds.h"
#include "tools/koine/commands.h"
#include "tools/koine/ranks.h"
#include "tools/koine/version.h"

namespace koine {

namespace {

/// "1000000000", "0.0001", "1e-09".
std::string number_text(double value) {
  return value == std::floor(value) && std::abs(value) < 1e15 ? std::to_string(static_cast<std::int64_t>(value))
                                                              : concatenate(value);
}

/// `description`: "1 or more".
CLI::Validator number_check(const std::string& description, const std::function<bool(double value)>& fits) {
  return {[description, fits](std::string& text) {
            double value = 0;
            const char* const end = text.data() + text.size();
            const auto read = std::from_chars(text.data(), end, value);
            const bool number = read.ec == std::errc() && read.ptr == end;
            return number && fits(value) ? std::string() : concatenate("it is ", text, " and must be ", description);
          },
          description};
}

}  // namespace

CLI::Validator at_least(double minimum) {
  return number_check(number_text(minimum) + " or more", [minimum](double value) { return value >= minimum; });
}

CLI::Validator above_zero() {
  return number_check("more than 0", [](double value) { return value > 0; });
}

CLI::Validator between(double minimum, double maximum) {
  return number_check(concatenate(number_text(minimum), " to ", number_text(maximum)),
                      [=](double value) { return value >= minimum && value <= maximum; });
}

CLI::App* CommandLine::add(const std::string& name, const std::string& description, std::function<int()> run) {
  CLI::App* sub = app.add_subcommand(name, description);
  sub->allow_extras();
  sub->add_option("--device", common.device,
                  "auto (a GPU where there is one), cpu, cuda, cuda:N; cuda-on-cpu: for testing, slow")
      ->check(check_device_name)
      ->group("Common");
  sub->add_option("--precision", common.precision, "auto (measured), fp32 or bf16 (mixed)")
      ->check(CLI::IsMember({"auto", "fp32", "bf16"}))
      ->group("Common");
  sub->add_option("--threads", common.threads, "CPU threads; default: all")->check(between(1, 4096))->group("Common");
  sub->add_option("--seed", common.seed, "seed of everything random")->check(between(0, 4294967295.0))->group("Common");
  sub->add_flag("--quiet", common.quiet, "no progress on stderr")->group("Common");
  commands.emplace_back(sub, std::move(run));
  return sub;
}

void CommandLine::take_task_files(CLI::App& command) {
  command
      .add_option("--task-file", common.task_files, "file with [[task]] of your own (docs/task-files.md); may be repeated")
      ->allow_extra_args(false);
}

void CommandLine::take_cache(CLI::App& command) {
  command.add_option("--cache", common.cache,
                     "folder where tokenized training sets are kept for later runs, or none; default: KOINE_CACHE, else "
                     "~/.cache/koine");
}

std::filesystem::path cache_folder(const CommonOptions& common) {
  const auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  const std::string named = common.cache.empty() ? variable("KOINE_CACHE") : common.cache;
  if (!named.empty()) return named == "none" ? "" : named;
  const std::filesystem::path base = variable("XDG_CACHE_HOME");
  if (base.is_absolute()) return base / "koine";  // relative ones are to be ignored (XDG Base Directory Specification)
  const std::string home = variable("HOME");
  return home.empty() ? std::filesystem::path() : std::filesystem::path(home) / ".cache/koine";
}

void CommandLine::take_ranks(CLI::App& command) {
  command
      .add_option("--ranks", common.ranks,
                  "N: train in N processes of this machine; launcher: this is one of those that torchrun, mpirun or srun "
                  "started (docs/ranks.md)")
      ->check(check_ranks)
      ->type_name("N|launcher");
}

std::unique_ptr<Model> load_told(const std::filesystem::path& directory, const ModelOptions& options, LoadReport* report) {
  LoadReport found;
  std::unique_ptr<Model> model = load_model(directory, options, &found);
  for (const std::string& note : found.notes) std::cerr << "koine: " << note << std::endl;
  if (report != nullptr) *report = std::move(found);
  return model;
}

RunOptions run_options(const CommonOptions& common, Execution execution) {
  RunOptions options;
  options.execution = std::move(execution);
  options.stop = &stop_requested;
  options.program = "koine " + kVersion;
  options.cache = cache_folder(common);
  if (!common.quiet) {
    options.message = [](const std::string& text) { std::cerr << printable(text) << std::endl; };
    options.progress = []() -> std::unique_ptr<TrainingObserver> {
      return std::make_unique<ProgressLine>(std::cerr, isatty(STDERR_FILENO) != 0);
    };
    if (options.execution.device == Device::kCuda) {
      std::cerr << device_summary(options.execution.device_index) << "\n" << chosen_variants(options.execution) << std::endl;
    }
  }
  return options;
}

std::string device_summary(int index) {
  const cuda::DeviceProperties device = cuda::device_properties(index);
  return concatenate("device: ", device.name, ", compute capability ", device.architecture / 10, ".",
                     device.architecture % 10, ", ", device.multiprocessors, " multiprocessors, ",
                     format_bytes(static_cast<double>(device.memory_bytes)));
}

std::string chosen_variants(const Execution& execution) {
  const Context context = context_of(execution);
  std::map<std::string, std::vector<std::string>> operations_of;
  for (const OperationSummary& operation : all_operations()) {
    operations_of[choice_text(variant_choice(context, operation))].push_back(operation.name);
  }
  std::string text = "kernels:";
  for (const auto& [variant, operations] : operations_of) {
    text += concatenate(text.back() == ':' ? " " : "; ", variant, ":");
    for (const std::string& operation : operations) text += " " + operation;
  }
  return text;
}

std::string choice_text(const VariantChoice& choice) {
  if (choice.variant.empty()) return "none";
  if (choice.forced) return choice.variant + " (forced)";
  const std::size_t others = choice.shapes.size();
  if (others == 0) return choice.variant;
  return concatenate(choice.variant, " (by shape: ", others, others == 1 ? " other)" : " others)");
}

std::string format_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  // Columns are as wide as their longest cell in code points: labels may be in any script.
  const auto width_of = [](const std::string& cell) {
    return static_cast<std::size_t>(std::count_if(cell.begin(), cell.end(), [](char c) { return (c & 0xC0) != 0x80; }));
  };
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string blanks(widths[i] - width_of(row[i]), ' ');
      const bool number = row[i].find_first_not_of("0123456789.,+-") == std::string::npos;
      line += (i == 0 ? "" : "  ") + (number ? blanks + row[i] : row[i] + blanks);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string language_table(const Task& task, const std::vector<LanguageFigures>& figures) {
  std::vector<std::vector<std::string>> rows(1, {task.name()});
  for (const auto& [metric, value] : figures.front().metrics) rows[0].push_back(metric);
  rows[0].emplace_back("examples");
  std::map<std::string, double> sums;
  double official = 0;
  for (const LanguageFigures& one : figures) {
    const bool counts = task.is_official(one.language);
    official += counts ? 1 : 0;
    rows.push_back({one.language + (counts ? "" : "†")});
    for (const auto& [metric, value] : one.metrics) {
      rows.back().push_back(format_number(value, 2));
      if (counts) sums[metric] += value;
    }
    rows.back().push_back(format_count(one.examples));
  }
  if (official > 0) rows.push_back({"mean"});
  for (const auto& [metric, sum] : sums) rows.back().push_back(format_number(sum / official, 2));
  const bool all = official == static_cast<double>(figures.size());
  return format_table(rows) + (all ? "" : concatenate("† not a language of ", task.name(), ": outside the mean\n"));
}

std::string format_number(double value, int decimals) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.*f", decimals, value);
  return buffer;
}

std::string format_seconds(double seconds) {
  if (seconds < 1) return format_number(seconds, 2) + " s";
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  if (whole < 120) return concatenate(whole, " s");
  if (whole < 2 * 3600) return concatenate(whole / 60, " min ", whole % 60, " s");
  if (whole < 100 * 3600) return concatenate(whole / 3600, " h ", whole % 3600 / 60, " min");
  return format_number(seconds / 86400, 1) + " days";
}

std::string format_count(std::int64_t value) {
  std::string digits = std::to_string(value);
  for (std::int64_t at = static_cast<std::int64_t>(digits.size()) - 3; at > (value < 0 ? 1 : 0); at -= 3) {
    digits.insert(static_cast<std::size_t>(at), ",");
  }
  return digits;
}

void print(const std::string& text) {
  std::cout << text << std::flush;
  require(static_cast<bool>(std::cout), "cannot write to standard output");
}

std::string printable(const std::string& text) {
  constexpr std::size_t kLongest = 3000;  // bytes; the first and the last half are shown
  std::string shown;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text.size() > kLongest && at == kLongest / 2) {
      const std::size_t end = text.size() - kLongest / 2;
      shown += concatenate(" [", end - at, " bytes more] ");
      at = end;
    }
    const auto byte = static_cast<unsigned char>(text[at]);
    // U+0080 to U+009F, which some terminals obey too, begin with C2 in UTF-8.
    const bool c1 = byte >= 0x80 && byte < 0xa0 && at > 0 && static_cast<unsigned char>(text[at - 1]) == 0xc2;
    if ((byte >= 0x20 && byte != 0x7f && !c1) || byte == '\n' || byte == '\t') {
      shown += text[at];
      continue;
    }
    constexpr const char* kDigits = "0123456789abcdef";
    if (c1) shown.pop_back();
    shown += std::string("\\x") + kDigits[byte >> 4] + kDigits[byte & 15];
  }
  return shown;
}

std::string shell_word(const std::string& word) {
  constexpr const char* kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:,=+@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string quoted = "'";
  for (const char c : word) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

std::filesystem::path input_path(const std::string& text, const std::string& option) {
  if (text == "-") return "/dev/stdin";
  require(std::filesystem::exists(text) && !std::filesystem::is_directory(text), option, ": there is no file ", text);
  return text;
}

const Task& task_named(const std::string& text, const std::string& option) {
  const auto lower = [](std::string name) {
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return name;
  };
  for (const Task* task : all_tasks()) {
    if (lower(task->name()) == lower(text)) return *task;
  }
  return find_task(text, option);  // which says what there is
}

void refuse_options_without_use(const Task& task, const std::string& layer, const std::string& pooling,
                                const std::string& choices, const FeatureOptions& features) {
  const FeatureOptions usual;
  const auto refuse = [&](bool given, const char* option, const char* whose) {
    require(!given, option, " is of no use to task ", task.name(), ": it is for ", whose);
  };
  const bool vectors = task.train_task().empty();
  refuse(!vectors && !layer.empty(), "--layer", "tasks of sentence vectors, others are answered by their head");
  refuse(!vectors && !pooling.empty(), "--pooling", "tasks of sentence vectors, others are answered by their head");
  const bool texts = task.is_text_form();
  refuse(!texts && choices != name_of(ChoiceSearch::kGenerate), "--choices", "models that answer with texts");
  refuse(!texts && features.max_target_length != 0, "--max-target-length", "models that answer with texts");
  const bool spans = task.head() == HeadKind::kSpan;
  refuse(!spans && features.doc_stride != usual.doc_stride, "--doc-stride", "question answering");
  refuse(!spans && features.max_query_length != usual.max_query_length, "--max-query-length", "question answering");
}

}  // namespace koine
