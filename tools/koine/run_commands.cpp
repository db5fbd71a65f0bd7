// koine demo, koine run

#include <algorithm>
#include <iostream>

#include "kernels/common/check.h"
#include "models/models.h"
#include "tasks/common/prediction.h"
#include "tasks/experiment/run_experiment.h"
#include "tasks/experiment/selection.h"
#include "tools/koine/commands.h"
#include "tools/koine/demo_experiment.h"
#include "tools/koine/phase_jobs.h"
#include "tools/koine/ranks.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

int say_interrupted(const CommonOptions& common) {
  std::cerr << "koine: interrupted; `" << common.command << "` continues where it stopped" << std::endl;
  return kExitInterrupted;
}

void print_outcome(const RunOutcome& outcome, const RunOptions& options) {
  if (!outcome.rows.empty()) print(results_table(outcome.rows, report_details(options, outcome)));
  for (const PhaseCost& cost : outcome.costs) {
    for (const std::string& line : cost.tasks) print(concatenate(cost.phase, ": ", line, "\n"));
    for (const std::string& line : cost.left_out) print(concatenate(cost.phase, ": ", line, "\n"));
    for (const std::string& line : cost.guards) print(concatenate(cost.phase, ": ", line, "\n"));
  }
  for (const std::string& line : warning_lines(outcome.rows)) print(line + "\n");
  const std::size_t phases = outcome.plan.phases.size();
  if (outcome.done < phases) print(concatenate("done:    ", outcome.done, " of ", phases, " phases\n"));
  print("figures: " + (options.output / "results.json").string() + "\n");
  if (!outcome.rows.empty()) print("report:  " + (options.output / "report.html").string() + "\n");
}

/// A rank that follows. Data and numeric mode are what rank 0 has prepared and decided.
int follow_run(Experiment experiment, CommonOptions common, const fs::path& output, RankSession& ranks) {
  install_signal_handlers();
  RankJob job;
  if (!ranks.wait_to_begin(job)) return 0;
  common.precision = job.precision;
  experiment.precision = job.precision;
  experiment.data = job.data;
  RunOptions options = run_options(common, resolve_execution(common, job.precision, {}));
  ranks.join(options.execution);
  options.output = output;
  follow_experiment(std::move(experiment), options);
  return 0;
}

int run_and_report(Experiment experiment, const CommonOptions& common, const fs::path& output, const std::string& only,
                   bool redo, RankSession& ranks) {
  if (!ranks.leads()) return follow_run(std::move(experiment), common, output, ranks);
  install_signal_handlers();
  bool interrupted = true;
  try {
    // The numeric mode of a run that is continued, or that another process began, is the one it began with; `auto` measures
    // only once.
    std::unique_ptr<FolderLock> preparing = lock_output(output, run_options(common, {}));
    RunOptions options = run_options(common, resolve_execution(common, experiment.precision, output / "config.toml"));
    ranks.join(options.execution);
    options.output = output;
    options.redo = redo;
    options.only = only;
    experiment.precision = name_of(options.execution.precision);
    const RunOutcome outcome = run_experiment(std::move(experiment), options, std::move(preparing));
    interrupted = outcome.interrupted;
    if (!interrupted) print_outcome(outcome, options);
  } catch (const Interrupted&) {
    // While it waited for another process.
  }
  if (!interrupted) return 0;
  return say_interrupted(common);
}

Plan plan_without_running(Experiment experiment) {
  const ModelConfig config =
      experiment.model.directory.empty() ? experiment.model.config : read_model_config(experiment.model.directory);
  return make_plan(std::move(experiment), config);
}

/// The chosen phases, one a line: number, name, the phase whose model it begins with (or "model", the experiment's own), and
/// whether it is done or begun.
int print_phases(Experiment experiment, const std::string& only, const fs::path& output) {
  const Plan plan = plan_without_running(std::move(experiment));
  std::vector<std::vector<std::string>> rows;
  for (const std::size_t number : select_phases(plan, only)) {
    const PlannedPhase& phase = plan.phases[number];
    const fs::path folder = output / phase.folder;
    rows.push_back({std::to_string(number + 1), phase_name(plan, phase),
                    phase.start.has_value() ? phase_name(plan, plan.phases[*phase.start]) : "model",
                    fs::exists(folder / "done.json")     ? "done"
                    : fs::exists(folder / "config.toml") ? "begun"
                                                         : ""});
  }
  print(format_table(rows));
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

struct DemoArguments {
  std::string family;
  std::string model;
  std::string output;
  int seeds = 0;
  bool quick = false;
  bool redo = false;
};

/// A family the demo pretrains a model of; the first where none is asked for.
struct DemoFamily {
  std::string option;     ///< of --family
  std::string_view name;  ///< as family_name says it
  std::string run;        ///< the output's folder below runs/, and with ".toml" the file below examples/
  std::string (*text)();
};
const std::vector<DemoFamily> kDemoFamilies = {{"xlmr", "XLM-R", "demo", demo_experiment_text},
                                               {"mt5", "mT5", "demo-mt5", demo_mt5_experiment_text}};

const DemoFamily& demo_family(const std::string& option) {
  const auto is = [&](const DemoFamily& family) { return family.option == option; };
  return option.empty() ? kDemoFamilies.front() : *std::find_if(kDemoFamilies.begin(), kDemoFamilies.end(), is);
}

std::vector<std::string> demo_family_options() {
  std::vector<std::string> options;
  for (const DemoFamily& family : kDemoFamilies) options.push_back(family.option);
  return options;
}

/// Everything once and next to nothing of it: a hundred lines of text, two steps of each training, one seed.
void make_quick(Experiment& experiment) {
  experiment.generated->sizes = {.text_passages = 100,
                                 .text_dev_passages = 10,
                                 .low_resource_share = 0.5,
                                 .nli_train = 60,
                                 .nli_dev = 6,
                                 .xnli_dev = 6,
                                 .xnli_test = 6,
                                 .squad_train = 60,
                                 .squad_dev = 6,
                                 .xquad_test = 6,
                                 .pos_train = 60,
                                 .pos_dev = 6,
                                 .pos_test = 6,
                                 .tatoeba = 12};
  experiment.tokenizer.pieces /= 2;  // so little text has no more
  experiment.seeds.resize(1);
  const auto shorten = [](TrainingSettings& settings) { settings.max_steps = 2; };
  if (experiment.pretraining.has_value()) shorten(experiment.pretraining->settings);
  for (IntermediateSpec& arm : experiment.intermediate) shorten(arm.settings);
  for (TargetSpec& target : experiment.targets) shorten(target.settings);
}

/// That of the demo's own model, or of a pretrained one, whose config.json says the family.
Experiment demo_experiment_of(const DemoArguments& arguments) {
  const DemoFamily& family = demo_family(arguments.family);
  if (arguments.model.empty()) return parse_experiment(family.text(), family.run + ".toml");
  Experiment experiment = parse_experiment(demo_pretrained_experiment_text(), "demo-pretrained.toml");
  const std::string_view name = family_name(read_model_config(arguments.model));  // refused before anything is written
  require(arguments.family.empty() || name == family.name, "--family ", arguments.family, ": the model of --model ",
          arguments.model, " is of the family ", name, ", as its config.json says; remove --family");
  experiment.model.directory = fs::absolute(fs::path(arguments.model) / "").lexically_normal().parent_path();
  experiment.model.name = experiment.model.directory.filename().string();
  return experiment;
}

Experiment demo_experiment(const DemoArguments& arguments) {
  Experiment experiment = demo_experiment_of(arguments);
  if (arguments.seeds > 0) {
    experiment.seeds.clear();
    for (int seed = 1; seed <= arguments.seeds; ++seed) experiment.seeds.push_back(static_cast<std::uint32_t>(seed));
  }
  if (arguments.quick) make_quick(experiment);
  return experiment;
}

fs::path demo_output(const DemoArguments& arguments, const Experiment& experiment) {
  if (!arguments.output.empty()) return arguments.output;
  const std::string name = arguments.model.empty() ? demo_family(arguments.family).run : "demo-" + experiment.model.name;
  return fs::path("runs") / (arguments.quick ? name + "-quick" : name);
}

}  // namespace

void use_model(Experiment& experiment, const std::string& directory) {
  if (directory.empty()) return;
  require(!experiment.model.directory.empty(), "--model: ", experiment.file.string(),
          " trains a fresh model; only a directory is replaced");
  experiment.model.directory = fs::absolute(directory).lexically_normal();
  if (!experiment.model.directory.has_filename()) experiment.model.directory = experiment.model.directory.parent_path();
  experiment.model.name = experiment.model.directory.filename().string();
}

void add_run_commands(CommandLine& line) {
  auto demo = std::make_shared<DemoArguments>();
  CLI::App* demo_app = line.add("demo", "The whole method on generated languages, in minutes on a CPU", [&line, demo] {
    Experiment experiment = demo_experiment(*demo);
    const fs::path output = demo_output(*demo, experiment);
    use_seeds(experiment, line.common);
    return with_ranks(line.common, [&](RankSession& ranks) {
      apply(line.common);
      return run_and_report(std::move(experiment), line.common, output, "", demo->redo, ranks);
    });
  });
  demo_app
      ->add_option("--family", demo->family,
                   "of the model that the demo pretrains itself: xlmr, an encoder (the default), or mt5, which answers "
                   "with texts")
      ->check(CLI::IsMember(demo_family_options()));
  demo_app->add_option(
      "--model", demo->model,
      "a pretrained model's directory: the same from it, in sizes for a small one; default: one that the demo "
      "pretrains itself");
  demo_app->add_option(
      "--output", demo->output,
      "folder of the run; default: runs/demo, runs/demo-mt5 or runs/demo-MODEL, of --quick with -quick behind it");
  demo_app
      ->add_option("--seeds", demo->seeds,
                   "number of seeds; default: as examples/demo.toml, demo-mt5.toml or demo-pretrained.toml says")
      ->check(between(1, 100));
  demo_app->add_flag("--quick", demo->quick,
                     "every phase once, on next to no data: in seconds, whether it works; its figures mean nothing");
  line.take_ranks(*demo_app);
  line.take_cache(*demo_app);
  demo_app->add_flag("--redo", demo->redo, "make phases again whose settings changed");

  struct Run {
    std::string file;
    std::string data;
    std::string model;
    std::string output;
    std::string only;
    int jobs = 1;
    bool redo = false;
    bool resume = false;
    bool dry = false;
    bool list = false;
  };
  auto run = std::make_shared<Run>();
  CLI::App* run_app = line.add(
      "run", "A grid of model x intermediate x target x seed from an experiment file; run again, it continues",
      [&line, run] {
        Experiment experiment = read_experiment(run->file, run->data);
        use_seeds(experiment, line.common);
        use_model(experiment, run->model);
        if (run->dry) return print_numbers(experiment);
        const fs::path output = run->output.empty() ? fs::path("runs") / experiment.name : fs::path(run->output);
        if (run->list) return print_phases(std::move(experiment), run->only, output);
        require(!run->resume || fs::exists(output / "config.toml"), "--resume: there is no run in ", output.string());
        if (run->jobs > 1) {
          require(line.common.ranks.empty(),
                  "--jobs and --ranks: phases have a process each, or all ranks share each phase; give one");
          const Plan plan = plan_without_running(experiment);
          const int code = run_phase_jobs(plan, select_phases(plan, run->only), run->jobs, run->redo, line.common, output);
          if (code == kExitInterrupted) return say_interrupted(line.common);
          if (code != 0) return code;
        }
        return with_ranks(line.common, [&](RankSession& ranks) {
          apply(line.common);
          return run_and_report(std::move(experiment), line.common, output, run->only, run->redo && run->jobs == 1, ranks);
        });
      });
  run_app->add_option("experiment", run->file, "experiment file (docs/experiments.md)")->required();
  line.take_task_files(*run_app);
  line.take_ranks(*run_app);
  line.take_cache(*run_app);
  run_app->add_option("--data", run->data, "folder of the data sets");
  run_app->add_option("--model", run->model, "transformers directory to take in the place of the file's");
  run_app->add_option("--output", run->output, "folder of the run; default: runs/<name>");
  run_app->add_option("--only", run->only,
                      "carry out these phases alone: numbers or names of --list-phases, comma-separated (7, 4-9, mnli/1, "
                      "mnli/xnli/1, '*/xnli/*'); several processes may work in one folder (docs/cluster.md)");
  run_app
      ->add_option("--jobs", run->jobs,
                   "carry out so many phases at a time, each in a process with a device or a part of the threads of its own")
      ->check(between(1, 1024))
      ->capture_default_str();
  run_app->add_flag("--list-phases", run->list,
                    "run nothing; print a line for each phase: number, name, the phase it builds on, done or begun");
  run_app->add_flag("--redo", run->redo, "make phases again whose settings changed");
  run_app->add_flag("--resume", run->resume, "insist that there is a run to continue");
  run_app->add_flag("--dry-run", run->dry, "run nothing; print every training's numbers and where each comes from");
}

}  // namespace koine
