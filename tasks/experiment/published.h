#pragma once

// Figures that somebody published for a checkpoint, and whether a model at hand reproduces them: the cheapest check that
// weights, tokenizer, encoder and scorers are together what they should be. Only tasks that train nothing.
//
// A table is a TOML file:
//
//   name = "xlm-roberta-large"
//   source = "where the figures stand"
//   hidden_size = 1024               what the checkpoint's config.json must say
//   num_hidden_layers = 24
//   vocab_size = 250002
//   layer = 14                       how the vectors were made
//   pooling = "mean"
//   max_seq_length = 256
//   tolerance = 0.5                  percentage points granted
//   [[figures]]
//   task = "tatoeba"
//   split = "test"
//   metric = "accuracy"
//   languages = ["de", "fi"]         a figure each
//   values = [63.9, 41.5]            in percent

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/tokenizer/tokenizer.h"
#include "models/config.h"
#include "tasks/common/task.h"
#include "tasks/experiment/training_phase.h"

namespace koine {

struct PublishedFigures {
  const Task* task = nullptr;
  std::string split;
  std::string metric;
  std::vector<std::string> languages;
  std::vector<double> values;  ///< [languages] in percent
};

struct PublishedTable {
  std::string name;
  std::string source;
  std::int64_t hidden_size = 0;
  std::int64_t num_hidden_layers = 0;
  std::int64_t vocab_size = 0;
  std::int64_t layer = 0;
  Pooling pooling = Pooling::kMean;
  std::int64_t max_seq_length = 0;
  double tolerance = 0;
  std::vector<PublishedFigures> figures;
};

/// UserError with file and line.
PublishedTable parse_published(const std::string& text, const std::string& file);

/// The authors' own for XLM-R Large: BUCC's sample sets and Tatoeba.
const PublishedTable& published_xlmr_large();

struct VerifiedFigure {
  std::string task;
  std::string language;
  std::string metric;
  double published = 0;
  std::optional<double> measured;  ///< none: its data are not there
  bool agrees(double tolerance) const;
};

/// UserError naming what differs where `config` is no checkpoint the table is of.
void require_published_model(const PublishedTable& table, const ModelConfig& config, const std::string& where);

/// Every figure of the table whose data lie below `data`, measured; predictions go to `folder`. UserError, naming the files
/// it needs, where none do. Empty: stopped in between.
std::vector<VerifiedFigure> verify_figures(Model& model, const PublishedTable& table, const std::filesystem::path& data,
                                           const Tokenizer& tokenizer, const std::filesystem::path& folder,
                                           const RunOptions& options);

}  // namespace koine
