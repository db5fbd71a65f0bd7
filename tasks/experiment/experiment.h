#pragma once

// An experiment: the method of Phang et al. (arXiv 2005.13013) as a grid of model x intermediate training x target x seed,
// read from a TOML file.
//
// The keys, with their defaults: docs/experiments.md. Unknown keys, wrong types and values out of range are UserErrors
// naming file, line and key.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/settings/settings.h"
#include "engine/training/model.h"
#include "models/config.h"
#include "tasks/common/layers.h"
#include "tasks/common/task.h"
#include "tasks/demo/demo.h"
#include "tasks/experiment/recipes.h"
#include "tasks/experiment/sampler.h"
#include "tasks/report/translation_cost.h"

namespace koine {

struct GeneratedDataSpec {
  std::uint32_t seed = 1;
  DemoSizes sizes;
};

struct TokenizerSpec {
  std::filesystem::path path;  ///< a given model file; empty: trained from `inputs`
  std::vector<std::string> inputs;
  std::int32_t pieces = 8000;
  double character_coverage = 0.9995;
};

struct ModelSpec {
  std::string name;
  std::filesystem::path directory;  ///< pretrained; empty: fresh from `config` (whose vocab_size is the tokenizer's)
  ModelConfig config;
};

struct PretrainingSpec {
  std::vector<std::string> languages;  ///< empty: all there are
  std::vector<std::string> files;
  double mlm_probability = 0.15;
  bool mlm_packed = false;
  std::uint32_t seed = 1;
  std::int64_t max_seq_length = 0;
  TrainingSettings settings;
};

struct IntermediateSpec {
  std::string name;
  std::vector<std::string> tasks;
  bool start_fresh = false;
  std::vector<std::string> languages;
  std::vector<std::string> mlm_languages;
  double mlm_probability = 0.15;
  SamplerSpec sampler;
  std::map<std::string, std::string> heads;  ///< of tasks whose head is not called as they are; tasks may share one
  std::map<std::string, std::vector<std::string>> task_languages;  ///< of tasks that have others than `languages`
  bool equal_tokens = false;  ///< training sets in other languages than the source have as many tokens as the source's
  FeatureOptions features;
  TrainingSettings settings;
  Origins origins;  ///< of features and settings
};

struct TargetSpec {
  std::string name;  ///< in results, folders and messages; the task's where nothing else is given
  std::string task;
  std::string train_task;
  std::vector<std::string> languages;  ///< empty: all there are
  std::string split = "test";
  std::int64_t max_eval_examples = 0;
  LayerChoice layers;
  Pooling pooling = Pooling::kMean;
  ChoiceSearch choices = ChoiceSearch::kGenerate;  ///< of a model that answers with texts
  FeatureOptions features;                         ///< max_examples: of training
  TrainingSettings settings;
  Origins origins;  ///< of features and settings
};

/// What a study (report/study.h) asks, and the published sizes of models it is to be run with, one run for each.
struct StudySpec {
  std::string question;
  std::vector<std::string> model_sizes;
  TranslationCost translation = {};
};

struct Experiment {
  std::string name;
  std::filesystem::path file;  ///< it was read from, for messages
  std::vector<std::uint32_t> seeds;
  std::string precision = "auto";
  std::string
      recipe;  ///< whose numbers go before the defaults: one of the program's, or a file's absolute path; empty: none
  std::filesystem::path data;  ///< empty: --data must be given, unless the data are generated
  std::optional<GeneratedDataSpec> generated;
  std::optional<StudySpec> study;
  std::string source_language = "en";
  bool save_models = false;
  ModelSpec model;
  TokenizerSpec tokenizer;
  std::optional<PretrainingSpec> pretraining;
  std::vector<IntermediateSpec> intermediate;
  std::vector<TargetSpec> targets;
};

/// Reads an experiment from TOML text. `file` names it in messages, and its folder is what relative paths start from.
/// `data`, where not empty, replaces the file's own.
Experiment parse_experiment(const std::string& text, const std::filesystem::path& file,
                            const std::filesystem::path& data = {});
Experiment read_experiment(const std::filesystem::path& file, const std::filesystem::path& data = {});

/// The whole of it with every default written out, as TOML that parse_experiment reads back to the same.
std::string experiment_toml(const Experiment& experiment);

/// A number of a training, and where it comes from: "file:line", or "default".
struct NumberOrigin {
  std::string training;  ///< "intermediate mnli", "target xnli"
  std::string key;
  std::string value;
  std::string origin;
};
/// All numbers of the arms and targets that train.
std::vector<NumberOrigin> number_origins(const Experiment& experiment);

/// The keys of [generated_data].
std::string generated_data_toml(const GeneratedDataSpec& generated);

const char* name_of(Pooling pooling);
/// "mean", "mean_without_special" or "cls". UserError otherwise.
Pooling pooling_of(const std::string& name);
/// "generate", "constrained", "likelihood".
const std::vector<std::string>& choice_searches();
const std::string& name_of(ChoiceSearch choices);
ChoiceSearch choice_search_of(const std::string& name);

}  // namespace koine
