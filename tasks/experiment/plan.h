#pragma once

// What an experiment consists of, phase by phase. Made once; `koine run`, `koine estimate`, the memory questions and the
// report all walk this list, so that they speak of the same trainings.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/training/model.h"
#include "models/config.h"
#include "tasks/common/task.h"
#include "tasks/experiment/experiment.h"

namespace koine {

enum class PhaseKind { kPretraining, kIntermediate, kTarget };

/// A task that a phase trains, with its head.
struct TrainedTask {
  const Task* task = nullptr;
  HeadSpec head;
  std::vector<std::string> languages;  ///< of its training set
  std::vector<std::string> files;      ///< plain text below the data folder besides (pretraining)
  FeatureOptions features;             ///< lengths resolved; max_examples: of training
  double mlm_probability = 0;          ///< of plain text
  std::string equal_tokens_to = {};    ///< as many tokens as the set in this language has (equal_tokens.h); empty: all
  bool has_dev = false;                ///< there is a dev set in the source language, which stops the training
};

/// A split of a task in several languages.
struct PlannedEvaluation {
  const Task* task = nullptr;
  std::string split;
  std::vector<std::string> languages;
  std::vector<std::string> unlabelled = {};  ///< whose files are there without gold: not evaluated
  FeatureOptions features;
  EvaluationOptions options;
};

struct PlannedPhase {
  PhaseKind kind = PhaseKind::kTarget;
  std::string label;             ///< in tables, the same for every seed: "pretraining", "intermediate mnli", "target xnli"
  std::string title;             ///< in messages: "xnli after mnli, seed 2"
  std::filesystem::path folder;  ///< below the output: "target/mnli/xnli/seed-2"
  std::size_t arm = 0;           ///< of Experiment::intermediate; pretraining has none
  std::size_t target = 0;        ///< of Experiment::targets, of kTarget
  std::uint32_t seed = 1;

  /// What it begins with: the model of this earlier phase; without one random parameters, or the experiment's directory.
  std::optional<std::size_t> start;
  bool starts_fresh = false;

  std::vector<TrainedTask> tasks;  ///< empty: nothing is trained
  TrainingSettings settings;       ///< with the phase's seed
  std::optional<PlannedEvaluation> evaluation;

  std::string missing;  ///< why it cannot be carried out: data that is not there; empty: nothing is missing
};

struct Plan {
  Experiment experiment;
  ModelConfig config;                ///< of the model that is trained
  std::vector<PlannedPhase> phases;  ///< in the order of a run; no phase starts from a later one
};

/// The phases of an experiment: pretraining; then for every arm and seed its intermediate training (the baseline has none)
/// and its targets. Where nothing random separates two seeds (retrieval with a shared encoder), one is planned. Reads which
/// files are there below experiment.data, and those that are evaluated, whether they have gold. Where that folder itself is not there, dev sets are taken to be.
Plan make_plan(Experiment experiment, const ModelConfig& config);

/// A task as a model learns and answers it: by a head, or, where the model has a decoder, as texts. UserError for a decoder that
/// begins with another token than targets are made for.
const Task& task_for(const ModelConfig& config, const Task& task);

/// Languages a list in an experiment stands for: itself with the names of families, branches and scripts resolved
/// (languages/language_facts.h), checked against what is there, or all that are there where it is empty. UserError naming `where`, and the folder where there is none, or the language that is missing.
std::vector<std::string> resolve_languages(const Task& task, const std::vector<std::string>& wanted,
                                           const std::filesystem::path& data, const std::string& split,
                                           const std::string& where);
/// The same of an evaluation's task and split, into its `languages`: those without gold go to `unlabelled`. UserError where
/// one of them was wanted by its code, or none is left.
void resolve_languages(PlannedEvaluation& evaluation, const std::vector<std::string>& wanted,
                       const std::filesystem::path& data, const std::string& where);
/// "xcopa test: not evaluated, for they have no gold labels: en"; empty where all have.
std::string unlabelled_line(const PlannedEvaluation& evaluation);

/// Longest sequences a phase uses: `wanted`, or where that is 0 the task's own as far as the model reads. UserError naming
/// `where` when what was wanted is more than the model reads.
std::int64_t resolve_length(std::int64_t wanted, const Task& task, std::int64_t model_maximum, const std::string& where);

}  // namespace koine
