#pragma once

// An experiment: the method of Phang et al. (arXiv 2005.13013) as a grid of model x intermediate training x target x seed,
// read from a TOML file.
//
// The keys, with their defaults: docs/experiments.md. Unknown keys, wrong types and values out of range are UserErrors
// naming file, line and key.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/settings/settings.h"
#include "engine/training/model.h"
#include "models/config.h"
#include "tasks/common/layers.h"
#include "tasks/common/task.h"
#include "tasks/demo/demo.h"

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
  std::string sampler = "proportional";
  double temperature = 1;
  std::int64_t train_examples_cap = 0;
  std::vector<double> weights;
  FeatureOptions features;
  TrainingSettings settings;
};

struct TargetSpec {
  std::string task;
  std::string train_task;
  std::vector<std::string> languages;  ///< empty: all there are
  std::string split = "test";
  std::int64_t max_eval_examples = 0;
  LayerChoice layers;
  Pooling pooling = Pooling::kMean;
  FeatureOptions features;  ///< max_examples: of training
  TrainingSettings settings;
};

struct Experiment {
  std::string name;
  std::filesystem::path file;  ///< it was read from, for messages
  std::vector<std::uint32_t> seeds;
  std::string precision = "auto";
  std::filesystem::path data;  ///< empty: --data must be given, unless the data are generated
  std::optional<GeneratedDataSpec> generated;
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

/// The keys of [generated_data].
std::string generated_data_toml(const GeneratedDataSpec& generated);

const char* name_of(Pooling pooling);
/// "mean", "mean_without_special" or "cls". UserError otherwise.
Pooling pooling_of(const std::string& name);

}  // namespace koine
