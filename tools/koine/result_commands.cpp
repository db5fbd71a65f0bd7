// koine score, koine report, koine data check

#include <algorithm>
#include <iostream>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/files/official_counts.h"
#include "tasks/formats/labels.h"
#include "tasks/languages/language_facts.h"
#include "tasks/report/exports.h"
#include "tasks/report/report.h"
#include "tasks/report/study.h"
#include "tools/koine/commands.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

/// Languages whose predictions are in a folder: test-<language>.* in it or in <folder>/<task>.
std::vector<std::string> predicted_languages(const fs::path& predictions, const std::string& task) {
  std::vector<std::string> languages;
  const fs::path below = predictions / task;
  const fs::path folder = fs::is_directory(below) ? below : predictions;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().stem().string();
    const std::size_t dash = name.find('-');
    if (dash != std::string::npos && (name.rfind("test-", 0) == 0 || name.rfind("dev-", 0) == 0))
      languages.push_back(name.substr(dash + 1));
  }
  require(!languages.empty(), folder.string(),
          " holds no predictions: files test-<language>.tsv or .json, as XTREME lays them out");
  std::sort(languages.begin(), languages.end());
  return languages;
}

int score(const std::string& task_name, const std::string& predictions, const std::string& gold, const std::string& wanted) {
  const Task& task = task_named(task_name, "--task");
  const bool piped = predictions == "-";
  const fs::path place = piped ? fs::path("/dev/stdin") : fs::path(predictions);
  require(fs::exists(place), "there is no ", predictions);
  require(fs::exists(gold), "there is no ", gold);
  std::vector<std::string> languages = split_commas(wanted);
  require(!piped || languages.size() == 1, "--predictions -: say with --languages which one language they are in");
  if (languages.empty() || std::any_of(languages.begin(), languages.end(), is_language_group)) {
    require(fs::is_directory(predictions), predictions, " is a file; say its language with --languages");
    const std::vector<std::string> there = predicted_languages(predictions, task.name());
    languages = languages.empty() ? there : expand_languages(languages, there, "--languages");
  }
  std::vector<LanguageFigures> figures;
  std::string notes;
  for (const std::string& language : languages) {
    const Evaluation evaluation = task.score(place, gold, language);
    figures.push_back({language, evaluation.metrics, evaluation.examples});
    if (evaluation.unpredicted > 0) {
      notes += concatenate(language, ": ", evaluation.unpredicted, " of ", evaluation.examples,
                           " examples have no prediction and score 0\n");
    }
    if (evaluation.collapse.has_value()) notes += concatenate(language, ": ", describe(*evaluation.collapse), "\n");
  }
  print(language_table(task, figures) + notes);
  return 0;
}

struct ReportArguments {
  StudyArguments study;
  std::string languages;
  std::vector<std::string> runs;
  std::vector<std::string> outputs;
  std::string csv;
  std::string latex;
};

using Rows = std::vector<ResultRow>;

void write_html(const std::string& file, const std::string& title, const Rows& rows) {
  write_report(file, title, rows);
  print("report: " + file + "\n");
}
/// Into a file, which is told as `what`, or with "-" to standard output.
void write_text(const std::string& file, const char* what, const std::string& text) {
  if (file == "-") return print(text);
  write_file_atomically(file, text);
  print(what + file + "\n");
}
void write_csv(const std::string& file, const std::string&, const Rows& rows) {
  write_text(file, "rows:   ", results_csv(rows));
}
void write_latex(const std::string& file, const std::string&, const Rows& rows) {
  write_text(file, "tables: ", results_latex(rows));
}
void write_markdown(const std::string& file, const std::string&, const Rows& rows) {
  write_text(file, "tables: ", results_markdown(rows));
}

/// What the ending of an output file asks for.
auto writer_of(const std::string& output) {
  struct Writer {
    const char* ending;
    void (*write)(const std::string& file, const std::string& title, const Rows& rows);
  };
  static constexpr Writer kWriters[] = {
      {".html", write_html}, {".htm", write_html}, {".csv", write_csv}, {".tex", write_latex}, {".md", write_markdown}};
  for (const Writer& writer : kWriters) {
    if (fs::path(output).extension() == writer.ending) return writer.write;
  }
  fail_user("--output ", output,
            ": the ending says what is written: .html (the page), .csv (all rows), .tex or .md (tables)");
}

/// The rows in some languages alone.
Rows in_languages(const Rows& rows, const std::string& wanted) {
  if (wanted.empty()) return rows;
  std::vector<std::string> there;
  for (const ResultRow& row : rows) {
    if (std::find(there.begin(), there.end(), row.language) == there.end()) there.push_back(row.language);
  }
  const std::vector<std::string> languages = expand_languages(split_commas(wanted), there, "--languages");
  for (const std::string& language : languages) {
    const bool known = std::find(there.begin(), there.end(), language) != there.end();
    require(known, "--languages: no row is in \"", language, "\"; there are ", join_names(there), language_hint(language));
  }
  Rows chosen;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(chosen), [&](const ResultRow& row) {
    return std::find(languages.begin(), languages.end(), row.language) != languages.end();
  });
  return chosen;
}

int report(const ReportArguments& arguments) {
  for (const std::string& output : arguments.outputs) writer_of(output);
  if (!arguments.study.study.empty()) {
    StudyArguments study = arguments.study;
    study.runs = arguments.runs;
    require(arguments.csv.empty() && arguments.latex.empty() && arguments.languages.empty(),
            "--csv, --latex and --languages are not of a study: write its tables with --output FILE.csv and FILE.tex");
    return report_study(study, arguments.outputs);
  }
  std::vector<ResultRow> rows;
  for (const std::string& run : arguments.runs) {
    const fs::path file = run == "-"              ? fs::path("/dev/stdin")
                          : fs::is_directory(run) ? fs::path(run) / "results.json"
                                                  : fs::path(run);
    require(fs::exists(file), "there is no ", file.string(), "; a finished `koine run`, `train` or `evaluate` writes it");
    for (ResultRow& row : read_results(file)) rows.push_back(std::move(row));
  }
  rows = in_languages(rows, arguments.languages);
  require(arguments.csv != "-" || arguments.latex != "-", "--csv - and --latex -: standard output holds one of them");
  if (arguments.csv != "-" && arguments.latex != "-") {
    print(results_table(rows));
    for (const std::string& line : warning_lines(rows)) print(line + "\n");
  }
  const std::string title = arguments.runs.size() == 1 ? fs::path(arguments.runs.front()).filename().string() : "koine";
  std::vector<std::string> outputs = arguments.outputs;
  if (outputs.empty() && arguments.csv.empty() && arguments.latex.empty()) outputs.emplace_back("report.html");
  for (const std::string& output : outputs) writer_of(output)(output, title, rows);
  if (!arguments.csv.empty()) write_csv(arguments.csv, title, rows);
  if (!arguments.latex.empty()) write_latex(arguments.latex, title, rows);
  return 0;
}

bool contains(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

/// The first few words, and how many more there are.
std::string short_list(const std::vector<std::string>& words) {
  constexpr std::size_t kShown = 8;
  std::string text;
  for (std::size_t i = 0; i < std::min(words.size(), kShown); ++i) text += (i == 0 ? "" : " ") + words[i];
  return words.size() > kShown ? concatenate(text, " and ", words.size() - kShown, " more") : text;
}

/// One task and split of `koine data check`.
struct SplitStatus {
  std::vector<std::string> there;
  std::vector<std::string> absent;
  std::int64_t official = 0;  ///< of those there
  std::int64_t examples = 0;
  std::vector<std::string> left_out;
  std::int64_t counted = 0;  ///< of languages whose official number is known
  std::int64_t expected = 0;
  std::vector<std::string> fewer;  ///< "en 60 of 5,010": languages with fewer examples than officially
};

/// Compares a file's examples with the official number.
void compare_with_official(const Task& task, const Task::FileStatus& file, SplitStatus& status) {
  const std::optional<std::int64_t> official = official_count(task.name(), file.split, file.language);
  if (!official.has_value()) return;
  status.counted += file.examples;
  status.expected += *official;
  if (file.examples < *official)
    status.fewer.push_back(concatenate(file.language, " ", format_count(file.examples), " of ", format_count(*official)));
}

/// "complete (15,030 of 15,030 official)", "incomplete: 60 of 5,010"; empty where no number is known.
std::string completeness(const SplitStatus& status) {
  if (status.expected == 0) return "";
  const std::string share = concatenate(format_count(status.counted), " of ", format_count(status.expected));
  if (!status.fewer.empty()) return "incomplete: " + share;
  return status.counted > status.expected ? "more than official: " + share : "complete (" + share + " official)";
}

/// Adds one line of a task's check. A language without a file, or of which the split's one file holds no example (it is not
/// in `readable`), is not there, which is no problem; a file that is there and cannot be used is one.
void add_status(const Task& task, const Task::FileStatus& file, const std::vector<std::string>& readable,
                SplitStatus& status, std::vector<std::string>& problems) {
  if (!file.present || (!file.problem.empty() && !contains(readable, file.language))) {
    status.absent.push_back(file.language);
  } else if (!file.problem.empty()) {
    problems.push_back(file.problem);
  } else {
    status.there.push_back(file.language);
    status.official += contains(task.languages(), file.language) ? 1 : 0;
    status.examples += file.examples;
    if (file.left_out.count > 0)
      status.left_out.push_back(
          concatenate(file.path, ": ", file.left_out.count, " of ", file.left_out.total, " ", file.left_out.what, "\n"));
    compare_with_official(task, file, status);
  }
}

/// The row of a task and split: "xnli  test  5 of 15  25,050  complete (25,050 of 25,050 official)  en de es sw ur".
std::vector<std::string> status_row(const Task& task, const std::string& split, const SplitStatus& status) {
  std::string count = concatenate(status.official, " of ", task.languages().size());
  const auto others = static_cast<std::int64_t>(status.there.size()) - status.official;
  if (others > 0) count += concatenate(" + ", others);
  return {task.name(), split, count, format_count(status.examples), completeness(status), short_list(status.there)};
}

/// What framing to each task's own length would cut, as rows of a table; a data set that cannot be loaded is a problem.
std::vector<std::vector<std::string>> truncation_rows(const std::string& directory, const std::string& tokenizer_file,
                                                      std::vector<std::string>& problems) {
  const Tokenizer tokenizer(tokenizer_file);
  std::vector<std::vector<std::string>> rows;
  for (const Task* task : all_tasks()) {
    for (const std::string& split : task->splits()) {
      for (const std::string& language : task->available_languages(directory, split)) {
        try {
          const Truncation cut = task->load(directory, split, language, tokenizer, {})->truncation();
          rows.push_back({task->name(), split, language, std::to_string(cut.maximum_length), format_count(cut.examples),
                          format_count(cut.total), format_count(cut.pieces)});
        } catch (const UserError& error) {
          if (!contains(problems, error.what())) problems.emplace_back(error.what());
        }
      }
    }
  }
  return rows;
}

int check_data(const std::string& directory, const std::string& tokenizer, bool complete) {
  require(fs::is_directory(directory), "there is no folder ", directory);
  std::vector<std::vector<std::string>> rows = {{"task", "split", "languages", "examples", "official", "there"}};
  std::vector<std::vector<std::string>> absent;
  std::vector<std::string> left_out;
  std::vector<std::vector<std::string>> fewer;
  std::vector<std::string> problems;
  for (const Task* task : all_tasks()) {
    try {
      const std::vector<Task::FileStatus> files = task->check_files(directory);
      for (const std::string& split : task->splits()) {
        const std::vector<std::string> readable = task->available_languages(directory, split);
        SplitStatus status;
        for (const Task::FileStatus& file : files) {
          if (file.split == split) add_status(*task, file, readable, status, problems);
        }
        rows.push_back(status_row(*task, split, status));
        left_out.insert(left_out.end(), status.left_out.begin(), status.left_out.end());
        if (!status.fewer.empty()) {
          const std::string languages = join_names(status.fewer);
          fewer.push_back({task->name(), split, languages});
          if (complete)
            problems.push_back(concatenate(task->name(), " ", split, ": fewer examples than officially: ", languages));
        }
        if (status.there.empty() && !task->row().definition.empty()) {
          problems.push_back(task->without_files(directory, split));
        } else if (status.there.empty()) {
          absent.push_back({task->name(), split, "all"});
        } else if (!status.absent.empty()) {
          absent.push_back({task->name(), split, short_list(status.absent)});
        }
      }
    } catch (const UserError& error) {
      problems.push_back(concatenate(task->name(), ": ", error.what()));
    }
  }
  print(format_table(rows));
  if (!left_out.empty()) print("\n");
  for (const std::string& line : left_out) print(line);
  if (!absent.empty()) print("\nnot there, wanted only by experiments that use it:\n" + format_table(absent));
  if (!fewer.empty()) print("\nincomplete, by the official numbers:\n" + format_table(fewer));
  if (!tokenizer.empty()) {
    std::vector<std::vector<std::string>> cut = {
        {"task", "split", "language", "longest allowed", "cut", "of", "pieces lost"}};
    for (std::vector<std::string>& row : truncation_rows(directory, tokenizer, problems)) cut.push_back(std::move(row));
    print("\nexamples cut to each task's own length:\n" + format_table(cut));
  }
  print(problems.empty() ? "\nno problems\n" : concatenate("\nproblems: ", problems.size(), "\n"));
  for (const std::string& problem : problems) std::cerr << "koine: " << printable(problem) << std::endl;
  return problems.empty() ? 0 : 2;
}

}  // namespace

void add_result_commands(CommandLine& line) {
  struct Score {
    std::string task;
    std::string predictions;
    std::string gold;
    std::string languages;
  };
  auto scored = std::make_shared<Score>();
  CLI::App* app = line.add("score", "Score predictions in XTREME's layout against gold data", [&line, scored] {
    apply(line.common);
    return score(scored->task, scored->predictions, scored->gold, scored->languages);
  });
  app->add_option("--task", scored->task, "task of the predictions")->required();
  line.take_task_files(*app);
  app->add_option("--predictions", scored->predictions,
                  "folder with test-<language> files, or with <task>/ in it; or one file, -: standard input")
      ->required();
  app->add_option("--gold", scored->gold, "folder of the data sets, or of XTREME's label files")->required();
  app->add_option("--languages", scored->languages,
                  "comma-separated codes, or families, branches and scripts of languages; default: all predicted");

  auto reported = std::make_shared<ReportArguments>();
  CLI::App* report_app =
      line.add("report", "Tables and plots of one run or several, as HTML, CSV, LaTeX and Markdown", [&line, reported] {
        apply(line.common);
        return report(*reported);
      });
  line.take_task_files(*report_app);
  report_app
      ->add_option("runs", reported->runs,
                   "folders of runs, or files of rows as their results.json; -: rows from standard input")
      ->required();
  report_app->add_option(
      "--output", reported->outputs,
      "file to write, by its ending: .html, .csv (all rows), .tex or .md (tables); may be repeated; default: report.html");
  report_app->add_option("--languages", reported->languages,
                         "these rows alone: comma-separated codes, families, branches or scripts (uralic)");
  report_app
      ->add_option("--study", reported->study.study,
                   "a study's page instead, which answers its question (docs/studies.md): one of its names")
      ->check(CLI::IsMember(study_names()));
  report_app->add_option("--morphology", reported->study.morphology,
                         "of a study: measures of the languages, of koine data morphology");
  report_app->add_option("--parameters", reported->study.parameters,
                         "of a study: model=number, comma-separated, where the runs do not say");
  report_app->add_option("--price", reported->study.price, "of a study: money for a device's hour")->check(above_zero());
  report_app->add_option("--watts", reported->study.watts, "of a study: power limit of the device, to assume its energy")
      ->check(above_zero());
  report_app
      ->add_option(
          "--translation-flops", reported->study.translation_flops,
          "of a study: FLOPs of translating, for each token of the translations; default: what the runs' [study] says, "
          "else not counted")
      ->check(at_least(0));
  report_app
      ->add_option("--translation-efficiency", reported->study.translation_efficiency,
                   "of a study: FLOP/s of translating by that of training; default 1/6")
      ->check(above_zero());
  report_app
      ->add_option("--translation-price", reported->study.translation_price,
                   "of a study: money for a million translated tokens, instead of the device's hours for them")
      ->check(at_least(0));
  report_app->add_option("--csv", reported->csv, "file of all rows (RFC 4180); -: standard output, and nothing else there");
  report_app->add_option("--latex", reported->latex, "file of tables for LaTeX with booktabs; -: as --csv");

  struct DataCheck {
    std::string directory;
    std::string tokenizer;
    bool complete = false;
  };
  auto checked = std::make_shared<DataCheck>();
  CLI::App* data = line.app.add_subcommand("data", "What is in a folder of data sets");
  data->allow_extras();
  data->require_subcommand(0, 1);
  add_morphology_command(line, *data);
  CLI::App* check_app = data->add_subcommand("check", "Which data sets are there, complete, in the right layout");
  check_app->allow_extras();
  line.take_task_files(*check_app);
  check_app->add_option("directory", checked->directory, "folder of the data sets")->required();
  check_app->add_option("--tokenizer", checked->tokenizer,
                        "SentencePiece model, or a directory that holds one: also count the examples that would be cut");
  check_app->add_flag("--complete", checked->complete, "fewer examples than officially are a problem (exit code 2)");
  line.commands.emplace_back(check_app,
                             [checked] { return check_data(checked->directory, checked->tokenizer, checked->complete); });
}

}  // namespace koine
