// koine demo, koine run

#include <iostream>

#include "kernels/common/check.h"
#include "tasks/experiment/run_experiment.h"
#include "tools/koine/commands.h"
#include "tools/koine/demo_experiment.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

int run_and_report(Experiment experiment, const CommonOptions& common, const fs::path& output, bool redo) {
  install_signal_handlers();
  // The numeric mode of a run that is continued is the one it began with; `auto` measures only once.
  RunOptions options = run_options(common, resolve_execution(common, experiment.precision, output / "config.toml"));
  options.output = output;
  options.redo = redo;
  experiment.precision = name_of(options.execution.precision);
  const RunOutcome outcome = run_experiment(std::move(experiment), options);
  write_outcome(options, outcome);
  if (outcome.interrupted) {
    std::cerr << "koine: interrupted; `" << common.command << "` continues where it stopped" << std::endl;
    return kExitInterrupted;
  }
  print(results_table(outcome.rows, report_details(options, outcome)));
  for (const PhaseCost& cost : outcome.costs) {
    for (const std::string& line : cost.tasks) print(concatenate(cost.phase, ": ", line, "\n"));
    for (const std::string& line : cost.left_out) print(concatenate(cost.phase, ": ", line, "\n"));
    for (const std::string& line : cost.guards) print(concatenate(cost.phase, ": ", line, "\n"));
  }
  for (const std::string& line : warning_lines(outcome.rows)) print(line + "\n");
  print("figures: " + (output / "results.json").string() + "\nreport:  " + (output / "report.html").string() + "\n");
  return 0;
}

/// Every number of the trainings, and where it comes from.
int print_numbers(const Experiment& experiment) {
  std::vector<std::vector<std::string>> rows = {{"training", "key", "value", "from"}};
  for (const NumberOrigin& number : number_origins(experiment))
    rows.push_back({number.training, number.key, number.value, number.origin});
  print(format_table(rows));
  return 0;
}

void use_seeds(Experiment& experiment, const CommonOptions& common) {
  if (common.seed.has_value()) experiment.seeds = {*common.seed};
}

}  // namespace

void add_run_commands(CommandLine& line) {
  struct Demo {
    std::string output = "runs/demo";
    int seeds = 0;
    bool redo = false;
  };
  auto demo = std::make_shared<Demo>();
  CLI::App* demo_app = line.add("demo", "The whole method on generated languages, in minutes on a CPU", [&line, demo] {
    apply(line.common);
    const fs::path output = demo->output;
    Experiment experiment = parse_experiment(demo_experiment_text(), "demo.toml");
    if (demo->seeds > 0) {
      experiment.seeds.clear();
      for (int seed = 1; seed <= demo->seeds; ++seed) experiment.seeds.push_back(static_cast<std::uint32_t>(seed));
    }
    use_seeds(experiment, line.common);
    return run_and_report(std::move(experiment), line.common, output, demo->redo);
  });
  demo_app->add_option("--output", demo->output, "folder of the run")->capture_default_str();
  demo_app->add_option("--seeds", demo->seeds, "number of seeds; default: as examples/demo.toml says")
      ->check(CLI::Range(1, 100));
  demo_app->add_flag("--redo", demo->redo, "make phases again whose settings changed");

  struct Run {
    std::string file;
    std::string data;
    std::string output;
    bool redo = false;
    bool resume = false;
    bool dry = false;
  };
  auto run = std::make_shared<Run>();
  CLI::App* run_app = line.add(
      "run", "A grid of model x intermediate x target x seed from an experiment file; run again, it continues",
      [&line, run] {
        apply(line.common);
        Experiment experiment = read_experiment(run->file, run->data);
        use_seeds(experiment, line.common);
        if (run->dry) return print_numbers(experiment);
        const fs::path output = run->output.empty() ? fs::path("runs") / experiment.name : fs::path(run->output);
        require(!run->resume || fs::exists(output / "config.toml"), "--resume: there is no run in ", output.string());
        return run_and_report(std::move(experiment), line.common, output, run->redo);
      });
  run_app->add_option("experiment", run->file, "experiment file (docs/experiments.md)")->required();
  line.take_task_files(*run_app);
  run_app->add_option("--data", run->data, "folder of the data sets");
  run_app->add_option("--output", run->output, "folder of the run; default: runs/<name>");
  run_app->add_flag("--redo", run->redo, "make phases again whose settings changed");
  run_app->add_flag("--resume", run->resume, "insist that there is a run to continue");
  run_app->add_flag("--dry-run", run->dry, "run nothing; print every training's numbers and where each comes from");
}

}  // namespace koine
