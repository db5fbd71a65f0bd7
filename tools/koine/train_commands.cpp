// koine train, koine evaluate

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/experiment/evaluate.h"
#include "tasks/experiment/phase.h"
#include "tasks/experiment/plan.h"
#include "tasks/experiment/recipes.h"
#include "tasks/experiment/toml_settings.h"
#include "tools/koine/commands.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

struct TrainArguments {
  std::string task;
  std::string model;
  std::string tokenizer;
  std::string data;
  std::string output;
  std::string language = "en";
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

/// The recipe of the task, changed by what the command line says.
TrainingSettings settings_of(const TrainArguments& arguments, const Task& task, const CommonOptions& common) {
  TrainingSettings settings = training_recipe(task.name());
  for (std::size_t i = 0; i < setting_keys().size(); ++i) {
    const std::string& value = arguments.setting_values[i];
    if (!value.empty()) set_setting(settings, setting_keys()[i].name, value, option_name(setting_keys()[i].name));
  }
  settings.seed = common.seed.value_or(1);
  return settings;
}

void print_evaluations(const Task& task, const std::vector<std::string>& languages, const nlohmann::json& evaluations) {
  std::vector<std::vector<std::string>> rows(1, {task.name()});
  std::map<std::string, double> sums;
  for (const auto& [metric, value] : evaluations.at(languages.front()).at("metrics").items()) rows[0].push_back(metric);
  rows[0].emplace_back("examples");
  for (const std::string& language : languages) {
    const nlohmann::json& evaluation = evaluations.at(language);
    std::vector<std::string> row = {language};
    for (const auto& [metric, value] : evaluation.at("metrics").items()) {
      row.push_back(format_number(value.get<double>(), 2));
      sums[metric] += value.get<double>();
    }
    row.push_back(format_count(evaluation.at("examples").get<std::int64_t>()));
    rows.push_back(row);
  }
  std::vector<std::string> mean = {"mean"};
  for (const auto& [metric, sum] : sums) mean.push_back(format_number(sum / static_cast<double>(languages.size()), 2));
  rows.push_back(mean);
  std::string notes;
  for (const std::string& language : languages) {
    const nlohmann::json& evaluation = evaluations.at(language);
    if (evaluation.contains("truncated"))
      notes += concatenate(language, ": ", describe(evaluation.at("truncated").get<Truncation>()), "\n");
    if (evaluation.contains("collapsed"))
      notes += concatenate(language, ": ", describe(evaluation.at("collapsed").get<Collapse>()), "\n");
  }
  print(format_table(rows) + notes);
}

int train_task(const TrainArguments& arguments, const CommonOptions& common) {
  const Task& named = find_task(arguments.task);
  require(!named.train_task().empty(), "task ", named.name(), " is evaluated without training; see `koine evaluate`");
  const Task& task = find_task(named.train_task());
  const bool mlm = task.head() == HeadKind::kMaskedLm;
  const TrainingSettings settings = settings_of(arguments, named, common);
  const ModelConfig config = read_model_config(arguments.model);
  const Tokenizer tokenizer = matching_tokenizer(arguments.model, config, arguments.tokenizer);
  FeatureOptions features = arguments.features;
  features.max_seq_length = resolve_length(features.max_seq_length, named, config.maximum_length(), "--max-seq-length");

  const fs::path output = arguments.output;
  require(!arguments.resume || fs::exists(output / "config.toml"), "--resume: there is no run in ", output.string());
  require(arguments.resume || arguments.redo || !fs::exists(output / "config.toml") || fs::exists(output / "done.json"),
          output.string(), " holds an unfinished run; give --resume to continue it, or another --output");
  const RunOptions options = run_options(common, resolve_execution(common, "auto", output / "config.toml"));
  resolve_languages(task, {arguments.language}, arguments.data, "train");
  const std::string resolved = concatenate(
      "task = ", toml_text(task.name()), "\nmodel = ", toml_text(fs::absolute(arguments.model).string()), "\ntokenizer = \"",
      tokenizer.fingerprint(), "\"\nprecision = \"", name_of(options.execution.precision),
      "\"\nlanguage = ", toml_text(arguments.language), "\nmax_seq_length = ", features.max_seq_length,
      "\ndoc_stride = ", features.doc_stride, "\nmax_query_length = ", features.max_query_length,
      "\nmax_train_examples = ", features.max_examples, "\nmlm_probability = ", toml_number(arguments.mlm_probability),
      "\nseed = ", settings.seed, "\n", settings_toml(settings));

  const auto train = task.load(arguments.data, "train", arguments.language, tokenizer, features);
  std::unique_ptr<TaskData> dev;
  const std::vector<std::string> dev_languages = task.available_languages(arguments.data, "dev");
  if (!mlm && std::find(dev_languages.begin(), dev_languages.end(), arguments.language) != dev_languages.end()) {
    FeatureOptions dev_features = features;
    dev_features.max_examples = settings.eval_examples;
    dev = task.load(arguments.data, "dev", arguments.language, tokenizer, dev_features);
  }
  PhaseFolder folder(output, resolved, arguments.redo);
  if (!folder.done()) {
    install_signal_handlers();
    TrainingPhase phase;
    phase.directory = output;
    phase.start.directory = arguments.model;
    phase.tasks.push_back({task.name(),
                           {"", task.head(), task.classes(config.vocab_size)},
                           &train->dataset(),
                           dev.get(),
                           1,
                           arguments.mlm_probability,
                           train->left_out(),
                           train->truncation()});
    phase.labels = task.labels();
    phase.settings = settings;
    const PhaseTraining trained = run_training_phase(phase, tokenizer, options);
    const TrainingResult& result = trained.result;
    if (result.interrupted) {
      std::cerr << "koine: interrupted at step " << result.steps << " of " << result.total_steps
                << "; the same command with --resume continues there" << std::endl;
      return kExitInterrupted;
    }
    nlohmann::json end_mark = training_record(trained);
    end_mark["program"] = options.program;
    end_mark["left_out"] = left_out_record(phase.tasks);
    end_mark["truncated"] = truncation_record(phase.tasks);
    folder.finish(std::move(end_mark));
    remove_checkpoints(output);
  }
  std::vector<std::vector<std::string>> rows;
  rows.push_back({"steps", format_count(folder.result().at("steps").get<std::int64_t>())});
  rows.push_back({"tokens", format_count(folder.result().at("tokens").get<std::int64_t>())});
  rows.push_back({"loss", format_number(folder.result().at("final_loss").get<double>(), 4)});
  for (const auto& [name, value] : folder.result().at("best_metrics").items())
    rows.push_back({"dev " + name, format_number(value, 2)});
  std::string text = format_table(rows);
  for (const std::string& line : left_out_lines(folder.result().value("left_out", nlohmann::json::object())))
    text += line + "\n";
  for (const std::string& line : guard_lines(folder.result())) text += line + "\n";
  print(text + "model: " + (output / "model").string() + "\n");
  return 0;
}

struct EvaluateArguments {
  std::string task;
  std::string model;
  std::string tokenizer;
  std::string data;
  std::string output;
  std::string languages;
  std::string split = "test";
  std::string pooling = "mean";
  std::optional<std::int64_t> layer;
  FeatureOptions features;
  std::int64_t max_tokens_per_batch = 4096;
};

int evaluate_task(const EvaluateArguments& arguments, const CommonOptions& common) {
  const Task& task = find_task(arguments.task);
  const ModelConfig config = read_model_config(arguments.model);
  const Tokenizer tokenizer = matching_tokenizer(arguments.model, config, arguments.tokenizer);
  PlannedEvaluation plan;
  plan.task = &task;
  plan.split = arguments.split;
  plan.languages = resolve_languages(task, split_commas(arguments.languages), arguments.data, arguments.split);
  plan.features = arguments.features;
  plan.features.max_seq_length =
      resolve_length(plan.features.max_seq_length, task, config.maximum_length(), "--max-seq-length");
  plan.options.layer = arguments.layer;
  plan.options.pooling = pooling_of(arguments.pooling);
  plan.options.max_tokens_per_batch = arguments.max_tokens_per_batch;
  require(!arguments.layer.has_value() || *arguments.layer <= config.num_hidden_layers, "--layer is ",
          arguments.layer.value_or(0), ", but the model has layers 0 (embeddings) to ", config.num_hidden_layers);
  require(!fs::exists(fs::path(arguments.output) / "evaluations.json"), arguments.output,
          " already holds an evaluation; choose another --output");
  const RunOptions options = run_options(common, resolve_execution(common));
  ModelOptions model_options;
  model_options.execution = options.execution;
  if (!task.train_task().empty()) {
    model_options.heads = {{"", task.head(), task.classes(config.vocab_size)}};
  }
  LoadReport report;
  const std::unique_ptr<Model> model = load_model(arguments.model, model_options, &report);
  require(model_options.heads.empty() || report.fresh.empty(), arguments.model, " has no trained head for task ",
          task.name(), " (missing or of another size: ", report.fresh.empty() ? "" : report.fresh.front(),
          "); train one with `koine train`");
  if (!model_options.heads.empty()) order_classes(*model, config, task.labels(), arguments.model + "/config.json");
  install_signal_handlers();
  make_directory(arguments.output);
  nlohmann::json evaluations = nlohmann::json::object();
  if (!evaluate_languages(*model, plan, arguments.data, tokenizer, arguments.output, options, evaluations))
    return kExitInterrupted;
  print_evaluations(task, plan.languages, evaluations);
  return 0;
}

}  // namespace

void add_train_commands(CommandLine& line) {
  auto train = std::make_shared<TrainArguments>();
  train->setting_values.resize(setting_keys().size());
  CLI::App* app = line.add("train", "Train one task from a model directory", [&line, train] {
    apply(line.common);
    return train_task(*train, line.common);
  });
  app->add_option("--task", train->task, "task to train (mnli, squad, udpos, mlm ...)")->required();
  app->add_option("--model", train->model, "transformers directory to start from")->required();
  app->add_option("--tokenizer", train->tokenizer, "SentencePiece model, where it is not in the model directory");
  app->add_option("--data", train->data, "folder of the data sets")->required();
  app->add_option("--output", train->output, "folder of the run")->required();
  app->add_option("--language", train->language, "language of train and dev")->capture_default_str();
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
  evaluate_app->add_option("--data", evaluate->data, "folder of the data sets")->required();
  evaluate_app->add_option("--output", evaluate->output, "folder for predictions and figures")->required();
  evaluate_app->add_option("--languages", evaluate->languages, "comma-separated; default: all that are there");
  evaluate_app->add_option("--split", evaluate->split, "test or dev")
      ->check(CLI::IsMember({"test", "dev"}))
      ->capture_default_str();
  evaluate_app->add_option("--layer", evaluate->layer, "retrieval: hidden state to use")->check(CLI::NonNegativeNumber);
  evaluate_app->add_option("--pooling", evaluate->pooling, "retrieval: mean, mean_without_special or cls")
      ->capture_default_str();
  evaluate_app->add_option("--max-seq-length", evaluate->features.max_seq_length, "tokens; 0: the recipe's")
      ->check(CLI::NonNegativeNumber);
  evaluate_app->add_option("--doc-stride", evaluate->features.doc_stride, "advance of question answering's windows")
      ->check(CLI::PositiveNumber);
  evaluate_app->add_option("--max-query-length", evaluate->features.max_query_length, "tokens of a question")
      ->check(CLI::PositiveNumber);
  evaluate_app->add_option("--max-eval-examples", evaluate->features.max_examples, "first examples only; 0: all")
      ->check(CLI::NonNegativeNumber);
  evaluate_app->add_option("--max-tokens-per-batch", evaluate->max_tokens_per_batch, "tokens in memory at a time")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

}  // namespace koine
