// koine train

#include <algorithm>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/experiment/equal_tokens.h"
#include "tasks/experiment/phase.h"
#include "tasks/experiment/phase_data.h"
#include "tasks/experiment/phase_files.h"
#include "tasks/experiment/plan.h"
#include "tasks/experiment/recipe_file.h"
#include "tasks/experiment/recipes.h"
#include "tasks/experiment/toml_settings.h"
#include "tasks/report/results.h"
#include "tools/koine/commands.h"
#include "tools/koine/ranks.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

struct TrainArguments {
  std::string task;  ///< one, or several between commas
  std::string model;
  std::string tokenizer;
  std::string data;
  std::string output;
  std::string recipe;  ///< of the program, or a file; empty: the defaults
  std::string language = "en";
  std::string languages;      ///< of the training sets, where they are not `language` alone
  std::string mlm_languages;  ///< of the text of "mlm" among several tasks
  bool equal_tokens = false;
  SamplerSpec sampler;
  std::vector<std::string> heads;        ///< "task=head"
  std::vector<std::string> batch_sizes;  ///< "task=examples"
  FeatureOptions features;
  double mlm_probability = 0.15;
  bool resume = false;
  bool redo = false;
  std::vector<std::string> setting_values;  ///< one per setting_keys(), empty where not given
  std::set<std::string> given;              ///< options that stand on the command line
};

std::string option_name(std::string key) {
  std::replace(key.begin(), key.end(), '_', '-');
  return "--" + key;
}

/// The numbers of a training.
struct Numbers {
  TrainingSettings settings;
  FeatureOptions features;
  Origins taken;  ///< from --recipe: where each of its numbers stands that is used
};

/// Those of the task, or of several, changed by --recipe, and by what else the command line says.
Numbers numbers_of(const TrainArguments& arguments, const std::vector<std::string>& tasks) {
  Numbers numbers;
  numbers.settings = tasks.size() == 1 ? training_recipe(tasks.front()) : intermediate_recipe(tasks);
  numbers.features = arguments.features;
  if (!arguments.recipe.empty()) {
    const RecipeFile recipe = RecipeFile::read(arguments.recipe, fs::current_path(), "--recipe");
    recipe.apply_training(tasks, {numbers.settings, numbers.features, numbers.taken},
                          concatenate("--recipe ", arguments.recipe));
  }
  const std::pair<const char*, std::int64_t FeatureOptions::*> lengths[] = {
      {"max_seq_length", &FeatureOptions::max_seq_length},
      {"doc_stride", &FeatureOptions::doc_stride},
      {"max_query_length", &FeatureOptions::max_query_length}};
  for (const auto& [key, member] : lengths) {
    if (!arguments.given.contains(option_name(key))) continue;
    numbers.features.*member = arguments.features.*member;
    numbers.taken.erase(key);
  }
  for (std::size_t i = 0; i < setting_keys().size(); ++i) {
    const std::string& value = arguments.setting_values[i];
    if (value.empty()) continue;
    set_setting(numbers.settings, setting_keys()[i].name, value, option_name(setting_keys()[i].name));
    numbers.taken.erase(setting_keys()[i].name);
  }
  return numbers;
}

/// A training's numbers as "key = value" lines.
std::string numbers_toml(const Numbers& numbers) {
  return concatenate("max_seq_length = ", numbers.features.max_seq_length, "\ndoc_stride = ", numbers.features.doc_stride,
                     "\nmax_query_length = ", numbers.features.max_query_length, "\n", settings_toml(numbers.settings));
}

/// What was taken of --recipe, a line for each number: "recipe: learning_rate = 2e-05 (recipes/xtreme-2020.toml:24)".
std::vector<std::string> taken_lines(const Numbers& numbers) {
  std::vector<std::string> taken;
  std::istringstream lines(numbers_toml(numbers));
  for (std::string line; std::getline(lines, line);) {
    const auto origin = numbers.taken.find(line.substr(0, line.find(" = ")));
    if (origin != numbers.taken.end()) taken.push_back(concatenate("recipe: ", line, " (", origin->second, ")"));
  }
  return taken;
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
  const bool text = several && task.is_language_modelling();
  std::vector<std::string> wanted = split_commas(text ? arguments.mlm_languages : arguments.languages);
  if (!text && wanted.empty()) wanted = {arguments.language};
  const char* const option = text ? "--mlm-languages" : arguments.languages.empty() ? "--language" : "--languages";
  return resolve_languages(task, wanted, arguments.data, "train", option);
}

bool has_dev(const Task& task, const TrainArguments& arguments) {
  const std::vector<std::string> languages = task.available_languages(arguments.data, "dev");
  return !task.is_language_modelling() &&
         std::find(languages.begin(), languages.end(), arguments.language) != languages.end();
}

/// One task, or one of several, with its head, its languages and its length.
TrainedTask trained_task(const TrainArguments& arguments, const Numbers& numbers, const std::string& name, bool several,
                         const ModelConfig& config) {
  const Task& named = task_for(config, find_task(name));
  require(!named.train_task().empty(), "task ", named.name(), " is evaluated without training; see `koine evaluate`");
  const Task& task = task_for(config, find_task(named.train_task()));
  TrainedTask trained;
  trained.task = &task;
  // Texts are all written by one head.
  const bool own_head = several && !task.is_text_form();
  trained.head = {own_head ? head_name(arguments, task.name()) : "", task.head(), task.classes(config.vocab_size)};
  trained.languages = training_languages(arguments, task, several);
  trained.features = numbers.features;
  const auto taken = numbers.taken.find("max_seq_length");
  trained.features.max_seq_length =
      resolve_length(numbers.features.max_seq_length, named, config.maximum_length(),
                     taken == numbers.taken.end() ? "--max-seq-length" : taken->second + ": max_seq_length");
  if (task.is_language_modelling()) {
    trained.mlm_probability = arguments.mlm_probability;
    trained.features.noise_density = arguments.mlm_probability;
  }
  trained.has_dev = has_dev(task, arguments);
  if (arguments.equal_tokens && !task.is_language_modelling() &&
      trained.languages != std::vector<std::string>{arguments.language}) {
    resolve_languages(task, {arguments.language}, arguments.data, "train", "--equal-tokens");
    trained.equal_tokens_to = arguments.language;
  }
  return trained;
}

/// UserError for an entry of an option that is not task=`what` of one of the tasks.
void check_entries(const char* option, const std::vector<std::string>& entries, const char* what,
                   const std::vector<TrainedTask>& tasks) {
  for (const std::string& entry : entries) {
    const bool known = std::any_of(tasks.begin(), tasks.end(), [&](const TrainedTask& trained) {
      return entry.starts_with(trained.task->name() + "=") && entry.size() > trained.task->name().size() + 1;
    });
    require(known, option, ": \"", entry, "\" is not task=", what, " of one of the tasks");
  }
}

/// The sampler with the batches of --batch-sizes.
SamplerSpec sampler_of(const TrainArguments& arguments, const std::vector<TrainedTask>& tasks) {
  check_entries("--batch-sizes", arguments.batch_sizes, "examples", tasks);
  SamplerSpec sampler = arguments.sampler;
  for (const std::string& entry : arguments.batch_sizes) {
    const std::size_t equals = entry.rfind('=');
    TrainingSettings size;
    set_setting(size, "per_device_train_batch_size", entry.substr(equals + 1), concatenate("--batch-sizes: ", entry));
    const bool first = sampler.batch_sizes.emplace(entry.substr(0, equals), size.per_device_train_batch_size).second;
    require(first, "--batch-sizes: \"", entry.substr(0, equals), "\" stands twice");
  }
  return sampler;
}

/// UserErrors for options of several tasks that do not fit them.
void check_several(const TrainArguments& arguments, const std::vector<TrainedTask>& tasks) {
  check_sampler(arguments.sampler, tasks.size(), [](const std::string& key) { return option_name(key); });
  std::map<std::string, const Task*> first;
  for (const TrainedTask& trained : tasks) {
    const Task& other = *first.try_emplace(trained.head.name, trained.task).first->second;
    require(&other == trained.task || trained.task->is_text_form() ||
                (other.head() == trained.task->head() && other.labels() == trained.task->labels()),
            "--heads: ", other.name(), " and ", trained.task->name(), " cannot share the head \"", trained.head.name,
            "\": they have other labels");
  }
  check_entries("--heads", arguments.heads, "head", tasks);
}

/// config.toml of a run. What came later stands there only where it is used, so that older runs can be continued.
std::string config_of(const TrainArguments& arguments, const std::vector<TrainedTask>& tasks, const Tokenizer& tokenizer,
                      const Execution& execution, const Numbers& numbers, const SamplerSpec& sampler) {
  const TrainingSettings& settings = numbers.settings;
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
  if (!arguments.recipe.empty()) {
    std::vector<std::string> keys;
    for (const auto& [key, origin] : numbers.taken) keys.push_back(key);
    const bool file = names_recipe_file(arguments.recipe);
    text += concatenate("recipe = ", toml_text(file ? fs::absolute(arguments.recipe).string() : arguments.recipe),
                        "\ntaken_from_recipe = ", toml_list(keys), "\n");
  }
  if (tasks.front().task->is_text_form())
    text += concatenate("text_form = true\nmax_target_length = ", features.max_target_length, "\n");
  if (several) {
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
    if (const auto batch = sampler.batch_sizes.find(trained.task->name()); batch != sampler.batch_sizes.end())
      text += concatenate("per_device_train_batch_size = ", batch->second, "\n");
  }
  return text;
}

/// UserError for an option that these tasks make no use of.
void refuse_without_use(const TrainArguments& arguments, const std::vector<TrainedTask>& tasks) {
  const auto any = [&](const auto& fits) {
    return std::any_of(tasks.begin(), tasks.end(), [&](const TrainedTask& task) { return fits(*task.task); });
  };
  const auto only_for = [&](bool of_use, const char* whose, std::initializer_list<const char*> options) {
    for (const char* option : options) {
      require(of_use || !arguments.given.contains(option), option, " is of no use to --task ", arguments.task,
              ": it is for ", whose);
    }
  };
  const bool several = tasks.size() > 1;
  const bool text = any([](const Task& task) { return task.is_language_modelling(); });
  const bool forms = any([](const Task& task) { return task.is_text_form(); });
  only_for(
      several, "several tasks",
      {"--sampler", "--temperature", "--train-examples-cap", "--weights", "--weight-functions", "--heads", "--batch-sizes"});
  only_for(!forms, "models with a head for every task", {"--heads"});
  only_for(forms, "models that answer with texts", {"--max-target-length"});
  only_for(several && text, "mlm among several tasks", {"--mlm-languages"});
  only_for(text, "masked-language modelling (mlm)", {"--mlm-packed", "--mlm-probability"});
  only_for(!text || several, "tasks with labels", {"--equal-tokens"});
  only_for(any([](const Task& task) { return task.head() == HeadKind::kSpan; }), "question answering",
           {"--doc-stride", "--max-query-length"});
}

/// What a setting takes, for --help.
std::string type_text(const SettingKey& key) {
  if (std::holds_alternative<double TrainingSettings::*>(key.member)) return "FLOAT";
  if (std::holds_alternative<std::int64_t TrainingSettings::*>(key.member)) return "INT";
  if (std::holds_alternative<bool TrainingSettings::*>(key.member)) return "true|false";
  std::string text;
  for (const std::string& name : *choices_of(key)) text += (text.empty() ? "" : "|") + name;
  return text;
}

/// The end of --help: what the settings are where nothing else is given.
std::string recipe_text(const TrainArguments& arguments) {
  std::vector<std::string> names;
  for (const std::string& name : split_commas(arguments.task)) names.push_back(task_named(name, "--task").name());
  if (names.empty()) return "What is not given comes from the task's recipe: `koine train --task NAME --help` shows it.";
  TrainArguments plain;
  plain.recipe = arguments.recipe;
  plain.setting_values.resize(setting_keys().size());
  const Numbers numbers = numbers_of(plain, names);
  std::vector<std::vector<std::string>> rows = {
      {concatenate("Where nothing else is given, by the recipe ",
                   arguments.recipe.empty() ? "of " : arguments.recipe + " for ", arguments.task, ":")}};
  std::istringstream lines(arguments.recipe.empty() ? settings_toml(numbers.settings) : numbers_toml(numbers));
  for (std::string line; std::getline(lines, line);) {
    const std::size_t equals = line.find(" = ");
    std::string value = line.substr(equals + 3);
    std::erase(value, '"');
    rows.push_back({concatenate("  ", option_name(line.substr(0, equals)), " ", value)});
  }
  return format_table(rows);
}

/// The validation scores that the best weights were chosen by, as rows of results.json.
std::vector<ResultRow> validation_rows(const TrainArguments& arguments, const TrainingPhase& phase,
                                       const nlohmann::json& training) {
  std::vector<ResultRow> rows;
  const nlohmann::json scores = training.at("best_metrics");
  for (const PhaseTask& task : phase.tasks) {
    if (task.dev == nullptr || !scores.contains(task.name)) continue;
    ResultRow row;
    row.model = fs::absolute(fs::path(arguments.output) / "").lexically_normal().parent_path().filename().string();
    row.intermediate = "none";
    row.target = task.name;
    row.language = arguments.language;
    row.metric = "selection";
    row.value = scores.at(task.name).get<double>();
    row.seed = phase.settings.seed;
    row.examples = task.dev->dataset().groups();
    row.tokens = tokens_of(task.dev->dataset());
    row.split = "dev";
    rows.push_back(row);
  }
  return rows;
}

/// A rank that follows: it is told the numeric mode, and each training of the phase.
int follow_task(const TrainingPhase& phase, const Tokenizer& tokenizer, const RunOptions& options) {
  install_signal_handlers();
  follow_trainings(tokenizer, options, [&](const RankJob&) { return phase; });
  return 0;
}

/// The numeric mode, which rank 0 decides.
Execution execution_of_task(const fs::path& output, CommonOptions common, RankSession& ranks) {
  RankJob job;
  if (!ranks.leads()) {
    check(ranks.wait_to_begin(job), "rank 0 ends before it begins");
    common.precision = job.precision;
  }
  Execution execution = resolve_execution(common, "auto", output / "config.toml");
  ranks.join(execution);
  if (!ranks.leads()) return execution;
  job.kind = RankJob::Kind::kBegin;
  job.precision = name_of(execution.precision);
  tell_job(execution.communicator, job);
  return execution;
}

int train_task(const TrainArguments& arguments, const CommonOptions& common, RankSession& ranks) {
  std::vector<std::string> names;
  for (const std::string& name : split_commas(arguments.task)) names.push_back(task_named(name, "--task").name());
  const bool several = names.size() > 1;
  require(!names.empty(), "--task names no task");
  require(std::set<std::string>(names.begin(), names.end()).size() == names.size(), "--task ", arguments.task,
          ": a task stands there twice");
  Numbers numbers = numbers_of(arguments, names);
  numbers.settings.seed = common.seed.value_or(1);
  const TrainingSettings& settings = numbers.settings;
  const ModelConfig config = read_model_config(arguments.model);
  std::vector<TrainedTask> tasks;
  for (const std::string& name : names) tasks.push_back(trained_task(arguments, numbers, name, several, config));
  refuse_without_use(arguments, tasks);
  check_several(arguments, tasks);
  const SamplerSpec sampler = sampler_of(arguments, tasks);
  require(!arguments.equal_tokens || settings.max_steps <= 0,
          "--equal-tokens makes a pass over the training set as long as --language's, so the training must be given in "
          "passes: --num-train-epochs, not --max-steps");
  const Tokenizer tokenizer = matching_tokenizer(arguments.model, config, arguments.tokenizer);

  const fs::path output = arguments.output;
  if (ranks.leads()) {
    require_unlocked(output);
    require(!arguments.resume || fs::exists(output / "config.toml"), "--resume: there is no run in ", output.string());
    require(arguments.resume || arguments.redo || !fs::exists(output / "config.toml") || fs::exists(output / "done.json"),
            output.string(), " holds an unfinished run; give --resume to continue it, or another --output");
  }
  const RunOptions options = run_options(common, execution_of_task(output, common, ranks));
  if (ranks.leads()) {
    for (const std::string& line : taken_lines(numbers)) options.message(line);
  }
  HashCache hashes;
  ExampleCache cache(options.cache, hashes, options.message);
  PhaseData data(arguments.data, tokenizer, &cache);
  TrainingPhase phase;
  phase.directory = output;
  phase.start.directory = arguments.model;
  phase.settings = settings;
  phase.tasks = data.tasks(tasks, arguments.language, settings.eval_examples);
  if (several) set_sampler(phase.tasks, sampler);
  phase.labels = tasks.front().task->labels();
  if (!ranks.leads()) return follow_task(phase, tokenizer, options);
  FileHashes files = data_files(tasks, {}, arguments.data, arguments.language, hashes);
  files.merge(model_files(arguments.model, hashes));
  PhaseFolder folder(output, config_of(arguments, tasks, tokenizer, options.execution, numbers, sampler), files,
                     arguments.redo);
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
  write_results(output / "results.json", validation_rows(arguments, phase, folder.result()));
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

}  // namespace

void add_train_command(CommandLine& line) {
  auto train = std::make_shared<TrainArguments>();
  train->setting_values.resize(setting_keys().size());
  auto self = std::make_shared<CLI::App*>();
  CLI::App* app = line.add("train", "Train a task, or several together, from a model directory", [&line, train, self] {
    for (const CLI::Option* option : (*self)->get_options()) {
      if (option->count() > 0) train->given.insert(option->get_name());
    }
    return with_ranks(line.common, [&](RankSession& ranks) {
      apply(line.common);
      return train_task(*train, line.common, ranks);
    });
  });
  *self = app;
  app->footer([train] { return recipe_text(*train); });
  app->add_option("--task", train->task,
                  "task to train (mnli, squad, udpos, mlm ...); several between commas, each step one of them")
      ->required();
  line.take_task_files(*app);
  line.take_ranks(*app);
  line.take_cache(*app);
  app->add_option("--model", train->model, "transformers directory to start from")->required();
  app->add_option("--tokenizer", train->tokenizer, "SentencePiece model, where it is not in the model directory");
  app->add_option("--data", train->data, "folder of the data sets")->required();
  app->add_option("--output", train->output, "folder of the run")->required();
  app->add_option("--recipe", train->recipe,
                  "published settings that options go before: one of the program's (stilts-2020, xtreme-2020, "
                  "xtreme-r-2021), or a .toml file");
  app->add_option("--language", train->language, "language of train and dev")->capture_default_str();
  app->add_option("--languages", train->languages,
                  "comma-separated: languages of the training files, translations among them; default: --language");
  app->add_flag("--equal-tokens", train->equal_tokens,
                "of training files in several languages as many tokens as --language's have");
  app->add_option("--sampler", train->sampler.kind, "several tasks: how the task of a step is drawn")
      ->check(CLI::IsMember(sampler_names()))
      ->capture_default_str();
  app->add_option("--temperature", train->sampler.temperature, "of the sampler: probability ~ examples^(1 / temperature)")
      ->check(between(0.01, 1e6));
  app->add_option("--train-examples-cap", train->sampler.train_examples_cap, "examples counted at most for a task; 0: all")
      ->check(at_least(0));
  app->add_option("--weights", train->sampler.weights, "comma-separated: the tasks' weights themselves")
      ->delimiter(',')
      ->check(between(1e-9, 1e9));
  app->add_option("--weight-functions", train->sampler.weight_functions,
                  "of the sampler time_dependent: a formula in t, the steps before, for each task");
  app->add_option("--heads", train->heads, "comma-separated task=head: tasks that name one head share it")->delimiter(',');
  app->add_option("--batch-sizes", train->batch_sizes,
                  "comma-separated task=examples: of tasks whose batches are not of --per-device-train-batch-size examples")
      ->delimiter(',');
  app->add_option("--mlm-languages", train->mlm_languages, "of mlm among several tasks; default: all that are there");
  app->add_flag("--mlm-packed", train->features.pack_lines, "fill sequences with lines of text, instead of a line each");
  app->add_option("--max-seq-length", train->features.max_seq_length, "tokens; 0: the recipe's")->check(at_least(0));
  app->add_option("--max-target-length", train->features.max_target_length,
                  "tokens of an answer as text; longer ones are cut; 0: its form's")
      ->check(at_least(0));
  app->add_option("--doc-stride", train->features.doc_stride, "advance of question answering's windows")->check(at_least(1));
  app->add_option("--max-query-length", train->features.max_query_length, "tokens of a question")->check(at_least(1));
  app->add_option("--max-train-examples", train->features.max_examples, "first examples only; 0: all")->check(at_least(0));
  app->add_option("--mlm-probability", train->mlm_probability, "share of masked tokens (mlm)")->check(between(0.0001, 1.0));
  app->add_flag("--resume", train->resume, "continue an interrupted run");
  app->add_flag("--redo", train->redo, "begin again where settings changed");
  for (std::size_t i = 0; i < setting_keys().size(); ++i) {
    app->add_option(option_name(setting_keys()[i].name), train->setting_values[i], setting_keys()[i].help)
        ->type_name(type_text(setting_keys()[i]))
        ->group("Training settings");
  }
}

}  // namespace koine
