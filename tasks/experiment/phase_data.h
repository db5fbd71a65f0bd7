#pragma once

// The data sets of an experiment's phases, each read and tokenised once.

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/tokenizer/tokenizer.h"
#include "tasks/experiment/example_cache.h"
#include "tasks/experiment/plan.h"
#include "tasks/experiment/training_phase.h"

namespace koine {

class PhaseData {
 public:
  /// The tokenizer must outlive it, and so must the cache of training sets, where there is one.
  PhaseData(std::filesystem::path data, const Tokenizer& tokenizer, ExampleCache* cache = nullptr)
      : data_(std::move(data)), tokenizer_(tokenizer), cache_(cache) {}

  /// UserErrors for data that is missing or wrong, here and below, as Task::load says. What the split "train" gives may be
  /// out of the cache, and is not evaluated.
  const TaskData& load(const Task& task, const std::string& split, const std::string& language,
                       const FeatureOptions& features);
  /// The tasks of a phase with their training sets, and the first `dev_examples` (0: all) of their dev sets in the source
  /// language where they have one.
  std::vector<PhaseTask> tasks(const std::vector<TrainedTask>& trained, const std::string& source_language,
                               std::int64_t dev_examples);
  /// All languages and files of a task's training set under one name, numbered anew where there are several; with
  /// equal_tokens_to as many of their examples as have that language's tokens (equal_tokens.h).
  const Dataset& training_set(const TrainedTask& task);
  /// Tokens of it in other languages than the source, of a task that is in one language: translations.
  std::int64_t translated_tokens(const TrainedTask& task, const std::string& source_language);
  /// What its files hold beyond it.
  LeftOut left_out(const TrainedTask& task);
  /// What framing cut off it.
  Truncation truncation(const TrainedTask& task);
  /// The first `examples` (0: all) of its dev set in a language; null where it has none.
  const TaskData* dev_set(const TrainedTask& task, const std::string& language, std::int64_t examples);

 private:
  std::filesystem::path data_;
  const Tokenizer& tokenizer_;
  ExampleCache* cache_;
  std::map<std::string, std::unique_ptr<TaskData>> loaded_;
  std::map<std::string, std::unique_ptr<Dataset>> merged_;
  std::map<std::string, Truncation> cut_files_;  ///< of plain text, as merged_
};

}  // namespace koine
