// koine report --study, koine data morphology

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "models/models.h"
#include "tasks/experiment/device_kinds.h"
#include "tasks/languages/language_facts.h"
#include "tasks/languages/morphology.h"
#include "tasks/report/study.h"
#include "tools/koine/commands.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

double parameters_of(const ModelConfig& config) {
  return static_cast<double>(model_parameter_table(config, {}).parameters());
}

/// A model that a run left, of its own shape: the pretrained one, or the first behind an intermediate training, or a training's.
std::optional<fs::path> left_model(const fs::path& run) {
  std::vector<fs::path> folders = {run / "pretraining" / "model", run / "model"};
  std::error_code ignored;
  for (const fs::directory_entry& arm : fs::directory_iterator(run / "intermediate", ignored)) {
    for (const fs::directory_entry& seed : fs::directory_iterator(arm.path(), ignored))
      folders.push_back(seed.path() / "model");
  }
  const auto found = std::find_if(folders.begin(), folders.end(),
                                  [](const fs::path& folder) { return fs::exists(folder / "config.json"); });
  return found == folders.end() ? std::nullopt : std::optional<fs::path>(*found);
}

/// Parameters of the model that a run's rows are of: by a model it left, the directory its config.toml names, or the model's name.
std::optional<double> run_parameters(const fs::path& run, const std::string& model) {
  if (const std::optional<fs::path> left = left_model(run)) return parameters_of(read_model_config(*left));
  if (fs::exists(run / "config.toml")) {
    try {
      const fs::path directory = read_experiment(run / "config.toml").model.directory;
      if (!directory.empty() && fs::exists(directory / "config.json")) return parameters_of(read_model_config(directory));
    } catch (const UserError&) {  // a config.toml of `koine train`, or one whose files are gone
    }
  }
  const std::string prefix = "xlm-roberta-";
  for (const char* size : {"base", "large", "xl", "xxl"}) {
    if (model == prefix + size) return parameters_of(published_model_config(size));
  }
  return std::nullopt;
}

/// "small=118000000,large=560000000".
void add_given_parameters(const std::string& list, std::map<std::string, double>& parameters) {
  for (const std::string& entry : split_commas(list)) {
    const std::size_t equals = entry.find('=');
    double value = 0;
    const char* const end = entry.data() + entry.size();
    const bool read = equals != std::string::npos && std::from_chars(entry.data() + equals + 1, end, value).ptr == end;
    require(read && value > 0, "--parameters ", entry, ": say a model and its number of parameters, such as small=118e6");
    parameters[entry.substr(0, equals)] = value;
  }
}

/// The intermediate trainings of a run's costs.json.
void add_costs(const fs::path& run, const std::string& model, double watts, StudyInput& input) {
  if (!fs::exists(run / "costs.json")) return;
  for (const nlohmann::json& cost : read_json(run / "costs.json")) {
    const fs::path phase = cost.at("phase").get<std::string>();  // "intermediate/mnli/seed-1"
    if (*phase.begin() != "intermediate") continue;
    const std::string seed = phase.filename().string();
    TrainingCost one{.model = model, .arm = phase.parent_path().filename().string()};
    const std::size_t dash = seed.find('-');
    if (dash != std::string::npos) std::from_chars(seed.data() + dash + 1, seed.data() + seed.size(), one.seed);
    one.flops = cost.at("flops");
    one.tokens = cost.at("tokens");
    one.seconds = cost.at("seconds");
    const nlohmann::json tasks = cost.value("tasks", nlohmann::json::object());
    for (const auto& [task, record] : tasks.items()) one.translated_tokens += record.value("translated_tokens", 0.0);
    if (watts > 0) one.joules = 3.6e6 * kilowatt_hours({watts, 0}, one.seconds / 3600);
    input.costs.push_back(one);
  }
}

/// What the run's experiment says that translating costs.
void read_translation(const fs::path& run, TranslationCost& translation) {
  if (!fs::exists(run / "config.toml")) return;
  try {
    const Experiment experiment = read_experiment(run / "config.toml");
    if (experiment.study.has_value()) translation = experiment.study->translation;
  } catch (const UserError&) {  // as in run_parameters
  }
}

std::string energy_note(double watts) {
  return concatenate("Energy: ", format_number(100 * kShareOfPowerLimit, 0), " % of ", watts, " W and ", kHostWatts,
                     " W of the host, times ", kPowerUsageEffectiveness, " for cooling; assumed, not measured.");
}

StudyInput study_input(const StudyArguments& arguments) {
  StudyInput input;
  for (const std::string& run : arguments.runs) {
    const fs::path file = fs::is_directory(run) ? fs::path(run) / "results.json" : fs::path(run);
    require(fs::exists(file), "there is no ", file.string(), "; a finished `koine run`, `train` or `evaluate` writes it");
    const std::vector<ResultRow> rows = read_results(file);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      input.rows.push_back(rows[i]);
      input.places.push_back(concatenate(file.string(), ":", i + 1));
    }
    if (rows.empty() || !fs::is_directory(run)) continue;
    const std::string& model = rows.front().model;
    if (const std::optional<double> parameters = run_parameters(run, model)) input.parameters[model] = *parameters;
    add_costs(run, model, arguments.watts, input);
    read_translation(run, input.translation);
    for (KeptOutcomes& kept : read_outcomes(run, rows)) input.outcomes.push_back(std::move(kept));
  }
  add_given_parameters(arguments.parameters, input.parameters);
  if (!arguments.morphology.empty()) input.morphology = read_morphology(arguments.morphology);
  TranslationCost& translation = input.translation;
  translation.flops_per_token = arguments.translation_flops.value_or(translation.flops_per_token);
  translation.efficiency = arguments.translation_efficiency.value_or(translation.efficiency);
  translation.price_per_million_tokens = arguments.translation_price.value_or(translation.price_per_million_tokens);
  input.price = arguments.price;
  if (arguments.watts > 0) input.energy_note = energy_note(arguments.watts);
  return input;
}

struct MorphologyArguments {
  std::string data;
  std::string languages;
  std::string tokenizer;
  std::string split = "test";
  std::string output;
  std::int64_t words = 0;
};

int measure(const MorphologyArguments& arguments) {
  const Task& task = find_task("udpos");
  const std::vector<std::string> languages =
      resolve_languages(task, split_commas(arguments.languages), arguments.data, arguments.split, "--languages");
  std::optional<Tokenizer> tokenizer;
  if (!arguments.tokenizer.empty()) tokenizer.emplace(arguments.tokenizer);
  std::int64_t words = arguments.words;
  std::map<std::string, std::vector<fs::path>> files;
  for (const std::string& language : languages) {
    files[language] = task.data_files(arguments.data, arguments.split, language);
    if (arguments.words > 0) continue;
    const std::int64_t there = measure_morphology(language, files[language], nullptr, 1).words;
    words = words == 0 ? there : std::min(words, there);
  }
  std::vector<Morphology> all;
  std::vector<std::vector<std::string>> rows = {
      {"language", "", "words", "features per word", "types per token", "among", "pieces per word"}};
  for (const std::string& language : languages) {
    all.push_back(measure_morphology(language, files[language], tokenizer ? &*tokenizer : nullptr, words));
    const Morphology& one = all.back();
    const LanguageFacts* facts = language_facts(language);
    rows.push_back({language, facts == nullptr ? "" : std::string(facts->name), format_count(one.words),
                    format_number(one.features_per_word, 3), format_number(one.types_per_token, 3),
                    format_count(one.counted),
                    one.pieces_per_word.has_value() ? format_number(*one.pieces_per_word, 3) : "–"});
  }
  print(format_table(rows));
  if (!arguments.output.empty()) {
    write_morphology(arguments.output, all);
    print("measures: " + arguments.output + "\n");
  }
  return 0;
}

}  // namespace

int report_study(const StudyArguments& arguments, const std::vector<std::string>& outputs) {
  const StudyInput input = study_input(arguments);
  const StudyPage page = make_study(arguments.study, input);
  print(study_text(page));
  for (const std::string& output : outputs) {
    const std::string ending = fs::path(output).extension().string();
    write_file_atomically(output, ending == ".csv"   ? study_csv(page, input)
                                  : ending == ".tex" ? study_latex(page)
                                  : ending == ".md"  ? study_markdown(page)
                                                     : study_html(page));
    print("study: " + output + "\n");
  }
  return 0;
}

void add_morphology_command(CommandLine& line, CLI::App& data) {
  auto arguments = std::make_shared<MorphologyArguments>();
  CLI::App* app = data.add_subcommand("morphology", "Features, types and pieces per word, measured from UD treebanks");
  app->allow_extras();
  app->add_option("directory", arguments->data, "folder of the data sets, with udpos")->required();
  app->add_option("--languages", arguments->languages,
                  "comma-separated codes, families, branches or scripts (uralic); default: all that are there");
  app->add_option("--split", arguments->split, "of the treebanks")->check(CLI::IsMember({"train", "dev", "test"}));
  app->add_option("--tokenizer", arguments->tokenizer,
                  "SentencePiece model, or a directory that holds one: also pieces per word");
  app->add_option("--words", arguments->words,
                  "types are counted among so many first words; default: as many as the language with the fewest has")
      ->check(at_least(1));
  app->add_option("--output", arguments->output, "JSON file, for koine report --morphology");
  line.commands.emplace_back(app, [arguments] { return measure(*arguments); });
}

}  // namespace koine
