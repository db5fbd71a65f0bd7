#include "tasks/experiment/published.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/experiment/evaluate.h"
#include "tasks/experiment/experiment.h"
#include "tasks/experiment/toml_section.h"

namespace koine {

namespace {

// The authors of arXiv 2005.13013 gave these with the code of their baseline (pull request 128 of jiant's development
// repository): sequences of 256, hidden state 14, mean over all tokens. Their BUCC keeps all ids of a sentence that stands
// more than once, and the last digit is rounded: half a point is granted. XTREME's own figures for the same checkpoint are
// others (66.0 and 57.3): another layer and pooling.
constexpr const char* kXlmrLarge = R"(
name = "xlm-roberta-large"
source = "the authors' retrieval baseline, nyu-mll/jiant-dev pull request 128"
hidden_size = 1024
num_hidden_layers = 24
vocab_size = 250002
layer = 14
pooling = "mean"
max_seq_length = 256
tolerance = 0.5
[[figures]]
task = "bucc2018"
split = "dev"
metric = "f1"
languages = ["de", "fr", "ru", "zh"]
values = [77.7, 62.7, 79.2, 66.5]
[[figures]]
task = "tatoeba"
split = "test"
metric = "accuracy"
languages = ["af", "ar", "bg", "bn", "de", "el", "es", "et", "eu", "fa", "fi", "fr", "he", "hi", "hu", "id", "it", "ja",
             "jv", "ka", "kk", "ko", "ml", "mr", "nl", "pt", "ru", "sw", "ta", "te", "th", "tl", "tr", "ur", "vi", "zh"]
values = [30.5, 20.4, 39.0, 13.3, 63.9, 18.9, 48.0, 25.8, 19.9, 42.0, 41.5, 48.1, 28.0, 38.3, 42.5, 47.0, 42.3, 41.8,
          10.2, 11.8, 17.4, 35.5, 19.4, 15.2, 52.6, 47.2, 42.1, 7.9, 9.1, 19.7, 27.4, 10.3, 37.8, 22.5, 38.3, 41.2]
)";

PublishedFigures read_figures(TomlSection section) {
  PublishedFigures figures;
  const std::string name = section.text("task", "");
  figures.task = &find_task(name, section.where("task"));
  require(figures.task->train_task().empty(), section.where("task"), ": task ", name,
          " needs a trained head; only figures of tasks that train nothing can be verified");
  figures.split = section.choice("split", "test", {"test", "dev"});
  figures.metric = section.text("metric", figures.task->metric());
  figures.languages = section.texts("languages", {});
  figures.values = section.numbers("values", {}, -100, 100);
  require(!figures.languages.empty() && figures.languages.size() == figures.values.size(), section.where("values"), ": ",
          figures.values.size(), " values of ", figures.languages.size(), " languages; there must be one of each");
  section.finish();
  return figures;
}

/// The languages of `figures` whose files are there.
std::vector<std::string> languages_there(const PublishedFigures& figures, const std::filesystem::path& data) {
  const std::vector<std::string> there = figures.task->available_languages(data, figures.split);
  std::vector<std::string> languages;
  for (const std::string& language : figures.languages) {
    if (std::find(there.begin(), there.end(), language) != there.end()) languages.push_back(language);
  }
  return languages;
}

std::string files_needed(const PublishedTable& table) {
  std::string text;
  for (const PublishedFigures& figures : table.figures) {
    text += concatenate(text.empty() ? "" : "; ", figures.task->name(), " ", figures.split, ": ");
    const std::vector<FileCandidate> candidates = candidates_of(figures.task->files(), figures.split);
    for (std::size_t i = 0; i < candidates.size(); ++i)
      text += (i == 0 ? "" : " or ") + fill_pattern(candidates[i].pattern, figures.split, figures.languages.front());
  }
  return text;
}

}  // namespace

bool VerifiedFigure::agrees(double tolerance) const {
  // Published figures are decimal: their distance may be the tolerance but for a rounding of the difference.
  return measured.has_value() && std::abs(*measured - published) <= tolerance + 1e-9;
}

PublishedTable parse_published(const std::string& text, const std::string& file) {
  constexpr std::int64_t kMany = 1 << 30;
  TomlSection root = TomlSection::parse(text, file);
  PublishedTable table;
  table.name = root.text("name", "");
  table.source = root.text("source", "");
  require(!table.name.empty() && !table.source.empty(), root.where(table.name.empty() ? "name" : "source"),
          " is missing: a table says which checkpoint its figures are of and where they stand");
  const auto size = [&](const char* key) {
    require(root.has(key), root.where(key), " is missing");
    return root.integer(key, 0, 1, kMany);
  };
  table.hidden_size = size("hidden_size");
  table.num_hidden_layers = size("num_hidden_layers");
  table.vocab_size = size("vocab_size");
  table.layer = root.integer("layer", table.num_hidden_layers, 0, table.num_hidden_layers);
  table.pooling = pooling_of(root.text("pooling", name_of(table.pooling)));
  table.max_seq_length = size("max_seq_length");
  table.tolerance = root.number("tolerance", 0.5, 0, 100);
  for (TomlSection& section : root.tables("figures")) table.figures.push_back(read_figures(std::move(section)));
  require(!table.figures.empty(), root.where("figures"), ": there are none");
  root.finish();
  return table;
}

const PublishedTable& published_xlmr_large() {
  static const PublishedTable table = parse_published(kXlmrLarge, "the table of XLM-R Large");
  return table;
}

void require_published_model(const PublishedTable& table, const ModelConfig& config, const std::string& where) {
  const auto same = [&](const char* key, std::int64_t value, std::int64_t wanted) {
    require(value == wanted, where, ": key \"", key, "\" is ", value, "; the figures are of ", table.name, ", where it is ",
            wanted);
  };
  same("hidden_size", config.hidden_size, table.hidden_size);
  same("num_hidden_layers", config.num_hidden_layers, table.num_hidden_layers);
  same("vocab_size", config.vocab_size, table.vocab_size);
}

std::vector<VerifiedFigure> verify_figures(Model& model, const PublishedTable& table, const std::filesystem::path& data,
                                           const Tokenizer& tokenizer, const std::filesystem::path& folder,
                                           const RunOptions& options) {
  std::vector<VerifiedFigure> verified;
  bool any = false;
  for (const PublishedFigures& figures : table.figures) any = any || !languages_there(figures, data).empty();
  require(any, "none of the data that ", table.name, "'s figures are of lie below ", data.string(),
          "; they need, for each of their languages, ", files_needed(table));
  for (const PublishedFigures& figures : table.figures) {
    PlannedEvaluation plan;
    plan.task = figures.task;
    plan.split = figures.split;
    plan.languages = languages_there(figures, data);
    plan.features.max_seq_length = table.max_seq_length;
    plan.options.layers = {table.layer};
    plan.options.pooling = table.pooling;
    nlohmann::json evaluations = nlohmann::json::object();
    const std::filesystem::path own = folder / figures.task->name();
    make_directory(own);
    if (!evaluate_languages(model, plan, data, tokenizer, own, options, evaluations)) return {};
    for (std::size_t i = 0; i < figures.languages.size(); ++i) {
      VerifiedFigure figure{figures.task->name(), figures.languages[i], figures.metric, figures.values[i], {}};
      if (evaluations.contains(figure.language)) {
        const nlohmann::json& metrics = evaluations.at(figure.language).at("metrics");
        require(metrics.contains(figure.metric), "task ", figure.task, " gives no metric \"", figure.metric, "\"");
        figure.measured = metrics.at(figure.metric).get<double>();
      }
      verified.push_back(std::move(figure));
    }
  }
  return verified;
}

}  // namespace koine
