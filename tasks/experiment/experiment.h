#pragma once

// An experiment: the method of Phang et al. (arXiv 2005.13013) as a grid of model x intermediate training x target x seed,
// read from a TOML file.
//
//   name = "transfer"              what the results call it
//   seeds = [1, 2, 3]              every phase is run once with each seed it depends on
//   precision = "auto"             "fp32", "bf16" (mixed), or "auto": whichever this machine measures to be faster
//   data = "data"                  folder of the data sets, relative to this file; --data goes before
//   source_language = "en"         language of training and of the dev set that stops it
//   save_models = false            keep the fine-tuned model of every target (intermediate models are always kept)
//
//   [generated_data]               optional, instead of data: the artificial languages of the demo, made below the output
//   seed = 1
//   text_passages = 8000 ...       any size of DemoSizes (tasks/demo/demo.h)
//
//   [model]
//   directory = "xlm-roberta-base" a transformers directory, relative to this file or to the data folder; or a fresh model:
//   name = "small"                 what the results call it; default: the directory's last name, or "fresh"
//   hidden_size = 256              the keys of config.json: num_hidden_layers, num_attention_heads, intermediate_size,
//                                  max_position_embeddings, hidden_dropout_prob, attention_probs_dropout_prob, norm ("post",
//                                  "pre")
//
//   [tokenizer]                    where the model is fresh
//   path = "xlmr/some.model"       a SentencePiece model, relative to this file or to the data folder; or one trained here:
//   inputs = ["text/en.txt"]       plain text below the data folder; default: the text of every language of the "mlm" task
//   pieces = 8000
//   character_coverage = 0.9995
//
//   [pretraining]                  optional: masked-language modelling before everything else, once, shared by all arms
//   languages = ["en", "fi"]       of the "mlm" task; default: all that are there
//   files = ["text/more.txt"]      and plain text files below the data folder
//   mlm_probability = 0.15
//   seed = 1                       default: the first of `seeds`
//   max_seq_length = 128           tokens, special ones included; default, here and below: the recipe's, at most what the
//   model reads learning_rate = 6e-4 ...       any training setting (settings_keys.h)
//
//   [[intermediate]]               an arm; at least one; without any, the baseline alone
//   name = "mnli"
//   tasks = ["mnli"]               none: the baseline
//   start = "pretrained"           or "fresh": from random parameters, to see what pretraining brings
//   languages = ["en"]             default: the source language
//   mlm_languages = ["en", "fi"]   of the text of "mlm" among the tasks; default: all that are there
//   mlm_probability = 0.15
//   sampler = "proportional"       several tasks: "proportional", "uniform", "temperature"
//   temperature = 2.0              probability ~ examples^(1 / temperature)
//   train_examples_cap = 0         examples counted at most for a task; 0: all
//   weights = [3, 1]               or the tasks' weights themselves
//   max_seq_length, doc_stride, max_query_length, max_train_examples, any training setting
//
//   [[target]]
//   task = "xnli"                  a task with a test in many languages; it is trained on its training task (xnli: MNLI)
//   train_task = "mnli"            default: the task's own; "" for retrieval, where nothing is trained
//   languages = ["fi", "hu"]       default: all whose files are there
//   split = "test"                 "test" or "dev"
//   max_eval_examples = 0          first examples of each language; 0: all
//   layer = 14                     retrieval: hidden state to use; default: 14 of 24, in proportion
//   pooling = "mean"               retrieval: "mean", "mean_without_special", "cls"
//   max_seq_length, doc_stride, max_query_length, max_train_examples, any training setting; defaults: recipes.h
//
// Unknown keys, wrong types and values out of range are UserErrors naming file, line and key.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/training/model.h"
#include "engine/training/settings.h"
#include "models/config.h"
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
  std::optional<std::int64_t> layer;
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
