#include "tasks/experiment/experiment.h"

#include <algorithm>
#include <set>
#include <sstream>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/experiment/recipe_file.h"
#include "tasks/experiment/recipes.h"
#include "tasks/experiment/task_file.h"
#include "tasks/experiment/toml_section.h"
#include "tasks/experiment/toml_settings.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kMany = 1'000'000'000;
const std::vector<std::string> kPoolings = {"mean", "mean_without_special", "cls", "position_weighted"};

/// A path as written, made absolute: below the experiment's folder where it is there, else below the data folder.
fs::path resolve(const fs::path& written, const fs::path& base, const fs::path& data) {
  if (written.empty() || written.is_absolute()) return written;
  std::error_code ignored;
  if (fs::exists(base / written, ignored) || data.empty()) return base / written;
  return data / written;
}

void read_training(TomlSection& section, TrainingNumbers numbers) {
  FeatureOptions& features = numbers.features;
  features.max_examples = section.integer("max_train_examples", features.max_examples, 0, kMany);
  if (section.has("max_train_examples")) numbers.origins["max_train_examples"] = section.place("max_train_examples");
  read_numbers(section, numbers);
}

struct SizeKey {
  const char* name;
  std::int64_t DemoSizes::*member;
};
constexpr SizeKey kSizes[] = {
    {"text_passages", &DemoSizes::text_passages},
    {"text_dev_passages", &DemoSizes::text_dev_passages},
    {"nli_train", &DemoSizes::nli_train},
    {"nli_dev", &DemoSizes::nli_dev},
    {"xnli_dev", &DemoSizes::xnli_dev},
    {"xnli_test", &DemoSizes::xnli_test},
    {"squad_train", &DemoSizes::squad_train},
    {"squad_dev", &DemoSizes::squad_dev},
    {"xquad_test", &DemoSizes::xquad_test},
    {"pos_train", &DemoSizes::pos_train},
    {"pos_dev", &DemoSizes::pos_dev},
    {"pos_test", &DemoSizes::pos_test},
    {"tatoeba", &DemoSizes::tatoeba},
};

GeneratedDataSpec read_generated(TomlSection section) {
  GeneratedDataSpec generated;
  generated.seed = static_cast<std::uint32_t>(section.integer("seed", generated.seed, 0, 4294967295LL));
  for (const SizeKey& key : kSizes) {
    generated.sizes.*key.member = section.integer(key.name, generated.sizes.*key.member, 3, 10'000'000);
  }
  generated.sizes.low_resource_share = section.number("low_resource_share", generated.sizes.low_resource_share, 0.0001, 1);
  section.finish();
  return generated;
}

/// What a fresh model may be of; the first: an encoder.
const std::vector<std::string> kFamilies = {"xlm-roberta", "mt5"};

bool has_decoder(const ModelConfig& config) { return config.encoder_decoder.decoder_layers > 0; }

/// mT5's numbers where nothing else is said.
void read_decoder(TomlSection& section, ModelConfig& config) {
  config = published_model_config("mt5-small");
  config.encoder_decoder.head_size = section.integer("head_size", config.encoder_decoder.head_size, 1, 1024);
}

ModelSpec read_model(TomlSection section, const fs::path& base, const fs::path& data) {
  ModelSpec model;
  model.directory = resolve(section.text("directory", ""), base, data);
  model.name = section.text("name", model.directory.empty() ? "fresh" : model.directory.filename().string());
  section.require_folder_name("name", model.name);
  ModelConfig& config = model.config;
  const std::string family = section.choice("family", kFamilies.front(), kFamilies);
  const bool decodes = family != kFamilies.front();
  require(model.directory.empty() || !decodes, section.where("family"),
          " is given together with a directory, whose config.json decides it; remove one of them");
  if (decodes) read_decoder(section, config);
  for (const char* key :
       {"hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings"}) {
    require(model.directory.empty() || !section.has(key), section.where(key),
            " is given together with a directory, whose config.json decides it; remove one of them");
    require(!model.directory.empty() || section.has(key) || std::string(key) == "max_position_embeddings",
            section.where(key), " is missing: a fresh model needs it (or give directory)");
  }
  config.hidden_size = section.integer("hidden_size", config.hidden_size, 1, 65536);
  config.num_hidden_layers = section.integer("num_hidden_layers", config.num_hidden_layers, 1, 1024);
  config.num_attention_heads = section.integer("num_attention_heads", config.num_attention_heads, 1, 1024);
  config.intermediate_size = section.integer("intermediate_size", config.intermediate_size, 1, 1 << 20);
  for (const char* key : {"max_position_embeddings", "attention_probs_dropout_prob"})
    require(!decodes || !section.has(key), section.where(key), ": mT5 has no such number; remove it");
  config.max_position_embeddings = section.integer("max_position_embeddings", config.max_position_embeddings, 5, 1 << 20);
  config.hidden_dropout_prob = section.number("hidden_dropout_prob", config.hidden_dropout_prob, 0, 0.99);
  config.attention_probs_dropout_prob =
      section.number("attention_probs_dropout_prob", config.attention_probs_dropout_prob, 0, 0.99);
  config.initializer_range = section.number("initializer_range", config.initializer_range, 0, 10);
  const std::string norm = section.choice("norm", decodes ? "pre" : "post", {"post", "pre"});
  require(!decodes || norm == "pre", section.where("norm"), " is \"post\", but mT5 has it before each part of a block");
  config.norm = norm == "post" ? NormPlacement::kPost : NormPlacement::kPre;
  if (decodes) {
    config.encoder_decoder.decoder_layers = section.integer("num_decoder_layers", config.num_hidden_layers, 1, 1024);
    config.attention_probs_dropout_prob = config.hidden_dropout_prob;
  }
  require(decodes || config.hidden_size % config.num_attention_heads == 0, section.where("hidden_size"), " (",
          config.hidden_size, ") must be a multiple of num_attention_heads (", config.num_attention_heads, ")");
  section.finish();
  return model;
}

TokenizerSpec read_tokenizer(TomlSection section, bool fresh, const fs::path& base, const fs::path& data) {
  TokenizerSpec tokenizer;
  tokenizer.path = resolve(section.text("path", ""), base, data);
  tokenizer.inputs = section.texts("inputs", {});
  tokenizer.pieces = static_cast<std::int32_t>(section.integer("pieces", tokenizer.pieces, 10, 1'000'000));
  tokenizer.character_coverage = section.number("character_coverage", tokenizer.character_coverage, 0.5, 1);
  require(tokenizer.path.empty() || tokenizer.inputs.empty(), section.where("inputs"),
          " is given together with path; a tokenizer is either given or trained");
  require(fresh || (tokenizer.path.empty() && tokenizer.inputs.empty()), section.where("path"),
          ": a pretrained model directory has its own tokenizer; remove [tokenizer]");
  section.finish();
  return tokenizer;
}

PretrainingSpec read_pretraining(TomlSection section, const Experiment& experiment) {
  PretrainingSpec pretraining;
  pretraining.settings = pretraining_recipe();
  pretraining.languages = section.one_or_more("languages", {});
  pretraining.files = section.texts("files", {});
  pretraining.mlm_probability = section.number("mlm_probability", pretraining.mlm_probability, 0.0001, 1);
  pretraining.mlm_packed = section.flag("mlm_packed", false);
  pretraining.seed = static_cast<std::uint32_t>(section.integer("seed", experiment.seeds.front(), 0, 4294967295LL));
  pretraining.max_seq_length = section.integer("max_seq_length", 0, 0, 1 << 20);
  read_settings(section, pretraining.settings);
  section.finish();
  return pretraining;
}

std::map<std::string, std::int64_t> read_batch_sizes(TomlSection section, const std::vector<std::string>& tasks) {
  std::map<std::string, std::int64_t> sizes;
  for (const std::string& task : tasks) {
    if (section.has(task)) sizes[task] = section.integer(task, 0, 1, kMany);
  }
  section.finish();
  return sizes;
}

SamplerSpec read_sampler(TomlSection& section, const std::vector<std::string>& tasks) {
  SamplerSpec sampler;
  sampler.kind = section.choice("sampler", sampler.kind, sampler_names());
  sampler.temperature = section.number("temperature", sampler.temperature, 0.01, 1e6);
  sampler.train_examples_cap = section.integer("train_examples_cap", sampler.train_examples_cap, 0, kMany);
  sampler.weights = section.numbers("weights", {}, 1e-9, 1e9);
  sampler.weight_functions = section.texts("weight_functions", {});
  sampler.batch_sizes = read_batch_sizes(section.table("batch_sizes"), tasks);
  check_sampler(sampler, tasks.size(), [&](const std::string& key) { return section.where(key); });
  return sampler;
}

/// UserError where tasks under one head do not have the same classes.
void check_heads(TomlSection& section, const IntermediateSpec& arm) {
  std::map<std::string, const Task*> first;
  for (const std::string& name : arm.tasks) {
    const Task& task = find_task(name);
    const auto named = arm.heads.find(name);
    const std::string& head = named == arm.heads.end() ? name : named->second;
    section.require_folder_name("heads", head);
    const Task& other = *first.try_emplace(head, &task).first->second;
    require(other.head() == task.head() && other.labels() == task.labels(), section.where("heads"), ": ", other.name(),
            " and ", name, " cannot share the head \"", head, "\": they have other labels");
  }
}

void read_task_tables(TomlSection& section, IntermediateSpec& arm) {
  TomlSection heads = section.table("heads");
  TomlSection languages = section.table("task_languages");
  for (const std::string& task : arm.tasks) {
    if (heads.has(task)) arm.heads[task] = heads.text(task, task);
    if (languages.has(task)) arm.task_languages[task] = languages.one_or_more(task, {});
  }
  heads.finish();
  languages.finish();
  check_heads(section, arm);
}

IntermediateSpec read_arm(TomlSection section, const Experiment& experiment, const RecipeFile* recipe) {
  IntermediateSpec arm;
  arm.tasks = section.texts("tasks", {});
  for (const std::string& task : arm.tasks) {
    find_task(task, section.where("tasks"));
    require(std::count(arm.tasks.begin(), arm.tasks.end(), task) == 1, section.where("tasks"), " names \"", task,
            "\" twice");
  }
  std::string joined;
  for (const std::string& task : arm.tasks) joined += (joined.empty() ? "" : "+") + task;
  arm.name = section.text("name", arm.tasks.empty() ? "none" : joined);
  section.require_folder_name("name", arm.name);
  const TrainingNumbers numbers{arm.settings, arm.features, arm.origins};
  arm.settings = intermediate_recipe(arm.tasks);
  arm.origins = intermediate_origins(arm.tasks);
  if (recipe != nullptr) recipe->apply_intermediate(arm.tasks, numbers);
  arm.start_fresh = section.choice("start", "pretrained", {"pretrained", "fresh"}) == "fresh";
  arm.languages = section.one_or_more("languages", {experiment.source_language});
  arm.mlm_languages = section.one_or_more("mlm_languages", {});
  arm.mlm_probability = section.number("mlm_probability", arm.mlm_probability, 0.0001, 1);
  arm.features.pack_lines = section.flag("mlm_packed", false);
  arm.sampler = read_sampler(section, arm.tasks);
  read_task_tables(section, arm);
  arm.equal_tokens = section.flag("equal_tokens", false);
  read_training(section, numbers);
  require(!arm.equal_tokens || arm.settings.max_steps <= 0, section.where("equal_tokens"),
          " makes a pass over the training set as long as the source language's, so the training must be given in passes: "
          "num_train_epochs, not max_steps");
  section.finish();
  return arm;
}

/// layer = 14, [7, 12], "all", or "7,12".
LayerChoice read_layers(TomlSection& section) {
  if (!section.has("layer")) return {};
  if (section.is_text("layer")) return parse_layers(section.text("layer", ""), section.where("layer"));
  if (!section.is_list("layer")) return {false, {section.integer("layer", 0, 0, 1024)}};
  std::string layers;
  for (const std::int64_t layer : section.integers("layer", {}, 0, 1024))
    layers += concatenate(layers.empty() ? "" : ",", layer);
  require(!layers.empty(), section.where("layer"), " is empty; leave it out for the task's own");
  return parse_layers(layers, section.where("layer"));
}

std::string layers_toml(const LayerChoice& choice) {
  return choice.layers.size() == 1 ? std::to_string(choice.layers.front()) : toml_text(text_of(choice));
}

TargetSpec read_target(TomlSection section, const RecipeFile* recipe) {
  TargetSpec target;
  target.task = section.text("task", "");
  require(!target.task.empty(), section.where("task"), " is missing: every [[target]] names a task");
  find_task(target.task, section.where("task"));
  target.name = section.text("name", target.task);
  section.require_folder_name("name", target.name);
  const TrainingNumbers numbers{target.settings, target.features, target.origins};
  target.settings = target_recipe(target.task);
  target.origins = find_task(target.task).row().recipe_origins;
  if (recipe != nullptr) recipe->apply_target(target.task, numbers);
  target.train_task = section.text("train_task", find_task(target.task).train_task());
  if (!target.train_task.empty()) find_task(target.train_task, section.where("train_task"));
  target.languages = section.one_or_more("languages", {});
  target.split = section.choice("split", target.split, {"test", "dev"});
  target.max_eval_examples = section.integer("max_eval_examples", 0, 0, kMany);
  target.layers = read_layers(section);
  target.pooling = pooling_of(section.choice("pooling", name_of(find_task(target.task).pooling()), kPoolings));
  target.choices = choice_search_of(section.choice("choices", name_of(target.choices), choice_searches()));
  read_training(section, numbers);
  section.finish();
  return target;
}

void require_distinct(const std::vector<std::string>& names, const fs::path& file, const char* what) {
  std::set<std::string> seen;
  for (const std::string& name : names) {
    require(seen.insert(name).second, file.string(), ": two ", what, " are called \"", name, "\"; give each its own name");
  }
}

std::string feature_toml(const FeatureOptions& features) {
  return concatenate("max_seq_length = ", features.max_seq_length, "\ndoc_stride = ", features.doc_stride,
                     "\nmax_query_length = ", features.max_query_length, "\nmax_train_examples = ", features.max_examples,
                     "\n") +
         (features.max_target_length > 0 ? concatenate("max_target_length = ", features.max_target_length, "\n") : "");
}

std::string model_toml(const ModelSpec& model) {
  std::string text = "\n[model]\nname = " + toml_text(model.name) + "\n";
  if (!model.directory.empty()) return text + "directory = " + toml_text(model.directory.string()) + "\n";
  const ModelConfig& config = model.config;
  const EncoderDecoderConfig& more = config.encoder_decoder;
  const std::string own =
      has_decoder(config)
          ? concatenate("\nfamily = \"mt5\"\nhead_size = ", more.head_size, "\nnum_decoder_layers = ", more.decoder_layers)
          : concatenate("\nmax_position_embeddings = ", config.max_position_embeddings,
                        "\nattention_probs_dropout_prob = ", toml_number(config.attention_probs_dropout_prob));
  return text + concatenate("hidden_size = ", config.hidden_size, "\nnum_hidden_layers = ", config.num_hidden_layers,
                            "\nnum_attention_heads = ", config.num_attention_heads,
                            "\nintermediate_size = ", config.intermediate_size, own,
                            "\nhidden_dropout_prob = ", toml_number(config.hidden_dropout_prob),
                            "\ninitializer_range = ", toml_number(config.initializer_range),
                            "\nnorm = ", config.norm == NormPlacement::kPost ? "\"post\"" : "\"pre\"", "\n");
}

std::string tokenizer_toml(const TokenizerSpec& tokenizer) {
  if (!tokenizer.path.empty()) return "\n[tokenizer]\npath = " + toml_text(tokenizer.path.string()) + "\n";
  return concatenate("\n[tokenizer]\ninputs = ", toml_list(tokenizer.inputs), "\npieces = ", tokenizer.pieces,
                     "\ncharacter_coverage = ", toml_number(tokenizer.character_coverage), "\n");
}

std::string arm_toml(const IntermediateSpec& arm) {
  const auto list = [](const auto& values, const auto& spell) {
    std::string entries;
    for (const auto& value : values) entries += (entries.empty() ? "" : ", ") + spell(value);
    return entries;
  };
  std::string text = concatenate("\n[[intermediate]]\nname = ", toml_text(arm.name), "\ntasks = ", toml_list(arm.tasks),
                                 "\nstart = ", arm.start_fresh ? "\"fresh\"" : "\"pretrained\"", "\n");
  if (arm.tasks.empty()) return text;
  text += concatenate("languages = ", toml_list(arm.languages), "\nmlm_languages = ", toml_list(arm.mlm_languages),
                      "\nmlm_probability = ", toml_number(arm.mlm_probability),
                      "\nmlm_packed = ", arm.features.pack_lines ? "true" : "false",
                      "\nsampler = ", toml_text(arm.sampler.kind), "\ntemperature = ", toml_number(arm.sampler.temperature),
                      "\ntrain_examples_cap = ", arm.sampler.train_examples_cap, "\n");
  if (!arm.sampler.weights.empty()) text += "weights = [" + list(arm.sampler.weights, toml_number) + "]\n";
  if (!arm.sampler.weight_functions.empty()) text += "weight_functions = " + toml_list(arm.sampler.weight_functions) + "\n";
  text += "heads = {" +
          list(arm.heads,
               [](const auto& entry) { return concatenate(toml_text(entry.first), " = ", toml_text(entry.second)); }) +
          "}\n";
  text += "task_languages = {" +
          list(arm.task_languages,
               [](const auto& entry) { return concatenate(toml_text(entry.first), " = ", toml_list(entry.second)); }) +
          "}\n";
  if (!arm.sampler.batch_sizes.empty()) {
    const auto entry = [](const auto& batch) { return concatenate(toml_text(batch.first), " = ", batch.second); };
    text += "batch_sizes = {" + list(arm.sampler.batch_sizes, entry) + "}\n";
  }
  text += concatenate("equal_tokens = ", arm.equal_tokens ? "true" : "false", "\n");
  return text + feature_toml(arm.features) + settings_toml(arm.settings);
}

std::string target_toml(const TargetSpec& target) {
  std::string text =
      concatenate("\n[[target]]\n", target.name == target.task ? "" : "name = " + toml_text(target.name) + "\n",
                  "task = ", toml_text(target.task), "\ntrain_task = ", toml_text(target.train_task),
                  "\nlanguages = ", toml_list(target.languages), "\nsplit = ", toml_text(target.split),
                  "\nmax_eval_examples = ", target.max_eval_examples, "\n");
  if (target.layers != LayerChoice{}) text += "layer = " + layers_toml(target.layers) + "\n";
  if (target.choices != ChoiceSearch::kGenerate) text += "choices = " + toml_text(name_of(target.choices)) + "\n";
  return text + concatenate("pooling = \"", name_of(target.pooling), "\"\n") + feature_toml(target.features) +
         settings_toml(target.settings);
}

/// The [[task]] of every task an experiment names that a task file describes.
std::string tasks_toml(const Experiment& experiment) {
  std::vector<std::string> definitions;
  const auto add = [&](const std::string& name) {
    if (name.empty()) return;
    const std::string& definition = find_task(name).row().definition;
    if (std::find(definitions.begin(), definitions.end(), definition) == definitions.end())
      definitions.push_back(definition);
  };
  for (const IntermediateSpec& arm : experiment.intermediate) std::for_each(arm.tasks.begin(), arm.tasks.end(), add);
  for (const TargetSpec& target : experiment.targets) {
    add(target.train_task);
    add(target.task);
    add(find_task(target.task).row().train_task);  // which the definition names, whatever the target is trained on
  }
  std::string text;
  for (const std::string& definition : definitions) text += definition.empty() ? "" : "\n" + definition;
  return text;
}

}  // namespace

std::vector<NumberOrigin> number_origins(const Experiment& experiment) {
  std::vector<NumberOrigin> numbers;
  const auto add = [&](const std::string& training, const FeatureOptions& features, const TrainingSettings& settings,
                       const Origins& origins) {
    std::istringstream lines(feature_toml(features) + settings_toml(settings));
    for (std::string line; std::getline(lines, line);) {
      const std::size_t equals = line.find(" = ");
      const std::string key = line.substr(0, equals);
      std::string value = line.substr(equals + 3);
      if (key == "max_seq_length" && features.max_seq_length == 0) value = "the task's";
      const auto origin = origins.find(key);
      numbers.push_back({training, key, value, origin == origins.end() ? "default" : origin->second});
    }
  };
  for (const IntermediateSpec& arm : experiment.intermediate) {
    if (!arm.tasks.empty()) add("intermediate " + arm.name, arm.features, arm.settings, arm.origins);
  }
  for (const TargetSpec& target : experiment.targets) {
    if (!target.train_task.empty()) add("target " + target.name, target.features, target.settings, target.origins);
  }
  return numbers;
}

std::string generated_data_toml(const GeneratedDataSpec& generated) {
  std::string text = concatenate("seed = ", generated.seed, "\n");
  for (const SizeKey& key : kSizes) text += concatenate(key.name, " = ", generated.sizes.*key.member, "\n");
  return text + "low_resource_share = " + toml_number(generated.sizes.low_resource_share) + "\n";
}

const char* name_of(Pooling pooling) { return kPoolings[static_cast<std::size_t>(pooling)].c_str(); }

const std::vector<std::string>& choice_searches() {
  static const std::vector<std::string> kNames = {"generate", "constrained", "likelihood"};
  return kNames;
}

const std::string& name_of(ChoiceSearch choices) { return choice_searches()[static_cast<std::size_t>(choices)]; }

ChoiceSearch choice_search_of(const std::string& name) {
  const auto found = std::find(choice_searches().begin(), choice_searches().end(), name);
  check(found != choice_searches().end(), "unknown way to choose an answer \"", name, "\"");
  return static_cast<ChoiceSearch>(found - choice_searches().begin());
}

Pooling pooling_of(const std::string& name) {
  const auto found = std::find(kPoolings.begin(), kPoolings.end(), name);
  require(found != kPoolings.end(), "unknown pooling \"", name,
          "\"; known are mean, mean_without_special, cls and position_weighted");
  return static_cast<Pooling>(found - kPoolings.begin());
}

Experiment parse_experiment(const std::string& text, const fs::path& file, const fs::path& data) {
  TomlSection root = TomlSection::parse(text, file.string());
  const fs::path base = fs::absolute(file).parent_path();
  Experiment experiment;
  experiment.file = file;
  experiment.name = root.text("name", file.stem().string());
  experiment.seeds.clear();
  for (const std::int64_t seed : root.integers("seeds", {1}, 0, 4294967295LL))
    experiment.seeds.push_back(static_cast<std::uint32_t>(seed));
  require(!experiment.seeds.empty(), root.where("seeds"), " is empty; give at least one");
  experiment.precision = root.choice("precision", "auto", {"auto", "fp32", "bf16"});
  experiment.recipe = root.text("recipe", "");
  std::optional<RecipeFile> recipe;
  if (!experiment.recipe.empty()) {
    if (names_recipe_file(experiment.recipe)) experiment.recipe = (base / experiment.recipe).lexically_normal().string();
    recipe = RecipeFile::read(experiment.recipe, base, root.where("recipe"));
  }
  const RecipeFile* numbers = recipe.has_value() ? &*recipe : nullptr;
  const fs::path written = root.text("data", "");
  experiment.data = !data.empty() ? fs::absolute(data) : written.empty() ? written : resolve(written, base, {});
  if (root.has("generated_data")) {
    require(experiment.data.empty(), root.where("generated_data"),
            ": data are given (data or --data) and to be generated; remove one");
    experiment.generated = read_generated(root.table("generated_data"));
  }
  if (root.has("study")) {
    TomlSection study = root.table("study");
    experiment.study = {study.text("question", ""), study.texts("model_sizes", {})};
    TranslationCost& translation = experiment.study->translation;
    translation.flops_per_token = study.number("translation_flops_per_token", 0, 0, 1e15);
    translation.efficiency = study.number("translation_efficiency", translation.efficiency, 1e-6, 1e6);
    translation.price_per_million_tokens = study.number("translation_price_per_million_tokens", 0, 0, 1e9);
    study.finish();
  }
  experiment.source_language = root.text("source_language", "en");
  experiment.save_models = root.flag("save_models", false);
  experiment.model = read_model(root.table("model"), base, experiment.data);
  experiment.tokenizer = read_tokenizer(root.table("tokenizer"), experiment.model.directory.empty(), base, experiment.data);
  for (const std::string& task_file : root.texts("task_files", {})) add_task_file(resolve(task_file, base, experiment.data));
  add_tasks(root);
  if (root.has("pretraining")) experiment.pretraining = read_pretraining(root.table("pretraining"), experiment);
  for (TomlSection& section : root.tables("intermediate"))
    experiment.intermediate.push_back(read_arm(section, experiment, numbers));
  for (TomlSection& section : root.tables("target")) experiment.targets.push_back(read_target(section, numbers));
  root.finish();

  if (experiment.intermediate.empty()) {
    experiment.intermediate.emplace_back();
    experiment.intermediate.back().name = "none";
  }
  require(!experiment.targets.empty(), file.string(), ": no [[target]]; an experiment evaluates at least one task");
  std::vector<std::string> names;
  for (const IntermediateSpec& arm : experiment.intermediate) names.push_back(arm.name);
  require_distinct(names, file, "[[intermediate]] arms");
  names.clear();
  for (const TargetSpec& target : experiment.targets) names.push_back(target.name);
  require_distinct(names, file, "[[target]] entries");
  names.clear();
  for (const std::uint32_t seed : experiment.seeds) names.push_back(std::to_string(seed));
  require_distinct(names, file, "seeds");
  return experiment;
}

Experiment read_experiment(const fs::path& file, const fs::path& data) {
  return parse_experiment(read_file(file), file, data);
}

std::string experiment_toml(const Experiment& experiment) {
  std::string seeds;
  for (const std::uint32_t seed : experiment.seeds) seeds += (seeds.empty() ? "" : ", ") + std::to_string(seed);
  std::string text =
      concatenate("name = ", toml_text(experiment.name), "\nseeds = [", seeds,
                  "]\nprecision = ", toml_text(experiment.precision), "\nrecipe = ", toml_text(experiment.recipe),
                  "\ndata = ", toml_text(experiment.generated.has_value() ? "" : experiment.data.string()),
                  "\nsource_language = ", toml_text(experiment.source_language),
                  "\nsave_models = ", experiment.save_models ? "true" : "false", "\n");
  if (experiment.generated.has_value()) text += "\n[generated_data]\n" + generated_data_toml(*experiment.generated);
  if (experiment.study.has_value())
    text += concatenate("\n[study]\nquestion = ", toml_text(experiment.study->question),
                        "\nmodel_sizes = ", toml_list(experiment.study->model_sizes), "\n",
                        "translation_flops_per_token = ", toml_number(experiment.study->translation.flops_per_token),
                        "\ntranslation_efficiency = ", toml_number(experiment.study->translation.efficiency),
                        "\ntranslation_price_per_million_tokens = ",
                        toml_number(experiment.study->translation.price_per_million_tokens), "\n");
  text += model_toml(experiment.model);
  if (experiment.model.directory.empty()) text += tokenizer_toml(experiment.tokenizer);
  if (experiment.pretraining.has_value()) {
    const PretrainingSpec& pretraining = *experiment.pretraining;
    text += concatenate("\n[pretraining]\nlanguages = ", toml_list(pretraining.languages),
                        "\nfiles = ", toml_list(pretraining.files),
                        "\nmlm_probability = ", toml_number(pretraining.mlm_probability),
                        "\nmlm_packed = ", pretraining.mlm_packed ? "true" : "false", "\nseed = ", pretraining.seed,
                        "\nmax_seq_length = ", pretraining.max_seq_length, "\n", settings_toml(pretraining.settings));
  }
  for (const IntermediateSpec& arm : experiment.intermediate) text += arm_toml(arm);
  for (const TargetSpec& target : experiment.targets) text += target_toml(target);
  return text + tasks_toml(experiment);
}

}  // namespace koine
