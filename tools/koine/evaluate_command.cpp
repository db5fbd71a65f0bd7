// koine evaluate

#include <iostream>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/files/atomic_file.h"
#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/experiment/evaluate.h"
#include "tasks/experiment/outcome.h"
#include "tasks/experiment/phase.h"
#include "tasks/experiment/phase_files.h"
#include "tasks/experiment/plan.h"
#include "tasks/experiment/toml_section.h"
#include "tasks/experiment/toml_settings.h"
#include "tools/koine/commands.h"

namespace koine {

namespace fs = std::filesystem;

std::unique_ptr<Model> load_task_model(const fs::path& directory, const ModelConfig& config, const Task& task,
                                       const std::vector<std::string>& labels, const Execution& execution,
                                       bool hidden_states) {
  ModelOptions options;
  options.execution = execution;
  const bool dual_encoder = task.head() == HeadKind::kDualEncoder;
  const bool texts = task.is_text_form();
  if (!task.train_task().empty() && !(dual_encoder && hidden_states))
    options.heads = {{"", task.head(), task.classes(config.vocab_size)}};
  require(labels.empty() || (!options.heads.empty() && !task.labels().empty()), "--labels: task ", task.name(),
          " has no labels");
  require(labels.empty() || !texts, "--labels: this model answers with texts, and has no classes");
  LoadReport report;
  std::unique_ptr<Model> model = load_told(directory, options, &report);
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
  if (!texts) order_classes(*model, config, task.labels(), labels, (directory / "config.json").string());
  return model;
}

namespace {

struct EvaluateArguments {
  std::string task;
  std::string labels;
  std::string model;
  std::string tokenizer;
  std::string data;
  std::string output;
  std::string name;  ///< of the model in the results; empty: its directory's
  bool redo = false;
  std::string languages;
  std::string split;  ///< empty: test, or dev where there are no test files
  std::string pooling;
  std::string layer;
  std::string choices = name_of(ChoiceSearch::kGenerate);
  FeatureOptions features;
  std::int64_t max_tokens_per_batch = 4096;
};

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
    const auto count = [&](const char* key, const char* what) {
      const auto answers = evaluation.value(key, std::int64_t{0});
      if (answers > 0)
        notes += concatenate(language, ": ", answers, " of ", evaluation.at("examples").get<std::int64_t>(), " answers ",
                             what, "\n");
    };
    count("unreadable", "unreadable: they count as wrong");
    count("other_script", "in another script than their text");
    if (evaluation.contains("collapsed"))
      notes += concatenate(language, ": ", describe(evaluation.at("collapsed").get<Collapse>()), "\n");
  }
  print(language_table(task, figures) + notes);
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

/// The split that --split names, or else the test set, or where no file of that is there the dev set.
std::string split_of(const EvaluateArguments& arguments, const Task& task) {
  if (!arguments.split.empty()) return arguments.split;
  const bool no_test = task.available_languages(arguments.data, "test").empty();
  return no_test && !task.available_languages(arguments.data, "dev").empty() ? "dev" : "test";
}

/// What the command line asks for.
PlannedEvaluation plan_of(const EvaluateArguments& arguments, const Task& task, const ModelConfig& config, bool quiet) {
  PlannedEvaluation plan;
  plan.task = &task;
  plan.split = split_of(arguments, task);
  if (arguments.split.empty() && plan.split != "test" && !quiet)
    std::cerr << "koine: there are no test files of " << task.name() << ": its dev set is evaluated" << std::endl;
  resolve_languages(plan, split_commas(arguments.languages), arguments.data, "--languages");
  plan.features = arguments.features;
  plan.features.max_seq_length =
      resolve_length(plan.features.max_seq_length, task, config.maximum_length(), "--max-seq-length");
  plan.options.layers =
      resolve_layers(parse_layers(arguments.layer, "--layer"), config.num_hidden_layers, "--layer " + arguments.layer);
  plan.options.pooling = arguments.pooling.empty() ? task.pooling() : pooling_of(arguments.pooling);
  plan.options.choices = choice_search_of(arguments.choices);
  plan.options.max_tokens_per_batch = arguments.max_tokens_per_batch;
  return plan;
}

/// config.toml of an evaluation.
std::string config_of(const EvaluateArguments& arguments, const PlannedEvaluation& plan, const Tokenizer& tokenizer,
                      const Execution& execution) {
  std::string text = concatenate(
      "evaluation = ", toml_text(plan.task->name()), "\nmodel = ", toml_text(fs::absolute(arguments.model).string()),
      "\ntokenizer = \"", tokenizer.fingerprint(), "\"\nprecision = \"", name_of(execution.precision),
      "\"\nsplit = ", toml_text(plan.split), "\nlanguages = ", toml_list(plan.languages),
      "\nmax_seq_length = ", plan.features.max_seq_length, "\ndoc_stride = ", plan.features.doc_stride,
      "\nmax_query_length = ", plan.features.max_query_length, "\nmax_eval_examples = ", plan.features.max_examples,
      "\nlayer = ", toml_text(arguments.layer), "\npooling = \"", name_of(plan.options.pooling), "\"\n");
  if (plan.task->is_text_form())
    text += concatenate("text_form = true\nmax_target_length = ", plan.features.max_target_length,
                        "\nchoices = ", toml_text(arguments.choices), "\n");
  if (!arguments.labels.empty()) text += "labels = " + toml_list(split_commas(arguments.labels)) + "\n";
  if (!plan.task->row().definition.empty()) text += "definition = " + toml_text(plan.task->row().definition) + "\n";
  return text;
}

/// The folder of the training whose model this is, RUN/model; nothing where it is no such model.
std::optional<fs::path> training_of(const fs::path& model) {
  const fs::path directory = fs::absolute(model / "").lexically_normal().parent_path();
  const bool trained = directory.filename() == "model" && fs::exists(directory.parent_path() / "config.toml");
  return trained ? std::optional(directory.parent_path()) : std::nullopt;
}

/// What all rows of an evaluation have: the model is called as its directory, or as the training that made it (ARM of
/// ARM/seed-1/model), whose seed is then the rows'.
ResultRow common_row(const EvaluateArguments& arguments, const PlannedEvaluation& plan, const CommonOptions& common) {
  const std::optional<fs::path> training = training_of(arguments.model);
  ResultRow row;
  fs::path named = training.value_or(fs::absolute(fs::path(arguments.model) / "").lexically_normal().parent_path());
  if (training.has_value() && named.filename().string().starts_with("seed-")) named = named.parent_path();
  row.model = named.filename().string();
  if (!arguments.name.empty()) row.model = arguments.name;
  row.intermediate = "none";
  row.target = plan.task->name();
  if (plan.split != "test") row.split = plan.split;
  row.seed = 1;
  if (training.has_value()) {
    const fs::path file = *training / "config.toml";
    row.seed =
        static_cast<std::uint32_t>(TomlSection::parse(read_file(file), file.string()).integer("seed", 1, 0, 4294967295LL));
  }
  row.seed = common.seed.value_or(row.seed);
  return row;
}

/// Whether nothing would be lost with a folder: it holds at most the config.toml of a run that did not come further.
bool holds_nothing(const fs::path& folder) {
  std::error_code none;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, none)) {
    const std::string name = entry.path().filename().string();
    if (name != "config.toml" && name != kLockFile && !is_temporary_name(name)) return false;
  }
  return true;
}

void print_layer(const nlohmann::json& evaluations, const std::string& language, std::int64_t model_layers) {
  const nlohmann::json& evaluation = evaluations.at(language);
  if (evaluation.contains("layer"))
    print(concatenate("layer: ", evaluation.at("layer").get<std::int64_t>(), " of ", model_layers, "\n"));
}

int evaluate_task(const EvaluateArguments& arguments, const CommonOptions& common) {
  const Task& named = task_named(arguments.task, "--task");
  const ModelConfig config = read_model_config(arguments.model);
  const Task& task = task_for(config, named);
  refuse_options_without_use(task, arguments.layer, arguments.pooling, arguments.choices, arguments.features);
  const Tokenizer tokenizer = matching_tokenizer(arguments.model, config, arguments.tokenizer);
  const PlannedEvaluation plan = plan_of(arguments, task, config, common.quiet);
  const fs::path output = arguments.output;
  require_unlocked(output);
  for (const char* part : {"model", "checkpoints"}) {
    require(!fs::exists(output / part), output.string(), " holds a training (", part,
            "), not an evaluation; choose another --output");
  }
  const RunOptions options = run_options(common, resolve_execution(common, "auto", output / "config.toml"));
  if (const std::string note = unlabelled_line(plan); !note.empty()) options.message(note);
  HashCache hashes;
  FileHashes files = data_files({}, plan, arguments.data, "", hashes);
  files.merge(model_files(arguments.model, hashes));
  const std::string settings = config_of(arguments, plan, tokenizer, options.execution);
  const bool redo = arguments.redo || holds_nothing(output);
  if (!redo) require_same_phase(output, settings, files);
  // The model is read before there is a folder, so that one that does not fit leaves none.
  const bool needed = redo || !fs::exists(output / "done.json");
  // A model without a dual encoder still has hidden states to compare.
  const bool hidden_states = !(arguments.layer.empty() && arguments.pooling.empty());
  const std::unique_ptr<Model> model =
      needed
          ? load_task_model(arguments.model, config, task, split_commas(arguments.labels), options.execution, hidden_states)
          : nullptr;
  PhaseFolder folder(output, settings, files, redo);
  if (!folder.done()) {
    install_signal_handlers();
    nlohmann::json end_mark = {{"program", options.program},
                               {"training", nlohmann::json::object()},
                               {"languages", nlohmann::json::object()},
                               {"order", plan.languages}};
    if (!evaluate_languages(*model, plan, arguments.data, tokenizer, output, options, end_mark["languages"])) {
      std::cerr << "koine: interrupted; `" << common.command << "` continues with the next language" << std::endl;
      return kExitInterrupted;
    }
    folder.finish(std::move(end_mark));
  }
  std::vector<ResultRow> rows;
  add_rows(rows, common_row(arguments, plan, common), folder.result());
  write_results(output / "results.json", rows);
  const nlohmann::json& evaluations = folder.result().at("languages");
  print_evaluations(task, plan.languages, evaluations);
  print_layer(evaluations, plan.languages.front(), config.num_hidden_layers);
  print_layers(plan.languages, evaluations);
  return 0;
}

}  // namespace

void add_evaluate_command(CommandLine& line) {
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
  evaluate_app->add_option("--output", evaluate->output, "folder of the run: predictions, figures, results.json")
      ->required();
  evaluate_app->add_option("--name", evaluate->name,
                           "what the results call the model; default: its directory, of RUN/model the RUN");
  evaluate_app->add_flag("--redo", evaluate->redo, "begin again where settings or files changed");
  evaluate_app->add_option("--languages", evaluate->languages,
                           "comma-separated codes, families, branches or scripts (uralic); default: all that are there");
  evaluate_app->add_option("--split", evaluate->split, "test or dev; default: test, dev where there are no test files")
      ->check(CLI::IsMember({"test", "dev"}));
  evaluate_app->add_option("--layer", evaluate->layer,
                           "retrieval: hidden states to use, from one pass: 14, or 7,12, or all; default: the task's own");
  evaluate_app->add_option("--pooling", evaluate->pooling,
                           "retrieval: mean, mean_without_special, cls or position_weighted; default: the task's own");
  evaluate_app
      ->add_option("--choices", evaluate->choices,
                   "of a model that answers with texts, labels and choices: generate (what is none is wrong), "
                   "constrained (nothing else can be written) or likelihood (the likeliest is taken)")
      ->check(CLI::IsMember(choice_searches()))
      ->capture_default_str();
  evaluate_app
      ->add_option("--max-target-length", evaluate->features.max_target_length, "tokens of an answer as text; 0: its form's")
      ->check(at_least(0));
  evaluate_app->add_option("--max-seq-length", evaluate->features.max_seq_length, "tokens; 0: the recipe's")
      ->check(at_least(0));
  evaluate_app->add_option("--doc-stride", evaluate->features.doc_stride, "advance of question answering's windows")
      ->check(at_least(1));
  evaluate_app->add_option("--max-query-length", evaluate->features.max_query_length, "tokens of a question")
      ->check(at_least(1));
  evaluate_app->add_option("--max-eval-examples", evaluate->features.max_examples, "first examples only; 0: all")
      ->check(at_least(0));
  evaluate_app->add_option("--max-tokens-per-batch", evaluate->max_tokens_per_batch, "tokens in memory at a time")
      ->check(between(1, 1'000'000'000))
      ->capture_default_str();
}

}  // namespace koine
