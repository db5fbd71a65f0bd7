// koine train, koine evaluate

#include <algorithm>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/experiment/evaluate.h"
#include "tasks/experiment/phase.h"
#include "tasks/experiment/phase_data.h"
#include "tasks/experiment/phase_files.h"
#include "tasks/experiment/plan.h"
#include "tasks/experiment/recipes.h"
#include "tasks/experiment/toml_settings.h"
#include "tools/koine/commands.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

struct TrainArguments {
  std::string task;  ///< one, or several between commas
  std::string model;
  std::string tokenizer;
  std::string data;
  std::string output;
  std::string language = "en";
  std::string languages;      ///< of the training sets, where they are not `language` alone
  std::string mlm_languages;  ///< of the text of "mlm" among several tasks
  bool equal_tokens = false;
  SamplerSpec sampler;
  std::vector<std::string> heads;  ///< "task=head"
  FeatureOptions features;
  double mlm_probability = 0.15;
  bool resume = false;
  bool redo = false;
  std::vector<std::string> setting_values;  ///< one per setting_keys(), empty where not given
};

std::string option_name(std::string key) {
  std::replace(key.begin(), key.end(), '_', '-');
  return "--" + key;
}

/// The recipe of the task, or of several, changed by what the command line says.
TrainingSettings settings_of(const TrainArguments& arguments, const std::vector<std::string>& tasks,
                             const CommonOptions& common) {
  TrainingSettings settings = tasks.size() == 1 ? training_recipe(tasks.front()) : intermediate_recipe(tasks);
  for (std::size_t i = 0; i < setting_keys().size(); ++i) {
    const std::string& value = arguments.setting_values[i];
    if (!value.empty()) set_setting(settings, setting_keys()[i].name, value, option_name(setting_keys()[i].name));
  }
  settings.seed = common.seed.value_or(1);
  return settings;
}

void print_evaluations(const Task& task, const std::vector<std::string>& languages, const nlohmann::json& evaluations) {
  std::vector<LanguageFigures> figures;
  for (const std::string& language : languages) {
    const nlohmann::json& evaluation = evaluations.at(language);
    figures.push_back({language, evaluation.at("metrics"), evaluation.at("examples")});
  }
  std::string notes;
  for (const std::string& language : languages) {
    const nlohmann::json& evaluation = evaluations.at(language);
    if (evaluation.contains("truncated"))
      notes += concatenate(language, ": ", describe(evaluation.at("truncated").get<Truncation>()), "\n");
    if (evaluation.contains("collapsed"))
      notes += concatenate(language, ": ", describe(evaluation.at("collapsed").get<Collapse>()), "\n");
  }
  print(language_table(task, figures) + notes);
}

/// The head that --heads gives a task among several; its own name where it gives none.
std::string head_name(const TrainArguments& arguments, const std::string& task) {
  for (const std::string& entry : arguments.heads) {
    if (entry.starts_with(task + "=")) return entry.substr(task.size() + 1);
  }
  return task;
}

/// Languages of a training set: of one task --languages or --language, of text among several --mlm-languages or all there is.
std::vector<std::string> training_languages(const TrainArguments& arguments, const Task& task, bool several) {
  const bool text = several && task.head() == HeadKind::kMaskedLm;
  std::vector<std::string> wanted = split_commas(text ? arguments.mlm_languages : arguments.languages);
  if (!text && wanted.empty()) wanted = {arguments.language};
  const char* const option = text ? "--mlm-languages" : arguments.languages.empty() ? "--language" : "--languages";
  return resolve_languages(task, wanted, arguments.data, "train", option);
}

bool has_dev(const Task& task, const TrainArguments& arguments) {
  const std::vector<std::string> languages = task.available_languages(arguments.data, "dev");
  return task.head() != HeadKind::kMaskedLm &&
         std::find(languages.begin(), languages.end(), arguments.language) != languages.end();
}

/// One task, or one of several, with its head, its languages and its length.
TrainedTask trained_task(const TrainArguments& arguments, const std::string& name, bool several, const ModelConfig& config) {
  const Task& named = find_task(name);
  require(!named.train_task().empty(), "task ", named.name(), " is evaluated without training; see `koine evaluate`");
  const Task& task = find_task(named.train_task());
  TrainedTask trained;
  trained.task = &task;
  trained.head = {several ? head_name(arguments, task.name()) : "", task.head(), task.classes(config.vocab_size)};
  trained.languages = training_languages(arguments, task, several);
  trained.features = arguments.features;
  trained.features.max_seq_length =
      resolve_length(arguments.features.max_seq_length, named, config.maximum_length(), "--max-seq-length");
  trained.mlm_probability = arguments.mlm_probability;
  trained.has_dev = has_dev(task, arguments);
  if (arguments.equal_tokens && task.head() != HeadKind::kMaskedLm &&
      trained.languages != std::vector<std::string>{arguments.language}) {
    resolve_languages(task, {arguments.language}, arguments.data, "train", "--equal-tokens");
    trained.equal_tokens_to = arguments.language;
  }
  return trained;
}

/// UserErrors for options of several tasks that do not fit them.
void check_several(const TrainArguments& arguments, const std::vector<TrainedTask>& tasks) {
  check_sampler(arguments.sampler, tasks.size(), [](const std::string& key) { return option_name(key); });
  std::map<std::string, const Task*> first;
  for (const TrainedTask& trained : tasks) {
    const Task& other = *first.try_emplace(trained.head.name, trained.task).first->second;
    require(&other == trained.task || (other.head() == trained.task->head() && other.labels() == trained.task->labels()),
            "--heads: ", other.name(), " and ", trained.task->name(), " cannot share the head \"", trained.head.name,
            "\": they have other labels");
  }
  for (const std::string& entry : arguments.heads) {
    const bool known = std::any_of(tasks.begin(), tasks.end(), [&](const TrainedTask& trained) {
      return entry.starts_with(trained.task->name() + "=") && entry.size() > trained.task->name().size() + 1;
    });
    require(known, "--heads: \"", entry, "\" is not task=head of one of the tasks");
  }
}

/// config.toml of a run. What came later stands there only where it is used, so that older runs can be continued.
std::string config_of(const TrainArguments& arguments, const std::vector<TrainedTask>& tasks, const Tokenizer& tokenizer,
                      const Execution& execution, const TrainingSettings& settings) {
  const bool several = tasks.size() > 1;
  const FeatureOptions& features = tasks.front().features;
  std::string names;
  for (const TrainedTask& trained : tasks) names += (names.empty() ? "" : ",") + trained.task->name();
  std::string text = concatenate(
      "task = ", toml_text(names), "\nmodel = ", toml_text(fs::absolute(arguments.model).string()), "\ntokenizer = \"",
      tokenizer.fingerprint(), "\"\nprecision = \"", name_of(execution.precision),
      "\"\nlanguage = ", toml_text(arguments.language), "\nmax_seq_length = ", features.max_seq_length,
      "\ndoc_stride = ", features.doc_stride, "\nmax_query_length = ", features.max_query_length,
      "\nmax_train_examples = ", features.max_examples, "\nmlm_probability = ", toml_number(arguments.mlm_probability),
      "\nseed = ", settings.seed, "\n", phase_settings_toml(settings));
  if (features.pack_lines) text += "mlm_packed = true\n";
  if (several) {
    const SamplerSpec& sampler = arguments.sampler;
    text += concatenate("sampler = ", toml_text(sampler.kind), "\ntemperature = ", toml_number(sampler.temperature),
                        "\ntrain_examples_cap = ", sampler.train_examples_cap, "\nweights = [");
    for (const double weight : sampler.weights) text += toml_number(weight) + ", ";
    text += "]\nweight_functions = " + toml_list(sampler.weight_functions) + "\n";
  }
  std::vector<std::string> definitions;
  for (const TrainedTask& trained : tasks) {
    if (!trained.task->row().definition.empty()) definitions.push_back(trained.task->row().definition);
  }
  if (!definitions.empty()) text += "definitions = " + toml_list(definitions) + "\n";
  for (const TrainedTask& trained : tasks) {
    const bool plain = !several && trained.equal_tokens_to.empty();
    if (plain && trained.languages == std::vector<std::string>{arguments.language}) continue;
    text += concatenate("\n[task.", toml_text(trained.task->name()), "]\nhead = ", toml_text(trained.head.name),
                        "\nlanguages = ", toml_list(trained.languages),
                        "\nequal_tokens_to = ", toml_text(trained.equal_tokens_to),
                        "\nmax_seq_length = ", trained.features.max_seq_length, "\n");
  }
  return text;
}

/// A column a language for each metric of the layers, where several were asked for.
void print_layers(const std::vector<std::string>& languages, const nlohmann::json& evaluations) {
  const nlohmann::json& first = evaluations.at(languages.front());
  if (!first.contains("layers")) return;
  for (const auto& [metric, unused] : first.at("layers").front().at("metrics").items()) {
    std::vector<std::vector<std::string>> rows(1, {metric + ", layer"});
    rows[0].insert(rows[0].end(), languages.begin(), languages.end());
    for (std::size_t i = 0; i < first.at("layers").size(); ++i) {
      std::vector<std::string> row = {std::to_string(first.at("layers")[i].at("layer").get<std::int64_t>())};
      for (const std::string& language : languages) {
        const nlohmann::json& layer = evaluations.at(language).at("layers").at(i);
        row.push_back(format_number(layer.at("metrics").at(metric).get<double>(), 2));
      }
      rows.push_back(row);
    }
    print("\n" + format_table(rows));
  }
}

int train_task(const TrainArguments& arguments, const CommonOptions& common) {
  std::vector<std::string> names;
  for (const std::string& name : split_commas(arguments.task)) names.push_back(task_named(name, "--task").name());
  const bool several = names.size() > 1;
  require(!names.empty(), "--task names no task");
  require(std::set<std::string>(names.begin(), names.end()).size() == names.size(), "--task ", arguments.task,
          ": a task stands there twice");
  const TrainingSettings settings = settings_of(arguments, names, common);
  const ModelConfig config = read_model_config(arguments.model);
  std::vector<TrainedTask> tasks;
  for (const std::string& name : names) tasks.push_back(trained_task(arguments, name, several, config));
  check_several(arguments, tasks);
  require(!arguments.equal_tokens || settings.max_steps <= 0,
          "--equal-tokens makes a pass over the training set as long as --language's, so the training must be given in "
          "passes: --num-train-epochs, not --max-steps");
  const Tokenizer tokenizer = matching_tokenizer(arguments.model, config, arguments.tokenizer);

  const fs::path output = arguments.output;
  require_unlocked(output);
  require(!arguments.resume || fs::exists(output / "config.toml"), "--resume: there is no run in ", output.string());
  require(arguments.resume || arguments.redo || !fs::exists(output / "config.toml") || fs::exists(output / "done.json"),
          output.string(), " holds an unfinished run; give --resume to continue it, or another --output");
  const RunOptions options = run_options(common, resolve_execution(common, "auto", output / "config.toml"));
  PhaseData data(arguments.data, tokenizer);
  TrainingPhase phase;
  phase.directory = output;
  phase.start.directory = arguments.model;
  phase.settings = settings;
  phase.tasks = data.tasks(tasks, arguments.language, settings.eval_examples);
  if (several) set_sampler(phase.tasks, arguments.sampler);
  phase.labels = tasks.front().task->labels();
  HashCache hashes;
  FileHashes files = data_files(tasks, {}, arguments.data, arguments.language, hashes);
  files.merge(model_files(arguments.model, hashes));
  PhaseFolder folder(output, config_of(arguments, tasks, tokenizer, options.execution, settings), files, arguments.redo);
  if (!folder.done()) {
    install_signal_handlers();
    const PhaseTraining trained = run_training_phase(phase, tokenizer, options);
    const TrainingResult& result = trained.result;
    if (result.interrupted) {
      std::cerr << "koine: interrupted at step " << result.steps << " of " << result.total_steps << "; `" << common.command
                << (arguments.resume ? "" : " --resume") << "` continues there" << std::endl;
      return kExitInterrupted;
    }
    nlohmann::json end_mark = training_record(trained);
    end_mark["program"] = options.program;
    end_mark["tasks"] = task_record(phase, result);
    end_mark["left_out"] = left_out_record(phase.tasks);
    end_mark["truncated"] = truncation_record(phase.tasks);
    end_mark["files"] = model_record(output);
    folder.finish(std::move(end_mark));
  }
  std::vector<std::vector<std::string>> rows;
  rows.push_back({"steps", format_count(folder.result().at("steps").get<std::int64_t>())});
  rows.push_back({"tokens", format_count(folder.result().at("tokens").get<std::int64_t>())});
  rows.push_back({"loss", format_number(folder.result().at("final_loss").get<double>(), 4)});
  for (const auto& [name, value] : folder.result().at("best_metrics").items())
    rows.push_back({"dev " + name, format_number(value, 2)});
  std::string text = format_table(rows);
  for (const std::string& line : task_lines(folder.result().value("tasks", nlohmann::json::object()))) text += line + "\n";
  for (const std::string& line : left_out_lines(folder.result().value("left_out", nlohmann::json::object())))
    text += line + "\n";
  for (const std::string& line : guard_lines(folder.result())) text += line + "\n";
  print(text + "model: " + (output / "model").string() + "\n");
  return 0;
}

struct EvaluateArguments {
  std::string task;
  std::string labels;
  std::string model;
  std::string tokenizer;
  std::string data;
  std::string output;
  std::string languages;
  std::string split;  ///< empty: test, or dev where there are no test files
  std::string pooling;
  std::string layer;
  FeatureOptions features;
  std::int64_t max_tokens_per_batch = 4096;
};

}  // namespace

std::unique_ptr<Model> load_task_model(const fs::path& directory, const ModelConfig& config, const Task& task,
                                       const std::vector<std::string>& labels, const Execution& execution,
                                       bool hidden_states) {
  ModelOptions options;
  options.execution = execution;
  const bool dual_encoder = task.head() == HeadKind::kDualEncoder;
  if (!task.train_task().empty() && !(dual_encoder && hidden_states))
    options.heads = {{"", task.head(), task.classes(config.vocab_size)}};
  require(labels.empty() || (!options.heads.empty() && !task.labels().empty()), "--labels: task ", task.name(),
          " has no labels");
  LoadReport report;
  std::unique_ptr<Model> model = load_model(directory, options, &report);
  if (options.heads.empty()) return model;
  if (dual_encoder && !report.fresh.empty()) {
    std::cerr << directory.string() << " has no trained dual encoder (no tensor \"" << report.fresh.front()
              << "\"): its hidden states are compared; train one with `koine train --task " << task.name() << "`\n";
    options.heads.clear();
    return load_model(directory, options, &report);
  }
  require(report.fresh.empty(), directory.string(), " has no trained head for task ", task.name(),
          " (missing or of another size: ", report.fresh.empty() ? "" : report.fresh.front(),
          "); train one with `koine train`");
  order_classes(*model, config, task.labels(), labels, (directory / "config.json").string());
  return model;
}

namespace {

/// The split that --split names, or else the test set, or where no file of that is there the dev set.
std::string split_of(const EvaluateArguments& arguments, const Task& task) {
  if (!arguments.split.empty()) return arguments.split;
  const bool no_test = task.available_languages(arguments.data, "test").empty();
  return no_test && !task.available_languages(arguments.data, "dev").empty() ? "dev" : "test";
}

int evaluate_task(const EvaluateArguments& arguments, const CommonOptions& common) {
  const Task& task = task_named(arguments.task, "--task");
  refuse_options_without_use(task, arguments.layer, arguments.pooling, arguments.features);
  const ModelConfig config = read_model_config(arguments.model);
  const Tokenizer tokenizer = matching_tokenizer(arguments.model, config, arguments.tokenizer);
  PlannedEvaluation plan;
  plan.task = &task;
  plan.split = split_of(arguments, task);
  if (arguments.split.empty() && plan.split != "test" && !common.quiet)
    std::cerr << "koine: there are no test files of " << task.name() << ": its dev set is evaluated" << std::endl;
  resolve_languages(plan, split_commas(arguments.languages), arguments.data, "--languages");
  plan.features = arguments.features;
  plan.features.max_seq_length =
      resolve_length(plan.features.max_seq_length, task, config.maximum_length(), "--max-seq-length");
  plan.options.layers =
      resolve_layers(parse_layers(arguments.layer, "--layer"), config.num_hidden_layers, "--layer " + arguments.layer);
  plan.options.pooling = arguments.pooling.empty() ? task.pooling() : pooling_of(arguments.pooling);
  plan.options.max_tokens_per_batch = arguments.max_tokens_per_batch;
  require(!fs::exists(fs::path(arguments.output) / "evaluations.json"), arguments.output,
          " already holds an evaluation; choose another --output");
  const RunOptions options = run_options(common, resolve_execution(common));
  if (const std::string note = unlabelled_line(plan); !note.empty()) options.message(note);
  // A model without a dual encoder still has hidden states to compare.
  const bool hidden_states = !(arguments.layer.empty() && arguments.pooling.empty());
  const std::unique_ptr<Model> model =
      load_task_model(arguments.model, config, task, split_commas(arguments.labels), options.execution, hidden_states);
  install_signal_handlers();
  make_directory(arguments.output);
  nlohmann::json evaluations = nlohmann::json::object();
  if (!evaluate_languages(*model, plan, arguments.data, tokenizer, arguments.output, options, evaluations))
    return kExitInterrupted;
  print_evaluations(task, plan.languages, evaluations);
  print_layers(plan.languages, evaluations);
  return 0;
}

}  // namespace

void add_train_commands(CommandLine& line) {
  auto train = std::make_shared<TrainArguments>();
  train->setting_values.resize(setting_keys().size());
  CLI::App* app = line.add("train", "Train a task, or several together, from a model directory", [&line, train] {
    apply(line.common);
    return train_task(*train, line.common);
  });
  app->add_option("--task", train->task,
                  "task to train (mnli, squad, udpos, mlm ...); several between commas, each step one of them")
      ->required();
  line.take_task_files(*app);
  app->add_option("--model", train->model, "transformers directory to start from")->required();
  app->add_option("--tokenizer", train->tokenizer, "SentencePiece model, where it is not in the model directory");
  app->add_option("--data", train->data, "folder of the data sets")->required();
  app->add_option("--output", train->output, "folder of the run")->required();
  app->add_option("--language", train->language, "language of train and dev")->capture_default_str();
  app->add_option("--languages", train->languages,
                  "comma-separated: languages of the training files, translations among them; default: --language");
  app->add_flag("--equal-tokens", train->equal_tokens,
                "of training files in several languages as many tokens as --language's have");
  app->add_option("--sampler", train->sampler.kind, "several tasks: how the task of a step is drawn")
      ->check(CLI::IsMember(sampler_names()))
      ->capture_default_str();
  app->add_option("--temperature", train->sampler.temperature, "of the sampler: probability ~ examples^(1 / temperature)")
      ->check(CLI::Range(0.01, 1e6));
  app->add_option("--train-examples-cap", train->sampler.train_examples_cap, "examples counted at most for a task; 0: all")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--weights", train->sampler.weights, "comma-separated: the tasks' weights themselves")
      ->delimiter(',')
      ->check(CLI::Range(1e-9, 1e9));
  app->add_option("--weight-functions", train->sampler.weight_functions,
                  "of the sampler time_dependent: a formula in t, the steps before, for each task");
  app->add_option("--heads", train->heads, "comma-separated task=head: tasks that name one head share it")->delimiter(',');
  app->add_option("--mlm-languages", train->mlm_languages, "of mlm among several tasks; default: all that are there");
  app->add_flag("--mlm-packed", train->features.pack_lines, "fill sequences with lines of text, instead of a line each");
  app->add_option("--max-seq-length", train->features.max_seq_length, "tokens; 0: the recipe's")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--doc-stride", train->features.doc_stride, "advance of question answering's windows")
      ->check(CLI::PositiveNumber);
  app->add_option("--max-query-length", train->features.max_query_length, "tokens of a question")
      ->check(CLI::PositiveNumber);
  app->add_option("--max-train-examples", train->features.max_examples, "first examples only; 0: all")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--mlm-probability", train->mlm_probability, "share of masked tokens (mlm)")
      ->check(CLI::Range(0.0001, 1.0));
  app->add_flag("--resume", train->resume, "continue an interrupted run");
  app->add_flag("--redo", train->redo, "begin again where settings changed");
  for (std::size_t i = 0; i < setting_keys().size(); ++i) {
    app->add_option(option_name(setting_keys()[i].name), train->setting_values[i], setting_keys()[i].help)
        ->group("Training settings");
  }

  auto evaluate = std::make_shared<EvaluateArguments>();
  CLI::App* evaluate_app = line.add("evaluate", "Score a model on one task, each language apart", [&line, evaluate] {
    apply(line.common);
    return evaluate_task(*evaluate, line.common);
  });
  evaluate_app->add_option("--task", evaluate->task, "task to evaluate (xnli, xquad, udpos, tatoeba ...)")->required();
  evaluate_app->add_option("--model", evaluate->model, "transformers directory with the task's head")->required();
  evaluate_app->add_option("--tokenizer", evaluate->tokenizer,
                           "SentencePiece model, where it is not in the model directory");
  evaluate_app->add_option(
      "--labels", evaluate->labels,
      "comma-separated: what the checkpoint's classes are, in its order, where its id2label does not say");
  line.take_task_files(*evaluate_app);
  evaluate_app->add_option("--data", evaluate->data, "folder of the data sets")->required();
  evaluate_app->add_option("--output", evaluate->output, "folder for predictions and figures")->required();
  evaluate_app->add_option("--languages", evaluate->languages, "comma-separated; default: all that are there");
  evaluate_app->add_option("--split", evaluate->split, "test or dev; default: test, dev where there are no test files")
      ->check(CLI::IsMember({"test", "dev"}));
  evaluate_app->add_option("--layer", evaluate->layer,
                           "retrieval: hidden states to use, from one pass: 14, or 7,12, or all; default: the task's own");
  evaluate_app->add_option("--pooling", evaluate->pooling,
                           "retrieval: mean, mean_without_special, cls or position_weighted; default: the task's own");
  evaluate_app->add_option("--max-seq-length", evaluate->features.max_seq_length, "tokens; 0: the recipe's")
      ->check(CLI::NonNegativeNumber);
  evaluate_app->add_option("--doc-stride", evaluate->features.doc_stride, "advance of question answering's windows")
      ->check(CLI::PositiveNumber);
  evaluate_app->add_option("--max-query-length", evaluate->features.max_query_length, "tokens of a question")
      ->check(CLI::PositiveNumber);
  evaluate_app->add_option("--max-eval-examples", evaluate->features.max_examples, "first examples only; 0: all")
      ->check(CLI::NonNegativeNumber);
  evaluate_app->add_option("--max-tokens-per-batch", evaluate->max_tokens_per_batch, "tokens in memory at a time")
      ->check(CLI::Range(1, 1'000'000'000))
      ->capture_default_str();
}

}  // namespace koine
